/** What is saved of a vCPU that stands still, and how it is put back. */

import type { ArmLater } from "../ports/index.js";
import type { VcpuKept } from "./api/kept.js";
import type { Lapic } from "./irq/lapic.js";
import { keepStep } from "./run/nmi.js";
import type { VcpuState } from "./vcpu-state.js";

const SEGMENTS = 8;

function readNumbers(vcpu: VcpuState): VcpuKept["numbers"] {
  return {
    mpState: vcpu.mp.state,
    nmiPending: vcpu.nmi.pending,
    sipiVector: vcpu.mp.sipiVector,
    userInterrupt: vcpu.interrupts.user,
    queuedInterrupt: vcpu.interrupts.queued,
    lastCr8: vcpu.tpr.lastCr8,
    lastInterrupt: vcpu.interrupts.last,
    tscGeneration: vcpu.time.tscGeneration,
    fpuMarked: vcpu.fpuMarked,
    ioapicEoi: vcpu.ioapicEoi,
    nmiStep: vcpu.nmi.step,
  };
}

function readFlags(vcpu: VcpuState): VcpuKept["flags"] {
  return {
    nmiRequested: vcpu.nmi.requested,
    nmiInjected: vcpu.nmi.injected,
    badState: vcpu.badState,
    tripleFault: vcpu.tripleFault,
    unhalted: vcpu.mp.unhalted,
    initPending: vcpu.mp.initPending,
    sipiPending: vcpu.mp.sipiPending,
    queuedSoft: vcpu.interrupts.queuedSoft,
    emulates: vcpu.pending.emulates,
    clockStopped: vcpu.time.clockStopped,
    clockUpdate: vcpu.time.clockUpdate,
    masterclockUpdate: vcpu.time.masterclockUpdate,
    unblock: vcpu.unblock,
    handledExit: vcpu.handledExit,
    scheduledIn: vcpu.thread.scheduledIn,
    kicked: vcpu.kicked,
    yieldRequested: vcpu.yieldRequested,
    hasRun: vcpu.hasRun,
    nmiMasked: vcpu.nmi.masked,
    awaitsIret: vcpu.nmi.awaitsIret,
  };
}

function putNumbers(vcpu: VcpuState, numbers: VcpuKept["numbers"]): void {
  vcpu.mp.state = numbers.mpState;
  vcpu.nmi.pending = numbers.nmiPending;
  vcpu.mp.sipiVector = numbers.sipiVector;
  vcpu.interrupts.user = numbers.userInterrupt;
  vcpu.interrupts.queued = numbers.queuedInterrupt;
  vcpu.tpr.lastCr8 = numbers.lastCr8;
  vcpu.interrupts.last = numbers.lastInterrupt;
  vcpu.time.tscGeneration = numbers.tscGeneration;
  vcpu.fpuMarked = numbers.fpuMarked;
  vcpu.ioapicEoi = numbers.ioapicEoi;
  vcpu.nmi.step = numbers.nmiStep;
}

function putFlags(vcpu: VcpuState, flags: VcpuKept["flags"]): void {
  vcpu.nmi.requested = flags.nmiRequested;
  vcpu.nmi.injected = flags.nmiInjected;
  vcpu.badState = flags.badState;
  vcpu.tripleFault = flags.tripleFault;
  vcpu.mp.unhalted = flags.unhalted;
  vcpu.mp.initPending = flags.initPending;
  vcpu.mp.sipiPending = flags.sipiPending;
  vcpu.interrupts.queuedSoft = flags.queuedSoft;
  vcpu.pending.emulates = flags.emulates;
  vcpu.time.clockStopped = flags.clockStopped;
  vcpu.time.clockUpdate = flags.clockUpdate;
  vcpu.time.masterclockUpdate = flags.masterclockUpdate;
  vcpu.unblock = flags.unblock;
  vcpu.handledExit = flags.handledExit;
  vcpu.thread.scheduledIn = flags.scheduledIn;
  vcpu.kicked = flags.kicked;
  vcpu.yieldRequested = flags.yieldRequested;
  vcpu.hasRun = flags.hasRun;
  vcpu.nmi.masked = flags.nmiMasked;
  vcpu.nmi.awaitsIret = flags.awaitsIret;
}

export function readVcpu(vcpu: VcpuState, isRunning: boolean): VcpuKept {
  const { engine, pending, thread } = vcpu;
  const { exit } = pending;
  return {
    isRunning,
    answer: exit?.kind === "xen" ? BigInt.asUintN(64, exit.result) : undefined,
    exitRip: pending.rip,
    iretRip: vcpu.nmi.iretRip,
    numbers: readNumbers(vcpu),
    flags: readFlags(vcpu),
    // Read before the engine's, which has the last that the guest raised until then.
    exception: vcpu.shownException.kept,
    waitingSinceNs: thread.waited.sinceNs,
    waitedNs: thread.waited.totalNs,
    eventRequested: vcpu.tpr.eventRequested,
    tscOffset: BigInt.asUintN(64, engine.tscOffset),
    engine: engine.kept,
    segments: Array.from({ length: SEGMENTS }, (_, i) => engine.segment(i)),
    lapic: (vcpu.lapic as Lapic).kept,
  };
}

/** What waits for a vCPU. */
export function putEvents(vcpu: VcpuState, kept: VcpuKept): void {
  putNumbers(vcpu, kept.numbers);
  putFlags(vcpu, kept.flags);
  Object.assign(vcpu.exception, kept.exception, { vector: kept.exception.vector & 31 });
}

export function writeVcpu(vcpu: VcpuState, kept: VcpuKept, later: ArmLater): void {
  const { engine } = vcpu;
  for (const [i, segment] of kept.segments.entries()) {
    if (i < SEGMENTS) engine.setSegment(i, segment);
  }
  engine.syncSregs();
  engine.kept = kept.engine;
  engine.tscOffset = BigInt.asIntN(64, kept.tscOffset);
  vcpu.lapic?.keep(kept.lapic, later);
  putEvents(vcpu, kept);
  keepStep(vcpu);
  vcpu.thread.waited = { sinceNs: kept.waitingSinceNs, totalNs: kept.waitedNs };
  vcpu.tpr.eventRequested = kept.eventRequested;
  vcpu.pending.rip = kept.exitRip;
  vcpu.nmi.iretRip = kept.iretRip;
  engine.iretExit = vcpu.nmi.masked && !vcpu.nmi.awaitsIret;
  if (kept.answer === undefined) return;
  const params = [0n, 0n, 0n, 0n, 0n, 0n] as const;
  const call = { longmode: true, cpl: 0, input: 0n, params } as const;
  vcpu.pending.exit = { kind: "xen", ...call, result: kept.answer };
}
