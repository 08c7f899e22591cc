import { KvmMpState } from "../../abi/kvm/index.js";
import { Cr0 } from "../../abi/x86/index.js";
import { EngineExit, Ready } from "../../engine/bridge/port.js";
import { workUntilTimer } from "../cpu/clock.js";
import { deliverPayload, limitNmis } from "../cpu/vcpu-events.js";
import type { VcpuExit } from "../exits.js";
import type { VcpuState } from "../vcpu-state.js";
import { afterCompletion, emulatedWrite, takeTraps } from "./debug-exit.js";
import { handleExit, isFinishedWrite } from "./exits.js";
import { finishWrite } from "./finish.js";
import { EXIT_COST, type Turn } from "./scheduler.js";
import { isBehindInstruction } from "./soft-exception.js";

/** AMD's exit code for a state that cannot be entered. */
const VMEXIT_INVALID = 0xffffffff;

/** PAUSE instructions after which another vCPU gets its turn. */
const PAUSES = 4;

/** What an exit takes at most of a real timer's distance, in units of work. */
const EXIT_WAIT = 300;

/**
 * One turn of a vCPU: enters the guest until `budget` units of work are done, it waits, or run()
 * resolves. What is done is added to the vCPU's work.
 */
export function turn(vcpu: VcpuState, budget: number): Turn {
  const { engine, env } = vcpu;
  const { clock } = env;
  const { virtual } = clock.clock;
  const end = vcpu.work + budget;
  // Under a real clock: how far away that timer is, less what was done since it was looked at.
  let deadline: number | undefined;
  let distance = 0;
  // Interrupt messages, which an exit may send, go past all local APICs.
  const exitCost = EXIT_COST + (env.bus.lapics.length >> 3);
  engine.pauseExit = env.scheduler.activeCount > 1 ? PAUSES : 0;
  if (env.engine.linear.hasOutsideWriters) env.engine.distrustCode();
  while (vcpu.work < end) {
    const left = end - vcpu.work;
    const trap = afterCompletion(vcpu);
    if (trap !== undefined) return finish(vcpu, trap);
    const leave = processRequests(vcpu);
    if (leave !== undefined) return finish(vcpu, leave);
    if (vcpu.mpState !== KvmMpState.RUNNABLE) {
      if (vcpu.mpState !== KvmMpState.HALTED || !vcpu.wakesFromHalt()) return "waiting";
      vcpu.endHalt();
    }
    if (vcpu.clockUpdate) vcpu.processClockUpdate();
    if (vcpu.scheduledIn) vcpu.accountEntry();
    if (env.slots.isUnmapped) faultAtEntry(vcpu);
    const next = clock.timers.nextDeadlineNs();
    if (virtual !== undefined || distance <= 0 || next !== deadline) {
      deadline = next;
      distance = workUntilTimer(clock, left);
      if (distance === 0) return "budget";
    }
    prepareEvents(vcpu);
    vcpu.tpr.beforeEntry(vcpu.lapic, vcpu.requestInterruptWindow && vcpu.acceptsUserInterrupt);
    if (virtual !== undefined) engine.setTime(clock.nowNs());
    // A queued event comes right behind the instruction that the client has answered, a step and the
    // report of an access to the TPR too.
    const answered = engine.replaying && (vcpu.hasQueuedEvent || vcpu.debug.singleStep);
    const isBehind = answered || vcpu.tpr.reportWaits;
    if (!engine.replaying) vcpu.portRip = undefined;
    const given = isBehind ? 1 : Math.min(left, distance);
    const code = engine.run(given);
    const { work } = engine;
    vcpu.tpr.afterExit(vcpu.lapic);
    if (virtual !== undefined) virtual.advance(work);
    distance -= Math.max(work, EXIT_WAIT);
    vcpu.work += Math.max(work, code === EngineExit.BUDGET ? given : exitCost);
    const after = handleExit(vcpu, code);
    if (after === "continue" || after === "yield") {
      // KVM looks at deferred events after every exit that it handles itself.
      vcpu.handledExit = true;
      if (after === "continue") continue;
      return "yielded";
    }
    return finish(vcpu, after);
  }
  return "budget";
}

/** Ends run() with an exit. */
function finish(vcpu: VcpuState, exit: VcpuExit): Turn {
  if (exit.kind === "intr") vcpu.stats.signalExits++;
  else if (exit.kind === "irq-window-open") vcpu.stats.requestIrqExits++;
  const resolve = vcpu.resolve;
  vcpu.resolve = undefined;
  vcpu.pendingExit = exit;
  if (isFinishedWrite(exit)) {
    finishWrite(vcpu);
    if (vcpu.emulates) emulatedWrite(vcpu);
  }
  // The exit takes the place of the debugger's; the guest's own trap waits.
  if (vcpu.engine.pendingTraps !== 0) takeTraps(vcpu);
  vcpu.env.scheduler.remove(vcpu);
  resolve?.(exit);
  return "exited";
}

