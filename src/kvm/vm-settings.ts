import { KvmCap, KvmLimit } from "../abi/kvm/index.js";
import {
  EXIT_HYPERCALLS,
  MANUAL_PROTECT_CAPS,
  MANUAL_PROTECT_ENABLE,
  MSR_EXIT_REASONS,
} from "./caps.js";
import { HypervState } from "./cpu/hyperv.js";
import type { MsrFilter } from "./cpu/msr-filter.js";
import { refuse } from "./error.js";
import { type LinuxRules, X2apicApi } from "./linux.js";

/** `KVM_X86_QUIRK_*` that change something here. */
export const Quirk = {
  /** The first vCPU's LINT0 is open for the PIC after reset. */
  LINT0_REENABLED: 1 << 0,
  /** A local APIC that is off or in x2APIC mode answers its page with ones. */
  LAPIC_MMIO_HOLE: 1 << 2,
  /** OUT to port 0x7e is done when the client hears of it: BIOSes of QEMU expect that. */
  OUT_7E_INC_RIP: 1 << 3,
  /** IA32_MISC_ENABLE does not rule CPUID's MONITOR bit. */
  MISC_ENABLE_NO_MWAIT: 1 << 4,
  /** The hypercall instruction of the other vendor is rewritten in guest memory. */
  FIX_HYPERCALL_INSN: 1 << 5,
  /** MONITOR and MWAIT do nothing even where CPUID says that they are not there. */
  MWAIT_NEVER_UD_FAULTS: 1 << 6,
  /** MSRs that tell features begin with what KVM has, not with 0. */
  STUFF_FEATURE_MSRS: 1 << 8,
} as const;

/** `KVM_X86_DISABLE_EXITS_*`. */
export const DisableExits = { MWAIT: 1, HLT: 2, PAUSE: 4, CSTATE: 8 } as const;

const VALID_DISABLE_EXITS = 15;

/** What KVM_ENABLE_CAP and some other calls switch for a whole VM. */
export class VmSettings {
  /** KVM_CAP_DISABLE_QUIRKS and DISABLE_QUIRKS2: {@link Quirk} bits that are off. */
  disabledQuirks = 0;
  /** KVM_CAP_X2APIC_API. */
  x2apicFormat = false;
  x2apicBroadcastQuirk = true;
  /** Whether guests may suppress the broadcast of EOIs; when nobody has said it, as Linux always did. */
  suppressEoi: boolean | undefined;
  /** KVM_CAP_X86_DISABLE_EXITS: {@link DisableExits} bits. */
  disabledExits = 0;
  /** KVM_CAP_MSR_PLATFORM_INFO: guests may read MSR_PLATFORM_INFO. */
  platformInfoReadable = true;
  /** KVM_CAP_EXCEPTION_PAYLOAD. */
  exceptionPayload = false;
  /** KVM_CAP_X86_TRIPLE_FAULT_EVENT. */
  tripleFaultEvent = false;
  /** KVM_CAP_X86_USER_SPACE_MSR: `KVM_MSR_EXIT_REASON_*` bits. */
  userSpaceMsr = 0;
  /** KVM_CAP_EXIT_HYPERCALL: one bit per hypercall number. */
  exitHypercalls = 0;
  /** KVM_CAP_MAX_VCPU_ID: vCPU ids are below this; 0 when not set. */
  maxVcpuIds = 0;
  /** KVM_CAP_X86_APIC_BUS_CYCLES_NS. */
  apicBusCycleNs = 1;
  /** KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: `KVM_DIRTY_LOG_*` bits. */
  manualDirtyLog = 0;
  /** KVM_CAP_SPLIT_IRQCHIP: pins that GSI routes of MSIs stand for. */
  reservedIoapicPins = 0;
  /** KVM_X86_SET_MSR_FILTER. */
  msrFilter: MsrFilter | undefined;
  /** The MSRs of Hyper-V that the vCPUs share. */
  readonly hyperv = new HypervState();
  /** KVM_SET_BOOT_CPU_ID. */
  bspId = 0;
  /** The wall clock MSRs. */
  wallClock = 0n;
  /** KVM_SET_TSC_KHZ of the VM: what new vCPUs get. */
  defaultTscKhz = 0;

  /** Whether a {@link Quirk} is on. */
  hasQuirk(quirk: number): boolean {
    return (this.disabledQuirks & quirk) === 0;
  }
}

/** What of a VM the rules of KVM_ENABLE_CAP look at. */
export interface CapContext {
  readonly linux: LinuxRules;
  readonly settings: VmSettings;
  readonly vcpuCount: number;
  readonly hasIrqchip: boolean;
  readonly hasSplitIrqchip: boolean;
  createSplitIrqchip(pins: number): void;
}

/**
 * KVM_ENABLE_CAP on a VM. `arg` is `args[0]`, u64.
 * @throws KvmError EINVAL unknown capability, bad argument, or too late; EEXIST, ENXIO.
 */
