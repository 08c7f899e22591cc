/* Programs that end, or behave, badly under `kvm-xen exec`. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int kvm, vm, vcpu;
static struct kvm_run *run;

static void machine(const char *code, size_t size) {
  kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  vm = ioctl(kvm, KVM_CREATE_VM, 0);
  char *memory = mmap(NULL, 0x10000, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(memory + 0x1000, code, size);
  struct kvm_userspace_memory_region slot = {0, 0, 0, 0x10000, (uintptr_t)memory};
  ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot);
  vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  run = mmap(NULL, 12288, 3, MAP_SHARED, vcpu, 0);
  struct kvm_sregs sregs;
  ioctl(vcpu, KVM_GET_SREGS, &sregs);
  sregs.cs.base = sregs.cs.selector = 0;
  ioctl(vcpu, KVM_SET_SREGS, &sregs);
  struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};
  if (ioctl(vcpu, KVM_SET_REGS, &regs)) exit(99);
}

static int server(void) {
  const char *name = getenv("KVM_XEN_EXEC_SOCKET");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path + 1, name, strlen(name));
  int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
  return connect(fd, (struct sockaddr *)&address, size) ? -1 : fd;
}

/* Descriptors that the server has open. */
static int server_descriptors(void) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/fd", getenv("KVM_XEN_EXEC_SERVER"));
  DIR *folder = opendir(path);
  int count = 0;
  while (folder && readdir(folder)) count++;
  if (folder) closedir(folder);
  return count;
}

/* Messages of random types, lengths and numbers, with and without descriptors. */
static void garbage(int rounds) {
  srand(1);
  int null = open("/dev/null", O_RDWR);
  for (int i = 0; i < rounds; i++) {
    int fd = server();
    for (int j = 0; j < 20; j++) {
      uint32_t words[1100];
      for (int k = 0; k < 1100; k++) words[k] = (uint32_t)rand() * (rand() & 1);
      words[0] = rand() % 13;
      words[1] = (uint32_t)rand() % 6 | (rand() % 3 ? 0 : 0x40000000);
      if (words[0] == 3 && rand() % 2) {
        words[2] = KVM_CREATE_VM;
        words[3] = words[4] = words[5] = 0;
      }
      if (j == 0 && rand() % 4) { /* a proper hello, most of the time */
        uint64_t hello[5] = {1, 1, (uint64_t)getpid(), 1, 0};
        memcpy(words, hello, sizeof hello);
      }
      size_t length = rand() % 4 ? 40 : (size_t)rand() % 256;
      if (words[0] == 3 && rand() % 2) { /* an argument that came along: of that length, or another */
        static const uint32_t requests[] = {
            KVM_SET_REGS,  KVM_GET_REGS,  KVM_SET_SREGS,       KVM_SET_USER_MEMORY_REGION,
            KVM_SET_MSRS,  KVM_SET_CPUID2, KVM_SET_LAPIC,      KVM_XEN_HVM_CONFIG,
            KVM_IRQFD,     KVM_IOEVENTFD, KVM_XEN_VCPU_SET_ATTR, KVM_XEN_HVM_SET_ATTR,
            KVM_SET_FPU,   KVM_GET_LAPIC, KVM_SET_XSAVE,       KVM_GET_SUPPORTED_CPUID,
        };
        words[2] = requests[(size_t)rand() % (sizeof requests / sizeof *requests)];
        length = 40 + (rand() % 3 ? (words[2] >> 16 & 0x3fff) % 4200 : (size_t)rand() % 4200);
      }
      struct iovec part = {words, length};
      union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
      } control;
      struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
      if (rand() % 3 == 0) {
        int passed[2] = {rand() % 2 ? fd : 0, null};
        size_t size = (1 + rand() % 2) * sizeof(int);
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(rights), passed, size);
      }
      if (sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
    }
    close(fd);
  }
  close(null);
}

/* A conversation of its own with the server, past the preload library. */
static int64_t say(int fd, uint32_t type, uint64_t a, uint64_t b, uint64_t c, int passed) {
  uint64_t words[5] = {type, a, b, c, 0};
  struct iovec part = {words, sizeof words};
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
  if (passed >= 0) {
    header.msg_control = control.bytes;
    header.msg_controllen = sizeof control.bytes;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &passed, sizeof passed);
  }
  if (sendmsg(fd, &header, MSG_NOSIGNAL) < 0) return -1000;
  if (recv(fd, words, sizeof words, 0) != sizeof words) return -1001;
  return (int64_t)words[1];
}

