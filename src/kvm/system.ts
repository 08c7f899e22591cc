import { KvmCap, KvmLimit } from "../abi/kvm/index.js";
import { type CpuidEntry2, Msr } from "../abi/x86/index.js";
import type { EngineFactory } from "../engine/bridge/port.js";
import type { Clock, Timers } from "../ports/index.js";
import { TSC_HZ } from "./cpu/clock.js";
import { supportedCpuid } from "./cpu/cpuid-supported.js";
import type { XenFactory } from "./hooks.js";
import { defaultEventLoop, type EventLoop } from "./run/event-loop.js";
import { Vm } from "./vm.js";
import { VmState } from "./vm-state.js";

/** What {@link Kvm} is made of. */
export interface KvmOptions {
  readonly engine: EngineFactory;
  readonly clock: Clock;
  readonly timers: Timers;
  /** How to let the host's other work run; the default suits Node and browsers. */
  readonly loop?: EventLoop;
}

/** Bits of KVM_CAP_XEN_HVM: all nine. */
const XEN_HVM_CAPS = 0x1ff;

const CAPS = new Map<number, number>([
  [KvmCap.IRQCHIP, 1],
  [KvmCap.HLT, 1],
  [KvmCap.USER_MEMORY, 1],
  [KvmCap.EXT_CPUID, 1],
  [KvmCap.CLOCKSOURCE, 1],
  [KvmCap.NR_VCPUS, 1],
  [KvmCap.NR_MEMSLOTS, KvmLimit.USER_MEM_SLOTS],
  [KvmCap.NOP_IO_DELAY, 1],
  [KvmCap.MP_STATE, 1],
  [KvmCap.DESTROY_MEMORY_REGION_WORKS, 1],
  [KvmCap.USER_NMI, 1],
  [KvmCap.IRQ_ROUTING, KvmLimit.MAX_IRQ_ROUTES],
  [KvmCap.JOIN_MEMORY_REGIONS_WORKS, 1],
  [KvmCap.IRQFD, 1],
  [KvmCap.PIT2, 1],
  [KvmCap.SET_BOOT_CPU_ID, 1],
  [KvmCap.XEN_HVM, XEN_HVM_CAPS],
  // KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC
  [KvmCap.ADJUST_CLOCK, 14],
  [KvmCap.VCPU_EVENTS, 1],
  [KvmCap.DEBUGREGS, 1],
  [KvmCap.ENABLE_CAP, 1],
  [KvmCap.XSAVE, 1],
  [KvmCap.XCRS, 1],
  [KvmCap.GET_TSC_KHZ, 1],
  [KvmCap.MAX_VCPUS, KvmLimit.MAX_VCPUS],
  [KvmCap.TSC_DEADLINE_TIMER, 1],
  [KvmCap.SIGNAL_MSI, 1],
  [KvmCap.READONLY_MEM, 1],
  [KvmCap.ENABLE_CAP_VM, 1],
  [KvmCap.CHECK_EXTENSION_VM, 1],
  [KvmCap.DISABLE_QUIRKS, 1],
  [KvmCap.SPLIT_IRQCHIP, 1],
  [KvmCap.MAX_VCPU_ID, KvmLimit.MAX_VCPU_IDS],
  [KvmCap.X2APIC_API, 3],
  [KvmCap.IMMEDIATE_EXIT, 1],
]);

/** MSRs that carry state of a vCPU, to be saved and restored. */
const MSR_INDICES: readonly number[] = [
  Msr.IA32_SYSENTER_CS,
  Msr.IA32_SYSENTER_ESP,
  Msr.IA32_SYSENTER_EIP,
  Msr.STAR,
  Msr.CSTAR,
  Msr.KERNEL_GS_BASE,
  Msr.SYSCALL_MASK,
  Msr.LSTAR,
  Msr.IA32_TSC,
  Msr.IA32_PAT,
  Msr.TSC_AUX,
  Msr.KVM_SYSTEM_TIME,
  Msr.KVM_WALL_CLOCK,
  Msr.KVM_SYSTEM_TIME_NEW,
  Msr.KVM_WALL_CLOCK_NEW,
  Msr.KVM_STEAL_TIME,
  Msr.KVM_POLL_CONTROL,
  Msr.IA32_TSC_ADJUST,
  Msr.IA32_TSC_DEADLINE,
  Msr.IA32_ARCH_CAPABILITIES,
  Msr.IA32_MISC_ENABLE,
  Msr.IA32_MCG_STATUS,
  Msr.MISC_FEATURES_ENABLES,
  Msr.IA32_BIOS_SIGN_ID,
  Msr.K7_HWCR,
];

/** The system object: what `ioctl` on /dev/kvm does, with types. */
export class Kvm {
  readonly #options: KvmOptions;
  readonly #loop: EventLoop;
  readonly #xen: XenFactory;

  /** Clients call `Kvm.open` of the public entry, which brings the Xen support. */
  constructor(options: KvmOptions, xen: XenFactory) {
    this.#options = options;
    this.#loop = options.loop ?? defaultEventLoop();
    this.#xen = xen;
  }

  /** KVM_CHECK_EXTENSION: 0 when not there, else its value. */
  checkExtension(cap: number): number {
    return CAPS.get(cap) ?? 0;
  }

  /** KVM_GET_SUPPORTED_CPUID. */
  getSupportedCpuid(): CpuidEntry2[] {
    return supportedCpuid();
  }

  /** KVM_GET_MSR_INDEX_LIST. */
  getMsrIndexList(): readonly number[] {
    return MSR_INDICES;
  }

  /** KVM_GET_TSC_KHZ of every vCPU. */
  get tscKhz(): number {
    return Number(TSC_HZ / 1000n);
  }

  /** KVM_CREATE_VM. */
  createVm(): Vm {
    const { engine, clock, timers } = this.#options;
    const state = new VmState(engine.createVm(), { clock, timers, loop: this.#loop }, this.#xen);
    return new Vm(state, (cap) => this.checkExtension(cap));
  }
}
