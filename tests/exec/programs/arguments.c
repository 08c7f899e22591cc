/*
 * Arguments of ioctls in memory of every kind: what cannot be read or written is EFAULT, in its order
 * with other refusals. arguments.out is what this printed on Linux 6.12 (`ask-linux arguments`).
 *
 *   gcc -O2 -pthread -o arguments arguments.c && ./arguments [PART...]
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/auxv.h>
#include <ucontext.h>

#include "machine.h"

#define PAGE 4096ul

/* Two pages of which the program may use the first one only; `access` is that of the first. */
static uint8_t *pages(int access) {
  uint8_t *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(at, PAGE, access);
  mprotect(at + PAGE, PAGE, PROT_NONE);
  return at;
}

static struct call {
  const char *name;
  unsigned long request;
  enum { SYSTEM, VM, VCPU } of;
} calls[] = {
    {"GET_REGS", KVM_GET_REGS, VCPU},
    {"SET_REGS", KVM_SET_REGS, VCPU},
    {"GET_SREGS", KVM_GET_SREGS, VCPU},
    {"SET_FPU", KVM_SET_FPU, VCPU},
    {"TRANSLATE", KVM_TRANSLATE, VCPU},
    {"GET_XSAVE", KVM_GET_XSAVE, VCPU},
    {"GET_LAPIC without one", KVM_GET_LAPIC, VCPU},
    {"SET_LAPIC without one", KVM_SET_LAPIC, VCPU},
    {"GET_MSRS", KVM_GET_MSRS, VCPU},
    {"GET_CPUID2", KVM_GET_CPUID2, VCPU},
    {"SET_SIGNAL_MASK", KVM_SET_SIGNAL_MASK, VCPU},
    {"XEN_VCPU_GET_ATTR", KVM_XEN_VCPU_GET_ATTR, VCPU},
    {"XEN_VCPU_SET_ATTR", KVM_XEN_VCPU_SET_ATTR, VCPU},
    {"XEN_HVM_GET_ATTR", KVM_XEN_HVM_GET_ATTR, VM},
    {"XEN_HVM_SET_ATTR", KVM_XEN_HVM_SET_ATTR, VM},
    {"GET_CLOCK", KVM_GET_CLOCK, VM},
    {"SET_IDENTITY_MAP_ADDR", KVM_SET_IDENTITY_MAP_ADDR, VM},
    {"GET_IRQCHIP without one", KVM_GET_IRQCHIP, VM},
    {"IRQ_LINE without one", KVM_IRQ_LINE, VM},
    {"SET_GSI_ROUTING without one", KVM_SET_GSI_ROUTING, VM},
    {"GET_MSR_INDEX_LIST", KVM_GET_MSR_INDEX_LIST, SYSTEM},
    {"GET_SUPPORTED_CPUID", KVM_GET_SUPPORTED_CPUID, SYSTEM},
    {"a VM's call of the system", KVM_GET_CLOCK, SYSTEM},
    {"unknown, reads", _IOW(KVMIO, 0x7e, uint64_t), VCPU},
    {"unknown, writes", _IOR(KVMIO, 0x7e, uint64_t), VM},
    {"unknown, both", _IOWR(KVMIO, 0x7e, uint64_t), SYSTEM},
    {"unknown of others", _IOWR('x', 0x7e, uint64_t), VCPU},
};

static void part_places(void) {
  struct machine m = new_machine(NULL);
  uint8_t *writable = pages(PROT_READ | PROT_WRITE);
  uint8_t *constant = pages(PROT_READ);
  uint8_t *closed = pages(PROT_NONE);
  const struct {
    const char *name;
    uint64_t at;
  } places[] = {
      {"fits", (uintptr_t)writable},
      {"ends early", (uintptr_t)writable + PAGE - 4},
      {"read only", (uintptr_t)constant},
      {"no access", (uintptr_t)closed},
      {"null", 0},
      {"low", 8},
      {"last page", 0x7ffffffff000 - 8},
      {"not canonical", 0x0000800000000000},
      {"kernel", 0xffffffff81000000},
      {"end", ~0ull - 3},
  };
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    int fd = calls[i].of == SYSTEM ? m.kvm : calls[i].of == VM ? m.vm : m.vcpu;
    printf("%s:", calls[i].name);
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
      memset(writable, 0, PAGE);
      int result = ioctl(fd, calls[i].request, places[p].at);
      printf(" %s %s", places[p].name, result < 0 ? name_of(errno) : "0");
      printf(p + 1 < sizeof places / sizeof *places ? "," : "\n");
    }
  }
  end_machine(&m);
}

