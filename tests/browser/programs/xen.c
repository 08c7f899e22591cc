/* A VM with Xen's attributes set, which waits for a line, and says then what XEN_VERSION is by now. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define SIZE 0x10000

static void must(const char *what, long result) {
  if (result >= 0) return;
  perror(what);
  exit(1);
}

int main(void) {
  int kvm = open("/dev/kvm", O_RDWR);
  must("open", kvm);
  int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  must("vm", vm);
  must("irqchip", ioctl(vm, KVM_CREATE_IRQCHIP, 0));
  void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct kvm_userspace_memory_region region = {.memory_size = SIZE,
                                               .userspace_addr = (uintptr_t)memory};
  must("memory", ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
  struct kvm_xen_hvm_config config = {.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL | (1 << 5),
                                      .msr = 0x40000000};
  must("config", ioctl(vm, KVM_XEN_HVM_CONFIG, &config));
  struct kvm_xen_hvm_attr attr = {.type = KVM_XEN_ATTR_TYPE_LONG_MODE, .u.long_mode = 1};
  must("long mode", ioctl(vm, KVM_XEN_HVM_SET_ATTR, &attr));
  attr = (struct kvm_xen_hvm_attr){.type = KVM_XEN_ATTR_TYPE_SHARED_INFO, .u.shared_info.gfn = 4};
  must("shared_info", ioctl(vm, KVM_XEN_HVM_SET_ATTR, &attr));
  attr = (struct kvm_xen_hvm_attr){.type = KVM_XEN_ATTR_TYPE_UPCALL_VECTOR, .u.vector = 0x33};
  must("vector", ioctl(vm, KVM_XEN_HVM_SET_ATTR, &attr));
  int vcpu = ioctl(vm, KVM_CREATE_VCPU, 5);
  must("vcpu", vcpu);
  struct kvm_xen_vcpu_attr own = {.type = KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, .u.gpa = 0x5000};
  must("vcpu_info", ioctl(vcpu, KVM_XEN_VCPU_SET_ATTR, &own));
  own = (struct kvm_xen_vcpu_attr){.type = KVM_XEN_VCPU_ATTR_TYPE_TIMER,
                                   .u.timer = {.port = 7, .priority = -1, .expires_ns = 1ull << 60}};
  must("timer", ioctl(vcpu, KVM_XEN_VCPU_SET_ATTR, &own));
  /* Port 9 is pending. */
  ((uint8_t *)memory)[0x4801] = 2;
  ((uint8_t *)memory)[0x5001] = 1;
  puts("ready");
  fflush(stdout);
  getchar();
  attr = (struct kvm_xen_hvm_attr){.type = KVM_XEN_ATTR_TYPE_XEN_VERSION};
  must("get", ioctl(vm, KVM_XEN_HVM_GET_ATTR, &attr));
  printf("XEN_VERSION is 0x%x\n", attr.u.xen_version);
  return 0;
}
