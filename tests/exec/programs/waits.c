/*
 * Calls that wait for others: a vCPU has one mutex, which KVM_RUN holds. waits.out is what this
 * printed on Linux 6.12 (`ask-linux waits`).
 *
 *   gcc -O2 -pthread -o waits waits.c && ./waits [PART...]
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "machine.h"

static void nothing(int signal) { (void)signal; }

static void milliseconds(int count) {
  struct timespec time = {.tv_nsec = count * 1000000l};
  nanosleep(&time, NULL);
}

struct runner {
  int vcpu;
  pthread_t thread;
  int result, error;
};

static void *runs(void *argument) {
  struct runner *r = argument;
  r->result = ioctl(r->vcpu, KVM_RUN, 0);
  r->error = errno;
  return NULL;
}

/* mov byte [3000h],1; jmp $ */
static const char forever[] = "\xc6\x06\x00\x30\x01\xeb\xfe";

/* A thread in KVM_RUN, once its guest runs. */
static void start_run(struct runner *r, struct machine *m) {
  code(m, forever, sizeof forever - 1);
  enter_at(m->vcpu, CODE);
  m->memory[0x3000] = 0;
  r->vcpu = m->vcpu;
  pthread_create(&r->thread, NULL, runs, r);
  while (!*(volatile uint8_t *)(m->memory + 0x3000)) milliseconds(1);
}

/* Signals until the thread has left KVM_RUN. */
static void end_thread(pthread_t thread) {
  struct timespec later;
  do {
    pthread_kill(thread, SIGUSR1);
    clock_gettime(CLOCK_REALTIME, &later);
    later.tv_nsec += 20000000;
    later.tv_sec += later.tv_nsec / 1000000000;
    later.tv_nsec %= 1000000000;
  } while (pthread_timedjoin_np(thread, NULL, &later));
}

static struct {
  const char *name;
  unsigned long request;
  bool of_vm;
} calls[] = {
    {"GET_REGS", KVM_GET_REGS, false},
    {"SET_REGS of nothing", KVM_SET_REGS, false},
    {"GET_MP_STATE", KVM_GET_MP_STATE, false},
    {"INTERRUPT", KVM_INTERRUPT, false},
    {"NMI", KVM_NMI, false},
    {"SET_SIGNAL_MASK", KVM_SET_SIGNAL_MASK, false},
    {"GET_STATS_FD", KVM_GET_STATS_FD, false},
    {"XEN_VCPU_GET_ATTR", KVM_XEN_VCPU_GET_ATTR, false},
    {"RUN with an argument", KVM_RUN, false},
    {"unknown of KVM", _IO(KVMIO, 0xfe), false},
    {"unknown of others", _IO('x', 1), false},
    {"KVM_CHECK_EXTENSION of the VM", KVM_CHECK_EXTENSION, true},
    {"GET_CLOCK of the VM", KVM_GET_CLOCK, true},
};

struct caller {
  struct machine *m;
  int call;
  volatile int done, result, error, handled;
};

static __thread struct caller *own;
static void note(int signal) {
  (void)signal;
  if (own) own->handled = own->done ? 2 : 1;
}

static char room[4096];

static void *makes_call(void *argument) {
  struct caller *c = own = argument;
  bool bad = calls[c->call].request == KVM_SET_REGS || calls[c->call].request == KVM_RUN;
  void *at = bad ? (void *)8 : room;
  if (calls[c->call].request == KVM_GET_STATS_FD || calls[c->call].request == KVM_NMI) at = NULL;
  if (calls[c->call].request == KVM_CHECK_EXTENSION) at = (void *)KVM_CAP_USER_MEMORY;
  memset(room, 0, sizeof room);
  int fd = calls[c->call].of_vm ? c->m->vm : c->m->vcpu;
  int result = ioctl(fd, calls[c->call].request, at);
  c->error = errno;
  if (calls[c->call].request == KVM_GET_STATS_FD && result >= 0) close(result), result = 0;
  c->result = result;
  c->done = 1;
  return NULL;
}

static void part_calls(void) {
  signal(SIGUSR1, nothing);
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    struct machine m = new_machine(NULL);
    struct runner r;
    start_run(&r, &m);
    struct caller c = {.m = &m, .call = (int)i};
    pthread_t thread;
    pthread_create(&thread, NULL, makes_call, &c);
    for (int tries = 0; tries < 15 && !c.done; tries++) milliseconds(20);
    printf("%s: %s", calls[i].name, c.done ? "at once" : "waits");
    end_thread(r.thread);
    pthread_join(thread, NULL);
    printf(", %s%s, run %s\n", c.result < 0 ? "-" : "", c.result < 0 ? name_of(c.error) : "done",
           r.result < 0 ? name_of(r.error) : "0");
    end_machine(&m);
  }
}

