/**
 * Runs cached blocks: the hot loop does what is usual, and this does the rest between two turns of it.
 */
import {
  ACCESS_CHECKS, BLOCK_KEY, FAULT, IRQ_WINDOW, MMU_HALF, NMI_WINDOW, N_COMPLETE, N_GENERIC, N_GO, N_MISS, N_RETRY, N_UNFILLED, N_VERIFY, PAGE_BASE, RIP, SHADOW, TLB,
} from "./state.gen";
import { enter, faultAt, follow, getBudget, leaving, setBudget, verified } from "./blocks";
import { count } from "./count";
import { stepping } from "./cpu/debug";
import { CHECK_ALIGNED } from "./cpu/mode";
import { dispatch } from "./dispatch.gen";
import { FIRST_END } from "./fast.gen";
import { F_EXIT, F_RETRY, R_FAULT, R_JUMP, R_NEXT, faulted } from "./fault";
import { hot, hot32 } from "./hot.gen";
import { MISS_ALIGNED, MISS_WRITE, W_BLOCK, W_COMPLETE, W_GENERIC, W_GO, W_MISS, W_REGION, W_VERIFY, outBudget, outDetail, outP, outVa } from "./hot-exit";
import { KEY_FLAT32, PAGE_MASK, tlbAt } from "./layout";
import { READ, WRITE, isCanonical, translate } from "./mmu/access";
import { enterable, operationOf, reached, runRegions, stretch, stretched } from "./regions";
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
  if (load<u32>(SHADOW) != 1 || (load<u32>(IRQ_WINDOW) | load<u32>(NMI_WINDOW)) != 0 || stepping()) return false;
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
    const part = stretch(p, budget);
    const rest = budget - part;
    let why = load<u64>(BLOCK_KEY) < KEY_FLAT32 ? hot(p, part) : hot32(p, part);
    p = outP;
    budget = outBudget + rest;
    stretched(part - outBudget);
    if (why == W_REGION) {
      if (!enterable(p, budget)) continue;
      why = runRegions(p, budget);
      p = outP;
      budget = outBudget;
      if (why == W_BLOCK) continue;
    }
    if (why == W_GENERIC) {
      count(N_GENERIC);
      locate(p, budget);
      const r = dispatch(p);
      if (r == R_NEXT) {
        p += 32;
        continue;
      }
      if (r != R_JUMP) return leaveAt(p, budget, r);
      if (load<u32>(SHADOW) != 0 && mayIgnoreShadow(p, budget)) {
        p += 32;
        continue;
      }
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