/** Work that waits at an entry; an exit when the client must hear first. */
function processRequests(vcpu: VcpuState): VcpuExit | undefined {
  if (vcpu.mpState === KvmMpState.UNINITIALIZED) return leaveUninitialized(vcpu);
  if (vcpu.initPending || vcpu.sipiPending) vcpu.acceptApicEvents();
  if (vcpu.tripleFault) {
    vcpu.tripleFault = false;
    return { kind: "shutdown" };
  }
  if (vcpu.badState && vcpu.mpState === KvmMpState.RUNNABLE) {
    return { kind: "fail-entry", reason: VMEXIT_INVALID };
  }
  if (vcpu.ioapicEoi >= 0) {
    const vector = vcpu.ioapicEoi;
    vcpu.ioapicEoi = -1;
    return { kind: "ioapic-eoi", vector };
  }
  if (vcpu.xen.mayDefer) processDeferred(vcpu);
  vcpu.unblock = false;
  const { handledExit } = vcpu;
  vcpu.handledExit = false;
  if (vcpu.kicked) {
    vcpu.kicked = false;
    if (vcpu.mpState === KvmMpState.HALTED) vcpu.endPoll();
    return { kind: "intr" };
  }
  return vcpu.tpr.reportWaits ? reportTprAccess(vcpu, handledExit) : undefined;
}

/** The report of an access to the TPR; the window behind a handled exit comes first. */
function reportTprAccess(vcpu: VcpuState, handledExit: boolean): VcpuExit | undefined {
  const { engine, tpr } = vcpu;
  const access = tpr.dueReport(engine.rip, engine.replaying);
  if (access === undefined) return undefined;
  if (handledExit && vcpu.windowIsOpen) return { kind: "irq-window-open" };
  tpr.takeReport();
  return { kind: "tpr-access", ...access };
}

function processDeferred(vcpu: VcpuState): void {
  const { xen } = vcpu;
  // Deferred events end a halt even when they cannot be delivered.
  const halted = vcpu.mpState === KvmMpState.HALTED;
  if (xen.deferredEvents && halted) vcpu.endHalt();
  if (vcpu.unblock && xen.deferredEvents && !halted) acknowledge(vcpu);
  if (vcpu.unblock || vcpu.handledExit || vcpu.kicked || halted) xen.processDeferred();
}

/**
 * KVM_REQ_UNBLOCK cancels an entry for which KVM has chosen its event already: that one comes at the next
 * entry before what the deferred events bring.
 */
function acknowledge(vcpu: VcpuState): void {
  const { ready } = vcpu.engine;
  if ((ready & Ready.EVENTS) === 0 || vcpu.hasQueuedEvent) return;
  if (vcpu.nmiPending > 0 && (ready & Ready.NMI) !== 0) {
    vcpu.nmiPending--;
    vcpu.nmiInjected = true;
  } else if ((ready & Ready.INTERRUPT) !== 0 && !vcpu.debug.blocksInterrupts) {
    const own = vcpu.hasOwnInterrupt();
    const vector = own
      ? vcpu.takeInterrupt()
      : vcpu.lapic === undefined
        ? 0
        : vcpu.xen.pendingVector();
    if (own ? vector >= 0 : vector !== 0) vcpu.queueInterrupt(vector);
  }
}

/** The first entry into empty page tables: KVM maps the guest's code, and then looks at deferred events. */
function faultAtEntry(vcpu: VcpuState): void {
  const { xen } = vcpu;
  vcpu.env.slots.isUnmapped = false;
  if (!xen.mayDefer) return;
  acknowledge(vcpu);
  xen.processDeferred();
}

/** Before its INIT message a vCPU only waits: every event ends that, and the client has to come again. */
function leaveUninitialized(vcpu: VcpuState): VcpuExit | undefined {
  if (!vcpu.canRun()) return undefined;
  vcpu.acceptApicEvents();
  if (!vcpu.kicked) return { kind: "again" };
  vcpu.kicked = false;
  return { kind: "intr" };
}

