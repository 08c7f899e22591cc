/*
 * KVM_IRQ_LINE and KVM_IRQ_LINE_STATUS, most of all for lines that are low already. lines.out is what this printed on Linux
 * 6.12 (`ask-linux lines`).
 *
 *   gcc -O2 -pthread -o lines lines.c && ./lines [PART...]
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "machine.h"

static struct machine chip_machine(bool pit) {
  struct machine m = {.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC)};
  must("open", m.kvm);
  m.vm = ioctl(m.kvm, KVM_CREATE_VM, 0);
  must("create vm", m.vm);
  must("irqchip", ioctl(m.vm, KVM_CREATE_IRQCHIP, 0));
  struct kvm_pit_config config = {0};
  if (pit) must("pit", ioctl(m.vm, KVM_CREATE_PIT2, &config));
  m.memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must("slot", set_slot(&m, 0, 0, m.memory, SIZE));
  m.vcpu = ioctl(m.vm, KVM_CREATE_VCPU, 0);
  must("create vcpu", m.vcpu);
  m.run = map_run(&m, m.vcpu);
  enter_at(m.vcpu, CODE);
  return m;
}

static int level(struct machine *m, unsigned irq, unsigned up) {
  struct kvm_irq_level line = {.irq = irq, .level = up};
  int result = ioctl(m->vm, KVM_IRQ_LINE_STATUS, &line);
  return result ? -100 - errno : line.status;
}

/* Lowers a line a few times. */
static void low(const char *what, struct machine *m, unsigned irq) {
  printf("%s: line %u low", what, irq);
  for (int i = 0; i < 4; i++) printf(" %d", level(m, irq, 0));
  printf("\n");
}

/* out PORT, al; the guest leaves by port 99h. */
static void out(struct machine *m, uint8_t port, uint8_t value) {
  char text[] = {(char)0xb0, (char)value, (char)0xe6, (char)port, (char)0xe6, (char)0x99};
  code(m, text, sizeof text);
  /* What it has written is done when it is entered again. */
  ioctl(m->vcpu, KVM_RUN, 0);
  enter_at(m->vcpu, CODE);
}

static void show_pic(struct machine *m, int chip) {
  struct kvm_irqchip state = {.chip_id = (unsigned)chip};
  must("get irqchip", ioctl(m->vm, KVM_GET_IRQCHIP, &state));
  struct kvm_pic_state *pic = &state.chip.pic;
  printf("chip %d: last_irr %x irr %x imr %x isr %x\n", chip, pic->last_irr, pic->irr, pic->imr,
         pic->isr);
}

static void part_levels(void) {
  struct machine m = chip_machine(false);
  for (unsigned irq = 0; irq < 26; irq++) low("new", &m, irq);
  low("far", &m, 239);
  low("far", &m, 240);
  low("far", &m, 4095);
  low("beyond", &m, 4096);
  for (unsigned irq = 3; irq < 24; irq += 7) {
    printf("up %d", level(&m, irq, 1));
    printf(", again %d", level(&m, irq, 1));
    printf(", down %d", level(&m, irq, 0));
    printf(", again %d", level(&m, irq, 0));
    printf(", up %d", level(&m, irq, 1));
    printf(", down %d\n", level(&m, irq, 0));
  }
  struct kvm_irq_level line = {.irq = 4, .level = 0};
  for (int i = 0; i < 3; i++) show("without status", ioctl(m.vm, KVM_IRQ_LINE, &line));
  printf("irq %u level %u\n", line.irq, line.level);
  line.level = 7;
  show("up", ioctl(m.vm, KVM_IRQ_LINE_STATUS, &line));
  printf("status %d level %u\n", line.status, line.level);
  show_pic(&m, 0);
  for (int i = 0; i < 3; i++)
    show("no memory", ioctl(m.vm, KVM_IRQ_LINE_STATUS, (void *)(uintptr_t)(i ? 8 : 0)));
  static struct kvm_irq_level elsewhere;
  for (int i = 0; i < 3; i++) {
    elsewhere = (struct kvm_irq_level){.irq = 5};
    show("not on a stack", ioctl(m.vm, KVM_IRQ_LINE_STATUS, &elsewhere));
    printf("status %d\n", elsewhere.status);
  }
  end_machine(&m);
}

