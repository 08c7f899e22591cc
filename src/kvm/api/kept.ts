/**
 * What KVM's GET calls do not show of a VM: the state of a machine that is saved at any moment and goes on exactly as
 * it was. Numbers as they are kept here, without any address of linear memory.
 */
import type { EngineKept, Segment } from "../../engine/bridge/port.js";
import type { XenKept } from "./xen-kept.js";

/** {@link QueuedException} as it is saved. */
export interface ExceptionKept {
  readonly pending: boolean;
  readonly injected: boolean;
  readonly vector: number;
  readonly hasErrorCode: boolean;
  readonly errorCode: number;
  readonly hasPayload: boolean;
  readonly payload: bigint;
}

/** What {@link TscSync} knows. */
export interface TscSyncState {
  readonly lastNs: bigint;
  readonly lastWrite: bigint;
  readonly lastOffset: bigint | undefined;
  readonly currentOffset: bigint | undefined;
  readonly userSet: boolean;
  readonly matched: boolean;
  readonly generation: number;
}

/** What {@link IoapicState} does not have, or has in another form. */
export interface IoapicLines {
  /** For each pin, one bit per source that holds it up. */
  readonly lines: readonly number[];
  readonly irr: number;
  readonly delivered: number;
  readonly redirtbl: readonly bigint[];
}

/** Modes of the timer, as bits 18:17 of its LVT: 0 to 3. In the last it does not count. */
export type LapicTimerMode = "one-shot" | "periodic" | "tsc-deadline" | "reserved";

/** All that a {@link LapicTimer} knows. */
export interface LapicTimerKept {
  readonly mode: LapicTimerMode;
  readonly divider: number;
  readonly initialCount: number;
  readonly targetNs: number;
  readonly tscDeadline: bigint;
  /** The order of its timer; undefined when it is not armed. */
  readonly armed: number | undefined;
}

/** All that a local APIC knows beside IA32_APIC_BASE, exactly. */
export interface LapicKept {
  /** 1024 bytes. */
  readonly registers: Uint8Array;
  readonly irrPending: boolean;
  readonly lastServed: number;
  readonly arbitration: number;
  readonly timer: LapicTimerKept;
}

/** Where a scheduler is between two turns, with vCPUs by their order of creation. */
export interface SchedulerPosition {
  /** Whose slice it is; undefined before the first turn. */
  readonly current: number | undefined;
  /** Work left of that slice. */
  readonly left: number;
  readonly sinceYield: number;
  /** Those that must be told when they get the thread. */
  readonly away: readonly number[];
}

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
