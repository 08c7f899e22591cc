import { KvmMpState } from "../../abi/kvm/index.js";
import { EngineExit } from "../../engine/bridge/port.js";
import { instructionsUntilTimer } from "../cpu/clock.js";
import type { VcpuExit } from "../exits.js";
import type { VcpuState } from "../vcpu-state.js";
import { completeExit, handleExit } from "./exits.js";
import type { Turn } from "./scheduler.js";

/** PAUSE instructions after which another vCPU gets its turn. */
const PAUSES = 4;

/** What an exit counts at least, so that a turn ends even when nothing retires. */
const EXIT_COST = 20;

/** One turn of a vCPU: enters the guest until the budget is used up, it waits, or run() resolves. */
export function turn(vcpu: VcpuState, budget: number): Turn {
  const { engine, env } = vcpu;
  const virtual = env.clock.clock.virtual;
  let left = budget;
  engine.pauseExit = env.scheduler.activeCount > 1 ? PAUSES : 0;
  while (left > 0) {
    const leave = processRequests(vcpu);
    if (leave !== undefined) return finish(vcpu, leave);
    if (vcpu.mpState !== KvmMpState.RUNNABLE) {
      if (vcpu.mpState !== KvmMpState.HALTED || !vcpu.wakesFromHalt()) return "waiting";
      vcpu.endHalt();
    }
    const allowed = instructionsUntilTimer(env.clock, left);
    if (allowed === 0) return "budget";
    prepareEvents(vcpu);
    if (virtual !== undefined) engine.setTime(env.clock.nowNs());
    const before = engine.instructions;
    const code = engine.run(allowed);
    vcpu.exceptionRaised = false;
    const retired = engine.instructions - before;
    if (virtual !== undefined) virtual.advance(retired);
    left -= code === EngineExit.BUDGET ? retired : Math.max(retired, EXIT_COST);
    const after = handleExit(vcpu, code);
    if (after === "yield") return "yielded";
    if (after !== "continue") return finish(vcpu, after);
  }
  return "budget";
}

/**
 * What a client that wants out at once still gets: the instruction whose access it answered is
 * finished, without any event before it.
 */
export function finishInstruction(vcpu: VcpuState): VcpuExit {
  const { engine } = vcpu;
  const virtual = vcpu.env.clock.clock.virtual;
  for (;;) {
    completeExit(vcpu);
    if (!engine.replaying) return { kind: "intr" };
    engine.requestInterruptWindow = false;
    engine.requestNmiWindow = false;
    if (virtual !== undefined) engine.setTime(vcpu.env.clock.nowNs());
    const before = engine.instructions;
    const code = engine.run(1);
    if (virtual !== undefined) virtual.advance(engine.instructions - before);
    const after = handleExit(vcpu, code);
    if (after !== "continue" && after !== "yield") {
      vcpu.pendingExit = after;
      return after;
    }
  }
}

/** Ends run() with an exit. */
function finish(vcpu: VcpuState, exit: VcpuExit): Turn {
  const resolve = vcpu.resolve;
  vcpu.resolve = undefined;
  vcpu.pendingExit = exit;
  vcpu.env.scheduler.remove(vcpu);
  resolve?.(exit);
  return "exited";
}

/** Work that waits at an entry; an exit when the client must hear first. */
function processRequests(vcpu: VcpuState): VcpuExit | undefined {
  if (vcpu.initPending || vcpu.sipiPending) vcpu.acceptApicEvents();
  if (vcpu.ioapicEoi >= 0) {
    const vector = vcpu.ioapicEoi;
    vcpu.ioapicEoi = -1;
    return { kind: "ioapic-eoi", vector };
  }
  // Deferred events end a halt even when they cannot be delivered.
  if (vcpu.mpState === KvmMpState.HALTED && vcpu.xen.deferredEvents) vcpu.endHalt();
  if (vcpu.xen.deferredEvents || vcpu.xen.deferredTimer) vcpu.xen.processDeferred();
  if (vcpu.kicked) {
    vcpu.kicked = false;
    if (vcpu.mpState === KvmMpState.HALTED) vcpu.endPoll();
    return { kind: "intr" };
  }
  vcpu.processClockUpdate();
  return undefined;
}

/** Chooses the event of this entry: NMI first, then one external interrupt. */
function prepareEvents(vcpu: VcpuState): void {
  const { engine } = vcpu;
  engine.requestInterruptWindow = false;
  engine.requestNmiWindow = false;
  const queued = vcpu.queuedException;
  let free = !engine.replaying && !vcpu.exceptionRaised;
  if (free && queued !== undefined) {
    vcpu.queuedException = undefined;
    engine.injectException(queued.vector, queued.errorCode);
    free = false;
  }
  if (vcpu.nmiPending > 0) {
    if (free && !engine.nmiMasked && engine.interruptShadow === 0) {
      vcpu.nmiPending--;
      engine.injectNmi();
      free = false;
    }
    if (vcpu.nmiPending > 0) engine.requestNmiWindow = true;
  }
  if (vcpu.hasInterrupt()) {
    if (free && vcpu.interruptAllowed()) {
      const vector = vcpu.takeInterrupt();
      if (vector >= 0) engine.injectInterrupt(vector);
      if (!vcpu.hasInterrupt()) return;
    }
    engine.requestInterruptWindow = true;
  } else if (vcpu.lapic === undefined && vcpu.requestInterruptWindow) {
    engine.requestInterruptWindow = true;
  }
}