/* The mask of the PIC is part of the answer. */
static void part_mask(void) {
  struct machine m = chip_machine(true);
  low("new", &m, 4);
  low("new", &m, 12);
  out(&m, 0x21, 0x10);
  low("masked", &m, 4);
  low("as before", &m, 12);
  out(&m, 0xa1, 0x10);
  low("masked", &m, 12);
  out(&m, 0x21, 0);
  low("not masked", &m, 4);
  low("of the PIT", &m, 0);
  out(&m, 0x20, 0x11); /* an initialisation begins */
  out(&m, 0x21, 0x20);
  low("in an initialisation", &m, 4);
  out(&m, 0x21, 4);
  out(&m, 0x21, 1);
  printf("up %d\n", level(&m, 4, 1));
  show_pic(&m, 0);
  low("after", &m, 4);
  show_pic(&m, 0);
  end_machine(&m);
}

/* So are states that are put back, and routes. */
static void part_states(void) {
  struct machine m = chip_machine(false);
  low("new", &m, 4);
  struct kvm_irqchip state = {.chip_id = KVM_IRQCHIP_PIC_MASTER};
  must("get irqchip", ioctl(m.vm, KVM_GET_IRQCHIP, &state));
  state.chip.pic.imr = 0xff;
  state.chip.pic.irr = state.chip.pic.last_irr = 0x10;
  state.chip.pic.elcr = 0x10;
  must("set irqchip", ioctl(m.vm, KVM_SET_IRQCHIP, &state));
  show_pic(&m, 0);
  low("masked", &m, 4);
  show_pic(&m, 0);
  struct kvm_irqchip io = {.chip_id = KVM_IRQCHIP_IOAPIC};
  must("get irqchip", ioctl(m.vm, KVM_GET_IRQCHIP, &io));
  low("new", &m, 20);
  io.chip.ioapic.irr = 1 << 20;
  must("set irqchip", ioctl(m.vm, KVM_SET_IRQCHIP, &io));
  low("waits", &m, 20);
  must("get irqchip", ioctl(m.vm, KVM_GET_IRQCHIP, &io));
  printf("irr %x\n", io.chip.ioapic.irr);
  struct {
    struct kvm_irq_routing head;
    struct kvm_irq_routing_entry entries[2];
  } table = {.head = {.nr = 1}};
  table.entries[0].gsi = 20;
  table.entries[0].type = KVM_IRQ_ROUTING_MSI;
  must("routing", ioctl(m.vm, KVM_SET_GSI_ROUTING, &table));
  low("a message", &m, 20);
  low("without a route", &m, 4);
  /* Two lines to one pin: either lowers it. */
  table.head.nr = 2;
  for (int i = 0; i < 2; i++) {
    table.entries[i] = (struct kvm_irq_routing_entry){.gsi = 30u + (unsigned)i,
                                                      .type = KVM_IRQ_ROUTING_IRQCHIP};
    table.entries[i].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
    table.entries[i].u.irqchip.pin = 9;
  }
  must("routing", ioctl(m.vm, KVM_SET_GSI_ROUTING, &table));
  low("one", &m, 30);
  printf("up %d\n", level(&m, 31, 1));
  must("get irqchip", ioctl(m.vm, KVM_GET_IRQCHIP, &io));
  printf("irr %x\n", io.chip.ioapic.irr);
  low("the other", &m, 30);
  must("get irqchip", ioctl(m.vm, KVM_GET_IRQCHIP, &io));
  printf("irr %x\n", io.chip.ioapic.irr);
  end_machine(&m);
}

/* A line that somebody else holds up, here an irqfd until the guest has ended its interrupt. */
static void part_held(void) {
  struct machine m = chip_machine(false);
  int raise = eventfd(0, EFD_CLOEXEC), ended = eventfd(0, EFD_CLOEXEC);
  struct kvm_irqfd irqfd = {.fd = (unsigned)raise,
                            .gsi = 10,
                            .flags = KVM_IRQFD_FLAG_RESAMPLE,
                            .resamplefd = (unsigned)ended};
  low("new", &m, 10);
  must("irqfd", ioctl(m.vm, KVM_IRQFD, &irqfd));
  low("quiet", &m, 10);
  eventfd_write(raise, 1);
  usleep(100000);
  low("held", &m, 10);
  struct kvm_irqchip io = {.chip_id = KVM_IRQCHIP_IOAPIC};
  must("get irqchip", ioctl(m.vm, KVM_GET_IRQCHIP, &io));
  printf("irr %x\n", io.chip.ioapic.irr);
  irqfd.flags |= KVM_IRQFD_FLAG_DEASSIGN;
  must("irqfd", ioctl(m.vm, KVM_IRQFD, &irqfd));
  low("let go", &m, 10);
  must("get irqchip", ioctl(m.vm, KVM_GET_IRQCHIP, &io));
  printf("irr %x\n", io.chip.ioapic.irr);
  end_machine(&m);
}

