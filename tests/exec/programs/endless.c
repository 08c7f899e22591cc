/*
 * Signals for a thread in KVM_RUN whose guest never gets anywhere: it leaves within a second, with EINTR and
 * KVM_EXIT_INTR, and again when it goes on. endless.out is what this printed on Linux 6.12 (`ask-linux endless`).
 *
 *   gcc -O2 -pthread -o endless endless.c && ./endless [PART...]
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "machine.h"

static void nothing(int signal) { (void)signal; }

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

struct runner {
  struct machine *m;
  pthread_t thread;
  volatile double left;
  int result, error;
};

static void *runs(void *argument) {
  struct runner *r = argument;
  r->result = ioctl(r->m->vcpu, KVM_RUN, 0);
  r->error = errno;
  r->left = now();
  return NULL;
}

/* The stack has a segment of its own, in which it wraps. */
static void separate_stack(struct machine *m) {
  void *stack = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must("slot of the stack", set_slot(m, 1, SIZE, stack, SIZE));
  struct kvm_sregs sregs;
  must("get sregs", ioctl(m->vcpu, KVM_GET_SREGS, &sregs));
  sregs.ss.base = SIZE;
  sregs.ss.selector = SIZE >> 4;
  must("set sregs", ioctl(m->vcpu, KVM_SET_SREGS, &sregs));
}

#define HANDLER 0x1800
#define TRIES 3

/* Seconds from the signal to the end of KVM_RUN; what it answered is printed. */
static double interrupt_once(struct machine *m, int shows) {
  struct runner r = {.m = m};
  m->memory[0x3000] = 0;
  pthread_create(&r.thread, NULL, runs, &r);
  while (!*(volatile uint8_t *)(m->memory + 0x3000)) sched_yield();
  nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
  double asked = now();
  pthread_kill(r.thread, SIGUSR1);
  pthread_join(r.thread, NULL);
  if (shows) {
    if (r.result < 0) printf(" -%s", name_of(r.error));
    printf(" exit %u", m->run->exit_reason);
  }
  return r.left - asked;
}

/* The body, begun behind a mark in memory, with `handler` behind all vectors. */
static void endless(const char *body, size_t size, const char *handler, size_t handler_size) {
  struct machine m = new_machine(NULL);
  separate_stack(&m);
  uint8_t *at = m.memory + CODE;
  memcpy(at, "\xc6\x06\x00\x30\x01", 5); /* mov byte [3000h],1 */
  memcpy(at + 5, body, size);
  memcpy(m.memory + HANDLER, handler, handler_size);
  for (int vector = 0; vector < 256; vector++)
    memcpy(m.memory + 4 * vector, "\x00\x18\x00\x00", 4); /* HANDLER */
  for (int again = 0; again < 2; again++) {
    /* A busy machine may be late; not always. */
    double best = 1e9;
    for (int i = 0; i < TRIES && best > 1; i++) {
      enter_at(m.vcpu, CODE);
      double took = interrupt_once(&m, i == 0);
      if (took < best) best = took;
    }
    printf(best < 1 ? ", in time" : ", %.1f s late", best);
  }
  printf("\n");
  end_machine(&m);
}

#define ENDLESS(name, body, handler)                                    \
  static void name(void) {                                              \
    endless(body, sizeof body - 1, handler, sizeof handler - 1);        \
  }

ENDLESS(ud, "\x0f\x0b", "\x0f\x0b")
ENDLESS(int3, "\xcc", "\xcc")
ENDLESS(int_n, "\xcd\x21", "\xcd\x21")
ENDLESS(divide, "\x31\xc9\xf7\xf1", "\x31\xc9\xf7\xf1")
ENDLESS(returns, "\x0f\x0b", "\xcf")
ENDLESS(jump, "\xeb\xfe", "\xf4")
/* cld; mov di,4000h; mov cx,8000h; rep stosb; jmp back */
ENDLESS(rep, "\xfc\xbf\x00\x40\xb9\x00\x80\xf3\xaa\xeb\xf6", "\xf4")
/* the same, downwards */
ENDLESS(rep_down, "\xfd\xbf\xff\xef\xb9\x00\x80\xf3\xaa\xeb\xf6", "\xf4")

int main(int argc, char **argv) {
  struct sigaction action = {.sa_handler = nothing};
  sigaction(SIGUSR1, &action, NULL);
  const struct part parts[] = {
      {"ud2", ud},
      {"int3", int3},
      {"int", int_n},
      {"divide", divide},
      {"iret", returns},
      {"jump", jump},
      {"rep", rep},
      {"rep-down", rep_down},
  };
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}
