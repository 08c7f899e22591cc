/**
 * Debug exceptions: single-step, breakpoints in DR0 to DR3, DR6 and DR7. AMD64 manual volume 2,
 * chapter 13.1. While stepping() the run loop executes one instruction at a time, between
 * debugBefore() and debugAfter().
 */
import { faulted, raise, V_DB } from "../fault";
import {
  CODE_SIZE, CR4, DEBUG_PENDING, DR0, DR6, DR7, FAULT, FLAGS, INJECT, RIP, SEG, SHADOW, WATCH, WATCH_DR7, WATCH_HITS,
} from "../state.gen";

export const DR6_BS: u32 = 0x4000;
export const DR6_BD: u32 = 0x2000;
export const DR6_BT: u32 = 0x8000;
/** DR6 bits that are always one. */
export const DR6_FIXED: u32 = 0xffff0ff0;
/** DR7: general detect, MOV DR faults. */
export const DR7_GD: u32 = 0x2000;

const FLAG_TF: u32 = 0x100;
const FLAG_RF: u32 = 0x10000;
const CR4_DE: u32 = 8;
/** INJECT: exception 1 without an error code (see events.ts). */
const INJECT_DB: u32 = 0x80000201;

let trapAfter: bool = false;

/** DR7 that counts: that of a debugger outside the guest if it has set breakpoints, else the guest's. */
export function dr7InForce(): u32 {
  const watch = load<u32>(WATCH_DR7);
  return watch != 0 ? watch : load<u32>(DR7);
}

/** Whether instructions must be executed one by one: TF, RF, or any enabled breakpoint. */
export function stepping(): bool {
  return (load<u32>(FLAGS) & (FLAG_TF | FLAG_RF)) != 0 || (dr7InForce() & 0xff) != 0;
}

/**
 * Before an instruction while stepping(): raises #DB for an instruction breakpoint at RIP (true:
 * call deliver()), and notes whether the instruction will trap.
 */
export function debugBefore(): bool {
  store<u32>(DEBUG_PENDING, 0);
  store<u32>(WATCH_HITS, 0);
  const flags = load<u32>(FLAGS);
  trapAfter = (flags & FLAG_TF) != 0;
  // The debugger looks for its own instruction breakpoints itself.
  if (load<u32>(WATCH_DR7) != 0 || (load<u32>(DR7) & 0xff) == 0) return false;
  // Nothing may come between a load of SS and the instruction behind it.
  if ((flags & FLAG_RF) != 0 || load<u32>(SHADOW) == 2) return false;
  let linear = load<u64>(RIP);
  if (load<u32>(CODE_SIZE) != 2) linear = (linear + load<u64>(SEG + 16, 8)) & 0xffffffff;
  const hits = matches(linear, 1, 0);
  if ((hits & armed()) == 0) return false;
  setDr6(hits);
  raise(V_DB);
  return true;
}

/**
 * After an instruction that completed, with RIP at the next: raises #DB for single-step and data
 * breakpoints (true: call deliver()). Clears RF, which protects one instruction only.
 */
export function debugAfter(): bool {
  store<u64>(FLAGS, load<u64>(FLAGS) & ~(<u64>FLAG_RF));
  let bits = load<u32>(DEBUG_PENDING);
  if (trapAfter) bits |= DR6_BS;
  // Behind a load of SS the trap waits: single-step is lost, data breakpoints stay pending.
  if (bits == 0 || load<u32>(SHADOW) == 2) return false;
  store<u32>(DEBUG_PENDING, 0);
  setDr6(bits);
  raise(V_DB);
  return faulted();
}

/**
 * After an instruction that completed and leaves run() (R_EXIT) while stepping(): its trap is
 * injected, so that it comes before the next instruction.
 */
export function debugAfterExit(): void {
  if (!debugAfter()) return;
  store<u32>(FAULT, 0);
  store<u32>(INJECT, INJECT_DB);
}

/** An instruction was completed outside (CPUID, RDMSR, WRMSR, VMCALL): as debugAfterExit(). */
export function retiredOutside(): void {
  const flags = load<u64>(FLAGS);
  store<u64>(FLAGS, flags & ~(<u64>FLAG_RF));
  if ((flags & FLAG_TF) == 0 || load<u32>(INJECT) != 0) return;
  setDr6(DR6_BS);
  store<u32>(INJECT, INJECT_DB);
}

/** Makes the single-step trap after this instruction depend on TF as it is now (SYSCALL, SYSRET). */
export function trapByNewTf(): void {
  trapAfter = (load<u32>(FLAGS) & FLAG_TF) != 0;
}

/** No single-step trap after this instruction: an event was delivered, or RF was loaded. */
export function noTrap(): void {
  trapAfter = false;
}

/** Adds condition bits to DR6; those of breakpoints that were not hit are cleared. */
export function setDr6(bits: u32): void {
  const old = load<u32>(DR6);
  store<u64>(DR6, <u64>((old & ~0xf) | bits | DR6_FIXED));
}

/** Breakpoint bits 0 to 3 whose enable bits are set in the DR7 in force. */
function armed(): u32 {
  const dr7 = dr7InForce();
  let bits: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    if (((dr7 >> (i << 1)) & 3) != 0) bits |= 1 << i;
  }
  return bits;
}

/** Breakpoints of type `kind` (0 code, 1 data write, 2 I/O, 3 data access) that cover an address. */
function matches(address: u64, size: u32, kind: u32): u32 {
  const dr7 = dr7InForce();
  const addresses: u32 = load<u32>(WATCH_DR7) != 0 ? WATCH : DR0;
  let bits: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    const control = (dr7 >> (16 + (i << 2))) & 15;
    if ((control & 3) != kind) continue;
    const code = control >> 2;
    const length: u64 = code == 0 ? 1 : code == 1 ? 2 : code == 2 ? 8 : 4;
    const start = load<u64>(addresses + (i << 3)) & ~(length - 1);
    if (address < start + length && start < address + size) bits |= 1 << i;
  }
  return bits;
}

/** Notes hits for whoever set the breakpoints, if one of them is enabled. */
function note(bits: u32): void {
  if ((bits & armed()) == 0) return;
  const at: u32 = load<u32>(WATCH_DR7) != 0 ? WATCH_HITS : DEBUG_PENDING;
  store<u32>(at, load<u32>(at) | bits);
}

/** Notes breakpoints that a data access hits; the trap comes after the instruction. */
export function noteDataAccess(va: u64, size: u32, write: bool): void {
  note(write ? matches(va, size, 3) | matches(va, size, 1) : matches(va, size, 3));
}

/** Notes I/O breakpoints (CR4.DE) on `size` ports from `port`. */
export function noteIoAccess(port: u32, size: u32): void {
  if ((dr7InForce() & 0xff) == 0 || (load<u32>(CR4) & CR4_DE) == 0) return;
  note(matches(port, size, 2));
}
