import { Rflags } from "../../abi/x86/index.js";
import type { VcpuState } from "../vcpu-state.js";

/**
 * Non-maskable interrupts as KVM for AMD keeps them from the guest until they may come. The processor does not tell when
 * an IRET ends the handler of an NMI, so that KVM intercepts the IRET, and then makes a single step of its own over it. It
 * steps out of an interrupt shadow in the same way. The step is the guest's TF, with RF against breakpoints: whatever
 * saves RFLAGS in the guest meanwhile saves them too, and behind the step both are as they were before it.
 */

/** `vcpu.nmiStep`: KVM is not about to make a step. */
export const NO_STEP = -1;

const STEP_FLAGS = Rflags.TF | Rflags.RF;

/** Whether an NMI may be injected. */
export function nmiAllowed(vcpu: VcpuState): boolean {
  return !vcpu.nmiMasked && vcpu.engine.interruptShadow === 0;
}

/** KVM_SET_VCPU_EVENTS: NMIs are masked, until an IRET, or not. */
export function maskNmis(vcpu: VcpuState, masked: boolean): void {
  vcpu.nmiMasked = masked;
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
  if (vcpu.nmiMasked && !vcpu.awaitsIret) return;
  const { engine } = vcpu;
  vcpu.nmiStep = Number(visibleFlags(vcpu) & STEP_FLAGS);
  engine.rflags |= STEP_FLAGS;
}

/** The step is over, or its place is taken by an event. TF of a debugger stays. */
export function endStep(vcpu: VcpuState): void {
  const { engine, debug } = vcpu;
  const flags = debug.singleStep ? engine.rflags : visibleFlags(vcpu);
  vcpu.nmiStep = NO_STEP;
  engine.rflags = flags;
}

/** RFLAGS without what a step has added to them. */
export function visibleFlags({ engine, nmiStep }: VcpuState): bigint {
  const { rflags } = engine;
  return nmiStep === NO_STEP ? rflags : rflags & ~(STEP_FLAGS & ~BigInt(nmiStep));
}

/** What is written to RFLAGS gets the flags of a step that is still to come. */
export function keepStep({ engine, nmiStep }: VcpuState): void {
  if (nmiStep !== NO_STEP) engine.rflags |= STEP_FLAGS;
}

/** The handler's IRET comes next. */
export function iretIntercepted(vcpu: VcpuState): void {
  vcpu.awaitsIret = true;
  vcpu.iretRip = vcpu.engine.rip;
  vcpu.engine.iretExit = false;
  vcpu.tpr.eventRequested = true;
}

/** After each exit: an IRET is taken for done when RIP is elsewhere. */
export function noteExit(vcpu: VcpuState): void {
  if (!vcpu.awaitsIret || vcpu.engine.rip === vcpu.iretRip) return;
  vcpu.awaitsIret = false;
  vcpu.nmiMasked = false;
  vcpu.tpr.eventRequested = true;
}

/**
 * An instruction has left traps that was completed outside of the engine. The TF of a step is none to KVM, so that it comes
 * behind the next instruction. True: they were only those.
 */
export function stepGoesOn(vcpu: VcpuState): boolean {
  const { engine, nmiStep } = vcpu;
  if (nmiStep === NO_STEP || (BigInt(nmiStep) & Rflags.TF) !== 0n) return false;
  engine.dropTraps();
  keepStep(vcpu);
  return true;
}
