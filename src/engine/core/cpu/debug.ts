/**
 * What holds between two instructions: single-step, breakpoints in DR0 to DR3, DR6 and DR7, RF, and
 * the shadow behind a load of SS. AMD64 manual volume 2, chapter 13.1; where it is silent, what an AMD
 * processor did (tests/native/between).
 *
 * - TF counts as it was before an instruction; SYSCALL and SYSRET go by the new one.
 * - A breakpoint on code comes before everything else that its instruction may raise, its fetch too;
 *   RF holds it back. RF goes behind each instruction that did not load it, but not between the
 *   elements of a repetition; a trap between two elements saves RF set.
 * - Traps (single-step, data, ports) are collected in DEBUG_PENDING and come before the next
 *   instruction and its breakpoint. Behind MOV SS and POP SS they wait for one more instruction,
 *   single-step of the load itself excepted; a fault or a breakpoint there discards them.
 *
 * Breakpoints cost nothing where they are not: their pages have tags in the TLB that no fast access
 * matches (slowTag()), so that data accesses there are looked at one by one (noteDataAccess), and that
 * code there comes from blocks of its own, which end before each breakpoint (breakpoints.ts).
 */
import { F_RETRY, X_DEBUG, raise, raiseExit, V_BP, V_DB } from "../fault";
import {
  BREAKPOINTS, CODE_SIZE, CR4, DEBUG_PENDING, DR0, DR6, DR7, EXIT_AUX, EXIT_DATA, FAULT, FLAGS, INTERCEPTS, RIP, SEG, SHADOW, WATCH,
  WATCH_DR7,
} from "../state.gen";
import { ON_CODE } from "../breakpoints";
import { inBlocks } from "../smc";

export const DR6_BS: u32 = 0x4000;
export const DR6_BD: u32 = 0x2000;
export const DR6_BT: u32 = 0x8000;
/** DR6 bits that are always one. */
export const DR6_FIXED: u32 = 0xffff0ff0;
/** DR7: general detect, MOV DR faults. */
export const DR7_GD: u32 = 0x2000;
/** DR7: breakpoints of the current task, which a task switch disables. */
export const DR7_LOCAL: u32 = 0x155;

const FLAG_TF: u32 = 0x100;
const FLAG_RF: u32 = 0x10000;
const CR4_DE: u32 = 8;

/** Kinds of breakpoints in DR7. */
export const BREAK_CODE: u32 = 0;
export const BREAK_WRITE: u32 = 1;
export const BREAK_PORT: u32 = 2;
export const BREAK_ACCESS: u32 = 3;

/** INTERCEPTS: a debugger outside of the guest takes #DB, INT3. */
const INTERCEPT_DB: u32 = 1;
const INTERCEPT_INT3: u32 = 2;
/** INTERCEPTS: #UD and #AC leave, too. */
const INTERCEPT_FAULTS: u32 = 4;

/** ACCESS_CHECKS: there are breakpoints on data. */
export const CHECK_DATA: u32 = 2;

/** SHADOW behind MOV SS and POP SS. */
export const SHADOW_SS: u32 = 2;

/** The current instruction began with TF. */
let trapAfter: bool = false;
/** The current instruction has loaded RF. */
let rfLoaded: bool = false;
/** The current instruction is a repetition that is not done. */
let unfinished: bool = false;
/** DR6 bits of the #DB that is raised. */
let raisedBits: u32 = 0;

/** DR7 that counts: that of a debugger outside the guest if it has set breakpoints, else the guest's. */
export function dr7InForce(): u32 {
  const watch = load<u32>(WATCH_DR7);
  return watch != 0 ? watch : load<u32>(DR7);
}

/** Where the addresses are that belong to dr7InForce(). */
export function addressesInForce(): u32 {
  return load<u32>(WATCH_DR7) != 0 ? WATCH : DR0;
}

/** Whether the next instruction must be executed by itself. */
export function stepping(): bool {
  return (load<u32>(FLAGS) & (FLAG_TF | FLAG_RF)) != 0;
}

/** Raises #DB with these bits for DR6. Returns R_FAULT. */
export function raiseDebug(bits: u32): u32 {
  raisedBits = bits;
  return raise(V_DB);
}

/**
 * Before an instruction: raises #DB for a breakpoint on it (true: call deliver()), unless it was `begun`
 * already and goes on with an answer from outside.
 */
export function debugBefore(begun: bool): bool {
  const flags = load<u32>(FLAGS);
  trapAfter = (flags & FLAG_TF) != 0;
  rfLoaded = false;
  unfinished = false;
  if (begun || (load<u32>(BREAKPOINTS) & ON_CODE) == 0 || (flags & FLAG_RF) != 0) return false;
  const hits = codeHits();
  if (hits == 0) return false;
  store<u32>(DEBUG_PENDING, 0);
  raiseDebug(hits);
  return true;
}

/** Breakpoints on the instruction at RIP; 0 when none of them is enabled. */
function codeHits(): u32 {
  let linear = load<u64>(RIP);
  if (load<u32>(CODE_SIZE) != 2) linear = (linear + load<u64>(SEG + 16, 8)) & 0xffffffff;
  const dr7 = dr7InForce();
  const addresses = addressesInForce();
  let bits: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    if (((dr7 >> (16 + (i << 2))) & 3) == BREAK_CODE && load<u64>(addresses + (i << 3)) == linear) bits |= 1 << i;
  }
  return (bits & armed()) != 0 ? bits : 0;
}

