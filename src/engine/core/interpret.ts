/**
 * Runs cached blocks: the hot loop does what is usual, and this does the rest between two turns of it.
 */
import {
  ACCESS_CHECKS, BLOCK_KEY, CODE_SIZE, FAULT, IRQ_WINDOW, JIT_EPOCH, MMU_HALF, N_COMPLETE, N_GENERIC, N_GO, N_MISS, N_RETRY, N_UNFILLED, N_VERIFY, PAGE_BASE, RIP, SHADOW, TLB,
} from "./state.gen";
import { attention, enter, faultAt, follow, getBudget, leaving, setBudget, verified } from "./blocks";
import { count } from "./count";
import { stepping } from "./cpu/debug";
import { CHECK_ALIGNED } from "./cpu/mode";
import { dispatch } from "./dispatch.gen";
import { FIRST_END, OP_region } from "./fast.gen";
import { F_EXIT, F_RETRY, R_FAULT, R_JUMP, R_NEXT, faulted } from "./fault";
import { LEAVES, handled, leftBehind, noteHandled } from "./handled";
import { hot, hot32 } from "./hot.gen";
import { MISS_ALIGNED, MISS_WRITE, W_BLOCK, W_COMPLETE, W_GENERIC, W_GO, W_HANDLED, W_MISS, W_REGION, W_VERIFY, outBudget, outDetail, outP, outVa } from "./hot-exit";
import { KEY_FLAT32, PAGE_MASK, tlbAt } from "./layout";
import { READ, WRITE, isCanonical, translate } from "./mmu/access";
import { countFrom, enterable, operationOf, reached, runRegions, stretch, stretched } from "./regions";
import { RF_REP, RF_REPNE, Rec } from "./record";
import { step } from "./run";

/** outDetail of W_GO: the branch is taken. */
const TAKEN: u32 = 32;

// The miss before this one: the same again means that filling the TLB does not help.
let missP: u32 = 0;
let missBudget: i32 = 0;

/**
 * Fills the TLB for the access that missed. True when the record can be tried again; otherwise a
 * fault is raised, or the complete handler must do the access.
 */
function refill(p: u32, budget: i32): bool {
  const again = p == missP && budget == missBudget;
  missP = p;
  missBudget = budget;
  const va = outVa;
  const size = outDetail & 0xff;
  if (again || (load<u32>(ACCESS_CHECKS) & CHECK_ALIGNED) != 0 || (<u32>va & 0xfff) + size > 0x1000) return false;
  if ((outDetail & MISS_ALIGNED) != 0 && (<u32>va & 15) != 0) return false;
  const write = (outDetail & MISS_WRITE) != 0;
  if (translate(va, write ? WRITE : READ, load<u32>(MMU_HALF)) == 0) return false;
  const e: u32 = load<u32>(TLB) + tlbAt(va);
  return load<u64>(write ? e + 8 : e) == (va & PAGE_MASK);
}

/** Prepares the state block for a complete handler of the instruction in record `p`. */
function locate(p: u32, budget: i32): void {
  store<u64>(RIP, load<u64>(PAGE_BASE) + <u64>load<u16>(p, 14));
  setBudget(budget - <i32>load<u8>(p, 3));
}

// Behind an STI: the record of the next instruction, and the budget of its block. See mayIgnoreShadow().
let shadowP: u32 = 0;
let shadowBudget: i32 = 0;

/**
 * After an instruction that left an interrupt shadow, in record `p`: true when the block may go on.
 * Nobody waits for a window, so that the shadow shows only if the next instruction is not completed.
 */
function mayIgnoreShadow(p: u32, budget: i32): bool {
  if (load<u32>(SHADOW) != 1 || load<u32>(IRQ_WINDOW) != 0 || stepping()) return false;
  if (load<u8>(p + 32, 2) == 0) return false; // only the end of the block: the next instruction is in another one
  store<u32>(SHADOW, 0);
  // A NOP has no record: what is recorded next is out of the shadow then.
  shadowP = load<u8>(p + 32, 3) == load<u8>(p, 3) + 1 ? p + 32 : 0;
  shadowBudget = budget;
  return true;
}

/** Leaves with result `r` of the instruction in record `p`. */
function leaveAt(p: u32, budget: i32, r: u32): u32 {
  if (p != shadowP || budget != shadowBudget || r != R_FAULT) return r;
  const fault = load<u32>(FAULT);
  if (fault == F_EXIT || fault == F_RETRY) store<u32>(SHADOW, 1);
  return r;
}

/** The first record behind `p` that belongs to another instruction. */
function behind(p: u32): u32 {
  const number = load<u8>(p, 3);
  do p += 32;
  while (load<u8>(p, 3) == number);
  return p;
}