/* A signal does not end the wait: its handler runs after the call. */
static void part_signals(void) {
  signal(SIGUSR1, nothing);
  signal(SIGUSR2, note);
  struct machine m = new_machine(NULL);
  struct runner r;
  start_run(&r, &m);
  struct caller c = {.m = &m, .call = 0};
  pthread_t thread;
  pthread_create(&thread, NULL, makes_call, &c);
  milliseconds(60);
  pthread_kill(thread, SIGUSR2);
  milliseconds(60);
  printf("with a signal: %s, handled %d\n", c.done ? "at once" : "waits", c.handled);
  end_thread(r.thread);
  pthread_join(thread, NULL);
  printf("result %d, handled %d\n", c.result, c.handled != 0);
  /* A second KVM_RUN waits too, and its signal leaves the first alone. */
  struct runner second;
  start_run(&r, &m);
  second.vcpu = m.vcpu;
  pthread_create(&second.thread, NULL, runs, &second);
  milliseconds(100);
  pthread_kill(second.thread, SIGUSR1);
  milliseconds(60);
  printf("first left: %d\n", pthread_tryjoin_np(r.thread, NULL) == 0);
  printf("second left: %d\n", pthread_tryjoin_np(second.thread, NULL) == 0);
  end_thread(r.thread);
  end_thread(second.thread);
  printf("first %s, second %s\n", name_of(r.error), name_of(second.error));
  end_machine(&m);
}

/* A process can be killed while it waits. */
static void part_killed(void) {
  pid_t child = fork();
  if (child == 0) {
    signal(SIGUSR1, nothing);
    struct machine m = new_machine(NULL);
    struct runner r;
    start_run(&r, &m);
    alarm(1);
    signal(SIGALRM, SIG_DFL);
    struct kvm_regs regs;
    show("get regs", ioctl(m.vcpu, KVM_GET_REGS, &regs));
    _exit(1);
  }
  int status;
  waitpid(child, &status, 0);
  printf("signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

/* l: inc dword [3000h]; jmp l */
static const char counting[] = "\x66\xff\x06\x00\x30\xeb\xf9";

static bool counts(struct machine *m) {
  volatile uint32_t *counter = (volatile uint32_t *)(m->memory + 0x3000);
  uint32_t before = *counter;
  for (int tries = 0; tries < 10 && *counter == before; tries++) milliseconds(10);
  return *counter != before;
}

static volatile int cleaned;

static void cleans(void *argument) {
  struct machine *m = argument;
  bool still = counts(m);
  struct kvm_regs regs;
  int result = ioctl(m->vcpu, KVM_GET_REGS, &regs);
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  printf("in its cleanup: %s, GET_REGS %d, SIGUSR2 blocked %d, SIGTERM blocked %d\n",
         still ? "counts" : "stands", result, sigismember(&mask, SIGUSR2),
         sigismember(&mask, SIGTERM));
  cleaned = 1;
}

static void *is_cancelled(void *argument) {
  struct machine *m = argument;
  int type;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
  pthread_cleanup_push(cleans, m);
  for (;;) ioctl(m->vcpu, KVM_RUN, 0);
  pthread_cleanup_pop(0);
  return NULL;
}

/* A thread that is cancelled in KVM_RUN has left it, and its vCPU stands still. */
static void part_cancelled(void) {
  struct machine m = new_machine(NULL);
  CODE_IS(&m, counting);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &one, NULL);
  for (int round = 0; round < 3; round++) {
    pthread_t thread;
    cleaned = 0;
    pthread_create(&thread, NULL, is_cancelled, &m);
    while (!counts(&m)) {}
    pthread_cancel(thread);
    void *result;
    pthread_join(thread, &result);
    printf("%s, %s, then it %s\n", result == PTHREAD_CANCELED ? "cancelled" : "not cancelled",
           cleaned ? "cleaned up" : "not cleaned up", counts(&m) ? "counts" : "stands");
  }
  pthread_sigmask(SIG_UNBLOCK, &one, NULL);
  /* Another thread goes on where it was. */
  signal(SIGUSR1, nothing);
  struct runner r = {.vcpu = m.vcpu};
  pthread_create(&r.thread, NULL, runs, &r);
  while (!counts(&m)) {}
  end_thread(r.thread);
  printf("another thread: %s\n", name_of(r.error));
  end_machine(&m);
}

/* What finds no descriptor takes nothing. */
static void part_ids(void) {
  struct machine m = new_machine(NULL);
  struct rlimit before, none;
  getrlimit(RLIMIT_NOFILE, &before);
  none = before;
  none.rlim_cur = 3;
  setrlimit(RLIMIT_NOFILE, &none);
  show("no vcpu", ioctl(m.vm, KVM_CREATE_VCPU, 1));
  show("exists", ioctl(m.vm, KVM_CREATE_VCPU, 0));
  show("too large", ioctl(m.vm, KVM_CREATE_VCPU, 1 << 20));
  show("no vm", ioctl(m.kvm, KVM_CREATE_VM, 0));
  show("bad type", ioctl(m.kvm, KVM_CREATE_VM, 77));
  show("no statistics", ioctl(m.vm, KVM_GET_STATS_FD, 0));
  show("no statistics", ioctl(m.vcpu, KVM_GET_STATS_FD, 0));
  struct kvm_create_device device = {.type = 99};
  show("no device", ioctl(m.vm, KVM_CREATE_DEVICE, &device));
  setrlimit(RLIMIT_NOFILE, &before);
  int vcpu = ioctl(m.vm, KVM_CREATE_VCPU, 1);
  printf("again: %s\n", vcpu < 0 ? name_of(errno) : "made");
  show("exists", ioctl(m.vm, KVM_CREATE_VCPU, 1));
  close(vcpu);
  end_machine(&m);
}

static const struct part parts[] = {
    {"calls", part_calls},
    {"signals", part_signals},
    {"killed", part_killed},
    {"cancelled", part_cancelled},
    {"ids", part_ids},
};

int main(int argc, char **argv) {
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}
