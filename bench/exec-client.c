/*
 * A KVM client that measures round trips: per ioctl, and per KVM_RUN that ends with an access to a port.
 * Prints lines: a name; microseconds per call, on average and of the call that a tenth of all undercut;
 * microseconds of processor time per call, of this process and of its parent, which serves it.
 *
 *   exec-client ROUNDS         under `kvm-xen exec`
 *   exec-client ROUNDS floor   by itself: what two processes need at least that speak to each other in
 *                              the same two ways, by a socket that both look at and by a word in memory
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Bytes of a request and of an answer without an argument. */
#define MESSAGE 40

static int rounds = 20000;
static double *times;
static clockid_t server;

static double now_us(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void check(long result) {
  if (result < 0) {
    perror("exec-client");
    exit(1);
  }
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double processor_us(void) { return now_us(CLOCK_PROCESS_CPUTIME_ID) + now_us(server); }

#define MEASURE(name, call)                                                             \
  do {                                                                                  \
    for (int i = 0; i < rounds; i++) check(call); /* the server compiles meanwhile */   \
    double used = processor_us(), start = now_us(CLOCK_MONOTONIC), last = start, next;  \
    for (int i = 0; i < rounds; i++, last = next) {                                     \
      check(call);                                                                      \
      next = now_us(CLOCK_MONOTONIC);                                                   \
      times[i] = next - last;                                                           \
    }                                                                                   \
    used = processor_us() - used;                                                       \
    qsort(times, rounds, sizeof *times, compare);                                       \
    printf("%s %.3f %.3f %.3f\n", name, (last - start) / rounds, times[rounds / 10],    \
           used / rounds);                                                              \
  } while (0)

/* Looks until a message is there. */
static long receive(int fd) {
  char bytes[MESSAGE];
  long got;
  do got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
  while (got < 0);
  return got;
}

static long by_socket(int fd) {
  char bytes[MESSAGE] = {0};
  check(send(fd, bytes, sizeof bytes, MSG_NOSIGNAL));
  return receive(fd);
}

static long by_memory(_Atomic uint32_t *word) {
  *word = 1;
  while (*word == 1) __builtin_ia32_pause();
  return 0;
}

static void floors(void) {
  int pair[2];
  check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
  _Atomic uint32_t *word =
      mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t child = fork();
  check(child);
  if (child == 0) {
    close(pair[0]);
    while (receive(pair[1]) > 0 && *word != 2) {
      char bytes[MESSAGE] = {0};
      send(pair[1], bytes, sizeof bytes, MSG_NOSIGNAL);
    }
    for (*word = 0;;) {
      while (*word != 1) __builtin_ia32_pause();
      *word = 0;
    }
  }
  check(clock_getcpuclockid(child, &server) ? -1 : 0);
  MEASURE("socket", by_socket(pair[0]));
  *word = 2;
  check(send(pair[0], "", 1, 0));
  while (*word == 2) __builtin_ia32_pause();
  MEASURE("memory", by_memory(word));
  kill(child, SIGKILL);
}

static void calls(void) {
  check(clock_getcpuclockid(getppid(), &server) ? -1 : 0);
  int kvm = open("/dev/kvm", O_RDWR);
  check(kvm);
  int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  check(vm);
  uint8_t *memory = mmap(NULL, 0x2000, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(memory + 0x1000, "\xe6\x10\xeb\xfc", 4); /* out 10h, al; jmp to it */
  struct kvm_userspace_memory_region slot = {.memory_size = 0x2000,
                                             .userspace_addr = (uintptr_t)memory};
  check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot));
  int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  check(vcpu);
  struct kvm_sregs sregs;
  check(ioctl(vcpu, KVM_GET_SREGS, &sregs));
  sregs.cs.base = sregs.cs.selector = 0;
  check(ioctl(vcpu, KVM_SET_SREGS, &sregs));
  struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};
  check(ioctl(vcpu, KVM_SET_REGS, &regs));
  struct kvm_xen_hvm_attr attr = {.type = KVM_XEN_ATTR_TYPE_UPCALL_VECTOR};
  MEASURE("KVM_CHECK_EXTENSION", ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_XEN_HVM));
  MEASURE("KVM_XEN_HVM_GET_ATTR", ioctl(vm, KVM_XEN_HVM_GET_ATTR, &attr));
  MEASURE("KVM_GET_REGS", ioctl(vcpu, KVM_GET_REGS, &regs));
  MEASURE("KVM_SET_REGS", ioctl(vcpu, KVM_SET_REGS, &regs));
  MEASURE("KVM_GET_SREGS", ioctl(vcpu, KVM_GET_SREGS, &sregs));
  MEASURE("KVM_RUN", ioctl(vcpu, KVM_RUN, 0));
}

int main(int argc, char **argv) {
  if (argc > 1) rounds = atoi(argv[1]);
  if (rounds < 10) rounds = 10;
  times = calloc((size_t)rounds, sizeof *times);
  if (argc > 2)
    floors();
  else
    calls();
  return 0;
}
