import { KvmMpState } from "../../abi/kvm/index.js";
import { Gpr } from "../../abi/x86/index.js";
import { EngineExit, type EngineExitCode } from "../../engine/bridge/port.js";
import type { VcpuExit } from "../api/exits.js";
import type { VcpuState } from "../vcpu-state.js";
import { afterCompletion } from "./debug-exit.js";
import { completeExit, handleExit, isFinishedWrite } from "./exits.js";
import { markRepetition, stayAtRepetition } from "./finished-out.js";
import { executeAsBegun } from "./in-flight.js";
import { EXIT_COST } from "./scheduler.js";
import { takeInput } from "./string-input.js";

/** {@link EngineVcpu.setWindow}: none. */
const NO_WINDOW = 0;

/**
 * More accesses than one instruction can make.
 * @nolimit more than one instruction can make
 */
const MAX_ACCESSES = 70;

/** One instruction, or the rest of it, with no event before it: the engine's exit code. */
function runOne(vcpu: VcpuState): EngineExitCode {
  const { engine } = vcpu;
  const { clock } = vcpu.env;
  const virtual = clock.clock.virtual;
  engine.setWindow(NO_WINDOW);
  if (virtual !== undefined) engine.setTime(clock.nowNs());
  const code = engine.run(1);
  const { work } = engine;
  if (virtual !== undefined) virtual.advance(work);
  vcpu.env.scheduler.charge(vcpu, Math.max(work, EXIT_COST));
  return code;
}

const isAccess = (code: EngineExitCode): boolean =>
  code === EngineExit.MMIO || code === EngineExit.IO;

/** Hands the client's answer to the last exit to the guest, at the start of a run(). */
function complete(vcpu: VcpuState): void {
  completeExit(vcpu);
  // What the instruction exits with next is known already.
  if (vcpu.pending.followUps.length > 0) return;
  const flight = vcpu.pending.inFlight;
  if (!vcpu.engine.replaying) vcpu.pending.inFlight = undefined;
  else if (flight !== undefined) executeAsBegun(vcpu, flight, () => finishBegun(vcpu));
  else if (vcpu.pending.stringInput !== undefined) {
    // The last element is left to the entry that follows.
    while (vcpu.pending.stringInput !== undefined && iterate(vcpu));
  }
}

/**
 * One iteration of a REP INS, and the input of the next; false when there is none. An exception or
 * an exit in the middle loses the rest of the input, as in KVM.
 */
function iterate(vcpu: VcpuState): boolean {
  const { engine } = vcpu;
  const before = engine.instructions;
  const after = handleExit(vcpu, runOne(vcpu));
  const input = takeInput(vcpu);
  if (after === "continue" && engine.instructions !== before && input !== undefined) {
    engine.completeReadU32(input);
    return true;
  }
  vcpu.pending.stringInput = undefined;
  if (after === "continue" || after === "yield") return false;
  vcpu.pending.followUps.push(after);
  if (isFinishedWrite(after)) finishWrite(vcpu);
  return false;
}

/**
 * Finishes an instruction whose registers the client has changed; exits that it still makes become
 * follow-ups. False when one of them has to be answered before the instruction can go on.
 */
function finishBegun(vcpu: VcpuState): boolean {
  const { engine } = vcpu;
  const { followUps } = vcpu.pending;
  const { rip } = engine;
  const count = engine.gprLow(Gpr.RCX);
  let wrote = false;
  for (let access = 0; access < MAX_ACCESSES && engine.replaying; ) {
    if (vcpu.pending.stringInput !== undefined) {
      iterate(vcpu);
      continue;
    }
    access++;
    const code = runOne(vcpu);
    // Behind a write the next iteration of a string instruction begins anew, at RIP.
    if (wrote && isAccess(code) && !engine.replaying) break;
    const after = handleExit(vcpu, code);
    if (after === "continue" || after === "yield") continue;
    followUps.push(after);
    if (!isFinishedWrite(after)) return false;
    engine.completeWrite();
    wrote = true;
  }
  if (wrote && engine.gprLow(Gpr.RCX) !== count) stayAtRepetition(vcpu, rip);
  return true;
}

/**
 * What a client that wants out at once still gets: the instruction whose access it answered is
 * finished, without any event before it.
 */
function finishInstruction(vcpu: VcpuState): VcpuExit {
  const { engine } = vcpu;
  const isIo = vcpu.pending.exit?.kind === "io";
  for (let access = 0; access < MAX_ACCESSES; access++) {
    complete(vcpu);
    const next = takeFollowUp(vcpu);
    if (next !== undefined) return next;
    if (!engine.replaying) {
      if (isIo) markRepetition(vcpu);
      const trap = afterCompletion(vcpu);
      if (trap !== undefined) vcpu.pending.exit = trap;
      return trap ?? { kind: "intr" };
    }
    const after = handleExit(vcpu, runOne(vcpu));
    if (after !== "continue" && after !== "yield") {
      vcpu.pending.exit = after;
      if (isFinishedWrite(after)) finishWrite(vcpu);
      return after;
    }
  }
  // An instruction that is never done, such as one whose fault cannot be delivered, has to wait.
  return { kind: "intr" };
}

/** What the last exit still needs, at the start of a run(); the exit that comes of that, before the guest goes on. */
export function begin(vcpu: VcpuState): VcpuExit | undefined {
  // Deferred events stay deferred: the kernel looks at them after an entry only.
  if (vcpu.immediateExit) return finishInstruction(vcpu);
  if (vcpu.mp.state !== KvmMpState.RUNNABLE) {
    // An answered instruction is completed before the vCPU waits.
    const exit = finishInstruction(vcpu);
    if (exit.kind !== "intr") return exit;
  }
  complete(vcpu);
  return takeFollowUp(vcpu);
}

/** The next exit of an instruction that has several; it is then the pending one. */
function takeFollowUp(vcpu: VcpuState): VcpuExit | undefined {
  const next = vcpu.pending.followUps.shift();
  if (next !== undefined) vcpu.pending.exit = next;
  return next;
}

/**
 * A write to memory that the client answers for, or OUTS, has happened, as far as the guest is concerned,
 * when run() resolves: KVM has executed the whole instruction then, and written its registers back.
 * Further writes of the same instruction become exits that follow without the guest going on.
 */
export function finishWrite(vcpu: VcpuState): void {
  const { engine } = vcpu;
  const { rip } = engine;
  const count = engine.gprLow(Gpr.RCX);
  engine.completeWrite();
  for (let access = 0; access < MAX_ACCESSES && engine.replaying; access++) {
    const code = runOne(vcpu);
    // The next iteration of a string instruction: its access comes again at the next entry.
    if (isAccess(code) && !engine.replaying) break;
    const after = handleExit(vcpu, code);
    if (after === "continue" || after === "yield") continue;
    // An instruction that cannot be executed has made no access either.
    if (after.kind === "internal-error") vcpu.pending.followUps.length = 0;
    vcpu.pending.followUps.push(after);
    if (!isFinishedWrite(after)) return;
    engine.completeWrite();
  }
  if (vcpu.pending.exit?.kind === "io") markRepetition(vcpu);
  else if (engine.gprLow(Gpr.RCX) !== count) stayAtRepetition(vcpu, rip);
}
