/* The functions of libc that a program reaches KVM through. */
#define _GNU_SOURCE
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* open */

static int open_kvm(int flags) {
  int other;
  /* The handle is known after the answer. */
  int fd = descriptor_new(0, (flags & O_CLOEXEC) != 0, &other);
  if (fd < 0) return (int)answer(fd);
  struct message request = {.type = MSG_OPEN};
  struct message reply;
  int64_t result = server_call(&request, other, &reply, NULL, NULL, 0);
  real_close(other);
  if (result < 0) {
    real_close(fd);
    return (int)answer(result);
  }
  descriptor_set(fd, (uint32_t)result);
  descriptor_name(fd, (uint32_t)result);
  return fd;
}

static mode_t mode_of(int flags, va_list list) {
  return flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? va_arg(list, mode_t) : 0;
}

PUBLIC int openat(int folder, const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = mode_of(flags, list);
  va_end(list);
  if (is_kvm(path)) return open_kvm(flags);
  int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
  if (fd >= 0) descriptor_set(fd, 0);
  /* A socket cannot be opened again; of KVM's files only /dev/kvm can. */
  if (fd < 0 && errno == ENXIO && is_device(descriptor_in_path(path))) return open_kvm(flags);
  return fd;
}

PUBLIC int open(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = mode_of(flags, list);
  va_end(list);
  return openat(AT_FDCWD, path, flags, mode);
}

PUBLIC int open64(const char *, int, ...) __attribute__((alias("open")));
PUBLIC int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
/* What _FORTIFY_SOURCE turns them into. */
PUBLIC int __open_2(const char *path, int flags) { return open(path, flags, 0); }
PUBLIC int __open64_2(const char *path, int flags) { return open(path, flags, 0); }
PUBLIC int __openat_2(int folder, const char *path, int flags) {
  return openat(folder, path, flags, 0);
}
PUBLIC int __openat64_2(int folder, const char *path, int flags) {
  return openat(folder, path, flags, 0);
}

/* ioctl */

/* Newer than some headers: KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA. */
enum { XEN_SHARED_INFO_HVA = 6, XEN_VCPU_INFO_HVA = 9 };

/* What has to happen on this side before the server sees the call. */
static int prepare(uint32_t handle, unsigned long request, uint64_t argument) {
  struct kvm_userspace_memory_region region;
  if (request == KVM_SET_USER_MEMORY_REGION ||
      (_IOC_TYPE(request) == KVMIO && _IOC_NR(request) == 0x49)) {
    /* KVM_SET_USER_MEMORY_REGION2 begins like the first one. */
    if (copy_in(&region, argument, sizeof region) && region.memory_size)
      return memory_share(region.userspace_addr, region.memory_size);
  } else if (request == KVM_XEN_HVM_SET_ATTR || request == KVM_XEN_VCPU_SET_ATTR) {
    /* Both begin with the type, and have the address 8 bytes on. */
    struct {
      uint16_t type, pad[3];
      uint64_t address;
    } attr;
    int by_address = request == KVM_XEN_HVM_SET_ATTR ? XEN_SHARED_INFO_HVA : XEN_VCPU_INFO_HVA;
    if (copy_in(&attr, argument, sizeof attr) && attr.type == by_address)
      return memory_share(attr.address & ~4095ull, 4096);
  } else if (request == KVM_SET_SIGNAL_MASK) {
    sigset_t mask;
    uint32_t length;
    sigemptyset(&mask);
    if (!argument)
      signal_mask_set(handle, NULL);
    else if (copy_in(&length, argument, sizeof length) && length == 8 &&
             copy_in(&mask, argument + sizeof length, length))
      signal_mask_set(handle, &mask);
  }
  return 0;
}

/* The ioctls that may make a descriptor: it is made first, and the server gets the other end. */
static bool makes_descriptor(uint32_t request) {
  return request == KVM_CREATE_VM || request == KVM_CREATE_VCPU || request == KVM_GET_STATS_FD ||
         request == KVM_CREATE_DEVICE;
}

