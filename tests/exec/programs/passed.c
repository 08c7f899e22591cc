/*
 * KVM's descriptors in other programs and processes: across exec, through a socket, and opened again.
 * passed.out is what this printed on Linux 6.12 (`ask-linux passed`).
 *
 *   gcc -O2 -pthread -o passed passed.c && ./passed [PART...]
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "machine.h"

static const char *self;

static void try_all(const char *who, int kvm, int vm, int vcpu) {
  struct kvm_regs regs;
  printf("%s\n", who);
  show("  api", ioctl(kvm, KVM_GET_API_VERSION, 0));
  show("  cap of the VM", ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY));
  show("  regs", ioctl(vcpu, KVM_GET_REGS, &regs));
  show("  run", ioctl(vcpu, KVM_RUN, 0));
  show("  unknown", ioctl(vcpu, _IO('x', 1), 0));
  void *run = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED)
    show("  mmap", -1);
  else
    printf("  mmap: exit %u\n", ((struct kvm_run *)run)->exit_reason);
  int own = ioctl(kvm, KVM_CREATE_VM, 0);
  printf("  own vm: %s\n", own < 0 ? name_of(errno) : "made");
  close(own);
}

static struct machine halted(void) {
  struct machine m = new_machine(NULL);
  CODE_IS(&m, "\xe6\x10\xf4");
  run_once("out", &m);
  return m;
}

static void inherit(struct machine *m) {
  fcntl(m->kvm, F_SETFD, 0);
  fcntl(m->vm, F_SETFD, 0);
  fcntl(m->vcpu, F_SETFD, 0);
}

static void numbers(char text[3][16], struct machine *m) {
  sprintf(text[0], "%d", m->kvm);
  sprintf(text[1], "%d", m->vm);
  sprintf(text[2], "%d", m->vcpu);
}

/* The program becomes another one. */
static void part_exec(void) {
  char text[3][16];
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    struct machine m = halted();
    inherit(&m);
    numbers(text, &m);
    fflush(stdout);
    execl(self, self, "-try", "after exec", text[0], text[1], text[2], NULL);
    _exit(9);
  }
  int status;
  waitpid(child, &status, 0);
  printf("ended with %d\n", WEXITSTATUS(status));
}

/* A child does. */
static void part_child(void) {
  char text[3][16];
  struct machine m = halted();
  inherit(&m);
  numbers(text, &m);
  fflush(stdout);
  for (int i = 0; i < 2; i++) {
    pid_t child = i ? vfork() : fork();
    if (child == 0) {
      execl(self, self, "-try", "child", text[0], text[1], text[2], NULL);
      _exit(9);
    }
    int status;
    waitpid(child, &status, 0);
    printf("ended with %d\n", WEXITSTATUS(status));
    fflush(stdout);
  }
  run_once("parent goes on", &m);
  end_machine(&m);
}

/* Closed at exec, as they are made. */
static void part_cloexec(void) {
  char text[3][16];
  struct machine m = halted();
  numbers(text, &m);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    execl(self, self, "-closed", text[0], text[1], text[2], NULL);
    _exit(9);
  }
  int status;
  waitpid(child, &status, 0);
  end_machine(&m);
}

static void pass(int socket, const int *fds, int count) {
  char byte = 0, control[CMSG_SPACE(8 * sizeof(int))] = {0};
  struct iovec part = {&byte, 1};
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
  header.msg_controllen = CMSG_SPACE(count * sizeof(int));
  struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(count * sizeof(int));
  memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
  must("sendmsg", sendmsg(socket, &header, 0));
}

static void take(int socket, int *fds, int count) {
  char byte, control[CMSG_SPACE(8 * sizeof(int))];
  struct iovec part = {&byte, 1};
  struct msghdr header = {.msg_iov = &part,
                          .msg_iovlen = 1,
                          .msg_control = control,
                          .msg_controllen = sizeof control};
  must("recvmsg", recvmsg(socket, &header, MSG_CMSG_CLOEXEC));
  memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&header)), count * sizeof(int));
}

/* Through a socket: to another process, and back to the one that made them. */
static void part_socket(void) {
  int pair[2], fds[4];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    take(pair[1], fds, 4);
    try_all("received", fds[0], fds[1], fds[2]);
    struct kvm_stats_header header;
    show("  statistics", read(fds[3], &header, sizeof header));
    fflush(stdout);
    pass(pair[1], fds, 3);
    _exit(0);
  }
  struct machine m = halted();
  fflush(stdout);
  int stats = ioctl(m.vm, KVM_GET_STATS_FD, 0);
  int sent[] = {m.kvm, m.vm, m.vcpu, stats};
  pass(pair[0], sent, 4);
  waitpid(child, NULL, 0);
  take(pair[0], fds, 3);
  int old = m.vcpu;
  m.vcpu = fds[2];
  run_once("came back", &m);
  close(old);
  close(m.vm);
  show("vm of another number", ioctl(fds[1], KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY));
  show("closed", ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY));
  m.vm = fds[1];
  close(fds[0]);
  end_machine(&m);
}