/* What is in front of memory that cannot be written is written all the same. */
static void part_written(void) {
  struct machine m = new_machine(NULL);
  uint8_t *at = pages(PROT_READ | PROT_WRITE);
  struct kvm_regs regs = {.rax = 0x1122334455667788, .rbx = 0x99, .rflags = 2, .rip = 0x1234};
  must("set regs", ioctl(m.vcpu, KVM_SET_REGS, &regs));
  uint64_t *tail = (uint64_t *)(at + PAGE - 16);
  memset(at, 0xaa, PAGE);
  show("get regs", ioctl(m.vcpu, KVM_GET_REGS, tail));
  printf("%lx %lx\n", tail[0], tail[1]);
  memset(at, 0xaa, PAGE);
  struct kvm_regs *whole = (struct kvm_regs *)(at + PAGE - sizeof regs);
  show("to the end", ioctl(m.vcpu, KVM_GET_REGS, whole));
  printf("%llx %llx, before it %x\n", whole->rax, whole->rip, ((uint8_t *)whole)[-1]);
  struct kvm_xen_hvm_attr attr = {.type = KVM_XEN_ATTR_TYPE_UPCALL_VECTOR};
  attr.u.vector = 0x55;
  show("set vector", ioctl(m.vm, KVM_XEN_HVM_SET_ATTR, &attr));
  memset(&attr.u, 0xff, sizeof attr.u);
  show("get vector", ioctl(m.vm, KVM_XEN_HVM_GET_ATTR, &attr));
  printf("%x, behind it %x\n", attr.u.vector, ((uint8_t *)&attr)[sizeof attr - 1]);
  attr.type = 0x77;
  attr.u.vector = 0x11;
  show("get unknown", ioctl(m.vm, KVM_XEN_HVM_GET_ATTR, &attr));
  printf("%x\n", attr.u.vector);
  end_machine(&m);
}

/* What cannot be written back has happened. */
static void part_effects(void) {
  struct machine m = {0};
  m.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  m.vm = ioctl(m.kvm, KVM_CREATE_VM, 0);
  must("create irqchip", ioctl(m.vm, KVM_CREATE_IRQCHIP, 0));
  uint8_t *at = pages(PROT_READ | PROT_WRITE);
  struct kvm_irq_level line = {.irq = 5, .level = 1};
  memcpy(at, &line, sizeof line);
  mprotect(at, PAGE, PROT_READ);
  show("line status", ioctl(m.vm, KVM_IRQ_LINE_STATUS, at));
  struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_PIC_MASTER};
  must("get irqchip", ioctl(m.vm, KVM_GET_IRQCHIP, &chip));
  printf("irr %x\n", chip.chip.pic.irr);
  mprotect(at, PAGE, PROT_READ | PROT_WRITE);
  line.level = 0;
  memcpy(at, &line, sizeof line);
  show("line status", ioctl(m.vm, KVM_IRQ_LINE_STATUS, at));
  memcpy(&line, at, sizeof line);
  printf("status %u, level %u\n", line.status, line.level);
  must("get irqchip", ioctl(m.vm, KVM_GET_IRQCHIP, &chip));
  printf("irr %x\n", chip.chip.pic.irr);
  close(m.vm);
  close(m.kvm);
}

/* An argument inside of the guest's own memory, and one that two slots' ends share. */
static void part_guest(void) {
  struct machine m = new_machine(NULL);
  struct kvm_regs *regs = (struct kvm_regs *)(m.memory + 0x2ff8);
  memset(regs, 0, sizeof *regs);
  regs->rip = CODE;
  regs->rflags = 2;
  regs->rax = 0x42;
  must("set", ioctl(m.vcpu, KVM_SET_REGS, regs));
  CODE_IS(&m, "\xe6\x10\xf4");
  run_once("run", &m);
  memset(regs, 0xff, sizeof *regs);
  must("get", ioctl(m.vcpu, KVM_GET_REGS, regs));
  printf("rax %llx rip %llx\n", regs->rax, regs->rip);
  end_machine(&m);
}

/*
 * One call with its argument on the stack that this runs on, and ones in the page above another stack: it
 * belongs to the same mapping until the first of them was made.
 */
static struct {
  int vm;
  uint8_t *above;
} there;

static void calls_from(const char *stack) {
  struct kvm_xen_hvm_attr attr = {.type = KVM_XEN_ATTR_TYPE_XEN_VERSION};
  printf("%s\n", stack);
  show("  own", ioctl(there.vm, KVM_XEN_HVM_GET_ATTR, &attr));
  printf("  version %x\n", attr.u.xen_version);
  mprotect(there.above, PAGE, PROT_NONE);
  show("  above", ioctl(there.vm, KVM_XEN_HVM_GET_ATTR, there.above));
  show("  half above", ioctl(there.vm, KVM_XEN_HVM_GET_ATTR, there.above - 8));
  mprotect(there.above, PAGE, PROT_READ | PROT_WRITE);
  fflush(stdout);
}