static int make(struct message *request) {
  int other = -1;
  struct message reply = {0};
  int fd = descriptor_new(0, true, &other);
  if (fd >= 0) request->d = (uint64_t)fd + 1;
  /* Without one too: other refusals come first. */
  int64_t result = server_call_giving(request, &other, fd >= 0, &reply);
  if (other >= 0) real_close(other);
  /* KVM_CREATE_DEVICE_TEST makes none. */
  if (result >= 0 && fd >= 0 && reply.b) {
    descriptor_set(fd, (uint32_t)reply.b);
    descriptor_name(fd, (uint32_t)reply.b);
  } else if (fd >= 0) {
    real_close(fd);
  }
  return (int)answer(result);
}

/* The descriptors that an ioctl's argument names. */
static int named_descriptors(uint32_t request, uint64_t argument, int named[2]) {
  struct kvm_irqfd irq;
  struct kvm_ioeventfd io;
  struct kvm_xen_hvm_attr xen;
  struct kvm_device_attr attr;
  int32_t file;
  named[0] = named[1] = -1;
  if (request == KVM_IRQFD && copy_in(&irq, argument, sizeof irq)) {
    named[0] = (int)irq.fd;
    if (irq.flags & KVM_IRQFD_FLAG_RESAMPLE) named[1] = (int)irq.resamplefd;
  } else if (request == KVM_IOEVENTFD && copy_in(&io, argument, sizeof io)) {
    named[0] = io.fd;
  } else if (request == KVM_XEN_HVM_SET_ATTR && copy_in(&xen, argument, sizeof xen) &&
             xen.type == KVM_XEN_ATTR_TYPE_EVTCHN) {
    named[0] = xen.u.evtchn.deliver.eventfd.fd;
  } else if (request == KVM_SET_DEVICE_ATTR && copy_in(&attr, argument, sizeof attr) &&
             attr.group == KVM_DEV_VFIO_GROUP && copy_in(&file, attr.addr, sizeof file)) {
    named[0] = file;
  }
  int count = 0;
  for (int i = 0; i < 2; i++)
    if (named[i] >= 0 && fcntl(named[i], F_GETFD) >= 0) named[count++] = named[i];
  return count;
}

static int64_t run(const struct message *request) {
  sigset_t all, outside, own;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &outside);
  int64_t result =
      server_call_interruptible(request, &outside, signal_mask_of(request->handle, &own));
  pthread_sigmask(SIG_SETMASK, &outside, NULL);
  return result;
}

PUBLIC int ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  uint32_t handle = handle_of(fd);
  /* One that came past libc. */
  if (!handle && _IOC_TYPE(request) == KVMIO) handle = descriptor_recognise(fd);
  int result;
  if (!handle || file_ioctl(fd, (uint32_t)request, argument, &result))
    return handle ? result : real_ioctl(fd, request, argument);
  struct message message = {.type = MSG_IOCTL,
                            .handle = handle,
                            .a = (uint32_t)request,
                            .b = (uint64_t)(uintptr_t)argument};
  if ((uint32_t)request == KVM_RUN) return (int)answer(run(&message));
  if (line_stays_low(handle, (uint32_t)request, argument)) return 0;
  int error = prepare(handle, (uint32_t)request, message.b);
  if (error) return (int)answer(error);
  if (makes_descriptor((uint32_t)request)) return make(&message);
  int named[2];
  int count = named_descriptors((uint32_t)request, message.b, named);
  if (count) {
    message.d = ((uint64_t)named[0] + 1) | (count > 1 ? ((uint64_t)named[1] + 1) << 32 : 0);
    return (int)answer(server_call_giving(&message, named, count, NULL));
  }
  return (int)answer(server_call(&message, -1, NULL, NULL, NULL, 0));
}

/* mmap and its kin */

static void *map_kvm(uint32_t handle, void *address, size_t length, int prot, int flags,
                     off_t offset) {
  struct message request = {
      .type = MSG_MMAP, .handle = handle, .a = length, .b = (uint64_t)offset};
  struct message reply;
  int fd = -1;
  int64_t result = server_call(&request, -1, &reply, &fd, NULL, 0);
  if (result < 0 || fd < 0) {
    if (fd >= 0) real_close(fd);
    answer(result < 0 ? result : -ENODEV);
    return MAP_FAILED;
  }
  void *mapped = real_mmap(address, length, prot, flags, fd, (off_t)reply.b);
  real_close(fd);
  return mapped;
}

