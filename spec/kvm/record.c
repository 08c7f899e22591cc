// What Linux answers to KVM_CHECK_EXTENSION, and to every ioctl of x86 on each kind of descriptor with
// arguments that carry no meaning: the source of recorded.txt. Needs the headers of Linux 6.12.
//
//   gcc -O1 -static -o record record.c && ask-linux ./record > recorded.txt
//
// An ioctl line gives the number and then three answers each (/dev/kvm, VM, vCPU): for an address that is
// not mapped, for 64 KiB of zeros, and for the zeros again when there is an in-kernel interrupt controller.
// Values above 0 (frequencies, capabilities) are written as 1.
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ALL(X) \
  X(KVM_GET_API_VERSION) \
  X(KVM_CREATE_VM) \
  X(KVM_GET_MSR_INDEX_LIST) \
  X(KVM_CHECK_EXTENSION) \
  X(KVM_GET_VCPU_MMAP_SIZE) \
  X(KVM_GET_SUPPORTED_CPUID) \
  X(KVM_GET_EMULATED_CPUID) \
  X(KVM_GET_MSR_FEATURE_INDEX_LIST) \
  X(KVM_CREATE_VCPU) \
  X(KVM_GET_DIRTY_LOG) \
  X(KVM_SET_NR_MMU_PAGES) \
  X(KVM_GET_NR_MMU_PAGES) \
  X(KVM_SET_USER_MEMORY_REGION) \
  X(KVM_SET_TSS_ADDR) \
  X(KVM_SET_IDENTITY_MAP_ADDR) \
  X(KVM_SET_USER_MEMORY_REGION2) \
  X(KVM_CREATE_IRQCHIP) \
  X(KVM_IRQ_LINE) \
  X(KVM_GET_IRQCHIP) \
  X(KVM_SET_IRQCHIP) \
  X(KVM_CREATE_PIT) \
  X(KVM_GET_PIT) \
  X(KVM_SET_PIT) \
  X(KVM_IRQ_LINE_STATUS) \
  X(KVM_REGISTER_COALESCED_MMIO) \
  X(KVM_UNREGISTER_COALESCED_MMIO) \
  X(KVM_SET_GSI_ROUTING) \
  X(KVM_REINJECT_CONTROL) \
  X(KVM_IRQFD) \
  X(KVM_CREATE_PIT2) \
  X(KVM_SET_BOOT_CPU_ID) \
  X(KVM_IOEVENTFD) \
  X(KVM_XEN_HVM_CONFIG) \
  X(KVM_SET_CLOCK) \
  X(KVM_GET_CLOCK) \
  X(KVM_GET_PIT2) \
  X(KVM_SET_PIT2) \
  X(KVM_SET_TSC_KHZ) \
  X(KVM_GET_TSC_KHZ) \
  X(KVM_SIGNAL_MSI) \
  X(KVM_SET_PMU_EVENT_FILTER) \
  X(KVM_CREATE_DEVICE) \
  X(KVM_SET_DEVICE_ATTR) \
  X(KVM_GET_DEVICE_ATTR) \
  X(KVM_HAS_DEVICE_ATTR) \
  X(KVM_GET_REGS) \
  X(KVM_SET_REGS) \
  X(KVM_GET_SREGS) \
  X(KVM_SET_SREGS) \
  X(KVM_TRANSLATE) \
  X(KVM_INTERRUPT) \
  X(KVM_GET_MSRS) \
  X(KVM_SET_MSRS) \
  X(KVM_SET_CPUID) \
  X(KVM_SET_SIGNAL_MASK) \
  X(KVM_GET_FPU) \
  X(KVM_SET_FPU) \
  X(KVM_GET_LAPIC) \
  X(KVM_SET_LAPIC) \
  X(KVM_SET_CPUID2) \
  X(KVM_GET_CPUID2) \
  X(KVM_TPR_ACCESS_REPORTING) \
  X(KVM_SET_VAPIC_ADDR) \
  X(KVM_GET_MP_STATE) \
  X(KVM_SET_MP_STATE) \
  X(KVM_NMI) \
  X(KVM_SET_GUEST_DEBUG) \
  X(KVM_X86_SETUP_MCE) \
  X(KVM_X86_GET_MCE_CAP_SUPPORTED) \
  X(KVM_X86_SET_MCE) \
  X(KVM_GET_VCPU_EVENTS) \
  X(KVM_SET_VCPU_EVENTS) \
  X(KVM_GET_DEBUGREGS) \
  X(KVM_SET_DEBUGREGS) \
  X(KVM_ENABLE_CAP) \
  X(KVM_GET_XSAVE) \
  X(KVM_SET_XSAVE) \
  X(KVM_GET_XCRS) \
  X(KVM_SET_XCRS) \
  X(KVM_DIRTY_TLB) \
  X(KVM_GET_ONE_REG) \
  X(KVM_SET_ONE_REG) \
  X(KVM_KVMCLOCK_CTRL) \
  X(KVM_GET_REG_LIST) \
  X(KVM_SMI) \
  X(KVM_MEMORY_ENCRYPT_OP) \
  X(KVM_MEMORY_ENCRYPT_REG_REGION) \
  X(KVM_MEMORY_ENCRYPT_UNREG_REGION) \
  X(KVM_HYPERV_EVENTFD) \
  X(KVM_GET_NESTED_STATE) \
  X(KVM_SET_NESTED_STATE) \
  X(KVM_CLEAR_DIRTY_LOG) \
  X(KVM_GET_SUPPORTED_HV_CPUID) \
  X(KVM_X86_SET_MSR_FILTER) \
  X(KVM_RESET_DIRTY_RINGS) \
  X(KVM_XEN_HVM_GET_ATTR) \
  X(KVM_XEN_HVM_SET_ATTR) \
  X(KVM_XEN_VCPU_GET_ATTR) \
  X(KVM_XEN_VCPU_SET_ATTR) \
  X(KVM_XEN_HVM_EVTCHN_SEND) \
  X(KVM_GET_SREGS2) \
  X(KVM_SET_SREGS2) \
  X(KVM_GET_STATS_FD) \
  X(KVM_GET_XSAVE2) \
  X(KVM_SET_MEMORY_ATTRIBUTES) \
  X(KVM_CREATE_GUEST_MEMFD) \
  X(KVM_PRE_FAULT_MEMORY)

