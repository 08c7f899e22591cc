/*
 * Functions of libc, each in a process that allows itself the system calls of that function only and is
 * killed for any other: what a program that has nothing to do with KVM may expect, also under exec.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_CALLS = 8 };

/* What the functions work on. */
static int file, sent, pair[2];
static char *memory;
static const char *name;

/* Receives a descriptor that was sent before the filter. */
static int receive(int many) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {0};
  char byte;
  struct iovec data = {&byte, 1};
  struct mmsghdr header = {.msg_hdr = {.msg_iov = &data,
                                       .msg_iovlen = 1,
                                       .msg_control = &control,
                                       .msg_controllen = sizeof control}};
  if (many) return recvmmsg(pair[1], &header, 1, 0, NULL) - 1;
  return (int)recvmsg(pair[1], &header.msg_hdr, 0) - 1;
}

static void send_descriptor(void) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {.align = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.align), &sent, sizeof(int));
  struct iovec data = {"x", 1};
  struct msghdr header = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  sendmsg(pair[0], &header, 0);
}

static int mapped(void *address) { return address == MAP_FAILED ? -1 : 0; }
/* Fails in the expected way. */
static int refused(long result, int error) { return result < 0 && errno == error ? 0 : -1; }

static int forks(void) {
  pid_t child = fork();
  if (!child) _exit(0);
  return child < 0 ? -1 : 0;
}

static int locks(void) {
  struct flock lock = {.l_type = F_WRLCK};
  return fcntl(file, F_SETLK, &lock);
}

static struct stat status;
static struct statx more;
static char buffer[16];
static struct iovec part = {buffer, 4};
enum { SHARED = MAP_SHARED | MAP_ANONYMOUS, PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS, RW = PROT_READ | PROT_WRITE };

/* DO(function, what it does, the system calls that libc makes for it: where releases differ, one row each) */
#define EACH(DO)                                                                                          \
  DO(openat, openat(AT_FDCWD, "/dev/null", O_RDWR), SYS_openat)                                           \
  DO(open, open("/dev/null", O_RDWR), SYS_openat, SYS_open)                                               \
  DO(ioctl, refused(ioctl(file, TIOCGWINSZ, buffer), ENOTTY), SYS_ioctl)                                  \
  DO(mmap shared memory, mapped(mmap(NULL, 4096, RW, SHARED, -1, 0)), SYS_mmap)                           \
  DO(mmap file, mapped(mmap(NULL, 4096, RW, MAP_SHARED, file, 0)), SYS_mmap)                              \
  DO(mmap large, mapped(mmap(NULL, 1ul << 30, PROT_NONE, PRIVATE, -1, 0)), SYS_mmap)                      \
  DO(mmap refused, refused(mapped(mmap(NULL, 4096, RW, MAP_SHARED, pair[0], 0)), ENODEV), SYS_mmap)       \
  DO(munmap, munmap(memory, 4096), SYS_munmap)                                                            \
  DO(mremap, mapped(mremap(memory, 8192, 4096, 0)), SYS_mremap)                                           \
  DO(mprotect, mprotect(memory, 4096, PROT_READ), SYS_mprotect)                                           \
  DO(madvise, madvise(memory, 4096, MADV_DONTNEED), SYS_madvise)                                          \
  DO(ftruncate, ftruncate(file, 8192), SYS_ftruncate)                                                     \
  DO(truncate, refused(truncate("/nothing", 0), ENOENT), SYS_truncate)                                    \
  DO(close, close(file), SYS_close)                                                                       \
  DO(close_range, close_range(100, 200, 0), SYS_close_range)                                              \
  DO(closefrom, (closefrom(100), 0), SYS_close_range)                                                     \
  DO(dup, dup(file), SYS_dup)                                                                             \
  DO(dup2, dup2(file, 50), SYS_dup2)                                                                      \
  DO(dup3, dup3(file, 51, O_CLOEXEC), SYS_dup3)                                                           \
  DO(fcntl copy, fcntl(file, F_DUPFD_CLOEXEC, 60), SYS_fcntl)                                             \
  DO(fcntl lock, locks(), SYS_fcntl)                                                                      \
  DO(pread, pread(file, buffer, 4, 0), SYS_pread64)                                                       \
  DO(read, read(file, buffer, 4), SYS_read)                                                               \
  DO(write, write(file, buffer, 4), SYS_write)                                                            \
  DO(readv, readv(file, &part, 1), SYS_readv)                                                             \
  DO(preadv, preadv(file, &part, 1, 0), SYS_preadv)                                                       \
  DO(writev, writev(file, &part, 1), SYS_writev)                                                          \
  DO(preadv2, preadv2(file, &part, 1, 0, 0), SYS_preadv2)                                                 \
  DO(pwrite, pwrite(file, buffer, 4, 0), SYS_pwrite64)                                                    \
  DO(pwritev, pwritev(file, &part, 1, 0), SYS_pwritev)                                                    \
  DO(pwritev2, pwritev2(file, &part, 1, 0, 0), SYS_pwritev2)                                              \
  DO(fallocate, fallocate(file, 0, 0, 4096), SYS_fallocate)                                               \
  DO(sendfile, sendfile(file, file, NULL, 4), SYS_sendfile)                                               \
  DO(splice, refused(splice(file, NULL, file, NULL, 4, 0), EINVAL), SYS_splice)                           \
  DO(epoll_ctl, refused(epoll_ctl(file, EPOLL_CTL_ADD, pair[0], (void *)buffer), EINVAL), SYS_epoll_ctl)  \
  DO(lseek, lseek(file, 0, SEEK_SET), SYS_lseek)                                                          \
  DO(recvmsg, receive(0), SYS_recvmsg)                                                                    \
  DO(recvmmsg, receive(1), SYS_recvmmsg)                                                                  \
  DO(fstat by newfstatat, fstat(file, &status), SYS_newfstatat)                                           \
  DO(fstat by fstat, fstat(file, &status), SYS_fstat)                                                     \
  DO(stat by newfstatat, stat(name, &status), SYS_newfstatat)                                             \
  DO(stat by stat, stat(name, &status), SYS_stat)                                                         \
  DO(lstat by newfstatat, lstat(name, &status), SYS_newfstatat)                                           \
  DO(lstat by lstat, lstat(name, &status), SYS_lstat)                                                     \
  DO(fstatat, fstatat(file, "", &status, AT_EMPTY_PATH), SYS_newfstatat)                                  \
  DO(statx, statx(file, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &more), SYS_statx)                          \
  DO(access, access(name, R_OK), SYS_access)                                                              \
  DO(faccessat by faccessat, faccessat(AT_FDCWD, name, R_OK, 0), SYS_faccessat)                           \
  DO(faccessat by faccessat2, faccessat(AT_FDCWD, name, R_OK, 0), SYS_faccessat2)                         \
  DO(eaccess by faccessat2, eaccess(name, R_OK), SYS_faccessat2)                                          \
  DO(eaccess by access, eaccess(name, R_OK), SYS_newfstatat, SYS_access, SYS_getuid, SYS_geteuid,         \
     SYS_getgid, SYS_getegid)                                                                             \
  DO(prctl, prctl(PR_GET_DUMPABLE), SYS_prctl)                                                            \
  DO(syscall, syscall(SYS_getppid) > 0 ? 0 : -1, SYS_getppid)                                             \
  DO(fork, forks(), SYS_clone, SYS_set_robust_list, SYS_rseq)

