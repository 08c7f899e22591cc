import { Rflags } from "../../abi/x86/index.js";
import { NO_STEP } from "../irq/nmi-state.js";
import type { VcpuState } from "../vcpu-state.js";

/**
 * Non-maskable interrupts as KVM for AMD keeps them from the guest until they may come. The processor does not tell when
 * an IRET ends the handler of an NMI, so that KVM intercepts the IRET, and then makes a single step of its own over it. It
 * steps out of an interrupt shadow in the same way. The step is the guest's TF, with RF against breakpoints: whatever
 * saves RFLAGS in the guest meanwhile saves them too, and behind the step both are as they were before it.
 */

const STEP_FLAGS = Rflags.TF | Rflags.RF;

/** Whether an NMI may be injected. */
export function nmiAllowed(vcpu: VcpuState): boolean {
  return !vcpu.nmi.masked && vcpu.engine.interruptShadow === 0;
}

/** KVM_SET_VCPU_EVENTS: NMIs are masked, until an IRET, or not. */
export function maskNmis(vcpu: VcpuState, masked: boolean): void {
  vcpu.nmi.masked = masked;
  vcpu.engine.iretExit = masked;
}

/** Takes an NMI at the next entry; further ones are masked. */
export function injectNmi(vcpu: VcpuState): void {
  vcpu.stats.nmiInjections++;
  vcpu.engine.injectNmi();
  maskNmis(vcpu, true);
}

/** An NMI waits and may not come now: steps to where it may, unless an IRET has to come first. */
export function stepToNmi(vcpu: VcpuState): void {
  if (vcpu.nmi.masked && !vcpu.nmi.awaitsIret) return;
  const { engine } = vcpu;
  vcpu.nmi.step = Number(visibleFlags(vcpu) & STEP_FLAGS);
  engine.rflags |= STEP_FLAGS;
}

/** The step is over, or its place is taken by an event. TF of a debugger stays. */
export function endStep(vcpu: VcpuState): void {
  const { engine, debug } = vcpu;
  const flags = debug.singleStep ? engine.rflags : visibleFlags(vcpu);
  vcpu.nmi.step = NO_STEP;
  engine.rflags = flags;
}

/** RFLAGS without what a step has added to them. */
export function visibleFlags({ engine, nmi }: VcpuState): bigint {
  const { rflags } = engine;
  return nmi.step === NO_STEP ? rflags : rflags & ~(STEP_FLAGS & ~BigInt(nmi.step));
}

/** What is written to RFLAGS gets the flags of a step that is still to come. */
export function keepStep({ engine, nmi }: VcpuState): void {
  if (nmi.step !== NO_STEP) engine.rflags |= STEP_FLAGS;
}

/** The handler's IRET comes next. */
export function iretIntercepted(vcpu: VcpuState): void {
  vcpu.nmi.awaitsIret = true;
  vcpu.nmi.iretRip = vcpu.engine.rip;
  vcpu.engine.iretExit = false;
  vcpu.tpr.eventRequested = true;
}

/** After each exit: an IRET is taken for done when RIP is elsewhere. */
export function noteExit(vcpu: VcpuState): void {
  if (!vcpu.nmi.awaitsIret || vcpu.engine.rip === vcpu.nmi.iretRip) return;
  vcpu.nmi.awaitsIret = false;
  vcpu.nmi.masked = false;
  vcpu.tpr.eventRequested = true;
}

/**
 * An instruction has left traps that was completed outside of the engine. The TF of a step is none to KVM, so that it comes
 * behind the next instruction. True: they were only those.
 */
export function stepGoesOn(vcpu: VcpuState): boolean {
  const { engine, nmi } = vcpu;
  if (nmi.step === NO_STEP || (BigInt(nmi.step) & Rflags.TF) !== 0n) return false;
  engine.dropTraps();
  keepStep(vcpu);
  return true;
}
