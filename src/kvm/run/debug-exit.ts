import { Exception, Rflags } from "../../abi/x86/index.js";
import type { VcpuExitDebug } from "../api/exits.js";
import { NO_STEP } from "../irq/nmi-state.js";
import type { VcpuState } from "../vcpu-state.js";
import { endStep, stepGoesOn } from "./nmi.js";

/** DR6: bits that are always one; single step. */
const DR6_FIXED = 0xffff0ff0n;
const DR6_BS = 0x4000n;

function debugExit(vcpu: VcpuState, exception: number, dr6: bigint): VcpuExitDebug {
  const { debug, engine } = vcpu;
  const dr7 = debug.hardwareBreakpoints ? debug.dr7 : engine.dr(7);
  return { kind: "debug", exception, pc: vcpu.linearRip(), dr6, dr7 };
}

/** The exit for a step behind an instruction that KVM did itself: it says nothing of DR7. */
function stepExit(vcpu: VcpuState, dr6: bigint): VcpuExitDebug {
  return { kind: "debug", exception: Exception.DB, pc: vcpu.linearRip(), dr6 };
}

/**
 * The engine has left for an exception: one that KVM_SET_GUEST_DEBUG keeps from the guest, a step of KVM's own, or one that
 * KVM injects. KVM does not look whose step it was: a debugger that takes #DB hears of its own, the guest of none.
 */
export function interceptedException(vcpu: VcpuState): VcpuExitDebug | "continue" {
  const { aux, dataLow } = vcpu.engine.exit;
  if (aux === Exception.BP) return debugExit(vcpu, aux, BigInt(dataLow));
  if (aux !== Exception.DB) {
    vcpu.queueException(aux, aux === Exception.AC ? 0 : undefined);
    return "continue";
  }
  const isStep = vcpu.nmi.step !== NO_STEP;
  if (isStep) {
    endStep(vcpu);
    vcpu.tpr.eventRequested = true;
  }
  if (vcpu.debug.interceptsDebug) return debugExit(vcpu, aux, BigInt(dataLow));
  if (!isStep) vcpu.queueException(aux, undefined, BigInt(dataLow) ^ DR6_FIXED);
  return "continue";
}

/**
 * Takes the traps of an instruction that was completed outside of the engine: single steps of the
 * debugger become an exit, the guest's own a pending exception, as in KVM; in newer releases the debugger's
 * breakpoints take those too.
 */
export function takeTraps(vcpu: VcpuState): VcpuExitDebug | undefined {
  const { debug, engine } = vcpu;
  const bits = BigInt(engine.pendingTraps);
  engine.dropTraps();
  const taken = vcpu.env.linux.debuggerTakesEmulatedTraps && debug.hardwareBreakpoints;
  if (debug.singleStep || taken) return stepExit(vcpu, DR6_FIXED | bits);
  vcpu.queueException(Exception.DB, undefined, bits);
  return undefined;
}

/** The exit for what an instruction has left that was completed outside of the engine. */
export function afterCompletion(vcpu: VcpuState): VcpuExitDebug | undefined {
  const { engine } = vcpu;
  const step = vcpu.pending.emulates && !engine.replaying ? emulated(vcpu) : undefined;
  if (step !== undefined || engine.pendingTraps === 0 || stepGoesOn(vcpu)) return step;
  return takeTraps(vcpu);
}

/** KVM's emulator shows nobody the TF of single steps, and does not write it back either. */
function loseTf({ debug, engine }: VcpuState, rip: bigint): void {
  if (debug.singleStep && !debug.setsTf(rip)) engine.rflags &= ~Rflags.TF;
}

/**
 * An instruction that KVM's emulator executes is done: every one of them is a step, even when TF has been
 * lost before.
 */
function emulated(vcpu: VcpuState): VcpuExitDebug | undefined {
  const { debug, engine } = vcpu;
  vcpu.pending.emulates = false;
  if (!debug.singleStep) return undefined;
  const completed = engine.pendingTraps !== 0 || (engine.rflags & Rflags.TF) === 0n;
  loseTf(vcpu, vcpu.linearRip());
  if (!completed) return undefined;
  engine.dropTraps();
  return stepExit(vcpu, DR6_FIXED | DR6_BS);
}

/** The same for a write that was done when run() resolved: KVM has no trap behind it, not even the guest's own. */
export function emulatedWrite(vcpu: VcpuState): void {
  vcpu.pending.emulates = false;
  vcpu.engine.dropTraps();
  loseTf(vcpu, vcpu.linearRip());
}