PUBLIC void *mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset) {
  uint32_t handle = flags & MAP_ANONYMOUS ? 0 : handle_of(fd);
  if (handle) return map_kvm(handle, address, length, prot, flags, offset);
  bool confined = is_confined(), in_memory = (flags & MAP_TYPE) != MAP_PRIVATE && !confined;
  int own = -1;
  if (in_memory && (flags & MAP_ANONYMOUS) && !(flags & MAP_HUGETLB)) {
    /* Shared memory without a name could not be handed to the server. */
    own = memfd_create("kvm-xen-shared", MFD_CLOEXEC);
    if (own >= 0 && !real_ftruncate(own, (off_t)((length + 4095) & ~4095ul))) {
      fd = own;
      flags &= ~MAP_ANONYMOUS;
      offset = 0;
    }
  }
  void *mapped = real_mmap(address, length, prot, flags, fd, offset);
  int saved = errno;
  if (mapped == MAP_FAILED && errno == ENODEV && own < 0 && !confined) {
    handle = descriptor_recognise(fd);
    if (handle) return map_kvm(handle, address, length, prot, flags, offset);
  }
  if (mapped != MAP_FAILED) {
    stack_changed(mapped, length);
    memory_unmapped((uintptr_t)mapped, length);
    if ((flags & (MAP_TYPE | MAP_ANONYMOUS | MAP_HUGETLB)) == (MAP_PRIVATE | MAP_ANONYMOUS))
      memory_note_large((uintptr_t)mapped, length);
    if (memory_is_shared((uintptr_t)mapped, length))
      memory_replaced((uintptr_t)mapped, (length + 4095) & ~4095ul, true);
    if (in_memory && !(flags & MAP_ANONYMOUS))
      memory_note_file((uintptr_t)mapped, length, fd, offset);
  }
  if (own >= 0) real_close(own);
  errno = saved;
  return mapped;
}

PUBLIC void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));

PUBLIC int munmap(void *address, size_t length) {
  int result = real_munmap(address, length);
  int saved = errno;
  if (!result) {
    stack_changed(address, length);
    memory_unmapped((uintptr_t)address, length);
  }
  if (!result && memory_is_shared((uintptr_t)address, length))
    memory_replaced((uintptr_t)address, (length + 4095) & ~4095ul, false);
  errno = saved;
  return result;
}

PUBLIC void *mremap(void *address, size_t length, size_t new_length, int flags, ...) {
  va_list list;
  va_start(list, flags);
  void *target = flags & MREMAP_FIXED ? va_arg(list, void *) : NULL;
  va_end(list);
  void *moved =
      (void *)syscall(SYS_mremap, address, length, new_length, flags, target);
  int saved = errno;
  if (moved != MAP_FAILED) {
    stack_changed(address, length);
    stack_changed(moved, new_length);
    memory_unmapped((uintptr_t)address, length);
    memory_unmapped((uintptr_t)moved, new_length);
    if (moved != address && length && memory_is_shared((uintptr_t)address, length))
      memory_replaced((uintptr_t)address, length, (flags & MREMAP_DONTUNMAP) != 0);
    if (moved == address && new_length < length)
      memory_replaced((uintptr_t)address + new_length, length - new_length, false);
    if (moved != address && memory_is_shared((uintptr_t)moved, new_length))
      memory_replaced((uintptr_t)moved, new_length, true);
  }
  errno = saved;
  return moved;
}

PUBLIC int mprotect(void *address, size_t length, int prot) {
  int result = (int)syscall(SYS_mprotect, address, length, prot);
  int saved = errno;
  /* Some of it may be protected when the rest cannot be. */
  if ((prot & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE)) stack_changed(address, length);
  if (!result && memory_is_shared((uintptr_t)address, length))
    memory_protected((uintptr_t)address, (length + 4095) & ~4095ul, prot);
  errno = saved;
  return result;
}

