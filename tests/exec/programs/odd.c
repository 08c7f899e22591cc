/*
 * What an unusual KVM client does: memory that is mapped, protected and moved in every order,
 * descriptors that are closed wholesale, handlers that jump out of KVM_RUN or call KVM themselves,
 * slots and VMs in numbers. odd.out is what it printed on Linux 6.12 (`ask-linux odd`).
 *
 *   gcc -O2 -pthread -o odd odd.c && ./odd [PART...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <sys/uio.h>

#include "machine.h"

static void nothing(int signal) { (void)signal; }

struct worker {
  struct machine *m;
  int vcpu, result;
  volatile int kicks;
  struct kvm_run *run;
};

/* mov al,[3000h]; out 10h,al; jmp $-5 */
static const char report[] = "\xa0\x00\x30\xe6\x10\xeb\xf9";
/* mov al,[3000h]; inc al; mov [3000h],al; out 10h,al; jmp back */
static const char count[] = "\xa0\x00\x30\xfe\xc0\xa2\x00\x30\xe6\x10\xeb\xf4";
/* jmp $ */
static const char forever[] = "\xeb\xfe";

#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

static void part_protect(void) {
  uint8_t *memory = mmap(NULL, SIZE, PROT_NONE, PRIVATE | MAP_NORESERVE, -1, 0);
  struct machine m = new_machine(memory);
  mprotect(memory, 0x3000, RW);
  code(&m, report, sizeof report - 1);
  mmap(memory + 0x3000, 0x1000, RW, PRIVATE | MAP_FIXED, -1, 0);
  memory[0x3000] = 0x11;
  run_once("made accessible", &m);
  memory[0x3000] = 0x12;
  mprotect(memory + 0x3000, 0x1000, PROT_READ);
  run_once("read only", &m);
  mprotect(memory + 0x3000, 0x1000, RW);
  memory[0x3000] = 0x13;
  run_once("writable again", &m);
  end_machine(&m);
}

static void part_holes(void) {
  uint8_t *memory = mmap(NULL, SIZE, RW, PRIVATE, -1, 0);
  munmap(memory + 0x3000, 0x1000);
  struct machine m = new_machine(memory);
  code(&m, report, sizeof report - 1);
  mmap(memory + 0x3000, 0x1000, RW, PRIVATE | MAP_FIXED, -1, 0);
  memory[0x3000] = 0x21;
  run_once("mapped after the slot", &m);
  munmap(memory + 0x3000, 0x1000);
  mmap(memory + 0x3000, 0x1000, RW, PRIVATE | MAP_FIXED, -1, 0);
  run_once("unmapped and mapped", &m);
  /* Moved away, and something else moved there. */
  uint8_t *other = mmap(NULL, 0x1000, RW, PRIVATE, -1, 0);
  *other = 0x22;
  mremap(other, 0x1000, 0x1000, MREMAP_MAYMOVE | MREMAP_FIXED, memory + 0x3000);
  run_once("moved there", &m);
  uint8_t *away = mmap(NULL, 0x1000, RW, PRIVATE, -1, 0);
  mremap(memory + 0x3000, 0x1000, 0x1000, MREMAP_MAYMOVE | MREMAP_FIXED, away);
  printf("moved away: %x\n", *away);
  mmap(memory + 0x3000, 0x1000, RW, PRIVATE | MAP_FIXED, -1, 0);
  memory[0x3000] = 0x23;
  run_once("new again", &m);
  printf("what moved: %x\n", *away);
  end_machine(&m);
}

static void part_files(void) {
  char path[] = "/tmp/kvm-xen-odd-XXXXXX";
  int fd = mkstemp(path);
  must("mkstemp", fd);
  uint8_t page[4096] = {0x31};
  must("write", pwrite(fd, page, sizeof page, 0));
  struct machine m = new_machine(NULL);
  code(&m, count, sizeof count - 1);
  mmap(m.memory + 0x3000, 4096, RW, MAP_PRIVATE | MAP_FIXED, fd, 0);
  run_once("private", &m);
  must("read", pread(fd, page, 1, 0));
  printf("file %x, memory %x\n", page[0], m.memory[0x3000]);
  mmap(m.memory + 0x3000, 4096, RW, MAP_SHARED | MAP_FIXED, fd, 0);
  run_once("shared", &m);
  must("read", pread(fd, page, 1, 0));
  printf("file %x, memory %x\n", page[0], m.memory[0x3000]);
  CODE_IS(&m, "\xa0\x00\x30\xe6\x10\xeb\xf9");
  enter_at(m.vcpu, CODE);
  int ro = open(path, O_RDONLY);
  mmap(m.memory + 0x3000, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, ro, 0);
  close(ro);
  run_once("read only", &m);
  page[0] = 0x44;
  must("write", pwrite(fd, page, 1, 0));
  run_once("written", &m);
  unlink(path);
  close(fd);
  end_machine(&m);
  /* From the heap, the stack, and static memory: all of it stays what it was. */
  static uint8_t fixed[SIZE] __attribute__((aligned(4096)));
  uint8_t *heap = aligned_alloc(4096, SIZE);
  uint8_t stack[2 * SIZE];
  uint8_t *aligned = (uint8_t *)(((uintptr_t)stack + 4095) & ~4095ul);
  uint8_t *all[] = {fixed, heap, aligned};
  for (int i = 0; i < 3; i++) {
    memset(all[i], 0x50 + i, SIZE);
    m = new_machine(all[i]);
    code(&m, count, sizeof count - 1);
    run_once("memory of the program", &m);
    printf("%x %x\n", all[i][0x3000], all[i][0x3001]);
    end_machine(&m);
    memset(all[i], 0, SIZE);
  }
  free(heap);
}

