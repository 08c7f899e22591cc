/* The system calls behind the functions that this library replaces. */
#define _GNU_SOURCE
#include "shim.h"

#include <sys/syscall.h>
#include <unistd.h>

int real_close(int fd) { return (int)syscall(SYS_close, fd); }

int real_ioctl(int fd, unsigned long request, void *argument) {
  return (int)syscall(SYS_ioctl, fd, request, argument);
}

void *real_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset) {
  return (void *)syscall(SYS_mmap, address, length, prot, flags, fd, offset);
}

int real_ftruncate(int fd, off_t length) { return (int)syscall(SYS_ftruncate, fd, length); }

int real_munmap(void *address, size_t length) { return (int)syscall(SYS_munmap, address, length); }
