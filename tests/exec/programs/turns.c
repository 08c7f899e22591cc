/*
 * Threads that keep KVM busy in different ways, all of which go on; and signals that wait when KVM_RUN
 * begins. turns.out is what this printed on Linux 6.12 (`ask-linux turns`).
 *
 *   gcc -O2 -pthread -o turns turns.c && ./turns [PART...]
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "machine.h"

/* Where the guests count, and what they do besides. */
#define COUNTER 0x3000
#define COUNTS "\xff\x06\x00\x30\xeb\xfa"         /* inc word [COUNTER]; jmp */
#define EXITS "\xff\x06\x02\x30\xe6\x10\xeb\xf8"  /* inc word [COUNTER + 2]; out 10h, al; jmp */

static void nothing(int signal) { (void)signal; }

/* One thread of the program: what it does again and again, and how often it did. */
struct busy {
  pthread_t thread;
  void (*once)(int fd);
  int fd;
  atomic_long times;
  atomic_bool stop;
};

static void *goes_on(void *argument) {
  struct busy *busy = argument;
  while (!busy->stop) {
    busy->once(busy->fd);
    busy->times++;
  }
  return NULL;
}

static void start(struct busy *busy, void (*once)(int), int fd) {
  busy->once = once;
  busy->fd = fd;
  pthread_create(&busy->thread, NULL, goes_on, busy);
}

static void end(struct busy *busy) {
  struct timespec later;
  busy->stop = true;
  do {
    pthread_kill(busy->thread, SIGUSR1);
    clock_gettime(CLOCK_REALTIME, &later);
    later.tv_sec++;
  } while (pthread_timedjoin_np(busy->thread, NULL, &later));
}

static void runs(int vcpu) { ioctl(vcpu, KVM_RUN, 0); }
static void asks(int vm) { ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_XEN_HVM); }
static void gets(int vm) {
  struct kvm_clock_data clock;
  ioctl(vm, KVM_GET_CLOCK, &clock);
}

/* Whether something grows by `count`, twenty seconds at most. */
static bool grows(long (*value)(void *), void *of, long count) {
  long from = value(of), sum = 0;
  for (int i = 0; i < 2000 && sum < count; i++) {
    struct timespec time = {.tv_nsec = 10000000};
    nanosleep(&time, NULL);
    long now = value(of);
    sum += (uint16_t)(now - from);
    from = now;
  }
  return sum >= count;
}

static long times_of(void *busy) { return ((struct busy *)busy)->times; }
static long counter(void *at) { return *(volatile uint16_t *)at; }

static void say(const char *what, bool does) { printf("%s: %s\n", what, does ? "yes" : "no"); }

/* A guest that never exits, and a thread that makes calls without a pause. */
static void part_flood(void) {
  struct machine m = new_machine(NULL);
  CODE_IS(&m, COUNTS);
  struct busy guest = {0}, caller = {0}, other = {0};
  start(&guest, runs, m.vcpu);
  start(&caller, asks, m.vm);
  start(&other, gets, m.vm);
  for (int i = 0; i < 3; i++) {
    say("guest goes on", grows(counter, m.memory + COUNTER, 20000));
    say("caller goes on", grows(times_of, &caller, 20));
    say("other goes on", grows(times_of, &other, 20));
  }
  end(&caller);
  end(&other);
  end(&guest);
  end_machine(&m);
}

/* A guest that never exits, one that exits all the time, and calls. */
static void part_exits(void) {
  struct machine m = new_machine(NULL);
  CODE_IS(&m, COUNTS);
  memcpy(m.memory + CODE + 0x100, EXITS, sizeof EXITS - 1);
  int second = ioctl(m.vm, KVM_CREATE_VCPU, 1);
  must("create vcpu", second);
  enter_at(second, CODE + 0x100);
  struct busy guest = {0}, exits = {0}, caller = {0};
  start(&exits, runs, second);
  say("exits alone", grows(counter, m.memory + COUNTER + 2, 200));
  start(&guest, runs, m.vcpu);
  start(&caller, gets, m.vm);
  for (int i = 0; i < 3; i++) {
    say("guest goes on", grows(counter, m.memory + COUNTER, 20000));
    say("exits go on", grows(counter, m.memory + COUNTER + 2, 20));
    say("caller goes on", grows(times_of, &caller, 20));
  }
  end(&caller);
  end(&exits);
  end(&guest);
  close(second);
  end_machine(&m);
}

/* Two virtual machines: the exits of one do not stop the other. */
static void part_machines(void) {
  struct machine one = new_machine(NULL), two = new_machine(NULL);
  CODE_IS(&one, EXITS);
  CODE_IS(&two, COUNTS);
  struct busy exits = {0}, guest = {0};
  start(&guest, runs, two.vcpu);
  start(&exits, runs, one.vcpu);
  for (int i = 0; i < 3; i++) {
    say("guest goes on", grows(counter, two.memory + COUNTER, 20000));
    say("exits go on", grows(counter, one.memory + COUNTER + 2, 20));
  }
  end(&exits);
  end(&guest);
  end_machine(&one);
  end_machine(&two);
}

/* A signal that the vCPU's mask lets through waits already: no instruction is executed. */
static void part_pending(void) {
  struct machine m = new_machine(NULL);
  CODE_IS(&m, "\x40\xe4\x10\x40\xe6\x10\xeb\xf8"); /* inc ax; in al, 10h; inc ax; out 10h, al */
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &one, NULL);
  struct {
    struct kvm_signal_mask head;
    uint8_t set[8];
  } mask = {.head.len = 8};
  must("signal mask", ioctl(m.vcpu, KVM_SET_SIGNAL_MASK, &mask));
  struct kvm_regs regs;
  for (int i = 0; i < 6; i++) {
    run_once("run", &m);
    *((uint8_t *)m.run + m.run->io.data_offset) = 0x30;
    pthread_kill(pthread_self(), SIGUSR1);
    m.run->exit_reason = 0x77;
    run_once("pending", &m);
    must("get regs", ioctl(m.vcpu, KVM_GET_REGS, &regs));
    printf("rip %llx rax %llx\n", regs.rip, regs.rax);
    if (i == 3) { /* Wanted out for two reasons. */
      m.run->immediate_exit = 1;
      m.run->exit_reason = 0x77;
      run_once("at once", &m);
      m.run->immediate_exit = 0;
    }
    sigtimedwait(&one, NULL, &(struct timespec){0});
  }
  pthread_sigmask(SIG_UNBLOCK, &one, NULL);
  end_machine(&m);
}

static const struct part parts[] = {
    {"flood", part_flood},
    {"exits", part_exits},
    {"machines", part_machines},
    {"pending", part_pending},
};

int main(int argc, char **argv) {
  signal(SIGUSR1, nothing);
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}
