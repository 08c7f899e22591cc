/*
 * A KVM client that tries what `kvm-xen exec` has to carry across the process border: descriptors,
 * memory, threads, signals. It prints what it saw; client.out is what it printed on Linux 6.12
 * (`ask-linux client`), and through exec it has to print the same.
 *
 *   gcc -O2 -pthread -o client client.c && ./client [PART...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

/* mov al,41h; out 10h,al; in al,11h; mov [3000h],al; hlt */
static const char talk[] = "\xb0\x41\xe6\x10\xe4\x11\xa2\x00\x30\xf4";
/* mov al,[3000h]; out 10h,al; jmp $-5 */
static const char report[] = "\xa0\x00\x30\xe6\x10\xeb\xf9";
/* jmp $ */
static const char forever[] = "\xeb\xfe";

static void part_run(void) {
  struct machine m = new_machine(NULL);
  code(&m, talk, sizeof talk - 1);
  run_once("out", &m);
  run_once("in", &m);
  *((uint8_t *)m.run + m.run->io.data_offset) = 0x77;
  run_once("halt", &m);
  printf("stored %x\n", m.memory[0x3000]);
  CODE_IS(&m, "\x89\x1e\x00\x00\xf4"); /* mov [0],bx; hlt: the code was replaced from outside */
  struct kvm_regs regs = {.rip = CODE, .rflags = 2, .rbx = 0x1234};
  must("regs", ioctl(m.vcpu, KVM_SET_REGS, &regs));
  run_once("again", &m);
  printf("stored %x\n", *(uint16_t *)m.memory);
  end_machine(&m);
}

static void part_refusals(void) {
  struct machine m = new_machine(NULL);
  char *gone = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(gone, 4096);
  show("get regs, bad pointer", ioctl(m.vcpu, KVM_GET_REGS, gone));
  show("set regs, null", ioctl(m.vcpu, KVM_SET_REGS, NULL));
  show("slot, bad pointer", ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, gone));
  show("unknown system ioctl", ioctl(m.kvm, _IO(KVMIO, 0xfe), 0));
  show("unknown vm ioctl", ioctl(m.vm, _IO(KVMIO, 0xfe), 0));
  show("unknown vcpu ioctl", ioctl(m.vcpu, _IO(KVMIO, 0xfe), 0));
  show("run of a vm", ioctl(m.vm, KVM_RUN, 0));
  show("second vcpu 0", ioctl(m.vm, KVM_CREATE_VCPU, 0));
  show("unaligned slot", set_slot(&m, 1, 0x100000, m.memory + 1, 0x1000));
  void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, m.vm, 0);
  show("mmap of a vm", p == MAP_FAILED ? -1 : 0);
  end_machine(&m);
  show("closed", ioctl(m.vm, KVM_CREATE_VCPU, 1));
}

static void part_memfd(void) {
  int fd = memfd_create("guest", 0);
  must("truncate", ftruncate(fd, SIZE));
  uint8_t *one = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  uint8_t *two = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  struct machine m = new_machine(one);
  code(&m, report, sizeof report - 1);
  two[0x3000] = 0x21;
  run_once("first", &m);
  two[0x3000] = 0x22;
  run_once("second", &m);
  end_machine(&m);
  /* Shared memory without a name. */
  one = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  m = new_machine(one);
  code(&m, report, sizeof report - 1);
  one[0x3000] = 0x23;
  run_once("third", &m);
  end_machine(&m);
}