struct row {
  const char *name;
  int calls[MAX_CALLS];
};
#define ROW(name, expression, ...) {#name, {__VA_ARGS__, -1}},
static const struct row rows[] = {EACH(ROW)};
enum { ROWS = sizeof rows / sizeof *rows };

static int run(int row) {
  int at = 0;
#define RUN(name, expression, ...) \
  if (row == at++) return (int)(expression);
  EACH(RUN)
  return -1;
}

static int allow(const int *calls) {
  struct sock_filter code[MAX_CALLS * 2 + 8];
  int n = 0;
  code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
#define ALLOW(number)                                                              \
  code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1); \
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
  ALLOW(SYS_exit_group);
  for (int i = 0; i < MAX_CALLS && calls[i] >= 0; i++) {
    ALLOW((unsigned)calls[i]);
  }
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  struct sock_fprog program = {(unsigned short)n, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -1;
  /* Both ways that there are. */
  if (calls[0] % 2) return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static void check(int row) {
  fflush(stdout);
  send_descriptor();
  pid_t child = fork();
  if (!child) {
    if (allow(rows[row].calls)) _exit(2);
    _exit(run(row) < 0 ? 1 : 0);
  }
  int how;
  waitpid(child, &how, 0);
  if (WIFSIGNALED(how))
    printf("%s: killed by signal %d\n", rows[row].name, WTERMSIG(how));
  else
    printf("%s: %s\n", rows[row].name, WEXITSTATUS(how) == 0 ? "ok" : "failed");
}

int main(int argc, char **argv) {
  name = argv[argc - 1];
  file = memfd_create("file", 0);
  sent = dup(0);
  memory = mmap(NULL, 8192, RW, PRIVATE, -1, 0);
  if (ftruncate(file, 4096) || memory == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 1;
  for (int i = 0; i < ROWS; i++) check(i);
  return 0;
}
