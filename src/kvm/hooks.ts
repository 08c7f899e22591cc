import type { KvmXenEvtchn } from "../abi/kvm/index.js";
import type { PvclockTime } from "../abi/xen/pvclock.js";
import type { ApicId, VcpuIndex } from "../base/index.js";
import type { EngineVcpu } from "../engine/bridge/port.js";
import type { ArmLater, TraceSink } from "../ports/index.js";
import type { VcpuExitXen } from "./api/exits.js";
import type { VcpuXen, VmXen } from "./api/xen.js";
import type { XenKept } from "./api/xen-kept.js";
import type { XenVmView } from "./api/xen-view.js";
import type { VmClock } from "./cpu/clock.js";
import type { CpuidTable } from "./cpu/cpuid.js";
import type { IrqchipMode } from "./irq/routing.js";
import type { LinuxRules } from "./linux.js";
import type { GuestAccess } from "./memory/guest-access.js";
import type { MemorySlots } from "./memory/slots.js";

/**
 * The line between KVM and its Xen support. KVM calls the hooks at the named moments and knows
 * nothing else of Xen; Xen support uses the hosts and the named exports of `kvm/memory`, `kvm/cpu`.
 */

/** What Xen support uses of a VM. */
export interface XenVmHost {
  /** Who watches; see ports/trace.ts. */
  readonly trace: TraceSink | undefined;
  readonly slots: MemorySlots;
  readonly access: GuestAccess;
  readonly clock: VmClock;
  readonly irqchip: IrqchipMode;
  /** The release of Linux that is followed. */
  readonly linux: LinuxRules;
  /** All vCPUs get their pvclock areas rewritten at their next entry. */
  requestClockUpdate(): void;
  /** The same, and again after each one's entry. */
  requestMasterclockUpdate(): void;
}

/** What Xen support uses of a vCPU. */
export interface XenVcpuHost {
  /** Order of creation. */
  readonly index: VcpuIndex;
  /** KVM vcpu_id, the local APIC id. */
  readonly id: ApicId;
  readonly engine: EngineVcpu;
  readonly cpuid: CpuidTable;
  /** The vCPU looks at its events again, if it waits (KVM_REQ_UNBLOCK and a kick). */
  notify(): void;
  /** Its pvclock areas are rewritten at its next entry. */
  requestClockUpdate(): void;
  /** Sends a fixed, edge-triggered message to its local APIC; nothing happens without one. */
  sendToLapic(vector: number): void;
  /** The vCPU stops as if it had executed HLT; `onWake` is called when it goes on, for any reason. */
  haltOnce(onWake: () => void): void;
  /** The vCPU gives up the rest of its slice. */
  yield(): void;
  /** Counts work of the exit that is being handled, in the units of SLICE in run/scheduler.ts. */
  charge(work: number): void;
  /** Nanoseconds it waited for the VM's thread although it could run (the kernel's run_delay). */
  runDelayNs(): bigint;
}

/**
 * What to do with a VMCALL or VMMCALL: "not-xen" when Xen does not intercept hypercalls; "done" when
 * the result is in RAX, so that the instruction can be left behind; or the exit for the client.
 */
export type HypercallOutcome = "not-xen" | "done" | VcpuExitXen;

/** Called by a VM. */
export interface XenVmHooks {
  readonly api: VmXen;
  createVcpu(host: XenVcpuHost): XenVcpuHooks;
  /** This VM accounts runstates, which replace KVM's steal time. */
  readonly enabled: boolean;
  /** Index of the hypercall page MSR, 0 for none: it comes before any other meaning of the index. */
  readonly hypercallMsr: number;
  /** VMCALL and VMMCALL are Xen's. */
  readonly interceptsHypercalls: boolean;
  /** WRMSR, or KVM_SET_MSRS: undefined when it is not the hypercall page MSR, false for #GP. */
  writeMsr(vcpu: XenVcpuHost, index: number, value: bigint, fromHost: boolean): boolean | undefined;
  /** A routing entry. @throws KvmError EINVAL. */
  checkRoute(event: KvmXenEvtchn): void;
  /** A routed interrupt fires: -1 ignored, 0 coalesced, 1 delivered. */
  deliverRoute(event: KvmXenEvtchn): number;
  /** [start, start + length) of linear memory has another backing now. */
  invalidate(start: number, length: number): void;
  /** What is known now, for people who look; `mpStates` of the vCPUs, in the order of creation. */
  view(mpStates: readonly number[]): XenVmView;
  /** All that it knows but for pages of the client's, and how that is put back; for exact snapshots. */
  kept(): XenKept;
  keep(kept: XenKept, later: ArmLater): void;
  /** The VM goes away: timers stop. */
  close(): void;
}

/** Called by a vCPU. */
export interface XenVcpuHooks {
  readonly api: VcpuXen;
  /** The HVM-wide upcall vector if an event waits, else 0. */
  pendingVector(): number;
  /** Linear address of the byte that says so, after {@link pendingVector} gave a vector. */
  readonly pendingByte: number;
  /** Events that could not be noted in vcpu_info wait for the vCPU; they end a halt. */
  readonly deferredEvents: boolean;
  /** A timer fired but could not be delivered at once; that alone does not end a halt. */
  readonly deferredTimer: boolean;
  /** One of the two above may be set: a quick look for every entry. */
  readonly mayDefer: boolean;
  /** Whether an interrupt of this vector is an upcall of this vCPU. */
  isUpcall(vector: number): boolean;
  /** Delivers what is deferred, as far as it can be delivered. */
  processDeferred(): void;
  /** The local APIC was enabled by software. */
  lapicEnabled(): void;
  /** A VMCALL or VMMCALL is at RIP. */
  hypercall(): HypercallOutcome;
  /** The vCPU gets the VM's thread. */
  running(): void;
  /** The vCPU loses it although it could run on. */
  preempted(): void;
  /** Writes the pvclock areas. `time.flags` says stable or not. */
  updateClock(time: PvclockTime): void;
}

/** Makes the Xen support of a VM. */
export type XenFactory = (host: XenVmHost) => XenVmHooks;
