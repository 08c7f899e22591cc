/* A machine with 64 KiB of memory and a vCPU in real mode, for the programs of this folder. */
#ifndef MACHINE_H
#define MACHINE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 0x10000
#define CODE 0x1000

struct machine {
  int kvm, vm, vcpu;
  uint8_t *memory;
  struct kvm_run *run;
};

static const char *name_of(int error) { return strerrorname_np(error); }

__attribute__((unused)) static void show(const char *what, long result) {
  if (result < 0)
    printf("%s: -%s\n", what, name_of(errno));
  else
    printf("%s: %ld\n", what, result);
}

static void must(const char *what, long result) {
  if (result >= 0) return;
  printf("%s: -%s, giving up\n", what, name_of(errno));
  exit(1);
}

static int set_slot(struct machine *m, int slot, uint64_t gpa, void *memory, size_t size) {
  struct kvm_userspace_memory_region region = {.slot = slot,
                                               .guest_phys_addr = gpa,
                                               .memory_size = size,
                                               .userspace_addr = (uintptr_t)memory};
  return ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static struct kvm_run *map_run(struct machine *m, int vcpu) {
  long size = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  void *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  must("mmap", run == MAP_FAILED ? -1 : 0);
  return run;
}

/* Real mode, at CODE, segments at 0. */
static void enter_at(int vcpu, uint64_t rip) {
  struct kvm_sregs sregs;
  must("get sregs", ioctl(vcpu, KVM_GET_SREGS, &sregs));
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  must("set sregs", ioctl(vcpu, KVM_SET_SREGS, &sregs));
  struct kvm_regs regs = {.rip = rip, .rflags = 2};
  must("set regs", ioctl(vcpu, KVM_SET_REGS, &regs));
}

static struct machine machine_of(int kvm, void *memory) {
  struct machine m = {.kvm = kvm, .memory = memory};
  m.vm = ioctl(m.kvm, KVM_CREATE_VM, 0);
  must("create vm", m.vm);
  if (!memory)
    m.memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must("slot", set_slot(&m, 0, 0, m.memory, SIZE));
  m.vcpu = ioctl(m.vm, KVM_CREATE_VCPU, 0);
  must("create vcpu", m.vcpu);
  m.run = map_run(&m, m.vcpu);
  enter_at(m.vcpu, CODE);
  return m;
}

__attribute__((unused)) static struct machine new_machine(void *memory) {
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  must("open", kvm);
  return machine_of(kvm, memory);
}

__attribute__((unused)) static void end_machine(struct machine *m) {
  munmap(m->run, 12288);
  close(m->vcpu);
  close(m->vm);
  close(m->kvm);
}

__attribute__((unused)) static void code(struct machine *m, const char *bytes, size_t size) {
  memcpy(m->memory + CODE, bytes, size);
}
#define CODE_IS(m, text) code(m, text, sizeof text - 1)

__attribute__((unused)) static void run_once(const char *what, struct machine *m) {
  int result = ioctl(m->vcpu, KVM_RUN, 0);
  int error = errno;
  printf("%s: ", what);
  if (result < 0) printf("-%s ", name_of(error));
  if (result == 0 && m->run->exit_reason == KVM_EXIT_IO)
    printf("IO %s port %x data %x\n", m->run->io.direction ? "out" : "in", m->run->io.port,
           *((uint8_t *)m->run + m->run->io.data_offset));
  else if (result == 0 && m->run->exit_reason == KVM_EXIT_MMIO)
    printf("MMIO %s %llx\n", m->run->mmio.is_write ? "write" : "read", m->run->mmio.phys_addr);
  else
    printf("exit %d\n", m->run->exit_reason);
}

/* A part of a program, which prints what it sees. */
struct part {
  const char *name;
  void (*part)(void);
};

/* Runs the parts that the arguments name, or all. */
__attribute__((unused)) static int run_parts(const struct part *parts, size_t count, int argc,
                                             char **argv) {
  for (size_t i = 0; i < count; i++) {
    int wanted = argc == 1;
    for (int a = 1; a < argc; a++) wanted |= !strcmp(argv[a], parts[i].name);
    if (!wanted) continue;
    printf("-- %s\n", parts[i].name);
    fflush(stdout);
    parts[i].part();
    fflush(stdout);
  }
  return 0;
}

#endif