#define ROW(name) {#name, name},
static const struct {
  const char *name;
  unsigned long request;
} calls[] = {ALL(ROW){"UNKNOWN", 0xaeff}, {"UNKNOWN_R", 0x8008aefe}, {"NOT_KVM", 0x5401}};

static char zeros[65536];

// A new descriptor counts as 0, so that its number does not matter.
static int ask(int fd, unsigned long request, void *argument) {
  int made = dup(0);
  close(made);
  errno = 0;
  int value = ioctl(fd, request, argument);
  if (value < 0) return -errno;
  if (value != made || fcntl(value, F_GETFD) < 0) return value;
  close(value);
  return 0;
}

static void row(int sys, const char *name, unsigned long request, const char *how, void *argument,
                int irqchip) {
  printf(" %s", how);
  for (int which = 0; which < 3; which++) {
    int vm = ioctl(sys, KVM_CREATE_VM, 0);
    if (irqchip) ioctl(vm, KVM_CREATE_IRQCHIP, 0);
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    memset(zeros, 0, sizeof zeros);
    int value = ask(which == 0 ? sys : which == 1 ? vm : vcpu, request, argument);
    printf(" %d", value > 0 ? 1 : value);
    close(vcpu);
    close(vm);
  }
}

int main(void) {
  int sys = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  int vm = ioctl(sys, KVM_CREATE_VM, 0);
  for (long cap = 0; cap < 300; cap++) {
    int system = ask(sys, KVM_CHECK_EXTENSION, (void *)cap);
    int machine = ask(vm, KVM_CHECK_EXTENSION, (void *)cap);
    if (system || machine) printf("cap %ld %d %d\n", cap, system, machine);
  }
  close(vm);
  for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
    printf("ioctl %s %lx", calls[i].name, calls[i].request);
    row(sys, calls[i].name, calls[i].request, "unmapped", (void *)8, 0);
    row(sys, calls[i].name, calls[i].request, "zeros", zeros, 0);
    row(sys, calls[i].name, calls[i].request, "irqchip", zeros, 1);
    printf("\n");
  }
  return 0;
}
