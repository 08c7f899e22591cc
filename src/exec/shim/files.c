/*
 * What KVM's descriptors are as files: read(2), write(2), lseek(2), splice(2), epoll(7) and the ioctls that every
 * file has answer what Linux's VFS answers for /dev/kvm and KVM's files without a name.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Where the file is at, or -errno; *written: whether it is open for writing. */
static int64_t file_place(uint32_t handle, bool *written) {
  struct message request = {.type = MSG_PLACE, .handle = handle}, reply = {0};
  if (written) *written = true;
  if (is_device(handle)) return 0;
  int64_t place = server_call(&request, -1, &reply, NULL, NULL, 0);
  if (written) *written = !reply.b;
  return place;
}

bool file_is_written(uint32_t handle) {
  bool written;
  file_place(handle, &written);
  return written;
}

/* Reading: of KVM's files only statistics can be read. */

static int64_t read_kvm(uint32_t handle, void *buffer, size_t size, off_t offset) {
  char bytes[READ_MAX];
  struct message reply;
  struct message request = {.type = MSG_READ,
                            .handle = handle,
                            .a = size < READ_MAX ? size : READ_MAX,
                            .b = (uint64_t)offset};
  int64_t got = server_call(&request, -1, &reply, NULL, bytes, sizeof bytes);
  if (got > (int64_t)size) got = (int64_t)size;
  if (got > 0) memcpy(buffer, bytes, (size_t)got);
  return got;
}

/* The server keeps the position of a file: this offset reads on from there. */
enum { FROM_POSITION = -1 };

/* With several buffers: they are filled one after the other. */
static int64_t read_parts(uint32_t handle, const struct iovec *parts, int count, off_t offset) {
  if (count < 0 || count > IOV_MAX) return -EINVAL;
  int64_t all = 0;
  /* No buffer at all: whether it could be read. */
  if (count == 0) return read_kvm(handle, NULL, 0, offset);
  for (int i = 0; i < count; i++) {
    int64_t got = read_kvm(handle, parts[i].iov_base, parts[i].iov_len,
                           offset < 0 ? offset : offset + (off_t)all);
    if (got < 0) return all ? all : got;
    all += got;
    if ((size_t)got < parts[i].iov_len) break;
  }
  return all;
}

/* pread(2) and its kin: a file without a position says so before it says that it cannot be read. */
static long read_parts_at(uint32_t handle, const struct iovec *parts, int count, off_t offset) {
  if (offset < 0) return answer(-EINVAL);
  int64_t got = read_parts(handle, parts, count, offset);
  return answer(got == -EINVAL && !is_device(handle) ? -ESPIPE : got);
}

PUBLIC ssize_t read(int fd, void *buffer, size_t size) {
  uint32_t handle = handle_of(fd);
  if (handle) return answer(read_kvm(handle, buffer, size, FROM_POSITION));
  NEXT(ssize_t, "read", int, void *, size_t)
  return next(fd, buffer, size);
}

PUBLIC ssize_t pread(int fd, void *buffer, size_t size, off_t offset) {
  uint32_t handle = handle_of(fd);
  struct iovec part = {buffer, size};
  if (handle) return read_parts_at(handle, &part, 1, offset);
  return syscall(SYS_pread64, fd, buffer, size, offset);
}
PUBLIC ssize_t pread64(int, void *, size_t, off_t) __attribute__((alias("pread")));

/* What _FORTIFY_SOURCE turns them into. */
PUBLIC ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room) {
  if (size > room) abort();
  return read(fd, buffer, size);
}
PUBLIC ssize_t __pread_chk(int fd, void *buffer, size_t size, off_t offset, size_t room) {
  if (size > room) abort();
  return pread(fd, buffer, size, offset);
}
PUBLIC ssize_t __pread64_chk(int, void *, size_t, off_t, size_t)
    __attribute__((alias("__pread_chk")));

PUBLIC ssize_t readv(int fd, const struct iovec *parts, int count) {
  uint32_t handle = handle_of(fd);
  if (handle) return answer(read_parts(handle, parts, count, FROM_POSITION));
  NEXT(ssize_t, "readv", int, const struct iovec *, int)
  return next(fd, parts, count);
}

PUBLIC ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset) {
  uint32_t handle = handle_of(fd);
  if (handle) return read_parts_at(handle, parts, count, offset);
  NEXT(ssize_t, "preadv", int, const struct iovec *, int, off_t)
  return next(fd, parts, count, offset);
}
PUBLIC ssize_t preadv64(int, const struct iovec *, int, off64_t) __attribute__((alias("preadv")));

PUBLIC ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
  uint32_t handle = handle_of(fd);
  if (handle) {
    bool written;
    file_place(handle, &written);
    if (!written && flags & ~RWF_HIPRI) return answer(-EOPNOTSUPP);
    if (offset == -1) return answer(read_parts(handle, parts, count, FROM_POSITION));
    return read_parts_at(handle, parts, count, offset);
  }
  NEXT(ssize_t, "preadv2", int, const struct iovec *, int, off_t, int)
  return next(fd, parts, count, offset, flags);
}
PUBLIC ssize_t preadv64v2(int, const struct iovec *, int, off64_t, int)
    __attribute__((alias("preadv2")));

