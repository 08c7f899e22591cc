import { Exception, Rflags } from "../../abi/x86/index.js";
import type { VcpuExit, VcpuExitDebug } from "../exits.js";
import type { VcpuState } from "../vcpu-state.js";

/** DR6: bits that are always one; single step. */
const DR6_FIXED = 0xffff0ff0n;
const DR6_BS = 0x4000n;

function debugExit(vcpu: VcpuState, exception: number, dr6: bigint): VcpuExitDebug {
  const { debug, engine } = vcpu;
  const dr7 = debug.hardwareBreakpoints ? debug.dr7 : engine.dr(7);
  return { kind: "debug", exception, pc: vcpu.linearRip(), dr6, dr7 };
}

/** The engine has left for an exception that KVM_SET_GUEST_DEBUG keeps from the guest. */
export function interceptedException(vcpu: VcpuState): VcpuExitDebug {
  const { aux, dataLow } = vcpu.engine.exit;
  return debugExit(vcpu, aux, BigInt(dataLow));
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
  if (debug.singleStep || taken) return debugExit(vcpu, Exception.DB, DR6_FIXED | bits);
  vcpu.shownException.queue(Exception.DB, undefined, bits);
  return undefined;
}

/**
 * KVM has made a single step to where an NMI may come. A debugger that takes #DB hears of it, as KVM does not look whose
 * step it was; the window behind a handled exit comes before the NMI, too.
 */
export function steppedToNmi(vcpu: VcpuState): VcpuExit | "continue" {
  if (vcpu.debug.interceptsDebug) return debugExit(vcpu, Exception.DB, DR6_FIXED | DR6_BS);
  return vcpu.windowIsOpen ? { kind: "irq-window-open" } : "continue";
}

/** The exit for what an instruction has left that was completed outside of the engine. */
export function afterCompletion(vcpu: VcpuState): VcpuExitDebug | undefined {
  const { engine } = vcpu;
  const step = vcpu.emulates && !engine.replaying ? emulated(vcpu) : undefined;
  return step ?? (engine.pendingTraps === 0 ? undefined : takeTraps(vcpu));
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
  vcpu.emulates = false;
  if (!debug.singleStep) return undefined;
  const completed = engine.pendingTraps !== 0 || (engine.rflags & Rflags.TF) === 0n;
  loseTf(vcpu, vcpu.linearRip());
  if (!completed) return undefined;
  engine.dropTraps();
  return debugExit(vcpu, Exception.DB, DR6_FIXED | DR6_BS);
}

/** The same for a write that was done when run() resolved: KVM has no trap behind it, not even the guest's own. */
export function emulatedWrite(vcpu: VcpuState): void {
  vcpu.emulates = false;
  vcpu.engine.dropTraps();
  loseTf(vcpu, vcpu.linearRip());
}
