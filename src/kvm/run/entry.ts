import { KvmMpState } from "../../abi/kvm/index.js";
import { Cr0 } from "../../abi/x86/index.js";
import { EngineExit, Intercept, Ready } from "../../engine/bridge/port.js";
import type { VcpuExit } from "../api/exits.js";
import { workUntilTimer } from "../cpu/clock.js";
import { isSoft } from "../cpu/exception.js";
import { deliverPayload, limitNmis } from "../cpu/vcpu-events.js";
import { NO_STEP } from "../irq/nmi-state.js";
import type { VcpuState } from "../vcpu-state.js";
import { afterCompletion, emulatedWrite, takeTraps } from "./debug-exit.js";
import { handleExit, isFinishedWrite } from "./exits.js";
import { finishWrite } from "./finish.js";
import {
  endStep,
  injectNmi,
  maskNmis,
  nmiAllowed,
  noteExit,
  stepGoesOn,
  stepToNmi,
} from "./nmi.js";
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
    if (vcpu.mp.state !== KvmMpState.RUNNABLE) {
      if (!vcpu.mp.isHalted || !vcpu.wakesFromHalt()) return "waiting";
      vcpu.mp.endHalt();
      vcpu.handledExit = true;
      continue;
    }
    if (vcpu.time.clockUpdate) vcpu.time.processClockUpdate();
    if (vcpu.thread.scheduledIn) vcpu.accountEntry();
    if (env.slots.isUnmapped) faultAtEntry(vcpu);
    const next = clock.timers.nextDeadlineNs();
    if (virtual !== undefined || distance <= 0 || next !== deadline) {
      deadline = next;
      distance = workUntilTimer(clock, left);
      if (distance === 0) return "budget";
    }
    // Events come right behind the instruction that the client has answered, a step and the report of an access to the
    // TPR too.
    const completes = engine.replaying && hasEvents(vcpu);
    const atOnce = completes ? completeFirst(vcpu) : prepareEvents(vcpu);
    if (virtual !== undefined) engine.setTime(clock.nowNs());
    const isBehind = completes || vcpu.tpr.reportWaits;
    const given = atOnce ? 0 : isBehind ? 1 : Math.min(left, distance);
    const code = engine.run(given);
    const { work } = engine;
    // Before the lower bits of the TPR go: what the guest has written counts.
    if (code === EngineExit.CR8_WRITE) vcpu.lapic?.setCr8(engine.cr8);
    if (!completes) {
      vcpu.tpr.afterExit(vcpu.lapic);
      vcpu.pending.portRip = undefined;
      noteExit(vcpu);
    }
    if (virtual !== undefined) virtual.advance(work);
    distance -= Math.max(work, EXIT_WAIT);
    vcpu.work += Math.max(work, code === EngineExit.BUDGET && !atOnce ? given : exitCost);
    const after = handleExit(vcpu, code);
    if (after === "continue" || after === "yield") {
      // KVM looks at deferred events and the client's window after every exit that it handles itself.
      if (!completes || code !== EngineExit.BUDGET) vcpu.handledExit = true;
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
  vcpu.pending.exit = exit;
  // The next run() enters the guest before it looks at windows.
  vcpu.handledExit = false;
  if (isFinishedWrite(exit)) {
    finishWrite(vcpu);
    if (vcpu.pending.emulates) emulatedWrite(vcpu);
  }
  // The exit takes the place of the debugger's; the guest's own trap waits.
  if (vcpu.engine.pendingTraps !== 0 && !stepGoesOn(vcpu)) takeTraps(vcpu);
  vcpu.env.scheduler.remove(vcpu);
  resolve?.(exit);
  return "exited";
}

