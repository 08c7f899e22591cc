/* Programs that end, or behave, badly under `kvm-xen exec`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
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

/* Messages of random types, lengths and numbers, with and without a descriptor. */
static void garbage(int rounds) {
  srand(1);
  for (int i = 0; i < rounds; i++) {
    int fd = server();
    for (int j = 0; j < 20; j++) {
      uint32_t words[64];
      for (int k = 0; k < 64; k++) words[k] = (uint32_t)rand() * (rand() & 1);
      words[0] = rand() % 12;
      words[1] = rand() % 6;
      if (j == 0 && rand() % 4) { /* a proper hello, most of the time */
        uint64_t hello[5] = {1, 1, (uint64_t)getpid(), 1, 0};
        memcpy(words, hello, sizeof hello);
      }
      size_t length = rand() % 4 ? 40 : (size_t)rand() % sizeof words;
      struct iovec part = {words, length};
      union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
      } control;
      struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
      if (rand() % 3 == 0) {
        int passed = rand() % 2 ? kvm : 0;
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof control.bytes;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(rights), &passed, sizeof passed);
      }
      if (sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
    }
    close(fd);
  }
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
    garbage(atoi(argv[2]));
    printf("still served: %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
    return 0;
  }
  if (!strcmp(what, "other-user")) {
    machine("\xf4", 1);
    if (setuid(65534)) {
      puts("other user: not root here");
      return 0;
    }
    uint64_t hello[5] = {1, 1, (uint64_t)getpid(), 1, 0}, answer[5] = {0};
    int fd = server();
    if (fd >= 0) send(fd, hello, sizeof hello, MSG_NOSIGNAL);
    int got = fd < 0 ? -1 : (int)recv(fd, answer, sizeof answer, 0);
    printf("other user: %s\n", got <= 0 ? "refused" : "SERVED");
    return got <= 0 ? 0 : 1;
  }
  return 98;
}