/* Ranges and descriptors that make no sense: each is refused, and nothing else happens. */
static int absurd(void) {
  int fd = server(), accepted = 0;
  say(fd, 1, 1, (uint64_t)getpid(), 1, -1);
  int pipes[2], file = memfd_create("short", 0), folder = open("/", O_RDONLY);
  pipe(pipes);
  ftruncate(file, 8192);
  int passed[] = {pipes[0], folder, fd, 0, kvm, vm, file};
  uint64_t numbers[] = {0, 1, 4096, 8192, 1ull << 40, 1ull << 47, 1ull << 53, 1ull << 63, -4096ull};
  for (size_t p = 0; p < sizeof passed / sizeof *passed; p++)
    for (int i = 0; i < 9; i++)
      for (int j = 0; j < 9; j++)
        for (int k = 0; k < 9; k++) {
          int64_t answer = say(fd, 5, numbers[i], numbers[j], numbers[k], passed[p]);
          if (answer < -999) return printf("hung up at %zu %d %d %d\n", p, i, j, k), 1;
          accepted += answer == 0 && passed[p] != file;
          say(fd, 6, numbers[i], numbers[j], 0, -1);
        }
  printf("absurd ranges accepted: %d\n", accepted);
  return 0;
}

/* Questions whose answers nobody reads; and calls on another connection meanwhile. */
static int flood(void) {
  int fds[8];
  for (int i = 0; i < 8; i++) {
    fds[i] = server();
    say(fds[i], 1, 1, (uint64_t)getpid(), 1, -1);
  }
  uint64_t api[5] = {3 | 0x40000001ull << 32, KVM_GET_API_VERSION, 0, 0, 0};
  for (int j = 0; j < 20000; j++)
    for (int i = 0; i < 8; i++) send(fds[i], api, sizeof api, MSG_NOSIGNAL | MSG_DONTWAIT);
  printf("api: %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
  return 0;
}

/* Requests that need descriptors of a client which sends none and is silent from then on. */
static int silent(void) {
  int fds[8];
  uint64_t make[5] = {3 | 0x40000001ull << 32, KVM_CREATE_VM, 0, 0, 0};
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (int i = 0; i < 8; i++) {
    fds[i] = server();
    say(fds[i], 1, 1, (uint64_t)getpid(), 1, -1);
    send(fds[i], make, sizeof make, MSG_NOSIGNAL);
  }
  printf("api: %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("in less than 4 s: %d\n", to.tv_sec - from.tv_sec < 4);
  for (int i = 0; i < 8; i++) {
    uint64_t words[5] = {0};
    recv(fds[i], words, sizeof words, 0);
    if ((int64_t)words[1] != -EMFILE) printf("made without a descriptor: %ld\n", (long)words[1]);
  }
  return 0;
}

/* A child that outlives its parent, with copies of all its descriptors, while a vCPU runs. */
static int orphan(void) {
  int pipes[2];
  pipe(pipes);
  ioctl(kvm, KVM_GET_API_VERSION, 0);
  pid_t parent = fork();
  if (parent == 0) {
    machine("\xeb\xfe", 2);
    pid_t child = fork();
    if (child == 0) {
      usleep(300000);
      printf("vCPU of the dead: %s\n", ioctl(vcpu, KVM_RUN, 0) < 0 ? strerrorname_np(errno) : "runs");
      printf("api: %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
      machine("\xf4", 1);
      int result = ioctl(vcpu, KVM_RUN, 0);
      printf("own: %d, exit %d\n", result, run->exit_reason);
      fflush(stdout);
      _exit(0);
    }
    alarm(0);
    struct itimerval soon = {.it_value = {.tv_usec = 100000}};
    signal(SIGALRM, SIG_DFL);
    setitimer(ITIMER_REAL, &soon, NULL);
    ioctl(vcpu, KVM_RUN, 0);
    _exit(9);
  }
  int status;
  waitpid(parent, &status, 0);
  printf("parent ended by signal %d\n", WTERMSIG(status));
  fflush(stdout);
  close(pipes[1]);
  char byte;
  read(pipes[0], &byte, 1);
  return 0;
}

/* The file behind a slot becomes shorter; unseen: past libc, so that the server does not hear of it. */
static int truncated(bool unseen) {
  int file = memfd_create("guest", 0);
  ftruncate(file, 0x10000);
  char *memory = mmap(NULL, 0x10000, 3, MAP_SHARED, file, 0);
  machine("\xa0\x00\x30\xf4", 4); /* mov al,[3000h]; hlt */
  struct kvm_userspace_memory_region slot = {1, 0, 0x100000, 0x10000, (uintptr_t)memory};
  ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot);
  if (unseen)
    syscall(SYS_ftruncate, file, 0);
  else
    ftruncate(file, 0);
  struct kvm_sregs sregs;
  ioctl(vcpu, KVM_GET_SREGS, &sregs);
  sregs.ds.base = 0x100000;
  ioctl(vcpu, KVM_SET_SREGS, &sregs);
  int result = ioctl(vcpu, KVM_RUN, 0);
  printf("run: %d %s\n", result, result ? strerrorname_np(errno) : "");
  printf("api: %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
  return 0;
}

/* Children that are killed at any moment leave nothing in the server. */
static int killed(int rounds) {
  srand(1);
  int before = 0;
  for (int i = 0; i < rounds; i++) {
    if (i == 1) before = server_descriptors();
    pid_t child = fork();
    if (child == 0) {
      machine("\xeb\xfe", 2);
      ioctl(vcpu, KVM_RUN, 0);
      _exit(1);
    }
    usleep(i == 0 ? 200000 : rand() % 40000);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  int more = 0;
  /* A vCPU's pages are given back when they are collected. */
  for (int i = 0; i < 100; i++) {
    more = server_descriptors() - before;
    if (more < rounds / 2) break;
    usleep(20000);
  }
  printf("more descriptors in the server: %s\n", more < rounds / 2 ? "no" : "MANY");
  printf("api: %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
  return 0;
}

/* Goes to the background with an open /dev/kvm, and is at work after its parent has ended. */
static int daemonize(void) {
  kvm = open("/dev/kvm", O_RDWR);
  if (fork()) return 4;
  setsid();
  if (fork()) return 0;
  usleep(300000);
  machine("\xf4", 1);
  int result = ioctl(vcpu, KVM_RUN, 0);
  printf("run: %d, exit %d\n", result, run->exit_reason);
  printf("api: %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
  return 0;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (!strcmp(what, "exit")) {
    machine("\xf4", 1);
    return atoi(argv[2]);
  }
  if (!strcmp(what, "kill-self")) {
    machine("\xf4", 1);
    kill(getpid(), SIGKILL);
  }
  if (!strcmp(what, "spin")) {
    machine("\xeb\xfe", 2);
    puts("spinning");
    fflush(stdout);
    return ioctl(vcpu, KVM_RUN, 0) ? 1 : 0;
  }
  if (!strcmp(what, "count")) {
    machine("\xe6\x10\xfe\xc0\xeb\xfa", 6);
    for (int i = 0; i < atoi(argv[2]); i++) {
      if (ioctl(vcpu, KVM_RUN, 0) || run->exit_reason != KVM_EXIT_IO) return 1;
      if (*((uint8_t *)run + run->io.data_offset) != i) return 2;
      puts("count");
      fflush(stdout);
      usleep(50000);
    }
    return 0;
  }
  if (!strcmp(what, "garbage")) {
    machine("\xf4", 1);
    garbage(1);
    int before = server_descriptors(), more = 0;
    garbage(atoi(argv[2]));
    printf("still served: %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
    /* What was opened is closed with its connection, a little later; a vCPU's pages later still. */
    for (int i = 0; i < 100; i++) {
      more = server_descriptors() - before;
      if (more < 20) break;
      usleep(20000);
    }
    printf("more descriptors in the server: %s\n", more < 20 ? "no" : "MANY");
    return 0;
  }
  if (!strcmp(what, "daemon")) return daemonize();
  if (!strcmp(what, "orphan")) {
    kvm = open("/dev/kvm", O_RDWR);
    return orphan();
  }
  machine("\xf4", 1);
  if (!strcmp(what, "absurd")) return absurd();
  if (!strcmp(what, "killed")) return killed(atoi(argv[2]));
  if (!strcmp(what, "flood")) return flood();
  if (!strcmp(what, "silent")) return silent();
  if (!strcmp(what, "truncated")) return truncated(argc > 2);
  return 98;
}