/** Work that waits at an entry; an exit when the client must hear first. */
function processRequests(vcpu: VcpuState): VcpuExit | undefined {
  if (vcpu.mp.state === KvmMpState.UNINITIALIZED) return leaveUninitialized(vcpu);
  if (vcpu.handledExit && vcpu.interrupts.requestInterruptWindow && opensWindow(vcpu)) {
    vcpu.handledExit = false;
    return { kind: "irq-window-open" };
  }
  if (vcpu.mp.initPending || vcpu.mp.sipiPending) vcpu.acceptApicEvents();
  if (vcpu.tripleFault) {
    vcpu.tripleFault = false;
    return { kind: "shutdown" };
  }
  if (vcpu.badState && vcpu.mp.state === KvmMpState.RUNNABLE) {
    return { kind: "fail-entry", reason: VMEXIT_INVALID };
  }
  if (vcpu.ioapicEoi >= 0) {
    const vector = vcpu.ioapicEoi;
    vcpu.ioapicEoi = -1;
    return { kind: "ioapic-eoi", vector };
  }
  if (vcpu.xen.mayDefer) processDeferred(vcpu);
  vcpu.unblock = false;
  // An instruction that an exit belongs to is finished first.
  vcpu.handledExit = vcpu.handledExit && vcpu.engine.replaying;
  if (vcpu.kicked) {
    vcpu.kicked = false;
    if (vcpu.mp.state === KvmMpState.HALTED) vcpu.mp.endPoll();
    return { kind: "intr" };
  }
  return vcpu.tpr.reportWaits ? reportTprAccess(vcpu) : undefined;
}

/** The client's window behind a handled exit: before anything else comes, in a halt too. */
function opensWindow(vcpu: VcpuState): boolean {
  if (vcpu.engine.replaying) return false;
  if (vcpu.xen.mayDefer) vcpu.xen.processDeferred();
  return vcpu.interrupts.windowIsOpen;
}

/** The report of an access to the TPR. */
function reportTprAccess(vcpu: VcpuState): VcpuExit | undefined {
  const { engine, tpr } = vcpu;
  const access = tpr.dueReport(engine.rip, engine.replaying);
  if (access === undefined) return undefined;
  tpr.takeReport();
  return { kind: "tpr-access", ...access };
}

