/*
 * A descriptor of KVM is one end of a socket pair whose other end the server has: when the last
 * copy of it is closed anywhere (dup, fork, a killed process), the server reads end of file.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* @limit client | descriptors that a program under exec may have | descriptors | EMFILE */
#define MAX_DESCRIPTORS 65536
/* Where this library's own begin. */
#define HIGH 900

static _Atomic uint32_t handles[MAX_DESCRIPTORS];
/* In place of a handle: descriptors of this library. */
#define OWN(kind) (UINT32_MAX - (uint32_t)(kind))
#define IS_OWN(handle) ((handle) >= OWN(OWN_CONNECTION))

/* Whether this process, or one that it was forked from, ever had a descriptor of KVM. */
static _Atomic bool any_kvm;

bool kvm_was_used(void) { return any_kvm; }

/* Whose table this is, in a page that reads as zero in a child that has memory of its own. */
static pid_t *owner;

/* A child of vfork has descriptors of its own, but this memory is its parent's. */
static bool is_borrowed(void) {
  if (!owner) {
    void *page = real_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || madvise(page, 4096, MADV_WIPEONFORK)) return false;
    owner = page;
  }
  if (!*owner) *owner = getpid();
  return *owner != getpid();
}

__attribute__((constructor)) static void start(void) { is_borrowed(); }

/* Signal masks of vCPUs, few and rarely set. */
struct mask {
  uint32_t handle;
  sigset_t set;
  struct mask *next;
};
static struct mask *masks;
static _Atomic bool any_mask;
static pthread_mutex_t mask_lock = PTHREAD_MUTEX_INITIALIZER;

uint32_t handle_of(int fd) {
  uint32_t handle = fd >= 0 && fd < MAX_DESCRIPTORS ? handles[fd] : 0;
  return IS_OWN(handle) ? 0 : handle;
}

void descriptor_set(int fd, uint32_t handle) {
  if (fd < 0 || fd >= MAX_DESCRIPTORS || handles[fd] == handle || is_borrowed()) return;
  if (handle && !IS_OWN(handle)) any_kvm = true;
  handles[fd] = handle;
}

bool descriptor_is_own(int fd) {
  return fd >= 0 && fd < MAX_DESCRIPTORS && IS_OWN(handles[fd]);
}

unsigned next_own_descriptor(unsigned from) {
  for (unsigned fd = from; fd < MAX_DESCRIPTORS; fd++)
    if (IS_OWN(handles[fd])) return fd;
  return UINT_MAX;
}

/*
 * Where descriptors of this library are that had to move, by the number they had first, which is what
 * the library knows them by; 0: they did not move.
 */
static _Atomic int moved[MAX_DESCRIPTORS];
static _Atomic bool any_moved;

int own_now(int fd) {
  int now = any_moved && fd >= 0 && fd < MAX_DESCRIPTORS ? moved[fd] : 0;
  return now ? now : fd;
}

/*
 * Held while it changes what is where: no handler and no end of the thread comes in between, and a child
 * after fork finds nothing half done.
 */
struct places {
  sigset_t before;
  int cancel;
  bool held, masked;
};
static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;

static struct places places_hold(void) {
  /* Where nothing but the lock is allowed, there is nothing that a handler could find half done either. */
  bool masked = !is_confined();
  /* A child of vfork changes nothing here, and may end at any time. */
  struct places places = {.held = !masked || !is_borrowed(), .masked = masked};
  sigset_t all;
  if (!places.held) return places;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &places.cancel);
  if (masked) {
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &places.before);
  }
  pthread_mutex_lock(&places_lock);
  return places;
}

static void places_release(const struct places *places) {
  int saved = errno;
  if (!places->held) return;
  pthread_mutex_unlock(&places_lock);
  if (places->masked) pthread_sigmask(SIG_SETMASK, &places->before, NULL);
  pthread_setcancelstate(places->cancel, NULL);
  errno = saved;
}

static struct places at_fork;

void descriptors_before_fork(void) {
  struct places places = places_hold();
  at_fork = places;
}

void descriptors_forked(void) { places_release(&at_fork); }

/* A copy at `from` or above, at a number that is no name of another one; -1 when there is none. */
static int copy_above(int fd, int from) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, from);
  while (copy >= 0 && copy < MAX_DESCRIPTORS && moved[copy]) {
    int next = fcntl(fd, F_DUPFD_CLOEXEC, copy + 1);
    real_close(copy);
    copy = next;
  }
  return copy;
}

