/*
 * Descriptors that the program gives numbers of its choice, those of the preload library among them.
 * numbers.out is what this printed on Linux 6.12 (`ask-linux numbers`).
 *
 *   gcc -O2 -pthread -o numbers numbers.c && ./numbers [PART...]
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "machine.h"

enum { FIRST = 800, COUNT = 200 };

/* mov al,[3000h]; out 10h,al; jmp to the beginning */
static const char report[] = "\xa0\x00\x30\xe6\x10\xeb\xf9";

/* Takes all numbers of a range. */
static void take(int with_flags) {
  int fd = open("/dev/null", O_RDWR), taken = 0;
  for (int to = FIRST; to < FIRST + COUNT; to++)
    taken += (with_flags ? dup3(fd, to, O_CLOEXEC) : dup2(fd, to)) == to;
  printf("taken %d\n", taken);
  close(fd);
}

/* How many of them are what was put there. */
static void look(const char *when) {
  int found = 0;
  struct stat status;
  for (int fd = FIRST; fd < FIRST + COUNT; fd++)
    found += fstat(fd, &status) == 0 && status.st_rdev == makedev(1, 3) && write(fd, "x", 1) == 1;
  printf("%s: %d are there\n", when, found);
}

static void let_go(void) {
  int closed = 0;
  for (int fd = FIRST; fd < FIRST + COUNT; fd++) closed += close(fd) == 0;
  printf("closed %d\n", closed);
}

static void use(const char *what, struct machine *m) {
  m->memory[0x3000]++;
  run_once(what, m);
}

static void part_taken(void) {
  struct machine m = new_machine(NULL);
  CODE_IS(&m, report);
  m.memory[0x3000] = 0x40;
  use("before", &m);
  for (int round = 0; round < 3; round++) {
    take(round & 1);
    use("taken", &m);
    /* Guest memory that is new to the library, and some that changes. */
    uint8_t *more = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    show("slot", set_slot(&m, 1, 0x100000, more, 8192));
    madvise(m.memory + 0x3000, 4096, MADV_DONTNEED);
    use("zeroed", &m);
    mprotect(m.memory + 0x4000, 4096, PROT_READ);
    show("api", ioctl(m.kvm, KVM_GET_API_VERSION, 0));
    struct machine other = new_machine(NULL);
    CODE_IS(&other, report);
    use("another", &other);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      printf("child has %x, API %d\n", m.memory[0x3000], ioctl(m.kvm, KVM_GET_API_VERSION, 0));
      struct machine own = new_machine(NULL);
      CODE_IS(&own, report);
      use("own", &own);
      look("child");
      fflush(stdout);
      _exit(0);
    }
    waitpid(child, NULL, 0);
    show("slot gone", set_slot(&m, 1, 0x100000, more, 0));
    munmap(more, 8192);
    end_machine(&other);
    look("after");
    if (round != 1) let_go();
    use("let go", &m);
  }
  show("of nothing", dup2(-1, FIRST));
  end_machine(&m);
}

/* mov byte [3000h],1; jmp $ */
static const char forever[] = "\xc6\x06\x00\x30\x01\xeb\xfe";
static void nothing(int signal) { (void)signal; }

static void *runs(void *argument) {
  int result = ioctl(*(int *)argument, KVM_RUN, 0);
  return (void *)(intptr_t)(result < 0 ? errno : 0);
}

/* While another thread is in KVM_RUN. */
static void part_waiting(void) {
  sigaction(SIGUSR1, &(struct sigaction){.sa_handler = nothing}, NULL);
  struct machine m = new_machine(NULL);
  CODE_IS(&m, forever);
  pthread_t thread;
  pthread_create(&thread, NULL, runs, &m.vcpu);
  while (!*(volatile uint8_t *)(m.memory + 0x3000)) usleep(1000);
  take(0);
  void *result;
  struct timespec later;
  do {
    pthread_kill(thread, SIGUSR1);
    clock_gettime(CLOCK_REALTIME, &later);
    later.tv_sec++;
  } while (pthread_timedjoin_np(thread, &result, &later));
  printf("KVM_RUN: %s\n", name_of((int)(intptr_t)result));
  look("after");
  let_go();
  struct kvm_regs regs;
  show("get regs", ioctl(m.vcpu, KVM_GET_REGS, &regs));
  end_machine(&m);
}

static const struct part parts[] = {{"taken", part_taken}, {"waiting", part_waiting}};

int main(int argc, char **argv) {
  struct rlimit limit = {1024, 4096};
  setrlimit(RLIMIT_NOFILE, &limit);
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}
