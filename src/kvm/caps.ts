import { KvmCap, KvmLimit } from "../abi/kvm/index.js";
import { type LinuxRules, X2apicApi } from "./linux.js";

/** `KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE`, and with `KVM_DIRTY_LOG_INITIALLY_SET`. */
export const MANUAL_PROTECT_ENABLE = 1;
export const MANUAL_PROTECT_CAPS = 3;

/** `KVM_X86_DISABLE_EXITS_*`: MWAIT, HLT, PAUSE, CSTATE. */
export const DISABLE_EXITS = 0xf;

/** `KVM_MSR_EXIT_REASON_*`: INVAL, UNKNOWN, FILTER. */
export const MSR_EXIT_REASONS = 7;

/** Hypercalls that can go to the client: `1 << KVM_HC_MAP_GPA_RANGE`. */
export const EXIT_HYPERCALLS = 1 << 12;

/** Bits of KVM_CAP_MCE: `KVM_MAX_MCE_BANKS`. */
const MCE_BANKS = 32;

/**
 * `KVM_GUESTDBG_*` that KVM_SET_GUEST_DEBUG knows: ENABLE, SINGLESTEP, USE_SW_BP, USE_HW_BP,
 * INJECT_DB, INJECT_BP, BLOCKIRQ.
 */
export const GUEST_DEBUG_FLAGS = 0x1f0003;

/**
 * What KVM_CHECK_EXTENSION answers, whatever the release, for the system and for a VM alike. Compared with Linux on
 * AMD for every number from 0 to 299: a number is missing here when what it promises is missing
 * (SMM, nested virtualization, Hyper-V, SEV, PMU, dirty rings, guest_memfd).
 */