PUBLIC int madvise(void *address, size_t length, int advice) {
  int result = (int)syscall(SYS_madvise, address, length, advice);
  int saved = errno;
  if (!result && (advice == MADV_DONTNEED || advice == MADV_FREE) &&
      memory_is_shared((uintptr_t)address, length))
    memory_zeroed((uintptr_t)address, (length + 4095) & ~4095ul);
  errno = saved;
  return result;
}

static int resized(int result) {
  int saved = errno;
  if (!result) memory_resized();
  errno = saved;
  return result;
}

PUBLIC int ftruncate(int fd, off_t length) { return resized(real_ftruncate(fd, length)); }
PUBLIC int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
PUBLIC int truncate(const char *path, off_t length) {
  return resized((int)syscall(SYS_truncate, path, length));
}
PUBLIC int truncate64(const char *, off_t) __attribute__((alias("truncate")));

/* Descriptors */

/* The program closes what it does not know: those of this library are not open to it. */
static int not_open(int error) {
  errno = error;
  return -1;
}

PUBLIC int close(int fd) {
  if (descriptor_is_own(fd)) return not_open(EBADF);
  descriptor_set(fd, 0);
  return real_close(fd);
}

PUBLIC int close_range(unsigned first, unsigned last, int flags) {
  int result = 0;
  unsigned from = first;
  for (bool more = true; more && !result;) {
    unsigned own = next_own_descriptor(from);
    more = own != ~0u && own <= last;
    if (!more || own > from || last < first)
      result = (int)syscall(SYS_close_range, from, more ? own - 1 : last, flags);
    from = own + 1;
    if (more && from > last) break;
  }
  if (!result && !(flags & CLOSE_RANGE_CLOEXEC)) descriptors_closed(first, last);
  return result;
}

PUBLIC void closefrom(int first) {
  close_range(first < 0 ? 0 : (unsigned)first, ~0u, 0);
}

static int copied(int from, int to) {
  if (to >= 0) descriptor_set(to, handle_of(from));
  return to;
}

PUBLIC int dup(int fd) { return copied(fd, (int)syscall(SYS_dup, fd)); }
PUBLIC int dup2(int fd, int to) { return descriptor_copy_to(fd, to, -1); }
PUBLIC int dup3(int fd, int to, int flags) {
  /* Negative ones are no flags either. */
  return descriptor_copy_to(fd, to, flags < 0 ? INT_MAX : flags);
}

PUBLIC int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void *argument = va_arg(list, void *);
  va_end(list);
  int result = (int)syscall(SYS_fcntl, fd, command, argument);
  uint32_t handle = command == F_GETFL && result >= 0 ? handle_of(fd) : 0;
  if (handle && !file_is_written(handle)) result &= ~O_ACCMODE;
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) copied(fd, result);
  return result;
}

PUBLIC int fcntl64(int, int, ...) __attribute__((alias("fcntl")));

/* Descriptors that come through a socket */

static void received(struct msghdr *header) {
  bool confined = is_confined();
  for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      descriptor_set(fd, 0);
      /* Else its first ioctl of KVM shows what it is. */
      if (!confined) descriptor_recognise(fd);
    }
  }
}

PUBLIC ssize_t recvmsg(int socket, struct msghdr *header, int flags) {
  if (descriptor_is_own(socket)) return syscall(SYS_recvmsg, socket, header, flags);
  NEXT(ssize_t, "recvmsg", int, struct msghdr *, int)
  ssize_t got = next(socket, header, flags);
  if (got >= 0 && header->msg_controllen) received(header);
  return got;
}

PUBLIC int recvmmsg(int socket, struct mmsghdr *headers, unsigned count, int flags,
                    struct timespec *timeout) {
  NEXT(int, "recvmmsg", int, struct mmsghdr *, unsigned, int, struct timespec *)
  int got = next(socket, headers, count, flags, timeout);
  for (int i = 0; i < got; i++)
    if (headers[i].msg_hdr.msg_controllen) received(&headers[i].msg_hdr);
  return got;
}

static void in_child(void) {
  descriptors_forked();
  descriptors_after_fork();
  connection_after_fork();
  lines_after_fork();
  memory_after_fork();
}

__attribute__((constructor)) static void start(void) {
  pthread_atfork(descriptors_before_fork, descriptors_forked, in_child);
}
