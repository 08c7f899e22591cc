/*
 * A KVM client that measures round trips: microseconds per ioctl, and per KVM_RUN that ends with an
 * access to a port. Prints lines of a name and a figure.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void check(int result) {
  if (result < 0) {
    perror("ioctl");
    exit(1);
  }
}

#define MEASURE(name, call)                                        \
  do {                                                             \
    double start = now_us();                                       \
    for (int i = 0; i < rounds; i++) check(call);                  \
    printf("%s %.3f\n", name, (now_us() - start) / rounds);        \
  } while (0)

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 20000;
  int kvm = open("/dev/kvm", O_RDWR);
  check(kvm);
  int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  check(vm);
  uint8_t *memory = mmap(NULL, 0x2000, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(memory + 0x1000, "\xe6\x10\xeb\xfc", 4); /* out 10h, al; jmp to it */
  struct kvm_userspace_memory_region slot = {.memory_size = 0x2000,
                                             .userspace_addr = (uintptr_t)memory};
  check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot));
  int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  check(vcpu);
  struct kvm_sregs sregs;
  check(ioctl(vcpu, KVM_GET_SREGS, &sregs));
  sregs.cs.base = sregs.cs.selector = 0;
  check(ioctl(vcpu, KVM_SET_SREGS, &sregs));
  struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};
  check(ioctl(vcpu, KVM_SET_REGS, &regs));
  MEASURE("KVM_CHECK_EXTENSION", ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_XEN_HVM));
  MEASURE("KVM_GET_REGS", ioctl(vcpu, KVM_GET_REGS, &regs));
  MEASURE("KVM_RUN", ioctl(vcpu, KVM_RUN, 0));
  return 0;
}
