/**
 * Why the hot loop (hot.gen.ts) comes back, and where it was: its ways out store that here and return
 * the reason. interpret.ts goes on from there.
 */

/** The record has no fast operation. */
export const W_GENERIC: u32 = 0;
/** The instruction of the record is to be done by its complete handler. */
export const W_COMPLETE: u32 = 1;
/** A memory access missed the TLB. Nothing has changed yet. */
export const W_MISS: u32 = 2;
/** The block is done and counted; its link leads nowhere. */
export const W_GO: u32 = 3;
/** The last record, counted already, is to be done by the complete handler. */
export const W_RETRY: u32 = 4;
/** The block has to be compared with the code it was made from. */
export const W_VERIFY: u32 = 5;

/** The block is the head of a compiled region. */
export const W_REGION: u32 = 6;
/** Out of a region: the block is done and counted; the link that stays on its page leads out of the region, or the budget is short. */
export const W_GO_NEAR: u32 = 7;
/** Out of a region: the block outP is next. */
export const W_BLOCK: u32 = 8;
/** Out of a region: the complete handler has done the instruction of the record, and the region does not know what comes next. */
export const W_HANDLED: u32 = 9;

export let outP: u32 = 0;
export let outBudget: i32 = 0;
/** W_MISS: address; W_GO: target. */
export let outVa: u64 = 0;
/** W_MISS: bytes | MISS_WRITE | MISS_ALIGNED; W_GO: which link. */
export let outDetail: u32 = 0;
/** outDetail: the access is a write. */
export const MISS_WRITE: u32 = 0x100;
/** outDetail: the address must be a multiple of 16. */
export const MISS_ALIGNED: u32 = 0x200;

/** Where it was, and what belongs to the reason. */
export function out(p: u32, budget: i32, va: u64, detail: u32): void {
  outP = p;
  outBudget = budget;
  outVa = va;
  outDetail = detail;
}

/** The record at `p` has no fast operation. */
export function generic(p: u32, budget: i32): u32 {
  outP = p;
  outBudget = budget;
  return W_GENERIC;
}

/** The record at `p` meets a case that its fast operation does not know. */
export function complete(p: u32, budget: i32): u32 {
  outP = p;
  outBudget = budget;
  return W_COMPLETE;
}

/** A load of `size` bytes at `va` missed the TLB. */
export function missRead(p: u32, budget: i32, va: u64, size: u32): u32 {
  out(p, budget, va, size);
  return W_MISS;
}

/** A store of `size` bytes at `va` missed the TLB. */
export function missWrite(p: u32, budget: i32, va: u64, size: u32): u32 {
  out(p, budget, va, size | MISS_WRITE);
  return W_MISS;
}

/** From the last record of a block to `target`; the block found there is to be put into the link at `link`. */
export function goTo(p: u32, target: u64, link: u32, budget: i32): u32 {
  out(p, budget, target, link);
  return W_GO;
}

/** The last record of a block, counted already, faults or must be done by its complete handler. */
export function retry(p: u32, budget: i32): u32 {
  outP = p;
  outBudget = budget + load<i32>(p, 40);
  return W_RETRY;
}

/** The block that begins at `p` has not been compared with its code since distrustCode(). */
export function verify(p: u32, budget: i32): u32 {
  outP = p;
  outBudget = budget;
  return W_VERIFY;
}

/** The block that begins at `p` is the head of a region. */
export function region(p: u32, budget: i32): u32 {
  outP = p;
  outBudget = budget;
  return W_REGION;
}