/** Chooses the event of this entry: what is queued first, then an NMI, then one external interrupt. */
function prepareEvents(vcpu: VcpuState): void {
  const { engine } = vcpu;
  const { ready } = engine;
  if (vcpu.unannounced) dropUnseen(vcpu);
  vcpu.nmiRequested = false;
  if (vcpu.nmiPending > 1) limitNmis(vcpu);
  let free = (ready & Ready.EVENTS) !== 0;
  // An instruction that was answered takes its shadow with it.
  vcpu.stepsToNmi = engine.nmiMasked || (free && engine.interruptShadow !== 0);
  if (free && (vcpu.hasQueuedEvent || vcpu.nmiPending > 0)) free = !injectQueued(vcpu, ready);
  const allowed = free && (ready & Ready.INTERRUPT) !== 0;
  engine.setWindows(prepareInterrupt(vcpu, allowed), vcpu.nmiPending > 0);
}

/** Without a request KVM enters without a look at events, and what it had to inject again is lost at the exit. */
function dropUnseen(vcpu: VcpuState): void {
  const { tpr } = vcpu;
  vcpu.unannounced = false;
  const isWindowWanted = vcpu.requestInterruptWindow && vcpu.acceptsUserInterrupt;
  const looks = tpr.eventRequested || vcpu.nmiRequested || isWindowWanted;
  if (!looks && vcpu.xen.pendingVector() === 0) vcpu.dropQueued();
}

/** Injects the event that was begun before this entry, or an NMI that may come now. False: there was none. */
function injectQueued(vcpu: VcpuState, ready: number): boolean {
  const { engine, exception } = vcpu;
  const isNmi = !exception.waits && (vcpu.nmiInjected || vcpu.queuedInterrupt < 0);
  if (exception.waits) {
    deliverPayload(vcpu);
    const { vector, hasErrorCode, errorCode } = exception;
    const protectedMode = (engine.cr0 & Cr0.PE) !== 0n;
    if (isBehindInstruction(vcpu, vector))
      engine.injectException(vector, protectedMode && hasErrorCode ? errorCode : undefined);
  } else if (vcpu.nmiInjected) injectNmi(vcpu);
  // It was acknowledged when it could be taken: neither IF nor a shadow holds it up any more.
  else if (vcpu.queuedInterrupt >= 0) inject(vcpu, vcpu.queuedInterrupt);
  else if (vcpu.nmiPending > 0 && (ready & Ready.NMI) !== 0) {
    vcpu.nmiPending--;
    injectNmi(vcpu);
  } else return false;
  // Behind an event KVM leaves the guest at once for an NMI that may come.
  vcpu.stepsToNmi = engine.nmiMasked || isNmi;
  vcpu.dropQueued();
  return true;
}

function injectNmi({ engine, stats }: VcpuState): void {
  stats.nmiInjections++;
  engine.injectNmi();
}

function inject(vcpu: VcpuState, vector: number): void {
  const { engine, stats, env } = vcpu;
  stats.irqInjections++;
  const { trace } = env;
  if (trace !== undefined && vcpu.xen.isUpcall(vector)) trace.upcall(vcpu.id, vector);
  engine.injectInterrupt(vector);
}

/** {@link EngineVcpu.setWindows}: none, always. */
const NO_WINDOW = 0;
const WINDOW = 1;

/**
 * Injects an external interrupt if there is one and it may come; the window for what still waits, or for the
 * client's wish. That one is heard whatever else waits and whatever the debugger blocks, but not while
 * nobody could take the interrupt: the guest would never leave such a window.
 */
function prepareInterrupt(vcpu: VcpuState, allowed: boolean): number {
  const window = injectInterrupt(vcpu, allowed);
  if (!vcpu.requestInterruptWindow || vcpu.userInterrupt >= 0) return window;
  return vcpu.acceptsUserInterrupt ? WINDOW : window;
}

/** The window for what KVM itself has to inject. */
function injectInterrupt(vcpu: VcpuState, allowed: boolean): number {
  const { xen } = vcpu;
  if (vcpu.debug.blocksInterrupts) return NO_WINDOW;
  // Looked at without a local APIC too: that finds the page of vcpu_info again.
  const pending = xen.pendingVector();
  const upcall = vcpu.lapic === undefined ? 0 : pending;
  if (upcall !== 0) vcpu.tpr.eventRequested = true;
  const own = vcpu.hasOwnInterrupt();
  if (!own && upcall === 0) return NO_WINDOW;
  if (allowed && own) {
    const vector = vcpu.takeInterrupt();
    if (vector >= 0) inject(vcpu, vector);
    if (vcpu.hasOwnInterrupt()) return WINDOW;
  } else if (allowed) {
    vcpu.lastInterrupt = upcall;
    inject(vcpu, upcall);
  } else if (own) return WINDOW;
  // The vector of Xen waits until the guest clears its byte, which is most often before the window.
  return upcall === 0 ? NO_WINDOW : xen.pendingByte;
}