/* A VM whose maker keeps no descriptor: it lives in whoever has one. */
static void part_given_away(void) {
  int pair[2], fds[3];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    struct machine m = halted();
    fflush(stdout);
    int sent[] = {m.kvm, m.vm, m.vcpu};
    pass(pair[1], sent, 3);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  take(pair[0], fds, 3);
  struct kvm_regs regs;
  show("api", ioctl(fds[0], KVM_GET_API_VERSION, 0));
  show("cap of the VM", ioctl(fds[1], KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY));
  show("regs", ioctl(fds[2], KVM_GET_REGS, &regs));
}

static void part_again(void) {
  struct machine m = new_machine(NULL);
  char path[64];
  sprintf(path, "/proc/self/fd/%d", m.kvm);
  int kvm = open(path, O_RDWR | O_CLOEXEC);
  show("/dev/kvm again", ioctl(kvm, KVM_GET_API_VERSION, 0));
  close(kvm);
  sprintf(path, "/proc/self/fd/%d", m.vm);
  show("a VM again", open(path, O_RDWR | O_CLOEXEC));
  sprintf(path, "/proc/self/fd/%d", m.vcpu);
  show("a vCPU again", open(path, O_RDWR | O_CLOEXEC));
  int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  int copy = (int)syscall(SYS_pidfd_getfd, pidfd, m.vcpu, 0);
  struct kvm_regs regs;
  show("pidfd_getfd", ioctl(copy, KVM_GET_REGS, &regs));
  close(copy);
  close(pidfd);
  /* Past libc: the number of a closed one is given to another file. */
  copy = (int)syscall(SYS_dup, m.vm);
  show("dup past libc", ioctl(copy, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY));
  syscall(SYS_close, copy);
  syscall(SYS_write, m.vm, "x", 1);
  show("written to past libc", ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY));
  end_machine(&m);
}

static void show_kind(const char *what, const struct stat *s) {
  printf("%s: mode %o size %lld", what, s->st_mode & S_IFMT, (long long)s->st_size);
  if (S_ISCHR(s->st_mode)) printf(" device %u:%u", major(s->st_rdev), minor(s->st_rdev));
  printf("\n");
}

static void part_stat(void) {
  struct machine m = new_machine(NULL);
  struct stat s = {0};
  struct stat64 s64;
  struct statx x;
  must("fstat", fstat(m.kvm, &s));
  show_kind("/dev/kvm", &s);
  ino_t node = s.st_ino;
  must("stat", stat("/dev/kvm", &s));
  show_kind("stat", &s);
  printf("the same: %d\n", s.st_ino == node);
  must("lstat", lstat("/dev/kvm", &s));
  show_kind("lstat", &s);
  must("fstatat", fstatat(AT_FDCWD, "/dev/kvm", &s, AT_SYMLINK_NOFOLLOW));
  show_kind("fstatat", &s);
  must("fstatat", fstatat(m.kvm, "", &s, AT_EMPTY_PATH));
  show_kind("fstatat of the descriptor", &s);
  must("statx", statx(AT_FDCWD, "/dev/kvm", 0, STATX_BASIC_STATS, &x));
  printf("statx: mode %o device %u:%u\n", x.stx_mode & S_IFMT, x.stx_rdev_major, x.stx_rdev_minor);
  must("fstat", fstat(m.vm, &s));
  show_kind("VM", &s);
  printf("mode %o links %ld\n", s.st_mode, (long)s.st_nlink);
  ino_t inode = s.st_ino;
  must("fstat", fstat(m.vcpu, &s));
  show_kind("vCPU", &s);
  printf("the same inode: %d\n", s.st_ino == inode);
  must("fstat64", fstat64(m.vcpu, &s64));
  printf("fstat64: mode %o\n", s64.st_mode);
  show("access", access("/dev/kvm", R_OK | W_OK));
  show("faccessat", faccessat(AT_FDCWD, "/dev/kvm", R_OK | W_OK, 0));
  show("lseek of a VM", lseek(m.vm, 0, SEEK_CUR));
  show("write to a VM", write(m.vm, "x", 1));
  show("read of a VM", read(m.vm, &s, 1));
  show("read of a vCPU", read(m.vcpu, &s, 1));
  show("read of /dev/kvm", read(m.kvm, &s, 1));
  end_machine(&m);
}

static const struct part parts[] = {
    {"exec", part_exec}, {"child", part_child}, {"cloexec", part_cloexec}, {"socket", part_socket},
    {"given-away", part_given_away}, {"again", part_again}, {"stat", part_stat},
};

int main(int argc, char **argv) {
  self = "/proc/self/exe";
  if (argc > 5 && !strcmp(argv[1], "-try")) {
    try_all(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
    return 3;
  }
  if (argc > 4 && !strcmp(argv[1], "-closed")) {
    for (int i = 2; i < 5; i++) show("closed", fcntl(atoi(argv[i]), F_GETFD));
    return 0;
  }
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}