static void part_closing(void) {
  struct machine m = new_machine(NULL);
  code(&m, report, sizeof report - 1);
  m.memory[0x3000] = 1;
  int keep = dup2(m.vcpu, 40);
  for (int fd = 3; fd < 4096; fd++)
    if (fd != keep) close(fd);
  m.vcpu = keep;
  run_once("all others closed", &m);
  int fd = open("/dev/null", O_RDWR);
  show("lowest", fd);
  show("dup2 over", dup2(fd, keep));
  show("gone", ioctl(keep, KVM_RUN, 0));
  close_range(3, ~0u, 0);
  m.kvm = open("/dev/kvm", O_RDWR);
  show("opened again", m.kvm);
  show("api", ioctl(m.kvm, KVM_GET_API_VERSION, 0));
  closefrom(3);
  show("closed", ioctl(m.kvm, KVM_GET_API_VERSION, 0));
  m = new_machine(NULL);
  code(&m, report, sizeof report - 1);
  run_once("another", &m);
  /* A child of vfork has descriptors of its own, but the parent's memory. */
  pid_t child = vfork();
  if (child == 0) {
    close(m.vcpu);
    close(m.vm);
    dup2(0, m.kvm);
    _exit(3);
  }
  int status;
  waitpid(child, &status, 0);
  show("api after vfork", ioctl(m.kvm, KVM_GET_API_VERSION, 0));
  run_once("after vfork", &m);
  end_machine(&m);
}

static void part_limits(void) {
  struct machine m = new_machine(NULL);
  struct rlimit limit = {m.run ? (rlim_t)dup(0) : 0, 64};
  close((int)limit.rlim_cur);
  struct rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  limit.rlim_max = before.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  show("no vcpu", ioctl(m.vm, KVM_CREATE_VCPU, 1));
  show("no vm", ioctl(m.kvm, KVM_CREATE_VM, 0));
  show("no kvm", open("/dev/kvm", O_RDWR));
  show("others", ioctl(m.kvm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY));
  setrlimit(RLIMIT_NOFILE, &before);
  end_machine(&m);
}

static sigjmp_buf back;
static struct machine *current;
static void leave(int signal) { siglongjmp(back, signal); }
static volatile int seen;
static void look(int signal) {
  (void)signal;
  struct kvm_regs regs;
  seen = ioctl(current->vcpu, KVM_GET_REGS, &regs) == 0 ? (int)regs.rip : -1;
}