static void part_remap(void) {
  struct machine m = new_machine(NULL);
  code(&m, report, sizeof report - 1);
  m.memory[0x3000] = 1;
  run_once("before", &m);
  mmap(m.memory + 0x3000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
       -1, 0);
  run_once("fresh page", &m);
  m.memory[0x3000] = 2;
  run_once("written", &m);
  madvise(m.memory + 0x3000, 4096, MADV_DONTNEED);
  run_once("given back", &m);
  int fd = memfd_create("page", 0);
  must("truncate", ftruncate(fd, 4096));
  must("write", pwrite(fd, "\x55", 1, 0));
  mmap(m.memory + 0x3000, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  run_once("file page", &m);
  must("write", pwrite(fd, "\x56", 1, 0));
  run_once("file written", &m);
  close(fd);
  end_machine(&m);
}

static void part_slots(void) {
  struct machine m = new_machine(NULL);
  uint8_t *other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  other[0x10] = 0x31;
  /* mov ax,2000h; mov ds,ax; mov al,[10h]; out 10h,al; jmp to the mov */
  CODE_IS(&m, "\xb8\x00\x20\x8e\xd8\xa0\x10\x00\xe6\x10\xeb\xf9");
  run_once("no slot", &m);
  memcpy(m.run->mmio.data, "\x99", 1);
  run_once("answered", &m);
  show("new slot", set_slot(&m, 1, 0x20000, other, SIZE));
  run_once("slot", &m);
  show("moved slot", set_slot(&m, 1, 0x30000, other, SIZE));
  run_once("no slot", &m);
  show("no such slot", set_slot(&m, 1, 0x30000, other, 0));
  /* The same memory at two places. */
  show("alias", set_slot(&m, 2, 0x20000, m.memory, SIZE));
  m.memory[0x10] = 0x32;
  run_once("pending read", &m);
  run_once("alias", &m);
  end_machine(&m);
}

static void part_descriptors(void) {
  struct machine m = new_machine(NULL);
  code(&m, talk, sizeof talk - 1);
  int copy = dup(m.vcpu);
  int high = fcntl(m.vcpu, F_DUPFD_CLOEXEC, 100);
  printf("flags %d %d\n", fcntl(copy, F_GETFD), fcntl(high, F_GETFD));
  close(m.vcpu);
  close(m.vm);
  close(m.kvm);
  m.vcpu = copy;
  run_once("through a copy", &m);
  show("dup2", dup2(high, copy) == copy ? 0 : -1);
  close(high);
  run_once("through another", &m);
  close(copy);
  show("closed", ioctl(copy, KVM_RUN, 0));
  printf("kvm_run is still there: %d\n", m.run->exit_reason);
  m.vm = m.kvm = open("/dev/null", O_RDWR);
  show("not kvm", ioctl(m.vm, KVM_GET_API_VERSION, 0));
}

static void part_fork(void) {
  struct machine m = new_machine(NULL);
  code(&m, report, sizeof report - 1);
  m.memory[0x3000] = 0x61;
  run_once("parent", &m);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    show("child, vcpu of the parent", ioctl(m.vcpu, KVM_RUN, 0));
    show("child, vm of the parent", ioctl(m.vm, KVM_CREATE_VCPU, 1));
    show("child, api", ioctl(m.kvm, KVM_GET_API_VERSION, 0));
    m.memory[0x3000] = 0x62; /* the child's own copy */
    struct machine own = {.kvm = m.kvm};
    own.vm = ioctl(m.kvm, KVM_CREATE_VM, 0);
    own.memory = m.memory;
    must("slot", set_slot(&own, 0, 0, own.memory, SIZE));
    own.vcpu = ioctl(own.vm, KVM_CREATE_VCPU, 0);
    own.run = map_run(&own, own.vcpu);
    enter_at(own.vcpu, CODE);
    run_once("child", &own);
    fflush(stdout);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  printf("child ended with %d\n", WEXITSTATUS(status));
  run_once("parent", &m);
  end_machine(&m);
}

static void nothing(int signal) { (void)signal; }

static void part_signals(void) {
  struct machine m = new_machine(NULL);
  code(&m, forever, sizeof forever - 1);
  /* A handler that restarts system calls: KVM_RUN is never restarted. */
  struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval soon = {.it_value = {.tv_usec = 100000}};
  setitimer(ITIMER_REAL, &soon, NULL);
  run_once("alarm", &m);
  /* Pending before KVM_RUN. */
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  sigprocmask(SIG_BLOCK, &set, &before);
  raise(SIGALRM);
  struct {
    struct kvm_signal_mask head;
    uint64_t bits;
  } mask = {{8}, 0};
  show("mask", ioctl(m.vcpu, KVM_SET_SIGNAL_MASK, &mask));
  run_once("pending", &m);
  sigset_t pending;
  sigpending(&pending);
  printf("still pending: %d\n", sigismember(&pending, SIGALRM));
  show("no mask", ioctl(m.vcpu, KVM_SET_SIGNAL_MASK, NULL));
  sigprocmask(SIG_SETMASK, &before, NULL);
  /* Ignored signals end nothing: the alarm does. */
  signal(SIGUSR2, SIG_IGN);
  m.run->immediate_exit = 1;
  run_once("immediate exit", &m);
  m.run->immediate_exit = 0;
  soon.it_value.tv_usec = 50000;
  setitimer(ITIMER_REAL, &soon, NULL);
  raise(SIGUSR2);
  run_once("alarm", &m);
  mask.head.len = 4;
  show("mask of 4 bytes", ioctl(m.vcpu, KVM_SET_SIGNAL_MASK, &mask));
  end_machine(&m);
}

struct worker {
  struct machine *m;
  int vcpu, result;
  struct kvm_run *run;
};

static void *work(void *argument) {
  struct worker *w = argument;
  do w->result = ioctl(w->vcpu, KVM_RUN, 0);
  while (w->result < 0 && errno == EINTR);
  return NULL;
}

static void part_threads(void) {
  struct machine m = new_machine(NULL);
  /* Each vCPU waits for its turn at [3000h], adds one, and so on 20000 times, then halts:
   *   next: cmp [3000h],bl; jne next; inc word [3010h]; xor byte [3000h],1; dec cx; jnz next; hlt */
  CODE_IS(&m, "\x38\x1e\x00\x30\x75\xfa\xff\x06\x10\x30\x80\x36\x00\x30\x01\x49\x75\xee\xf4");
  struct worker w[2] = {{.m = &m, .vcpu = m.vcpu, .run = m.run}};
  w[1].vcpu = ioctl(m.vm, KVM_CREATE_VCPU, 1);
  must("create vcpu", w[1].vcpu);
  w[1].run = map_run(&m, w[1].vcpu);
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    enter_at(w[i].vcpu, CODE);
    struct kvm_regs regs = {.rip = CODE, .rflags = 2, .rbx = i, .rcx = 200};
    must("regs", ioctl(w[i].vcpu, KVM_SET_REGS, &regs));
    pthread_create(&threads[i], NULL, work, &w[i]);
  }
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  printf("results %d %d, exits %d %d, counted %d\n", w[0].result, w[1].result,
         w[0].run->exit_reason, w[1].run->exit_reason, *(uint16_t *)(m.memory + 0x3010));
  end_machine(&m);
}

