/*
 * A descriptor of KVM is one end of a socket pair whose other end the server has: when the last
 * copy of it is closed anywhere (dup, fork, a killed process), the server reads end of file.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_DESCRIPTORS 65536

static _Atomic uint32_t handles[MAX_DESCRIPTORS];

/* Signal masks of vCPUs, few and rarely set. */
struct mask {
  uint32_t handle;
  sigset_t set;
  struct mask *next;
};
static struct mask *masks;
static _Atomic bool any_mask;
static pthread_mutex_t mask_lock = PTHREAD_MUTEX_INITIALIZER;

uint32_t handle_of(int fd) { return fd >= 0 && fd < MAX_DESCRIPTORS ? handles[fd] : 0; }

void descriptor_set(int fd, uint32_t handle) {
  if (fd >= 0 && fd < MAX_DESCRIPTORS) handles[fd] = handle;
}

void descriptors_closed(unsigned first, unsigned last) {
  if (last >= MAX_DESCRIPTORS) last = MAX_DESCRIPTORS - 1;
  for (unsigned fd = first; fd <= last; fd++) handles[fd] = 0;
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
