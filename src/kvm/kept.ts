/**
 * What KVM's GET calls do not show of a VM: the state of a machine that is saved at any moment and goes on exactly as
 * it was. Numbers as they are kept here, without any address of linear memory.
 */
import type { EngineKept, Segment } from "../engine/bridge/port.js";
import type { ExceptionKept } from "./cpu/exception.js";
import type { TscSyncState } from "./cpu/tsc-sync.js";
import type { IoapicLines } from "./irq/ioapic.js";
import type { LapicKept } from "./irq/lapic.js";
import type { SchedulerPosition } from "./run/scheduler.js";
import type { XenKept } from "./xen-kept.js";

/** What of a vCPU is a number; vcpu-kept.ts says where it is. */
export const VCPU_NUMBERS = [
  ...(["mpState", "nmiPending", "sipiVector", "userInterrupt", "queuedInterrupt"] as const),
  ...(["lastCr8", "lastInterrupt", "tscGeneration", "fpuMarked", "ioapicEoi"] as const),
  "nmiStep",
] as const;
/** What of a vCPU is a yes or a no. */
export const VCPU_FLAGS = [
  ...(["nmiRequested", "nmiInjected", "badState", "tripleFault", "unhalted"] as const),
  ...(["initPending", "sipiPending", "queuedSoft", "emulates", "clockStopped"] as const),
  ...(["clockUpdate", "masterclockUpdate", "unblock", "handledExit", "scheduledIn"] as const),
  ...(["kicked", "yieldRequested", "hasRun", "nmiMasked", "awaitsIret"] as const),
] as const;

/** A vCPU while it runs, beyond what KVM's GET calls show. */
export interface VcpuKept {
  /** Whether it is inside run(), and does not wait for INIT there. */
  readonly isRunning: boolean;
  /** The result of the hypercall that it has left run() with, for its registers. */
  readonly answer: bigint | undefined;
  readonly exitRip: bigint;
  readonly iretRip: bigint;
  readonly numbers: Readonly<Record<(typeof VCPU_NUMBERS)[number], number>>;
  readonly flags: Readonly<Record<(typeof VCPU_FLAGS)[number], boolean>>;
  readonly exception: ExceptionKept;
  readonly waitingSinceNs: number | undefined;
  readonly waitedNs: number;
  readonly eventRequested: boolean;
  readonly tscOffset: bigint;
  readonly engine: EngineKept;
  readonly segments: readonly Segment[];
  readonly lapic: LapicKept;
}

/** A VM while it runs, beyond what KVM's GET calls show. */
export interface VmKept {
  /** The clock port's time. */
  readonly nowNs: number;
  readonly scheduler: SchedulerPosition;
  readonly masterclock: boolean;
  readonly tsc: TscSyncState;
  /** No vCPU has entered the guest since memory slots were taken away. */
  readonly isUnmapped: boolean;
  /** Local APICs that the map of APICs has. */
  readonly known: readonly number[];
  readonly ioapic: IoapicLines;
  readonly pic: { readonly lines: readonly number[]; readonly output: boolean };
  readonly xen: XenKept;
  readonly vcpus: readonly VcpuKept[];
}