static void part_handlers(void) {
  struct machine m = new_machine(NULL);
  current = &m;
  code(&m, forever, sizeof forever - 1);
  struct itimerval soon = {.it_value = {.tv_usec = 50000}};
  for (int i = 0; i < 3; i++) {
    signal(SIGALRM, leave);
    if (sigsetjmp(back, 1) == 0) {
      setitimer(ITIMER_REAL, &soon, NULL);
      run_once("never printed", &m);
    }
    printf("jumped, exit %d\n", m.run->exit_reason);
    struct kvm_regs regs;
    show("regs", ioctl(m.vcpu, KVM_GET_REGS, &regs));
    printf("rip %llx\n", regs.rip);
  }
  signal(SIGALRM, look);
  setitimer(ITIMER_REAL, &soon, NULL);
  run_once("handler with an ioctl", &m);
  printf("seen %x\n", seen);
  /* Signals that are ignored, by default too, end nothing. */
  signal(SIGALRM, nothing);
  signal(SIGUSR1, SIG_IGN);
  pid_t child = fork();
  if (child == 0) {
    struct timespec wait = {.tv_nsec = 50000000};
    nanosleep(&wait, NULL);
    kill(getppid(), SIGUSR1);
    kill(getppid(), SIGWINCH);
    nanosleep(&wait, NULL);
    kill(getppid(), SIGCONT);
    nanosleep(&wait, NULL);
    kill(getppid(), SIGALRM);
    _exit(0);
  }
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  run_once("four signals", &m);
  clock_gettime(CLOCK_MONOTONIC, &to);
  waitpid(child, NULL, 0);
  printf("until the last: %d\n",
         (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 >= 140);
  end_machine(&m);
}

static void part_churn(void) {
  struct machine m = new_machine(NULL);
  code(&m, report, sizeof report - 1);
  m.memory[0x3000] = 9;
  /* More than a VM's memory in sum. */
  int bad = 0;
  size_t big = 256 << 20;
  for (int i = 0; i < 64; i++) {
    uint8_t *other = mmap(NULL, big, RW, PRIVATE | MAP_NORESERVE, -1, 0);
    other[0x10] = i;
    bad += set_slot(&m, 1, 1 << 30, other, big) != 0;
    bad += set_slot(&m, 1, 1 << 30, other, 0) != 0;
    bad += other[0x10] != i;
    munmap(other, big);
  }
  show("large slots, refused", bad);
  for (int i = 0; i < 300; i++) {
    uint8_t *other = mmap(NULL, 0x4000, RW, PRIVATE, -1, 0);
    bad += set_slot(&m, 1, 1 << 30, other, 0x4000) != 0;
    bad += set_slot(&m, 1, 1 << 30, other, 0) != 0;
    munmap(other, 0x4000);
  }
  show("small slots, refused", bad);
  run_once("still", &m);
  end_machine(&m);
  for (int i = 0; i < 50; i++) {
    m = new_machine(m.memory);
    end_machine(&m);
  }
  m = new_machine(m.memory);
  struct machine two = new_machine(m.memory);
  m.memory[0x3000] = 8;
  run_once("one", &m);
  m.memory[0x3000] = 7;
  run_once("the other", &two);
  end_machine(&m);
  run_once("the other", &two);
  end_machine(&two);
}

static _Atomic int stop;
static void *kicked(void *argument) {
  struct worker *w = argument;
  while (!stop) {
    w->result = ioctl(w->vcpu, KVM_RUN, 0);
    if (w->result == 0 || errno != EINTR) return (void *)1;
    w->run->immediate_exit = 0;
    w->kicks++;
  }
  return NULL;
}
static void part_kicks(void) {
  struct machine m = new_machine(NULL);
  code(&m, forever, sizeof forever - 1);
  struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  struct worker w[8] = {{.m = &m, .vcpu = m.vcpu, .run = m.run}};
  pthread_t threads[8];
  for (int i = 0; i < 8; i++) {
    if (i) {
      w[i].vcpu = ioctl(m.vm, KVM_CREATE_VCPU, i);
      w[i].run = map_run(&m, w[i].vcpu);
      struct kvm_mp_state runs = {KVM_MP_STATE_RUNNABLE};
      ioctl(w[i].vcpu, KVM_SET_MP_STATE, &runs);
    }
    enter_at(w[i].vcpu, CODE);
    pthread_create(&threads[i], NULL, kicked, &w[i]);
  }
  for (int round = 0; round < 40; round++) {
    int before = w[round % 8].kicks;
    for (int tries = 0; tries < 2000 && w[round % 8].kicks == before; tries++) {
      w[round % 8].run->immediate_exit = 1;
      pthread_kill(threads[round % 8], SIGUSR1);
      usleep(2000);
    }
    if (w[round % 8].kicks == before) printf("vCPU %d does not hear\n", round % 8);
  }
  stop = 1;
  int failed = 0;
  for (int i = 0; i < 8; i++) {
    void *result;
    struct timespec later;
    for (int tries = 0; tries < 100; tries++) {
      pthread_kill(threads[i], SIGUSR1);
      clock_gettime(CLOCK_REALTIME, &later);
      later.tv_nsec += 20000000;
      later.tv_sec += later.tv_nsec / 1000000000;
      later.tv_nsec %= 1000000000;
      if (!pthread_timedjoin_np(threads[i], &result, &later)) break;
    }
    failed += result != NULL;
  }
  printf("failed %d\n", failed);
  end_machine(&m);
}

/* With several buffers, of files that can be read and of others. */
static void part_buffers(void) {
  struct machine m = new_machine(NULL);
  static char a[40], b[200], whole[240];
  struct iovec parts[3] = {{a, sizeof a}, {NULL, 0}, {b, sizeof b}};
  show("readv of /dev/kvm", readv(m.kvm, parts, 3));
  show("preadv of /dev/kvm", preadv(m.kvm, parts, 3, 0));
  show("writev of /dev/kvm", writev(m.kvm, parts, 3));
  show("readv of a VM", readv(m.vm, parts, 3));
  show("writev of a VM", writev(m.vm, parts, 3));
  show("readv of a vCPU", readv(m.vcpu, parts, 3));
  int stats = ioctl(m.vcpu, KVM_GET_STATS_FD, 0);
  must("statistics", stats);
  show("pread", pread(stats, whole, sizeof whole, 8));
  show("preadv", preadv(stats, parts, 3, 8));
  printf("the same: %d\n", !memcmp(whole, a, sizeof a) && !memcmp(whole + sizeof a, b, sizeof b));
  show("read", read(stats, whole, 8));
  show("readv", readv(stats, parts, 3));
  show("pread", pread(stats, whole, sizeof whole, 8));
  printf("the same: %d\n", !memcmp(whole, a, sizeof a) && !memcmp(whole + sizeof a, b, sizeof b));
  close(stats);
  end_machine(&m);
}

static const struct part parts[] = {
    {"protect", part_protect},
    {"holes", part_holes},
    {"files", part_files},
    {"closing", part_closing},
    {"limits", part_limits},
    {"handlers", part_handlers},
    {"churn", part_churn},
    {"kicks", part_kicks},
    {"buffers", part_buffers},
};

int main(int argc, char **argv) {
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}