/** Opcodes of the string instructions. */
const FIRST_STRING: u32 = 0xa4;
const LAST_STRING: u32 = 0xaf;

/**
 * What is left of the block's budget when it goes on behind the instruction in record `p`, which was done by its
 * complete handler with result `r`; LEAVES when something else comes first.
 */
function goesOn(p: u32, budget: i32, r: u32): i32 {
  if (r == R_NEXT) return budget;
  if (r != R_JUMP) return LEAVES;
  if (load<u32>(SHADOW) != 0) return mayIgnoreShadow(p, budget) ? budget : LEAVES;
  // A repeated string instruction that is done has used up more than one instruction of the budget.
  const opcode = Rec.opcode(p);
  if (opcode < FIRST_STRING || opcode > LAST_STRING || (Rec.flags(p) & (RF_REP | RF_REPNE)) == 0) return LEAVES;
  if (load<u64>(RIP) != load<u64>(PAGE_BASE) + <u64>load<u16>(p, 14) + <u64>Rec.len(p)) return LEAVES;
  if (load<u32>(CODE_SIZE) != 2 || attention()) return LEAVES;
  const left = getBudget() + <i32>load<u8>(p, 3);
  return left < countFrom(p) ? LEAVES : left;
}

/** Does the instruction in record `p` by its complete handler. */
function byHandler(p: u32, budget: i32): void {
  count(N_GENERIC);
  locate(p, budget);
  const r = dispatch(operationOf(p), p);
  noteHandled(r, goesOn(p, budget, r));
}

/**
 * For regions: does the instruction in record `p` by its complete handler. Gives the budget with which the region goes on; LEAVES
 * when it is to be left with W_HANDLED.
 */
export function handle(p: u32, budget: i32): i32 {
  const epoch = load<u32>(JIT_EPOCH);
  const mode = load<u64>(BLOCK_KEY);
  byHandler(p, budget);
  // The region's own code may have been written, or the segments that it takes for flat be others.
  return load<u32>(JIT_EPOCH) == epoch && load<u64>(BLOCK_KEY) == mode ? leftBehind : LEAVES;
}

/**
 * Runs decoded blocks from record `start` until something needs the outer loop. Returns R_JUMP (RIP is
 * set, look around), R_FAULT or R_EXIT. `limit` counts instructions that may still be executed.
 */
export function interpret(start: u32, limit: i32): u32 {
  let p = start;
  let budget = limit;
  shadowP = 0;
  reached(start);
  for (;;) {
    let why = W_REGION;
    if (load<u16>(p) != OP_region) {
      const part = stretch(p, budget);
      const rest = budget - part;
      why = load<u64>(BLOCK_KEY) < KEY_FLAT32 ? hot(p, part) : hot32(p, part);
      p = outP;
      budget = outBudget + rest;
      stretched(part - outBudget);
    }
    if (why == W_REGION) {
      if (!enterable(p, budget)) continue;
      why = runRegions(p, budget);
      p = outP;
      budget = outBudget;
      if (why == W_BLOCK) {
        reached(p);
        continue;
      }
    }
    if (why == W_GENERIC || why == W_HANDLED) {
      if (why == W_GENERIC) byHandler(p, budget);
      if (leftBehind != LEAVES) {
        p += 32;
        budget = leftBehind;
        continue;
      }
      if (handled != R_JUMP) return leaveAt(p, budget, handled);
      budget = getBudget() - 1;
      p = enter(budget);
      if (p == 0) return leaving();
      reached(p);
      continue;
    }
    if (why == W_GO && (outDetail != TAKEN || isCanonical(outVa))) {
      count(N_GO);
      p = follow(p, outVa, outDetail, budget);
      if (p == 0) return leaving();
      reached(p);
      continue;
    }
    // A taken branch to no canonical address faults itself. It is counted already.
    if (why == W_GO) budget += load<i32>(p, 40);
    if (why == W_MISS) {
      count(N_MISS);
      if (refill(p, budget)) continue;
      if (faulted()) return leaveAt(p, budget, faultAt(p, budget));
      count(N_UNFILLED);
    } else if (why == W_VERIFY) {
      count(N_VERIFY);
      if (verified(p, budget)) p += 32;
      else {
        p = enter(budget);
        if (p == 0) return leaving();
      }
      continue;
    } else if (why == W_COMPLETE) count(N_COMPLETE);
    else {
      count(N_RETRY);
      store<u32>(FAULT, F_RETRY);
      return leaveAt(p, budget, faultAt(p, budget));
    }
    locate(p, budget);
    const r = step();
    if (r != R_JUMP) return leaveAt(p, budget, r);
    if (operationOf(p) < FIRST_END) {
      p = behind(p);
      continue;
    }
    budget = getBudget() - 1;
    p = enter(budget);
    if (p == 0) return leaving();
  }
  return R_FAULT;
}