function processDeferred(vcpu: VcpuState): void {
  const { xen } = vcpu;
  // Deferred events end a halt even when they cannot be delivered.
  const halted = vcpu.mp.state === KvmMpState.HALTED;
  if (xen.deferredEvents && halted) vcpu.mp.endHalt();
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
  if (vcpu.nmi.pending > 0 && nmiAllowed(vcpu)) {
    vcpu.nmi.pending--;
    vcpu.nmi.injected = true;
    maskNmis(vcpu, true);
  } else if ((ready & Ready.INTERRUPT) !== 0 && !vcpu.debug.blocksInterrupts) {
    const own = vcpu.interrupts.hasOwn();
    const vector = own
      ? vcpu.interrupts.take()
      : vcpu.lapic === undefined
        ? 0
        : vcpu.xen.pendingVector();
    if (own ? vector >= 0 : vector !== 0) vcpu.interrupts.queue(vector);
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

/** Whether there is something to look for behind the instruction that was answered. */
function hasEvents(vcpu: VcpuState): boolean {
  if (vcpu.hasQueuedEvent || vcpu.nmi.pending > 0 || vcpu.nmi.step !== NO_STEP) return true;
  return vcpu.debug.singleStep || vcpu.interrupts.requestInterruptWindow;
}

function completeFirst({ engine }: VcpuState): false {
  engine.setWindow(NO_WINDOW);
  return false;
}

/**
 * Chooses the event of this entry: what is queued first, then an NMI, then one external interrupt. Without a request
 * (KVM_REQ_EVENT) KVM looks for the client's window and Xen's vector only; an interrupt that a window waits for is found here
 * all the same. True: the guest is to be left again before its next instruction.
 */
function prepareEvents(vcpu: VcpuState): boolean {
  const { engine, tpr } = vcpu;
  if (vcpu.nmi.requested) {
    vcpu.nmi.requested = false;
    limitNmis(vcpu);
    if (vcpu.nmi.pending > 0) tpr.eventRequested = true;
  }
  const { ready } = engine;
  const isFree = (ready & Ready.EVENTS) !== 0;
  const wantsWindow = vcpu.interrupts.requestInterruptWindow && vcpu.interrupts.acceptsUser;
  const looks = tpr.eventRequested || wantsWindow || vcpu.xen.pendingVector() !== 0;
  tpr.eventRequested = false;
  const canInject = isFree && !vcpu.needsReinjection && !vcpu.exception.pending;
  let injects = isFree && looks && vcpu.hasQueuedEvent && injectQueued(vcpu);
  let leaves = false;
  if (isFree && looks && vcpu.nmi.pending > 0 && !vcpu.debug.blocksInterrupts) {
    if (!canInject) {
      // Behind an event KVM leaves the guest at once for an NMI.
      leaves = true;
      tpr.eventRequested = true;
    } else if (nmiAllowed(vcpu)) {
      vcpu.nmi.pending--;
      injectNmi(vcpu);
      injects = true;
    }
    if (canInject && vcpu.nmi.pending > 0) stepToNmi(vcpu);
  }
  // One event is injected. A client may have set several: KVM reads from the processor at the exit what of it was not
  // delivered, and the others are lost, as all are when it did not look.
  if (isFree) vcpu.dropQueued();
  const allowed = canInject && !injects && (ready & Ready.INTERRUPT) !== 0;
  const [window, interrupts] = prepareInterrupt(vcpu, allowed);
  engine.setWindow(wantsWindow ? WINDOW : window);
  if ((injects || interrupts) && vcpu.nmi.step !== NO_STEP) {
    // The flags of the step must not get into the event's frame.
    endStep(vcpu);
    leaves = true;
  }
  interceptExceptions(vcpu);
  tpr.beforeEntry(vcpu.lapic, looks);
  return leaves;
}

/**
 * KVM for AMD leaves the guest for #DB, #UD and #AC, and injects them. That shows only where the way of an NMI is
 * looked at in each exit: elsewhere the engine delivers them.
 */
function interceptExceptions(vcpu: VcpuState): void {
  const { debug, engine } = vcpu;
  const watches = vcpu.nmi.pending > 0 || vcpu.nmi.awaitsIret || vcpu.nmi.step !== NO_STEP;
  const faults = watches ? Intercept.DEBUG | Intercept.FAULTS : 0;
  const int3 = debug.softwareBreakpoints ? Intercept.INT3 : 0;
  const wanted = faults | int3 | (debug.interceptsDebug ? Intercept.DEBUG : 0);
  if (wanted === vcpu.intercepts) return;
  vcpu.intercepts = wanted;
  engine.intercept(wanted);
}

/** Injects the event that was begun before this entry; whether there was one that the guest gets. */
function injectQueued(vcpu: VcpuState): boolean {
  const { engine, exception } = vcpu;
  if (exception.waits) {
    deliverPayload(vcpu);
    const { vector, hasErrorCode, errorCode } = exception;
    const protectedMode = (engine.cr0 & Cr0.PE) !== 0n;
    if (isSoft(vector) && !isBehindInstruction(vcpu, vector)) return false;
    engine.injectException(vector, protectedMode && hasErrorCode ? errorCode : undefined);
  } else if (vcpu.nmi.injected) injectNmi(vcpu);
  // It was acknowledged when it could be taken: neither IF nor a shadow holds it up any more.
  else if (vcpu.interrupts.queuedSoft && !isBehindInstruction(vcpu, vcpu.interrupts.queued))
    return false;
  else inject(vcpu, vcpu.interrupts.queued);
  return true;
}

function inject(vcpu: VcpuState, vector: number): void {
  const { engine, stats, env } = vcpu;
  stats.irqInjections++;
  const { trace } = env;
  if (trace !== undefined && vcpu.xen.isUpcall(vector)) trace.upcall(vcpu.id, vector);
  engine.injectInterrupt(vector);
}

/** {@link EngineVcpu.setWindow}: none, always. */
const NO_WINDOW = 0;
const WINDOW = 1;

/** The window for what KVM itself has to inject, and whether it has injected an external interrupt. */
function prepareInterrupt(vcpu: VcpuState, allowed: boolean): [window: number, injects: boolean] {
  const { xen } = vcpu;
  if (vcpu.debug.blocksInterrupts) return [NO_WINDOW, false];
  // Looked at without a local APIC too: that finds the page of vcpu_info again.
  const pending = xen.pendingVector();
  const upcall = vcpu.lapic === undefined ? 0 : pending;
  const own = vcpu.interrupts.hasOwn();
  if (!own && upcall === 0) return [NO_WINDOW, false];
  if (allowed && own) {
    const vector = vcpu.interrupts.take();
    if (vector >= 0) inject(vcpu, vector);
    if (vcpu.interrupts.hasOwn()) return [WINDOW, vector >= 0];
  } else if (allowed) {
    vcpu.interrupts.last = upcall;
    inject(vcpu, upcall);
  } else if (own) return [WINDOW, false];
  // The vector of Xen waits until the guest clears its byte, which is most often before the window.
  return [upcall === 0 ? NO_WINDOW : xen.pendingByte, allowed];
}