int own_descriptor(int fd, enum own_kind kind) {
  if (fd < 0) return fd;
  struct places places = places_hold();
  int high = copy_above(fd, HIGH);
  if (high >= 0) {
    real_close(fd);
    fd = high;
  }
  descriptor_set(fd, OWN(kind));
  places_release(&places);
  return fd;
}

void own_close(int fd) {
  struct places places = places_hold();
  int now = own_now(fd);
  if (now != fd) moved[fd] = 0;
  descriptor_set(now, 0);
  real_close(now);
  places_release(&places);
}

/*
 * A thread that waits in a system call waits on at the file that it began with (poll() apart), and goes
 * on at the new number; only one that is just about to begin one may take the program's file for its own.
 */
static bool move_away(int fd) {
  int elsewhere = copy_above(fd, HIGH), name = fd;
  if (elsewhere < 0) elsewhere = copy_above(fd, 3);
  if (elsewhere < 0) return false;
  if (elsewhere >= MAX_DESCRIPTORS) {
    real_close(elsewhere);
    return false;
  }
  for (int i = 0; any_moved && i < MAX_DESCRIPTORS; i++)
    if (moved[i] == fd) name = i;
  handles[elsewhere] = handles[fd];
  moved[name] = elsewhere;
  any_moved = true;
  handles[fd] = 0;
  return true;
}

int descriptor_copy_to(int fd, int to, int flags) {
  struct places places = places_hold();
  bool was_own = places.held && descriptor_is_own(to);
  int result = -1;
  if (was_own && (fd == to || !move_away(to))) {
    errno = fd != to ? EBUSY : flags < 0 ? EBADF : EINVAL;
  } else {
    result = (int)(flags < 0 ? syscall(SYS_dup2, fd, to) : syscall(SYS_dup3, fd, to, flags));
    int saved = errno;
    /* The copy takes the place of what has moved: the number is never free meanwhile. */
    if (result < 0 && was_own) real_close(to);
    if (result >= 0 && fd != to) descriptor_set(to, handle_of(fd));
    errno = saved;
  }
  places_release(&places);
  return result;
}

void descriptors_after_fork(void) {
  for (int name = 0; any_moved && name < MAX_DESCRIPTORS; name++)
    if (moved[name] && handles[moved[name]] == OWN(OWN_CONNECTION)) moved[name] = 0;
  for (int fd = 0; fd < MAX_DESCRIPTORS; fd++) {
    if (handles[fd] != OWN(OWN_CONNECTION)) continue;
    descriptor_set(fd, 0);
    real_close(fd);
  }
}

void descriptors_closed(unsigned first, unsigned last) {
  if (last >= MAX_DESCRIPTORS) last = MAX_DESCRIPTORS - 1;
  if (is_confined() || is_borrowed()) return;
  for (unsigned fd = first; fd <= last; fd++)
    if (!IS_OWN(handles[fd])) handles[fd] = 0;
}

int descriptor_new(uint32_t handle, bool close_on_exec, int *other) {
  int pair[2];
  *other = -1;
  if (socketpair(AF_UNIX, SOCK_STREAM | (close_on_exec ? SOCK_CLOEXEC : 0), 0, pair)) return -errno;
  if (pair[0] >= MAX_DESCRIPTORS) {
    real_close(pair[0]);
    real_close(pair[1]);
    return -EMFILE;
  }
  descriptor_set(pair[0], handle);
  *other = pair[1];
  return pair[0];
}

const sigset_t *signal_mask_of(uint32_t handle, sigset_t *copy) {
  if (!any_mask) return NULL;
  const sigset_t *found = NULL;
  pthread_mutex_lock(&mask_lock);
  for (struct mask *m = masks; m && !found; m = m->next)
    if (m->handle == handle) {
      *copy = m->set;
      found = copy;
    }
  pthread_mutex_unlock(&mask_lock);
  return found;
}

void signal_mask_set(uint32_t handle, const sigset_t *set) {
  pthread_mutex_lock(&mask_lock);
  struct mask **at = &masks;
  while (*at && (*at)->handle != handle) at = &(*at)->next;
  if (set && !*at) {
    *at = calloc(1, sizeof **at);
    if (*at) (*at)->handle = handle;
  }
  if (set && *at) {
    (*at)->set = *set;
    any_mask = true;
  } else if (*at) {
    struct mask *gone = *at;
    *at = gone->next;
    free(gone);
  }
  pthread_mutex_unlock(&mask_lock);
}
