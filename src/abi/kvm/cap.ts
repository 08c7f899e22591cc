/** `KVM_CAP_*` numbers of `linux/kvm.h` that this library knows. */
export const KvmCap = {
  IRQCHIP: 0,
  HLT: 1,
  USER_MEMORY: 3,
  SET_TSS_ADDR: 4,
  EXT_CPUID: 7,
  CLOCKSOURCE: 8,
  NR_VCPUS: 9,
  NR_MEMSLOTS: 10,
  NOP_IO_DELAY: 12,
  MP_STATE: 14,
  DESTROY_MEMORY_REGION_WORKS: 21,
  USER_NMI: 22,
  IRQ_ROUTING: 25,
  JOIN_MEMORY_REGIONS_WORKS: 30,
  IRQFD: 32,
  PIT2: 33,
  SET_BOOT_CPU_ID: 34,
  XEN_HVM: 38,
  ADJUST_CLOCK: 39,
  VCPU_EVENTS: 41,
  INTR_SHADOW: 49,
  DEBUGREGS: 50,
  ENABLE_CAP: 54,
  XSAVE: 55,
  XCRS: 56,
  GET_TSC_KHZ: 61,
  MAX_VCPUS: 66,
  TSC_DEADLINE_TIMER: 72,
  KVMCLOCK_CTRL: 76,
  SIGNAL_MSI: 77,
  READONLY_MEM: 81,
  ENABLE_CAP_VM: 98,
  CHECK_EXTENSION_VM: 105,
  DISABLE_QUIRKS: 116,
  SPLIT_IRQCHIP: 121,
  MAX_VCPU_ID: 128,
  X2APIC_API: 129,
  IMMEDIATE_EXIT: 136,
} as const;

/** Limits of the kernel that recorded the reference answers. */
export const KvmLimit = {
  /** `KVM_MAX_VCPUS` as Debian configures it. */
  MAX_VCPUS: 4096,
  /** `KVM_MAX_VCPU_IDS`. */
  MAX_VCPU_IDS: 16384,
  /** `KVM_USER_MEM_SLOTS`. */
  USER_MEM_SLOTS: 32764,
  /** `KVM_MEM_MAX_NR_PAGES`. */
  MEM_MAX_NR_PAGES: 0x7fffffff,
  /** `KVM_MAX_IRQ_ROUTES`. */
  MAX_IRQ_ROUTES: 4096,
  /** `KVM_MAX_CPUID_ENTRIES`. */
  MAX_CPUID_ENTRIES: 256,
  /** Largest number of IOAPIC pins a split irqchip may reserve (`MAX_NR_RESERVED_IOAPIC_PINS`). */
  MAX_RESERVED_IOAPIC_PINS: 4096,
} as const;