/** After an instruction that completed, with RIP at the next: RF, and the trap of single-step. */
export function debugAfter(): void {
  const flags = load<u64>(FLAGS);
  if (trapAfter && load<u32>(SHADOW) != SHADOW_SS) store<u32>(DEBUG_PENDING, load<u32>(DEBUG_PENDING) | DR6_BS);
  if (!unfinished) {
    if (!rfLoaded) store<u64>(FLAGS, flags & ~(<u64>FLAG_RF));
  } else if (load<u32>(DEBUG_PENDING) != 0) store<u64>(FLAGS, flags | FLAG_RF);
}

/** Whether a trap comes before the next instruction. */
export function trapWaits(): bool {
  return load<u32>(DEBUG_PENDING) != 0 && load<u32>(SHADOW) != SHADOW_SS;
}

/** Raises the trap that waits. */
export function raiseTrap(): void {
  const bits = load<u32>(DEBUG_PENDING);
  store<u32>(DEBUG_PENDING, 0);
  raiseDebug(bits);
}

/** An event comes before the next instruction: what waits behind a load of SS is lost. */
export function dropTraps(): void {
  store<u32>(DEBUG_PENDING, 0);
}

/** An instruction was completed outside (CPUID, RDMSR, WRMSR, VMCALL). */
export function retiredOutside(): void {
  trapAfter = (load<u32>(FLAGS) & FLAG_TF) != 0;
  rfLoaded = false;
  unfinished = false;
  store<u32>(DEBUG_PENDING, 0);
  debugAfter();
}

/** Makes the single-step trap after this instruction depend on TF as it is now (SYSCALL, SYSRET). */
export function trapByNewTf(): void {
  trapAfter = false;
  if ((load<u32>(FLAGS) & FLAG_TF) != 0) store<u32>(DEBUG_PENDING, load<u32>(DEBUG_PENDING) | DR6_BS);
}

/** No single-step trap after this instruction: it has entered a handler. */
export function noTrap(): void {
  trapAfter = false;
}

/** This instruction has loaded RF, or cleared it: the next one finds it so. */
export function loadedRf(): void {
  rfLoaded = true;
}

/** This instruction is a repetition with elements that remain. */
export function unfinishedRepetition(): void {
  unfinished = true;
}

/**
 * #DB is about to be delivered: tells DR6, or a debugger outside of the guest; true: leave run() with
 * X_DEBUG. Conditions of breakpoints that were not hit are cleared in DR6, the others stay.
 */
export function reportDebug(): bool {
  if ((load<u32>(INTERCEPTS) & INTERCEPT_DB) != 0) {
    toDebugger(V_DB, raisedBits);
    return true;
  }
  store<u64>(DR6, <u64>((load<u32>(DR6) & ~0xf) | raisedBits | DR6_FIXED));
  return false;
}

function toDebugger(vector: u32, bits: u32): void {
  store<u32>(EXIT_AUX, vector);
  store<u64>(EXIT_DATA, DR6_FIXED | bits);
}

/** INT3 and INT1 that a debugger outside of the guest takes: true with an exit raised, RIP at the instruction. */
export function intercepted(vector: u32): bool {
  if ((load<u32>(INTERCEPTS) & (vector == V_BP ? INTERCEPT_INT3 : INTERCEPT_DB)) == 0) return false;
  toDebugger(vector, 0);
  raiseExit(X_DEBUG);
  return true;
}

/** #UD and #AC, where they leave run() before they are delivered: true with the exit's details set. */
export function interceptedFault(vector: u32): bool {
  if ((load<u32>(INTERCEPTS) & INTERCEPT_FAULTS) == 0) return false;
  toDebugger(vector, 0);
  return true;
}

/** Breakpoint bits 0 to 3 whose enable bits are set in the DR7 in force. */
export function armed(): u32 {
  const dr7 = dr7InForce();
  let bits: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    if (((dr7 >> (i << 1)) & 3) != 0) bits |= 1 << i;
  }
  return bits;
}

/** Breakpoints on data or ports of type `kind` that cover an address. */
function matches(address: u64, size: u32, kind: u32): u32 {
  const dr7 = dr7InForce();
  const addresses = addressesInForce();
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

/**
 * Notes breakpoints that a data access hits; the trap comes after the instruction. False, with F_RETRY
 * raised, among cached blocks: the instruction has to be executed by itself.
 */
export function noteDataAccess(va: u64, size: u32, write: bool): bool {
  let bits = matches(va, size, BREAK_ACCESS);
  if (write) bits |= matches(va, size, BREAK_WRITE);
  if ((bits & armed()) == 0) return true;
  if (inBlocks) {
    store<u32>(FAULT, F_RETRY);
    return false;
  }
  store<u32>(DEBUG_PENDING, load<u32>(DEBUG_PENDING) | bits);
  return true;
}

/** Whether a trap comes behind what has been done so far: a repetition stops between two elements. */
export function trapNoted(): bool {
  return load<u32>(DEBUG_PENDING) != 0;
}

/** Notes I/O breakpoints (CR4.DE) on `size` ports from `port`. */
export function noteIoAccess(port: u32, size: u32): void {
  if ((load<u32>(CR4) & CR4_DE) == 0) return;
  const bits = matches(port, size, BREAK_PORT);
  if ((bits & armed()) != 0) store<u32>(DEBUG_PENDING, load<u32>(DEBUG_PENDING) | bits);
}
