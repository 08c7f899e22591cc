/* stat(2) and its kin, which tell a program what /dev/kvm and KVM's descriptors are. */
#define _GNU_SOURCE
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

PUBLIC int fstatat(int folder, const char *path, struct stat *status, int flags) {
  if (is_kvm(path)) {
    status_of_device(status);
    return 0;
  }
  uint32_t handle = handle_without_path(folder, path, flags);
  if (handle) {
    status_of_handle(handle, status);
    return 0;
  }
  return (int)syscall(SYS_newfstatat, folder, path, status, flags);
}

PUBLIC int fstat(int fd, struct stat *status) {
  uint32_t handle = handle_of(fd);
  /* libc's own, which older ones do not have: a filter may allow the system call that it makes only. */
  static int (*next)(int, struct stat *);
  if (!handle && !next) *(void **)&next = dlsym(RTLD_NEXT, "fstat");
  if (!handle) return next ? next(fd, status) : (int)syscall(SYS_fstat, fd, status);
  status_of_handle(handle, status);
  return 0;
}

PUBLIC int stat(const char *path, struct stat *status) {
  return fstatat(AT_FDCWD, path, status, 0);
}

PUBLIC int lstat(const char *path, struct stat *status) {
  return fstatat(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}

/* struct stat64 is the same here. */
PUBLIC int fstatat64(int, const char *, struct stat64 *, int) __attribute__((alias("fstatat")));
PUBLIC int fstat64(int, struct stat64 *) __attribute__((alias("fstat")));
PUBLIC int stat64(const char *, struct stat64 *) __attribute__((alias("stat")));
PUBLIC int lstat64(const char *, struct stat64 *) __attribute__((alias("lstat")));

/* What programs call that were built with glibc before 2.33. */
PUBLIC int __fxstat(int version, int fd, struct stat *status) {
  (void)version;
  return fstat(fd, status);
}
PUBLIC int __xstat(int version, const char *path, struct stat *status) {
  (void)version;
  return stat(path, status);
}
PUBLIC int __lxstat(int version, const char *path, struct stat *status) {
  (void)version;
  return lstat(path, status);
}
PUBLIC int __fxstat64(int, int, struct stat *) __attribute__((alias("__fxstat")));
PUBLIC int __xstat64(int, const char *, struct stat *) __attribute__((alias("__xstat")));
PUBLIC int __lxstat64(int, const char *, struct stat *) __attribute__((alias("__lxstat")));

PUBLIC int statx(int folder, const char *restrict path, int flags, unsigned mask,
                 struct statx *restrict status) {
  struct stat plain;
  uint32_t handle = handle_without_path(folder, path, flags);
  if (!handle && !is_kvm(path)) return (int)syscall(SYS_statx, folder, path, flags, mask, status);
  if (handle)
    status_of_handle(handle, &plain);
  else
    status_of_device(&plain);
  memset(status, 0, sizeof *status);
  status->stx_mask = STATX_BASIC_STATS & mask;
  status->stx_mode = (uint16_t)plain.st_mode;
  status->stx_ino = plain.st_ino;
  status->stx_nlink = (uint32_t)plain.st_nlink;
  status->stx_blksize = (uint32_t)plain.st_blksize;
  status->stx_rdev_major = major(plain.st_rdev);
  status->stx_rdev_minor = minor(plain.st_rdev);
  status->stx_dev_major = major(plain.st_dev);
  status->stx_dev_minor = minor(plain.st_dev);
  return 0;
}

PUBLIC int access(const char *path, int mode) {
  if (!is_kvm(path)) return (int)syscall(SYS_access, path, mode);
  if (!(mode & X_OK)) return 0;
  errno = EACCES;
  return -1;
}
PUBLIC int faccessat(int folder, const char *path, int mode, int flags) {
  static int (*next)(int, const char *, int, int);
  if (is_kvm(path)) return access(path, mode);
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, "faccessat");
  return next(folder, path, mode, flags);
}
PUBLIC int eaccess(const char *path, int mode) {
  static int (*next)(const char *, int);
  if (is_kvm(path)) return access(path, mode);
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, "eaccess");
  return next(path, mode);
}
PUBLIC int euidaccess(const char *, int) __attribute__((alias("eaccess")));
