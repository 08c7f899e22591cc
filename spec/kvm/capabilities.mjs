// @ts-check
/**
 * What KVM_CHECK_EXTENSION answers for every capability that this library or Linux 6.12 has on x86:
 * [number, name without KVM_CAP_, value here, why it differs from Linux]. What is not listed is 0.
 * tests/reference/capabilities.test.ts compares with the code and with recorded.txt.
 * @typedef {[number: number, name: string, value: number, why?: string]} CapabilityRow
 * @type {CapabilityRow[]}
 */
export const CAPABILITIES = [
  [0, "IRQCHIP", 1],
  [1, "HLT", 1],
  [2, "MMU_SHADOW_CACHE_CONTROL", 1],
  [3, "USER_MEMORY", 1],
  [4, "SET_TSS_ADDR", 1],
  [6, "VAPIC", 1],
  [7, "EXT_CPUID", 1],
  [8, "CLOCKSOURCE", 1],
  [9, "NR_VCPUS", 1],
  [10, "NR_MEMSLOTS", 32764],
  [11, "PIT", 1],
  [12, "NOP_IO_DELAY", 1],
  [14, "MP_STATE", 1],
  [15, "COALESCED_MMIO", 2],
  [16, "SYNC_MMU", 1],
  [21, "DESTROY_MEMORY_REGION_WORKS", 1],
  [22, "USER_NMI", 1],
  [23, "SET_GUEST_DEBUG", 1],
  [24, "REINJECT_CONTROL", 1],
  [25, "IRQ_ROUTING", 4096],
  [26, "IRQ_INJECT_STATUS", 1],
  [30, "JOIN_MEMORY_REGIONS_WORKS", 1],
  [31, "MCE", 32],
  [32, "IRQFD", 1],
  [33, "PIT2", 1],
  [34, "SET_BOOT_CPU_ID", 1],
  [35, "PIT_STATE2", 1],
  [36, "IOEVENTFD", 1],
  [37, "SET_IDENTITY_MAP_ADDR", 1],
  [38, "XEN_HVM", 511],
  [39, "ADJUST_CLOCK", 14],
  [40, "INTERNAL_ERROR_DATA", 1],
  [41, "VCPU_EVENTS", 1],
  [44, "HYPERV", 0, "no Hyper-V interface"],
  [45, "HYPERV_VAPIC", 0, "no Hyper-V interface"],
  [46, "HYPERV_SPIN", 0, "no Hyper-V interface"],
  [47, "PCI_SEGMENT", 1],
  [50, "DEBUGREGS", 1],
  [51, "X86_ROBUST_SINGLESTEP", 1],
  [54, "ENABLE_CAP", 1],
  [55, "XSAVE", 1],
  [56, "XCRS", 1],
  [59, "ASYNC_PF", 1],
  [61, "GET_TSC_KHZ", 1],
  [66, "MAX_VCPUS", 4096],
  [72, "TSC_DEADLINE_TIMER", 1],
  [74, "SYNC_REGS", 7],
  [76, "KVMCLOCK_CTRL", 1],
  [77, "SIGNAL_MSI", 1],
  [81, "READONLY_MEM", 1],
  [82, "IRQFD_RESAMPLE", 1],
  [89, "DEVICE_CTRL", 1],
  [95, "EXT_EMUL_CPUID", 1],
  [96, "HYPERV_TIME", 0, "no Hyper-V interface"],
  [97, "IOAPIC_POLARITY_IGNORED", 1],
  [98, "ENABLE_CAP_VM", 1],
  [100, "IOEVENTFD_NO_LENGTH", 1],
  [105, "CHECK_EXTENSION_VM", 1],
  [116, "DISABLE_QUIRKS", 1],
  [117, "X86_SMM", 0, "no system management mode"],
  [118, "MULTI_ADDRESS_SPACE", 0, "the second one is for system management mode"],
  [121, "SPLIT_IRQCHIP", 1],
  [122, "IOEVENTFD_ANY_LENGTH", 1],
  [123, "HYPERV_SYNIC", 0, "no Hyper-V interface"],
  [127, "VCPU_ATTRIBUTES", 1],
  [128, "MAX_VCPU_ID", 16384],
  [129, "X2APIC_API", 3],
  [136, "IMMEDIATE_EXIT", 1],
  [143, "X86_DISABLE_EXITS", 15],
  [148, "HYPERV_SYNIC2", 0, "no Hyper-V interface"],
  [149, "HYPERV_VP_INDEX", 0, "no Hyper-V interface"],
  [153, "GET_MSR_FEATURES", 1],
  [154, "HYPERV_EVENTFD", 0, "no Hyper-V interface"],
  [155, "HYPERV_TLBFLUSH", 0, "no Hyper-V interface"],
  [157, "NESTED_STATE", 0, "no nested virtualization"],
  [159, "MSR_PLATFORM_INFO", 1],
  [161, "HYPERV_SEND_IPI", 0, "no Hyper-V interface"],
  [162, "COALESCED_PIO", 1],
  [164, "EXCEPTION_PAYLOAD", 1],
  [167, "HYPERV_CPUID", 1],
  [168, "MANUAL_DIRTY_LOG_PROTECT2", 3],
  [173, "PMU_EVENT_FILTER", 0, "no performance counters"],
  [182, "HALT_POLL", 1],
  [183, "ASYNC_PF_INT", 1],
  [184, "LAST_CPU", 1],
  [187, "STEAL_TIME", 1],
  [188, "X86_USER_SPACE_MSR", 1],
  [189, "X86_MSR_FILTER", 1],
  [190, "ENFORCE_PV_FEATURE_CPUID", 1],
  [191, "SYS_HYPERV_CPUID", 1],
  [192, "DIRTY_LOG_RING", 0, "dirty pages come as bitmaps"],
  [195, "SET_GUEST_DEBUG2", 2031619],
  [196, "SGX_ATTRIBUTE", 0, "no SGX"],
  [197, "VM_COPY_ENC_CONTEXT_FROM", 0, "no memory encryption"],
  [199, "HYPERV_ENFORCE_CPUID", 0, "no Hyper-V interface"],
  [200, "SREGS2", 1],
  [201, "EXIT_HYPERCALL", 4096],
  [203, "BINARY_STATS_FD", 1],
  [
    204,
    "EXIT_ON_EMULATION_FAILURE",
    0,
    "every instruction is emulated; what is not there raises #UD",
  ],
  [206, "VM_MOVE_ENC_CONTEXT_FROM", 0, "no memory encryption"],
  [208, "XSAVE2", 4096],
  [209, "SYS_ATTRIBUTES", 1],
  [213, "DISABLE_QUIRKS2", 2047],
  [215, "SYSTEM_EVENT_DATA", 0, "nothing here makes such exits"],
  [218, "X86_TRIPLE_FAULT_EVENT", 1],
  [220, "VM_DISABLE_NX_HUGE_PAGES", 1],
  [223, "DIRTY_LOG_RING_ACQ_REL", 0, "dirty pages come as bitmaps"],
  [226, "PMU_EVENT_MASKED_EVENTS", 0, "no performance counters"],
  [231, "USER_MEMORY2", 1],
  [232, "MEMORY_FAULT_INFO", 0, "belongs to private memory"],
  [233, "MEMORY_ATTRIBUTES", 0, "no private memory"],
  [234, "GUEST_MEMFD", 0, "no private memory"],
  [235, "VM_TYPES", 1],
  [236, "PRE_FAULT_MEMORY", 1],
  [237, "X86_APIC_BUS_CYCLES_NS", 1],
  [238, "X86_GUEST_MODE", 1],
];

/**
 * What other releases answer otherwise, on the system: rows that take the place of those above.
 * @type {Record<string, CapabilityRow[]>}
 */
export const CAPABILITIES_SINCE = {
  7.2: [
    [70, "ONE_REG", 1],
    [129, "X2APIC_API", 15],
    [213, "DISABLE_QUIRKS2", 4095],
    [244, "GUEST_MEMFD_FLAGS", 0, "no private memory"],
  ],
};

/**
 * What a VM answers otherwise than the system, by release: [number, value].
 * @type {Record<string, [number: number, value: number][]>}
 */
export const CAPABILITIES_OF_VM = { 7.2: [[129, 11]] };

/**
 * The rows of a release.
 * @param {string} release
 */
export function capabilitiesOf(release) {
  const rows = new Map(CAPABILITIES.map((row) => [row[0], row]));
  for (const row of CAPABILITIES_SINCE[release] ?? []) rows.set(row[0], row);
  return [...rows.values()].sort((a, b) => a[0] - b[0]);
}
