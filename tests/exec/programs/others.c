/*
 * What a virtual machine without a hypercall MSR sees of another one that has one: Linux has one switch
 * for all of a host. others.out is what this printed on Linux 6.12 (`ask-linux others`), and on 7.2.
 *
 *   gcc -O2 -o others others.c && ./others [PART...]
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <time.h>

#include "machine.h"

#define VECTOR 0x31
#define HANDLER 0x1800
#define VCPU_INFO 0x3000

/* A machine with interrupt controllers, an upcall vector and a vcpu_info; its handler takes the upcall. */
static struct machine machine_with_upcalls(void) {
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  must("open", kvm);
  struct machine m = {.kvm = kvm};
  m.vm = ioctl(kvm, KVM_CREATE_VM, 0);
  must("create vm", m.vm);
  must("irqchip", ioctl(m.vm, KVM_CREATE_IRQCHIP, 0));
  m.memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must("slot", set_slot(&m, 0, 0, m.memory, SIZE));
  m.vcpu = ioctl(m.vm, KVM_CREATE_VCPU, 0);
  must("create vcpu", m.vcpu);
  m.run = map_run(&m, m.vcpu);
  enter_at(m.vcpu, CODE);
  CODE_IS(&m, "\xfb\xe6\x10\xeb\xfc"); /* sti; 1: out 10h, al; jmp 1b */
  m.memory[VECTOR * 4 + 1] = HANDLER >> 8;
  /* mov byte [VCPU_INFO], 0; out 12h, al; iret */
  memcpy(m.memory + HANDLER, "\xc6\x06\x00\x30\x00\xe6\x12\xcf", 8);
  struct kvm_xen_hvm_attr vector = {.type = KVM_XEN_ATTR_TYPE_UPCALL_VECTOR, .u.vector = VECTOR};
  must("vector", ioctl(m.vm, KVM_XEN_HVM_SET_ATTR, &vector));
  struct kvm_xen_vcpu_attr info = {.type = KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, .u.gpa = VCPU_INFO};
  must("vcpu_info", ioctl(m.vcpu, KVM_XEN_VCPU_SET_ATTR, &info));
  return m;
}

static void configure(struct machine *m, uint32_t msr, uint32_t flags) {
  struct kvm_xen_hvm_config config = {.msr = msr, .flags = flags};
  must("config", ioctl(m->vm, KVM_XEN_HVM_CONFIG, &config));
}

/* Whether an upcall that waits is taken within a few exits. */
static void upcall(const char *when, struct machine *m) {
  m->memory[VCPU_INFO] = 1;
  bool taken = false;
  for (int i = 0; i < 4; i++) {
    must("run", ioctl(m->vcpu, KVM_RUN, 0));
    taken |= m->run->exit_reason == KVM_EXIT_IO && m->run->io.port == 0x12;
  }
  m->memory[VCPU_INFO] = 0;
  printf("%s: %s\n", when, taken ? "upcall" : "no upcall");
}

/* Where a hypercall goes. */
static void hypercall(const char *when, struct machine *m) {
  static const uint8_t guest[] = {0x0f, 0x01, 0xd9, 0xe6, 0x10}; /* vmmcall; out 10h, al */
  memcpy(m->memory + CODE + 0x100, guest, sizeof guest);
  m->run->exit_reason = 0;
  enter_at(m->vcpu, CODE + 0x100);
  must("run", ioctl(m->vcpu, KVM_RUN, 0));
  printf("%s: %s\n", when, m->run->exit_reason == KVM_EXIT_XEN ? "to the client" : "KVM's own");
  if (m->run->exit_reason == KVM_EXIT_XEN) must("run", ioctl(m->vcpu, KVM_RUN, 0));
}

static void wait_ms(long ms) {
  nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void part_upcalls(void) {
  struct machine m = machine_with_upcalls();
  upcall("alone", &m);
  struct machine other = new_machine(NULL);
  upcall("another machine without an MSR", &m);
  configure(&other, 0x40000000, 0);
  upcall("another machine with one", &m);
  configure(&other, 0, 0);
  upcall("at once after it gave it up", &m);
  wait_ms(2500);
  upcall("later", &m);
  configure(&other, 0x40000000, 0);
  upcall("again", &m);
  end_machine(&other);
  wait_ms(2500);
  upcall("after its end", &m);
  end_machine(&m);
}

static void part_hypercalls(void) {
  struct machine m = machine_with_upcalls();
  configure(&m, 0, KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL);
  hypercall("alone", &m);
  struct machine other = new_machine(NULL);
  configure(&other, 0x40000000, 0);
  hypercall("another machine with an MSR", &m);
  end_machine(&other);
  wait_ms(2500);
  hypercall("after its end", &m);
  end_machine(&m);
}

static const struct part parts[] = {
    {"upcalls", part_upcalls},
    {"hypercalls", part_hypercalls},
};

int main(int argc, char **argv) {
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}
