/*
 * What KVM's descriptors are as files: reading, writing, seeking, splicing, waiting for them, the ioctls
 * that every file has. files.out is what it printed on Linux 6.12 (`ask-linux files`).
 *
 *   gcc -O2 -o files files.c && ./files [PART...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *name;

static void say(const char *call, long result) {
  if (result < 0)
    printf("%s %s = -%s\n", name, call, strerrorname_np(errno));
  else
    printf("%s %s = %ld\n", name, call, result);
}
/* A call that waits for ever is a result too. */
#define SAY(call) (alarm(2), say(#call, (long)(call)), alarm(0))

static void wake(int signal) { (void)signal; }

static void bytes(int fd) {
  char b[64];
  volatile int below = -1;
  struct iovec v = {b, 64}, two[2] = {{b, 3}, {b + 3, 5}};
  SAY(read(fd, b, 8));
  SAY(read(fd, b, 0));
  SAY(write(fd, b, 8));
  SAY(write(fd, b, 0));
  SAY(pread(fd, b, 8, 0));
  SAY(pread(fd, b, 0, 0));
  SAY(pread(fd, b, 8, -1));
  SAY(pwrite(fd, b, 8, 0));
  SAY(pwrite(fd, b, 0, 0));
  SAY(pwrite(fd, b, 8, -1));
  SAY(readv(fd, &v, 1));
  SAY(readv(fd, two, 2));
  SAY(readv(fd, &v, 0));
  SAY(readv(fd, &v, below));
  SAY(writev(fd, &v, 1));
  SAY(writev(fd, &v, 0));
  SAY(preadv(fd, &v, 1, 0));
  SAY(preadv(fd, &v, 1, -5));
  SAY(pwritev(fd, &v, 1, 0));
  SAY(pwritev(fd, &v, 1, -5));
  SAY(preadv2(fd, &v, 1, 0, 0));
  SAY(preadv2(fd, &v, 1, -1, 0));
  SAY(preadv2(fd, &v, 1, -1, 0x4000000));
  SAY(pwritev2(fd, &v, 1, 0, 0));
  SAY(pwritev2(fd, &v, 1, -1, 0));
}

static void places(int fd) {
  char eight[8];
  SAY(read(fd, eight, 8));
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(lseek(fd, 0, SEEK_SET));
  SAY(lseek(fd, 5, SEEK_SET));
  SAY(lseek(fd, -5, SEEK_SET));
  SAY(lseek(fd, 0, SEEK_END));
  SAY(lseek(fd, 0, SEEK_DATA));
  SAY(lseek(fd, 0, SEEK_HOLE));
  SAY(lseek(fd, 0, 5));
  SAY(lseek(fd, 0, -1));
  SAY(ftruncate(fd, 0));
  SAY(ftruncate(fd, -1));
  SAY(fallocate(fd, 0, 0, 10));
  SAY(posix_fadvise(fd, 0, 0, 0));
  SAY(fsync(fd));
}

static void moved(int fd) {
  int sink = open("/dev/null", O_WRONLY), zeros = open("/dev/zero", O_RDONLY), ends[2];
  off_t at = 0;
  if (pipe(ends) || write(ends[1], "hello", 5) != 5) exit(1);
  SAY(sendfile(sink, fd, NULL, 10));
  SAY(sendfile(sink, fd, &at, 10));
  SAY(sendfile(fd, zeros, NULL, 10));
  SAY(splice(fd, NULL, ends[1], NULL, 5, 0));
  SAY(splice(fd, NULL, ends[1], NULL, 0, 0));
  SAY(splice(ends[0], NULL, fd, NULL, 5, 0));
  SAY(splice(ends[0], NULL, fd, &at, 5, 0));
  SAY(splice(fd, NULL, fd, NULL, 5, 0));
  SAY(tee(fd, ends[1], 5, 0));
  SAY(copy_file_range(fd, NULL, sink, NULL, 5, 0));
  close(sink), close(zeros), close(ends[0]), close(ends[1]);
}