static void *thread_calls(void *name) {
  calls_from(name);
  return NULL;
}

static void signal_calls(int signal) {
  (void)signal;
  calls_from("signal");
}

static ucontext_t back, context;
static void context_calls(void) { calls_from("context"); }

#define STACK (16 * PAGE)

static void part_stacks(void) {
  struct machine m = new_machine(NULL);
  struct kvm_xen_hvm_attr version = {.type = KVM_XEN_ATTR_TYPE_XEN_VERSION, .u.xen_version = 0x40011};
  must("version", ioctl(m.vm, KVM_XEN_HVM_SET_ATTR, &version));
  there.vm = m.vm;
  uint8_t *stacks = mmap(NULL, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  there.above = stacks + STACK;
  calls_from("main");
  pthread_t thread;
  pthread_create(&thread, NULL, thread_calls, "thread");
  pthread_join(thread, NULL);
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstack(&attr, stacks, STACK);
  pthread_create(&thread, &attr, thread_calls, "thread with a stack of its own");
  pthread_join(thread, NULL);
  getcontext(&context);
  context.uc_stack = (stack_t){.ss_sp = stacks, .ss_size = STACK};
  context.uc_link = &back;
  makecontext(&context, context_calls, 0);
  swapcontext(&back, &context);
  sigaltstack(&(stack_t){.ss_sp = stacks, .ss_size = STACK}, NULL);
  sigaction(SIGUSR1, &(struct sigaction){.sa_handler = signal_calls, .sa_flags = SA_ONSTACK}, NULL);
  raise(SIGUSR1);
  end_machine(&m);
}

/* Takes pages of its own stack away, one after the other. */
static void *protected_calls(void *of) {
  const struct machine *m = of;
  struct kvm_regs regs;
  char room[5 * PAGE];
  char *page = (char *)(((uintptr_t)room + PAGE - 1) & ~(PAGE - 1)), *second = page + 2 * PAGE;
  memset(room, 0, sizeof room);
  show("  usual", ioctl(m->vcpu, KVM_GET_REGS, second));
  mprotect(second, PAGE, PROT_READ);
  show("  read only, get", ioctl(m->vcpu, KVM_GET_REGS, second));
  show("  read only, set", ioctl(m->vcpu, KVM_SET_REGS, second));
  mprotect(second, PAGE, PROT_NONE);
  show("  no access, set", ioctl(m->vcpu, KVM_SET_REGS, second));
  show("  half of it", ioctl(m->vcpu, KVM_SET_REGS, second - sizeof(struct kvm_regs) / 2));
  show("  above", ioctl(m->vcpu, KVM_GET_REGS, second + PAGE));
  mmap(page, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  show("  something else, get", ioctl(m->vcpu, KVM_GET_REGS, page));
  show("  below", ioctl(m->vcpu, KVM_GET_REGS, &regs));
  mmap(page, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  show("  there again", ioctl(m->vcpu, KVM_GET_REGS, second));
  return NULL;
}

static void part_protected(void) {
  struct machine m = new_machine(NULL);
  pthread_t thread;
  puts("main");
  protected_calls(&m);
  puts("thread");
  pthread_create(&thread, NULL, protected_calls, &m);
  pthread_join(thread, NULL);
  end_machine(&m);
}

static int asked, answered;
static void ask(int signal) { answered = ioctl(asked, KVM_GET_API_VERSION, 0) + signal - signal; }

/* Its first call of all is a handler's, on a stack with 4 KiB beside what the kernel puts there. */
static void *first_call(void *unused) {
  size_t size = 4096 + getauxval(AT_MINSIGSTKSZ);
  size_t all = (size + PAGE - 1) & ~(PAGE - 1);
  char *low = mmap(NULL, PAGE + all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(low, PAGE, PROT_NONE);
  sigaltstack(&(stack_t){.ss_sp = low + PAGE, .ss_size = size}, NULL);
  sigaction(SIGUSR1, &(struct sigaction){.sa_handler = ask, .sa_flags = SA_ONSTACK}, NULL);
  pthread_kill(pthread_self(), SIGUSR1);
  return unused;
}

static void part_small(void) {
  pthread_t thread;
  asked = open("/dev/kvm", O_RDWR);
  pthread_create(&thread, NULL, first_call, NULL);
  pthread_join(thread, NULL);
  printf("in a handler: %d\n", answered);
  close(asked);
}

static const struct part parts[] = {
    {"places", part_places},
    {"written", part_written},
    {"effects", part_effects},
    {"guest", part_guest},
    {"stacks", part_stacks},
    {"protected", part_protected},
    {"small", part_small},
};

int main(int argc, char **argv) {
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}