struct raiser {
  struct machine *m;
  unsigned irq;
};

static void *raises(void *argument) {
  struct raiser *r = argument;
  printf("in a thread: up %d\n", level(r->m, r->irq, 1));
  low("in a thread", r->m, r->irq);
  printf("in a thread: up %d\n", level(r->m, r->irq, 1));
  return NULL;
}

/* Other threads, other VMs, other processes, and many VMs. */
static void part_others(void) {
  struct machine m = chip_machine(false), other = chip_machine(false);
  low("first", &m, 3);
  low("second", &other, 3);
  struct raiser r = {&m, 3};
  pthread_t thread;
  pthread_create(&thread, NULL, raises, &r);
  pthread_join(thread, NULL);
  show_pic(&m, 0);
  low("first", &m, 3);
  show_pic(&m, 0);
  low("second", &other, 3);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    printf("child: %d %d\n", level(&m, 3, 0), level(&m, 3, 1));
    struct machine own = chip_machine(false);
    low("child", &own, 3);
    printf("child: up %d\n", level(&own, 3, 1));
    exit(0);
  }
  waitpid(child, NULL, 0);
  low("first", &m, 3);
  end_machine(&m);
  low("second", &other, 3);
  bool same = true;
  for (int i = 0; i < 40; i++) {
    struct machine more = chip_machine(false);
    int before = level(&more, 6, 0), again = level(&more, 6, 0), up = level(&more, 6, 1);
    int down = level(&more, 6, 0), low = level(&more, 6, 0);
    same = same && before == again && again == down && down == low && up > 0;
    /* Some stay. */
    if (i % 2) end_machine(&more);
  }
  printf("all alike: %d\n", same);
  low("second", &other, 3);
  end_machine(&other);
}

/* What a program waits for with signalfd is not looked at because another thread is in KVM_RUN. */
static volatile int waiter;

static void *waits(void *argument) {
  struct pollfd event = {.fd = *(int *)argument, .events = POLLIN};
  waiter = (int)syscall(SYS_gettid);
  poll(&event, 1, -1);
  return NULL;
}

static long sleeps(void) {
  char path[64], line[128];
  long count = -1;
  snprintf(path, sizeof path, "/proc/self/task/%d/status", waiter);
  FILE *file = fopen(path, "r");
  while (file && fgets(line, sizeof line, file)) sscanf(line, "voluntary_ctxt_switches: %ld", &count);
  if (file) fclose(file);
  return count;
}

/* Leaves other things on the stack each time. */
static void __attribute__((noinline)) litter(int with) {
  char bytes[8192];
  memset(bytes, with, sizeof bytes);
  __asm__ volatile("" : : "r"(bytes) : "memory");
}

static void part_signalfd(void) {
  struct machine m = new_machine(NULL);
  CODE_IS(&m, "\xe6\x10\xeb\xfc"); /* out 10h, al; jmp to it */
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &one, NULL);
  int fd = signalfd(-1, &one, SFD_CLOEXEC);
  pthread_t thread;
  pthread_create(&thread, NULL, waits, &fd);
  while (!waiter) usleep(1000);
  usleep(100000);
  ioctl(m.vcpu, KVM_RUN, 0);
  long before = sleeps();
  for (int i = 0; i < 200; i++) {
    litter(i);
    ioctl(m.vcpu, KVM_RUN, 0);
  }
  usleep(100000);
  printf("a thread that waits was left alone: %d\n", before >= 0 && sleeps() - before < 20);
  kill(getpid(), SIGUSR1);
  pthread_join(thread, NULL);
  end_machine(&m);
}

static const struct part parts[] = {
    {"levels", part_levels}, {"mask", part_mask},     {"states", part_states},
    {"held", part_held},     {"others", part_others}, {"signalfd", part_signalfd},
};

int main(int argc, char **argv) {
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}