static void waiting(int fd) {
  int set = epoll_create1(0), other = dup(1);
  struct epoll_event event = {.events = EPOLLIN};
  SAY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
  SAY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event));
  SAY(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
  SAY(epoll_ctl(set, 99, fd, &event));
  SAY(epoll_ctl(set, EPOLL_CTL_ADD, fd, NULL));
  SAY(epoll_ctl(other, EPOLL_CTL_ADD, fd, &event));
  SAY(epoll_ctl(fd, EPOLL_CTL_ADD, set, &event));
  SAY(epoll_ctl(fd, EPOLL_CTL_ADD, fd, &event));
  SAY(epoll_ctl(-1, EPOLL_CTL_ADD, fd, &event));
  close(set), close(other);
}

static void every(int fd) {
  int on = 1, off = 0, number = 0;
  char buffer[256] = {0};
  struct fiemap map = {.fm_length = 1};
  SAY(ioctl(fd, FIOCLEX));
  SAY(fcntl(fd, F_GETFD));
  SAY(ioctl(fd, FIONCLEX));
  SAY(fcntl(fd, F_GETFD));
  SAY(ioctl(fd, FIOCLEX));
  SAY(ioctl(fd, FIONBIO, &on));
  SAY(fcntl(fd, F_GETFL) & O_NONBLOCK);
  SAY(ioctl(fd, FIONBIO, &off));
  SAY(fcntl(fd, F_GETFL) & O_NONBLOCK);
  SAY(ioctl(fd, FIONBIO, NULL));
  SAY(ioctl(fd, FIOASYNC, &on));
  SAY(fcntl(fd, F_GETFL) & O_ASYNC);
  SAY(ioctl(fd, FIOASYNC, &off));
  SAY(ioctl(fd, FIOASYNC, NULL));
  SAY(ioctl(fd, FIOQSIZE, buffer));
  SAY(ioctl(fd, FIONREAD, &number));
  SAY(ioctl(fd, FIBMAP, &number));
  SAY(ioctl(fd, FICLONE, -1));
  SAY(ioctl(fd, FS_IOC_FIEMAP, &map));
  SAY(ioctl(fd, FS_IOC_GETFLAGS, &number));
  SAY(ioctl(fd, FS_IOC_FSGETXATTR, buffer));
  SAY(ioctl(fd, 0x5401, buffer)); /* TCGETS */
  SAY(ioctl(fd, 0x5413, buffer)); /* TIOCGWINSZ */
  SAY(ioctl(fd, 0));
  SAY(isatty(fd));
  SAY(fcntl(fd, F_GETFL) & O_ACCMODE);
  SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
  SAY(fcntl(fd, F_SETFL, O_ASYNC));
  SAY(fcntl(fd, F_SETFL, O_DIRECT));
  SAY(fcntl(fd, F_SETFL, 0));
  SAY(flock(fd, LOCK_EX | LOCK_NB));
  SAY(flock(fd, LOCK_UN));
}

struct part {
  const char *name;
  void (*play)(int fd);
};

static const struct part parts[] = {
    {"bytes", bytes}, {"places", places}, {"moved", moved}, {"waiting", waiting}, {"every", every}};

/* Each kind of file that KVM has, each of them new. */
static void play(const struct part *part) {
  printf("-- %s\n", part->name);
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  struct kvm_create_device device = {.type = KVM_DEV_TYPE_VFIO};
  if (vcpu < 0 || ioctl(vm, KVM_CREATE_DEVICE, &device)) exit(1);
  struct {
    const char *name;
    int fd;
  } files[] = {{"/dev/kvm", kvm},
               {"vm", vm},
               {"vcpu", vcpu},
               {"device", (int)device.fd},
               {"vm stats", ioctl(vm, KVM_GET_STATS_FD, NULL)},
               {"vcpu stats", ioctl(vcpu, KVM_GET_STATS_FD, NULL)}};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    name = files[i].name;
    part->play(files[i].fd);
    close(files[i].fd);
  }
}

int main(int count, char **words) {
  struct sigaction woken = {.sa_handler = wake};
  setvbuf(stdout, NULL, _IOLBF, 0);
  sigaction(SIGALRM, &woken, NULL);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    for (int w = 1; w < count || (count == 1 && w == 1); w++)
      if (count == 1 || !strcmp(words[w], parts[i].name)) play(&parts[i]);
  return 0;
}