/* Writing: nothing of KVM's can be written. */

static long refuse_write(uint32_t handle) {
  return answer(file_is_written(handle) ? -EINVAL : -EBADF);
}

static long refuse_write_at(uint32_t handle, off_t offset) {
  return answer(offset < 0 || is_device(handle) ? -EINVAL : -ESPIPE);
}

PUBLIC ssize_t write(int fd, const void *buffer, size_t size) {
  uint32_t handle = handle_of(fd);
  if (handle) return refuse_write(handle);
  NEXT(ssize_t, "write", int, const void *, size_t)
  return next(fd, buffer, size);
}

PUBLIC ssize_t writev(int fd, const struct iovec *parts, int count) {
  uint32_t handle = handle_of(fd);
  if (handle) return refuse_write(handle);
  NEXT(ssize_t, "writev", int, const struct iovec *, int)
  return next(fd, parts, count);
}

PUBLIC ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset) {
  uint32_t handle = handle_of(fd);
  if (handle) return refuse_write_at(handle, offset);
  NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t)
  return next(fd, buffer, size, offset);
}
PUBLIC ssize_t pwrite64(int, const void *, size_t, off64_t) __attribute__((alias("pwrite")));

PUBLIC ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  uint32_t handle = handle_of(fd);
  if (handle) return refuse_write_at(handle, offset);
  NEXT(ssize_t, "pwritev", int, const struct iovec *, int, off_t)
  return next(fd, parts, count, offset);
}
PUBLIC ssize_t pwritev64(int, const struct iovec *, int, off64_t) __attribute__((alias("pwritev")));

PUBLIC ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
  uint32_t handle = handle_of(fd);
  if (handle && offset == -1) return refuse_write(handle);
  if (handle) return refuse_write_at(handle, offset);
  NEXT(ssize_t, "pwritev2", int, const struct iovec *, int, off_t, int)
  return next(fd, parts, count, offset, flags);
}
PUBLIC ssize_t pwritev64v2(int, const struct iovec *, int, off64_t, int)
    __attribute__((alias("pwritev2")));

/* Positions: a seek moves nothing. */

PUBLIC off_t lseek(int fd, off_t offset, int whence) {
  uint32_t handle = handle_of(fd);
  if (!handle) return syscall(SYS_lseek, fd, offset, whence);
  if (whence < 0 || whence > SEEK_HOLE) return answer(-EINVAL);
  return answer(file_place(handle, NULL));
}
PUBLIC off64_t lseek64(int, off64_t, int) __attribute__((alias("lseek")));

/* Nothing has a size; what is not open for writing says that first. */
PUBLIC int fallocate(int fd, int mode, off_t offset, off_t length) {
  uint32_t handle = handle_of(fd);
  if (handle && !file_is_written(handle)) return (int)answer(-EBADF);
  NEXT(int, "fallocate", int, int, off_t, off_t)
  return next(fd, mode, offset, length);
}
PUBLIC int fallocate64(int, int, off64_t, off64_t) __attribute__((alias("fallocate")));

/* From file to file */

PUBLIC ssize_t sendfile(int to, int from, off_t *offset, size_t count) {
  uint32_t handle = handle_of(to);
  if (handle) return refuse_write(handle);
  handle = handle_of(from);
  if (handle && offset)
    return answer(is_device(handle) || !file_is_written(handle) ? -EINVAL : -ESPIPE);
  NEXT(ssize_t, "sendfile", int, int, off_t *, size_t)
  return next(to, from, offset, count);
}
PUBLIC ssize_t sendfile64(int, int, off64_t *, size_t) __attribute__((alias("sendfile")));

PUBLIC ssize_t splice(int from, off64_t *at, int to, off64_t *place, size_t count,
                      unsigned flags) {
  uint32_t handle = handle_of(to);
  if (count && handle) return refuse_write(handle);
  if (count && handle_of(from)) return answer(-EINVAL);
  NEXT(ssize_t, "splice", int, off64_t *, int, off64_t *, size_t, unsigned)
  return next(from, at, to, place, count, flags);
}

/* They are always ready, so that epoll takes none of them. */
PUBLIC int epoll_ctl(int set, int operation, int fd, struct epoll_event *event) {
  /* With no file at all the kernel finds what it finds before it looks at the file. */
  int checked = handle_of(fd) ? -1 : fd;
  int result = (int)syscall(SYS_epoll_ctl, set, operation, checked, event);
  if (checked != fd && errno == EBADF && syscall(SYS_fcntl, set, F_GETFD) >= 0) errno = EPERM;
  return result;
}

bool file_ioctl(int fd, uint32_t request, void *argument, int *result) {
  int on;
  switch (request) {
    case FIOCLEX:
    case FIONCLEX:
    case FIONBIO:
    case FIOQSIZE:
    case FICLONE:
    case FICLONERANGE:
    case FIDEDUPERANGE:
    case FS_IOC_FIEMAP:
      *result = real_ioctl(fd, request, argument);
      return true;
    case FIOASYNC:
      /* The socket behind could do it. */
      *result = (int)answer(!copy_in(&on, (uint64_t)(uintptr_t)argument, sizeof on) ? -EFAULT
                            : on                                               ? -ENOTTY
                                                                               : 0);
      return true;
    default:
      return false;
  }
}