const CAPS = new Map<number, number>([
  [KvmCap.IRQCHIP, 1],
  [KvmCap.HLT, 1],
  [KvmCap.MMU_SHADOW_CACHE_CONTROL, 1],
  [KvmCap.USER_MEMORY, 1],
  [KvmCap.SET_TSS_ADDR, 1],
  [KvmCap.EXT_CPUID, 1],
  [KvmCap.VAPIC, 1],
  [KvmCap.CLOCKSOURCE, 1],
  // The processors of a host that says nothing else (KvmOptions.onlineCpus)
  [KvmCap.NR_VCPUS, 1],
  // As many as the engine can look at; numbers may go up to Linux's limit.
  [KvmCap.NR_MEMSLOTS, KvmLimit.USER_MEM_SLOTS],
  [KvmCap.PIT, 1],
  [KvmCap.NOP_IO_DELAY, 1],
  [KvmCap.MP_STATE, 1],
  // The page of kvm_run's mapping that holds the ring
  [KvmCap.COALESCED_MMIO, 2],
  [KvmCap.SYNC_MMU, 1],
  [KvmCap.DESTROY_MEMORY_REGION_WORKS, 1],
  [KvmCap.USER_NMI, 1],
  [KvmCap.SET_GUEST_DEBUG, 1],
  [KvmCap.REINJECT_CONTROL, 1],
  [KvmCap.IRQ_ROUTING, KvmLimit.MAX_IRQ_ROUTES],
  [KvmCap.IRQ_INJECT_STATUS, 1],
  [KvmCap.JOIN_MEMORY_REGIONS_WORKS, 1],
  [KvmCap.MCE, MCE_BANKS],
  [KvmCap.IRQFD, 1],
  [KvmCap.PIT2, 1],
  [KvmCap.SET_BOOT_CPU_ID, 1],
  [KvmCap.PIT_STATE2, 1],
  [KvmCap.IOEVENTFD, 1],
  [KvmCap.SET_IDENTITY_MAP_ADDR, 1],
  // All nine bits
  [KvmCap.XEN_HVM, 0x1ff],
  // KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC
  [KvmCap.ADJUST_CLOCK, 14],
  [KvmCap.INTERNAL_ERROR_DATA, 1],
  [KvmCap.VCPU_EVENTS, 1],
  [KvmCap.PCI_SEGMENT, 1],
  [KvmCap.DEBUGREGS, 1],
  [KvmCap.X86_ROBUST_SINGLESTEP, 1],
  [KvmCap.ENABLE_CAP, 1],
  [KvmCap.XSAVE, 1],
  [KvmCap.XCRS, 1],
  [KvmCap.ASYNC_PF, 1],
  [KvmCap.GET_TSC_KHZ, 1],
  [KvmCap.MAX_VCPUS, KvmLimit.MAX_VCPUS],
  [KvmCap.TSC_DEADLINE_TIMER, 1],
  // KVM_SYNC_X86_REGS | SREGS | EVENTS
  [KvmCap.SYNC_REGS, 7],
  [KvmCap.KVMCLOCK_CTRL, 1],
  [KvmCap.SIGNAL_MSI, 1],
  [KvmCap.READONLY_MEM, 1],
  [KvmCap.IRQFD_RESAMPLE, 1],
  [KvmCap.DEVICE_CTRL, 1],
  [KvmCap.EXT_EMUL_CPUID, 1],
  [KvmCap.IOAPIC_POLARITY_IGNORED, 1],
  [KvmCap.ENABLE_CAP_VM, 1],
  [KvmCap.IOEVENTFD_NO_LENGTH, 1],
  [KvmCap.CHECK_EXTENSION_VM, 1],
  [KvmCap.DISABLE_QUIRKS, 1],
  [KvmCap.SPLIT_IRQCHIP, 1],
  [KvmCap.IOEVENTFD_ANY_LENGTH, 1],
  [KvmCap.VCPU_ATTRIBUTES, 1],
  [KvmCap.MAX_VCPU_ID, KvmLimit.MAX_VCPU_IDS],
  [KvmCap.IMMEDIATE_EXIT, 1],
  [KvmCap.X86_DISABLE_EXITS, DISABLE_EXITS],
  // What is here of it: see cpu/hyperv.ts
  [KvmCap.HYPERV_CPUID, 1],
  [KvmCap.GET_MSR_FEATURES, 1],
  [KvmCap.MSR_PLATFORM_INFO, 1],
  [KvmCap.COALESCED_PIO, 1],
  [KvmCap.EXCEPTION_PAYLOAD, 1],
  [KvmCap.MANUAL_DIRTY_LOG_PROTECT2, MANUAL_PROTECT_CAPS],
  [KvmCap.HALT_POLL, 1],
  [KvmCap.ASYNC_PF_INT, 1],
  [KvmCap.LAST_CPU, 1],
  [KvmCap.STEAL_TIME, 1],
  [KvmCap.SYS_HYPERV_CPUID, 1],
  [KvmCap.X86_USER_SPACE_MSR, 1],
  [KvmCap.X86_MSR_FILTER, 1],
  [KvmCap.ENFORCE_PV_FEATURE_CPUID, 1],
  [KvmCap.SET_GUEST_DEBUG2, GUEST_DEBUG_FLAGS],
  [KvmCap.SREGS2, 1],
  [KvmCap.EXIT_HYPERCALL, EXIT_HYPERCALLS],
  [KvmCap.BINARY_STATS_FD, 1],
  [KvmCap.XSAVE2, 4096],
  [KvmCap.SYS_ATTRIBUTES, 1],
  [KvmCap.X86_TRIPLE_FAULT_EVENT, 1],
  [KvmCap.VM_DISABLE_NX_HUGE_PAGES, 1],
  [KvmCap.USER_MEMORY2, 1],
  // KVM_X86_DEFAULT_VM only
  [KvmCap.VM_TYPES, 1],
  [KvmCap.PRE_FAULT_MEMORY, 1],
  [KvmCap.X86_GUEST_MODE, 1],
]);

/** What of a VM KVM_CHECK_EXTENSION looks at. */
export interface CheckedVm {
  readonly splits: boolean;
  readonly apicBusCycleNs: number;
}

/**
 * KVM_CHECK_EXTENSION: 0 when not there, else its value.
 * @param vm none when the system is asked
 */
export function checkExtension(cap: number, linux: LinuxRules, vm?: CheckedVm): number {
  switch (cap) {
    case KvmCap.ONE_REG:
      return linux.hasOneReg ? 1 : 0;
    case KvmCap.X2APIC_API:
      return (vm?.splits ?? true)
        ? linux.x2apicApi
        : linux.x2apicApi & ~X2apicApi.ENABLE_SUPPRESS_EOI;
    case KvmCap.X86_APIC_BUS_CYCLES_NS:
      return linux.showsBusCycle ? (vm?.apicBusCycleNs ?? 1) : 1;
    case KvmCap.DISABLE_QUIRKS2:
      return linux.quirks;
    default:
      return CAPS.get(cap) ?? 0;
  }
}
