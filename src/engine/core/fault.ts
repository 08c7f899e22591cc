/**
 * Faults. A fault is one word in the state block: the vector with F_PRESENT, or one of the pseudo
 * faults below. Whoever finds one calls raise() and returns; every caller checks faulted() before it
 * changes any register, so that a faulting instruction has no effect.
 */
import { FAULT, FAULT_ERR, FAULT_CR2, EXIT } from "./state.gen";

export const F_PRESENT: u32 = 0x80000000;
/** The fault has an error code (in FAULT_ERR). */
export const F_HAS_ERR: u32 = 0x100;
/** Pseudo fault: forget this instruction and execute it again by itself (its code was written). */
export const F_RETRY: u32 = 0x40;
/** Pseudo fault: leave run() with the code in EXIT; RIP stays at this instruction. */
export const F_EXIT: u32 = 0x41;

export const V_DE: u32 = 0;
export const V_DB: u32 = 1;
export const V_NMI: u32 = 2;
export const V_BP: u32 = 3;
export const V_OF: u32 = 4;
export const V_BR: u32 = 5;
export const V_UD: u32 = 6;
export const V_NM: u32 = 7;
export const V_DF: u32 = 8;
export const V_TS: u32 = 10;
export const V_NP: u32 = 11;
export const V_SS: u32 = 12;
export const V_GP: u32 = 13;
export const V_PF: u32 = 14;
export const V_MF: u32 = 16;
export const V_AC: u32 = 17;
export const V_MC: u32 = 18;
export const V_XM: u32 = 19;

/** Exit codes of run(); the bridge has the same list (engine/bridge/exit.ts). */
export const X_BUDGET: u32 = 0;
export const X_HLT: u32 = 1;
export const X_IO: u32 = 2;
export const X_MMIO: u32 = 3;
export const X_HYPERCALL: u32 = 4;
export const X_IRQ_WINDOW: u32 = 5;
export const X_CPUID: u32 = 6;
export const X_RDMSR: u32 = 7;
export const X_WRMSR: u32 = 8;
export const X_SHUTDOWN: u32 = 9;
export const X_IRET: u32 = 10;
export const X_CR8_WRITE: u32 = 11;
export const X_PAUSE: u32 = 12;
export const X_INTERNAL: u32 = 13;
export const X_MWAIT: u32 = 14;
export const X_MEMORY: u32 = 15;
export const X_DEBUG: u32 = 16;

/** What a handler returns: go on with the next instruction. */
export const R_NEXT: u32 = 0;
/** The instruction is complete, RIP is set, and mode, privilege, paging or interrupts may differ. */
export const R_JUMP: u32 = 1;
/** The instruction is not complete: see FAULT. No register has changed. */
export const R_FAULT: u32 = 2;
/** Complete, RIP is set to where it goes on, and run() is left with the code in EXIT. */
export const R_EXIT: u32 = 3;

/** Whether the current instruction has faulted. */
export function faulted(): bool {
  return load<u32>(FAULT) != 0;
}

/** Raises an exception without an error code. Returns R_FAULT, for `return raise(V_UD)`. */
export function raise(vector: u32): u32 {
  store<u32>(FAULT, F_PRESENT | vector);
  return R_FAULT;
}

/** Raises an exception with an error code. */
export function raiseErr(vector: u32, code: u32): u32 {
  store<u32>(FAULT, F_PRESENT | F_HAS_ERR | vector);
  store<u32>(FAULT_ERR, code);
  return R_FAULT;
}

/** Raises #PF: CR2 is loaded when the exception is delivered. */
export function raisePf(va: u64, code: u32): u32 {
  store<u64>(FAULT_CR2, va);
  return raiseErr(V_PF, code);
}

/** Leaves run() with `code`, RIP at this instruction, which has had no effect. */
export function raiseExit(code: u32): u32 {
  store<u32>(EXIT, code);
  store<u32>(FAULT, F_EXIT);
  return R_FAULT;
}
