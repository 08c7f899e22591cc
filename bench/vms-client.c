/*
 * A KVM client that holds many VMs: each with an interrupt controller, 64 KiB of memory and a vCPU that has run.
 * After 20 VMs that do not count, prints what COUNT more add to the resident memory of its parent, which serves
 * it under `kvm-xen exec`, and to its own, in KiB.
 *
 *   vms-client COUNT
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
#include <unistd.h>

#define MEMORY 0x10000
#define WARM 20

/* mov dx, 0x3f8; out dx, al; hlt */
static const uint8_t code[] = {0xba, 0xf8, 0x03, 0xee, 0xf4};

static long check(long result, const char *what) {
  if (result < 0) {
    perror(what);
    exit(1);
  }
  return result;
}

static long resident(int pid) {
  char path[64], line[256];
  long kib = -1;
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE *file = fopen(path, "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, "VmRSS:", 6) == 0) kib = atol(line + 6);
  if (file) fclose(file);
  return check(kib, path);
}

static void make_vm(int kvm, long run_bytes) {
  int vm = (int)check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
  check(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
  uint8_t *memory =
      mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) check(-1, "mmap");
  memcpy(memory, code, sizeof code);
  struct kvm_userspace_memory_region region = {
      .memory_size = MEMORY, .userspace_addr = (uintptr_t)memory};
  check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
  int vcpu = (int)check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
  struct kvm_run *run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) check(-1, "mmap of kvm_run");
  struct kvm_sregs sregs;
  check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
  struct kvm_regs regs = {.rflags = 2};
  check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
  check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
  if (run->exit_reason != KVM_EXIT_IO) {
    fprintf(stderr, "exit %u\n", run->exit_reason);
    exit(1);
  }
}

int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 1;
  int kvm = (int)check(open("/dev/kvm", O_RDWR), "/dev/kvm");
  long run_bytes = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
  /* The first ones make the server compile the engine, twice: what that needs once is not a VM's. */
  for (int i = 0; i < WARM; i++) make_vm(kvm, run_bytes);
  long server = resident(getppid()), own = resident(getpid());
  for (int i = 0; i < count; i++) make_vm(kvm, run_bytes);
  printf("%ld %ld\n", resident(getppid()) - server, resident(getpid()) - own);
  return 0;
}