static void part_interrupts(void) {
  struct machine m = {0};
  m.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  m.vm = ioctl(m.kvm, KVM_CREATE_VM, 0);
  m.memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must("slot", set_slot(&m, 0, 0, m.memory, SIZE));
  must("irqchip", ioctl(m.vm, KVM_CREATE_IRQCHIP, 0));
  m.vcpu = ioctl(m.vm, KVM_CREATE_VCPU, 0);
  m.run = map_run(&m, m.vcpu);
  enter_at(m.vcpu, CODE);
  /* The PIC: ICW1..4 with base 20h, all unmasked; out 10h,al, sti, hlt, and again. */
  CODE_IS(&m, "\xbc\x00\x80\xb0\x11\xe6\x20\xb0\x20\xe6\x21\xb0\x04\xe6\x21\xb0\x01\xe6\x21"
              "\xb0\x00\xe6\x21\xe6\x10\xfb\xf4\xeb\xfd");
  /* The handler of 24h: mov al,20h; out 20h,al (EOI); out 10h,al; iret */
  memcpy(m.memory + 0x2000, "\xb0\x20\xe6\x20\xe6\x10\xcf", 7);
  memcpy(m.memory + 0x24 * 4, "\x00\x20\x00\x00", 4);
  int fd = eventfd(0, 0);
  struct kvm_irqfd irqfd = {.fd = fd, .gsi = 4};
  show("irqfd", ioctl(m.vm, KVM_IRQFD, &irqfd));
  show("irqfd again", ioctl(m.vm, KVM_IRQFD, &irqfd));
  run_once("ready", &m);
  uint64_t one = 1;
  must("write", write(fd, &one, 8));
  run_once("interrupt", &m);
  struct pollfd p = {.fd = fd, .events = POLLIN};
  printf("eventfd taken: %d\n", poll(&p, 1, 0) == 0);
  irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
  show("deassign", ioctl(m.vm, KVM_IRQFD, &irqfd));
  irqfd.flags = 0;
  /* What is there already interrupts, and stays until there is more. */
  must("write", write(fd, &one, 8));
  show("irqfd of a count", ioctl(m.vm, KVM_IRQFD, &irqfd));
  run_once("interrupt", &m);
  printf("eventfd taken: %d\n", poll(&p, 1, 0) == 0);
  must("write", write(fd, &one, 8));
  run_once("interrupt", &m);
  printf("eventfd taken: %d\n", poll(&p, 1, 0) == 0);
  irqfd.fd = 0x7ffffff;
  show("no such descriptor", ioctl(m.vm, KVM_IRQFD, &irqfd));
  irqfd.fd = m.vm;
  show("not an eventfd", ioctl(m.vm, KVM_IRQFD, &irqfd));
  end_machine(&m);
}

static void part_ioeventfd(void) {
  struct machine m = new_machine(NULL);
  code(&m, talk, sizeof talk - 1);
  int fd = eventfd(0, EFD_NONBLOCK);
  struct kvm_ioeventfd io = {.addr = 0x10, .len = 1, .fd = fd, .flags = KVM_IOEVENTFD_FLAG_PIO};
  show("ioeventfd", ioctl(m.vm, KVM_IOEVENTFD, &io));
  run_once("past the out", &m);
  uint64_t count = 0;
  show("read", read(fd, &count, 8));
  printf("count %d\n", (int)count);
  end_machine(&m);
}

static const struct part parts[] = {
    {"run", part_run},         {"refusals", part_refusals}, {"memfd", part_memfd},
    {"remap", part_remap},     {"slots", part_slots},       {"descriptors", part_descriptors},
    {"fork", part_fork},       {"signals", part_signals},   {"threads", part_threads},
    {"interrupts", part_interrupts}, {"ioeventfd", part_ioeventfd},
};

int main(int argc, char **argv) {
  alarm(0);
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}
