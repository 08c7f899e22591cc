/*
 * The preload library of `kvm-xen exec`: stands between a program and libc, and sends what the
 * program does with /dev/kvm to the server. Everything else goes on to libc unchanged.
 */
#ifndef KVM_XEN_EXEC_SHIM_H
#define KVM_XEN_EXEC_SHIM_H

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol.h"

/* A function that the program calls in place of libc's. */
#define PUBLIC __attribute__((visibility("default")))

/* libc's own: a thread may be cancelled while it waits in them. Needs <dlfcn.h>. */
#define NEXT(result, name, ...)                               \
  static result (*next)(__VA_ARGS__);                         \
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, name);

/* A result, or -errno, as libc gives it to a program. */
static inline long answer(int64_t result) {
  if (result >= 0) return (long)result;
  errno = (int)-result;
  return -1;
}

/* connection.c: one connection for each thread. Results are values, or -errno. */

/* Sends a request and returns its answer. */
int64_t server_call(const struct message *request, int descriptor, struct message *answer,
                    int *received, void *bytes, size_t size);
/* The same for an ioctl that gives the server descriptors, at most two. */
int64_t server_call_giving(const struct message *request, const int *descriptors, int count,
                           struct message *answer);
/* The same for a request that a signal may end: `mask` is what the program wants to wait with. */
int64_t server_call_interruptible(const struct message *request, const sigset_t *outside,
                                  const sigset_t *kvm_mask);

/* descriptors.c: which descriptors of the program are KVM's. */

/* The handle of a descriptor, 0 when it is not KVM's. */
uint32_t handle_of(int fd);
/* Whether this process, or one that it was forked from, ever had a descriptor of KVM. */
bool kvm_was_used(void);
/* A new descriptor for a handle; *other gets the end that belongs to the server. */
int descriptor_new(uint32_t handle, bool close_on_exec, int *other);
void descriptor_set(int fd, uint32_t handle);
static inline bool is_device(uint32_t handle) { return (handle & HANDLE_DEVICE) != 0; }
/* The descriptors from `first` to `last` were closed. */
void descriptors_closed(unsigned first, unsigned last);
/*
 * A descriptor of this library, which the program does not know and must not close: moved to a high
 * number, as programs expect their own to be the lowest free ones. -errno when there is none.
 */
enum own_kind { OWN_MEMORY, OWN_CONNECTION };
int own_descriptor(int fd, enum own_kind kind);
void own_close(int fd);
/* What own_descriptor() gave is a name: where that descriptor is now. */
int own_now(int fd);
/*
 * dup2(2), with flags -1, or dup3(2) of the program: what the library has at that number goes elsewhere.
 * EBUSY when there is no place.
 */
int descriptor_copy_to(int fd, int to, int flags);
bool descriptor_is_own(int fd);
/* The first of this library's own descriptors from `from` on; UINT_MAX when there is none. */
unsigned next_own_descriptor(unsigned from);
/* Around fork, in the process that forks. */
void descriptors_before_fork(void);
void descriptors_forked(void);
/* In a child after fork: connections are the parent's. */
void descriptors_after_fork(void);
void connection_after_fork(void);
/* KVM_SET_SIGNAL_MASK of a vCPU: NULL when it has none. */
const sigset_t *signal_mask_of(uint32_t handle, sigset_t *copy);
void signal_mask_set(uint32_t handle, const sigset_t *mask);

/* confined.c: programs that filter their own system calls. */

/* Whether this process may make no system call but the program's own. */
bool is_confined(void);

/* identity.c: what a descriptor of KVM is known by everywhere. */

/* The name of the server's socket, "" when this program has none; its process, or 0. */
const char *server_name(void);
unsigned long server_pid(void);
/* A number that this process keeps until it becomes another program. */
uint32_t program_number(void);

/* Gives a new descriptor the name that tells its handle. */
void descriptor_name(int fd, uint32_t handle);
/* The handle of a descriptor that came from elsewhere, 0 when it is not KVM's; noted if it is. */
uint32_t descriptor_recognise(int fd);
/* The handle of a descriptor that a path in /proc names, or 0. */
uint32_t descriptor_in_path(const char *path);
/* What stat(2) says of /dev/kvm, and of a descriptor. */
struct stat;
void status_of_device(struct stat *status);
void status_of_handle(uint32_t handle, struct stat *status);
bool is_kvm(const char *path);
/* The handle that the *at functions mean by (folder, path, flags) without a path, or 0. */
uint32_t handle_without_path(int folder, const char *path, int flags);

/* files.c: what KVM's descriptors are as files. */

/* Whether this file of KVM is open for writing: statistics are not. */
bool file_is_written(uint32_t handle);
/* Whether this is an ioctl that every file has; it is done then. */
bool file_ioctl(int fd, uint32_t request, void *argument, int *result);

/* signals.c */

/* Whether one of these is pending that the program wants; others are dropped, as Linux does. */
bool signal_waits(const sigset_t *wanted);

/* memory.c: memory of the program that is a guest's memory too. */

/* Makes [address, address + length) memory that the server sees too. 0, or -errno. */
int memory_share(uintptr_t address, size_t length);
/* Whether shared memory lies in [address, address + length). */
bool memory_is_shared(uintptr_t address, size_t length);
/* The program put something else there (mapped, or nothing): it is shared anew if `mapped`. */
void memory_replaced(uintptr_t address, size_t length, bool mapped);
/* mprotect: what could not be shared before may be shared now, and guests may do no more than this. */
void memory_protected(uintptr_t address, size_t length, int prot);
/* A file has another size now, perhaps one of those that are shared. */
void memory_resized(void);
/* MADV_DONTNEED and the like on memory that was private: it reads as zero from now on. */
void memory_zeroed(uintptr_t address, size_t length);
/* mmap(MAP_SHARED) of a file in memory: its descriptor may be closed before it becomes guest memory. */
void memory_note_file(uintptr_t address, size_t length, int fd, off_t offset);
/* A private mapping without a file: if it is large, it becomes guest memory as a whole. */
void memory_note_large(uintptr_t address, size_t length);
/* Something else is in [address, address + length) now, or nothing. */
void memory_unmapped(uintptr_t address, size_t length);
/* In a child after fork: what was private is private again. */
void memory_after_fork(void);
/* open(2) of something in /proc, also when the program has another root by now. */
int proc_open(const char *path, int flags);
/* It will be opened later. */
void proc_keep(void);
/* Copies from the program's own memory without crashing: false when not readable. */
bool copy_in(void *to, uint64_t from, size_t size);

/* lines.c: interrupt lines that are low. */

/* Whether this ioctl of a VM lowered a line that is low, and is answered. */
bool line_stays_low(uint32_t handle, uint32_t request, void *argument);
/* In a child after fork: its parent's VMs are not its own. */
void lines_after_fork(void);

/* stack.c: arguments on the calling thread's own stack. */

/*
 * Looks for it: before the first on_stack() of a thread. `text` is room to read in, as the stack may be a
 * small one for signal handlers.
 */
void stack_find(char *text, size_t room);
/*
 * This thread made something of its own stack inaccessible, or put something else there: that and what is
 * above is not known to be there any more.
 */
void stack_changed(const void *at, size_t size);
/* Whether all of this is there for sure, to read and to write. */
bool on_stack(const void *at, size_t size);

/* real.c: libc's own functions, past this library. */
int real_close(int fd);
int real_ioctl(int fd, unsigned long request, void *argument);
void *real_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset);
int real_munmap(void *address, size_t length);
int real_ftruncate(int fd, off_t length);

#endif