export function enableVmCap(vm: CapContext, cap: number, arg: bigint): void {
  const { settings } = vm;
  const only = (mask: number): number => {
    if ((arg & ~BigInt(mask)) !== 0n) refuse("EINVAL", `argument of capability ${cap}`);
    return Number(arg);
  };
  switch (cap) {
    case KvmCap.DISABLE_QUIRKS2:
      settings.disabledQuirks |= only(vm.linux.quirks);
      return;
    case KvmCap.DISABLE_QUIRKS:
      settings.disabledQuirks |= Number(arg & BigInt(vm.linux.quirks));
      return;
    case KvmCap.SPLIT_IRQCHIP:
      if (arg > BigInt(KvmLimit.MAX_RESERVED_IOAPIC_PINS)) refuse("EINVAL", "IOAPIC pins");
      if (vm.hasIrqchip) refuse("EEXIST", "interrupt controllers exist");
      if (vm.vcpuCount > 0) refuse("EEXIST", "interrupt controllers come before vCPUs");
      settings.reservedIoapicPins = Number(arg);
      vm.createSplitIrqchip(Number(arg));
      return;
    case KvmCap.X2APIC_API:
      enableX2apicApi(vm, only(vm.linux.x2apicApi));
      return;
    case KvmCap.X86_DISABLE_EXITS: {
      const exits = only(VALID_DISABLE_EXITS);
      if (vm.linux.disableExitsComesFirst && vm.vcpuCount > 0) refuse("EINVAL", "vCPUs exist");
      settings.disabledExits |= exits;
      return;
    }
    case KvmCap.MSR_PLATFORM_INFO:
      settings.platformInfoReadable = arg !== 0n;
      return;
    case KvmCap.EXCEPTION_PAYLOAD:
      settings.exceptionPayload = arg !== 0n;
      return;
    case KvmCap.X86_TRIPLE_FAULT_EVENT:
      settings.tripleFaultEvent = arg !== 0n;
      return;
    case KvmCap.X86_USER_SPACE_MSR:
      settings.userSpaceMsr = only(MSR_EXIT_REASONS);
      return;
    case KvmCap.EXIT_HYPERCALL:
      settings.exitHypercalls = only(EXIT_HYPERCALLS);
      return;
    case KvmCap.MANUAL_DIRTY_LOG_PROTECT2:
      settings.manualDirtyLog = only(
        (arg & BigInt(MANUAL_PROTECT_ENABLE)) !== 0n ? MANUAL_PROTECT_CAPS : MANUAL_PROTECT_ENABLE,
      );
      return;
    case KvmCap.X86_BUS_LOCK_EXIT:
      // Off (1) or on (2), not both; there is nothing to detect, as on a host without it.
      if (only(3) === 3) refuse("EINVAL", "bus lock detection both on and off");
      return;
    case KvmCap.HALT_POLL:
      // How long the kernel polls before it sleeps: without effect here.
      only(0xffffffff);
      return;
    case KvmCap.VM_DISABLE_NX_HUGE_PAGES:
      only(0);
      if (vm.vcpuCount > 0) refuse("EINVAL", "vCPUs exist");
      return;
    case KvmCap.MAX_VCPU_ID:
      enableMaxVcpuId(settings, arg);
      return;
    case KvmCap.X86_APIC_BUS_CYCLES_NS:
      // The longest timer of a local APIC must fit 64 bits.
      if (arg === 0n || 0xffffffffn * 128n * arg >= 1n << 64n) refuse("EINVAL", "bus cycle");
      if (!vm.hasIrqchip) refuse("ENXIO", "no local APICs in the kernel");
      if (vm.vcpuCount > 0) refuse("EINVAL", "vCPUs exist");
      settings.apicBusCycleNs = Number(arg);
      return;
    default:
      refuse("EINVAL", `capability ${cap} cannot be enabled`);
  }
}

function enableX2apicApi({ settings, hasSplitIrqchip }: CapContext, flags: number): void {
  const suppresses = (flags & X2apicApi.ENABLE_SUPPRESS_EOI) !== 0;
  const refuses = (flags & X2apicApi.DISABLE_SUPPRESS_EOI) !== 0;
  if (suppresses && refuses) refuse("EINVAL", "EOI broadcasts both suppressed and not");
  if (suppresses && !hasSplitIrqchip)
    refuse("EINVAL", "the IOAPIC in the kernel has no EOI register");
  if ((flags & X2apicApi.USE_32BIT_IDS) !== 0) settings.x2apicFormat = true;
  if ((flags & X2apicApi.DISABLE_BROADCAST_QUIRK) !== 0) settings.x2apicBroadcastQuirk = false;
  if (suppresses || refuses) settings.suppressEoi = suppresses;
}

/** May be said once, and again with the same number. */
function enableMaxVcpuId(settings: VmSettings, arg: bigint): void {
  if (arg > BigInt(KvmLimit.MAX_VCPU_IDS)) refuse("EINVAL", "vCPU id limit");
  if (settings.bspId > Number(arg)) refuse("EINVAL", "boot processor beyond the limit");
  if (settings.maxVcpuIds === Number(arg)) return;
  if (settings.maxVcpuIds !== 0) refuse("EINVAL", "vCPU id limit is set");
  settings.maxVcpuIds = Number(arg);
}
