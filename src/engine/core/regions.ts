/**
 * Compiled regions: several blocks as one function of WebAssembly, made by src/engine/jit. The first record of the
 * block that it begins with, its head, has the operation OP_region, and so have the other blocks at which it can be entered. What it
 * was lies in the block's header:
 *
 *   -8 operation u16 | -6 how often the block was met, or which entry of its region it is, 0 the head, u16
 *   -4 descriptor of the region u32
 *
 * A descriptor says which function it is, what it was made from, and what its exits are:
 *
 *   0 JIT_EPOCH when it was compared last | 4 number of the function | 8 address of the exits | 12 blocks, 0 when dropped
 *   16 blocks, 16 bytes each: first record u32, 0, key u64
 *   exits, 8 bytes each: record u32, reason (W_*) u8, which counter from N_LEFT_NEAR on u8, detail u16
 */
import { BLOCK_KEY, JIT_EPOCH, JIT_LOG, JIT_LOG_COUNT, JIT_LOG_SIZE, JIT_OUT_BUDGET, JIT_OUT_VA, JIT_RECORD, JIT_RECORDING, JIT_SAMPLE, JIT_THRESHOLD, N_COMPILED, N_LEFT_NEAR, N_REGION, N_TO_BLOCK, PAGE_BASE, TLB } from "./state.gen";
import { MAX_INSTRUCTIONS, codeEpoch, isFast, verified } from "./blocks";
import { count, countBy } from "./count";
import { FIRST_END, OP_check, OP_cross, OP_region } from "./fast.gen";
import { blockBehind, budgetBehind } from "./handled";
import { PAGE_MASK, fetchAt } from "./layout";
import { KEY_VARIANT_SHIFT, bucketOf } from "./smc";
import { W_BLOCK, W_GO, W_GO_NEAR, W_HANDLED, W_RETRY, out } from "./hot-exit";

/** Of a block that cannot be the head of a region: how often it was met. */
const NEVER: u32 = 0xffff;

/** The operation of a record, as it was before a region began there. */
export function operationOf(p: u32): u32 {
  const op = load<u16>(p);
  return op == OP_region ? load<u16>(p - 8) : op;
}

/** From now on regions compare their blocks before they are entered. */
export function doubtRegions(): void {
  store<u32>(JIT_EPOCH, load<u32>(JIT_EPOCH) + 1);
}

/** Whether a block is what it was when the region was made. Where code may change without notice, it is compared. */
function intact(q: u32, key: u64, budget: i32): bool {
  if (load<u64>(q - 32) != key) return false;
  if (codeEpoch == 0) return true;
  for (let p = q; operationOf(p) == OP_check; p += 32) {
    if (load<u32>(p, 4) != codeEpoch && !verified(p, budget)) return false;
  }
  return true;
}

/** Takes away a region: the blocks at which it was entered are as they were. */
function remove(region: u32): void {
  const blocks = load<u32>(region, 12);
  for (let i: u32 = 0; i < blocks; i++) {
    const q = load<u32>(region + 16 + (i << 4));
    if (load<u16>(q) != OP_region || load<u32>(q - 4) != region) continue;
    store<u16>(q, load<u16>(q - 8));
    store<u64>(q - 8, 0);
  }
  store<u32>(region, 0, 12);
}

/** Whether the region that `p` is an entry of may be entered. If not, it is gone. */
export function enterable(p: u32, budget: i32): bool {
  const region = load<u32>(p - 4);
  const epoch = load<u32>(JIT_EPOCH);
  if (load<u32>(region) == epoch) return true;
  const blocks = load<u32>(region, 12);
  for (let i: u32 = 0; i < blocks; i++) {
    const at = region + 16 + (i << 4);
    if (intact(load<u32>(at), load<u64>(at, 8), budget)) continue;
    remove(region);
    return false;
  }
  store<u32>(region, epoch);
  return true;
}

/** Stretches that are not written down any more when a region is met: what it does is known. */
const RECORD_LESS: u32 = 16;

/**
 * The block that a jump looks up which left a region from `record` by the link at `link`; 0 when the core has to find it. As the hot
 * loop does: by the TLB's entry, the link and the table of blocks.
 */
function found(record: u32, link: u32): u32 {
  const t = load<u64>(JIT_OUT_VA);
  const e: u32 = load<u32>(TLB) + fetchAt(t);
  if (load<u64>(e, 24) != (t & PAGE_MASK)) return 0;
  const key: u64 = <u64>(<u32>t + load<u32>(e, 16)) | load<u64>(BLOCK_KEY);
  let q = load<u32>(record + link);
  if (load<u64>(q - 32) != key) {
    q = load<u32>(bucketOf(key));
    if (q == 0 || load<u64>(q - 32) != key) return 0;
    store<u32>(record + link, q);
  }
  return q;
}

/**
 * Runs the region that has the entry `p`, and those that it leads to. Gives the reason why the last was left, as
 * hot() does, or W_BLOCK when the block outP is next.
 */
export function runRegions(p: u32, budget: i32): u32 {
  const recording = load<u32>(JIT_RECORDING);
  if (recording != 0) {
    store<u32>(JIT_RECORDING, recording > RECORD_LESS ? recording - RECORD_LESS : 0);
    log(0);
  }
  let region = load<u32>(p - 4);
  let entry: u32 = load<u16>(p - 6);
  let left = budget;
  let entered: u32 = 0;
  let record: u32 = 0;
  let why: u32 = 0;
  let detail: u32 = 0;
  // One loop in one function: the way from region to region costs as much as a dozen instructions of the guest.
  do {
    const site = load<u32>(region, 8) + (call_indirect<u32>(load<u32>(region, 4), left, entry) << 3);
    region = 0;
    entered++;
    record = load<u32>(site);
    why = <u32>load<u8>(site, 4);
    detail = <u32>load<u16>(site, 6);
    left = load<i32>(JIT_OUT_BUDGET);
    const counter = N_LEFT_NEAR + (<u32>load<u8>(site, 5) << 3);
    store<u64>(counter, load<u64>(counter) + 1);
    let q: u32 = 0;
    if (why == W_GO_NEAR) q = load<u32>(record + detail);
    else if (why == W_GO) q = found(record, detail);
    else if (why == W_HANDLED) {
      q = blockBehind();
      if (q != 0) left = budgetBehind;
    }
    if (q != 0 && left >= load<i32>(q - 20)) {
      if (why == W_GO) store<u64>(PAGE_BASE, load<u64>(JIT_OUT_VA) & PAGE_MASK);
      if (load<u16>(q) == OP_region) {
        region = load<u32>(q - 4);
        entry = load<u16>(q - 6);
        if (load<u32>(region) != load<u32>(JIT_EPOCH) && !enterable(q, left)) region = 0;
      }
      if (region == 0) {
        out(q, left, 0, 0);
        why = W_BLOCK;
      }
    }
  } while (region != 0);
  countBy(N_REGION, entered);
  countBy(N_COMPILED, <u32>(budget - left));
  if (why == W_BLOCK) {
    count(N_TO_BLOCK);
    return why;
  }
  let va = load<u64>(JIT_OUT_VA);
  if (why == W_GO_NEAR) {
    va = load<u64>(PAGE_BASE) + load<u64>(record + (detail == 32 ? 48 : 56));
    why = W_GO;
  }
  if (why == W_RETRY) left += load<i32>(record, 40);
  out(record, left, va, detail);
  return why;
}

/** Instructions until the next block is looked at. */
let untilSample: i32 = 0;

/** Instructions for which hot() may go on from record `p` until a block is looked at. */
export function stretch(p: u32, budget: i32): i32 {
  if (load<i32>(JIT_SAMPLE) == 0) return budget;
  const left = load<u32>(JIT_RECORDING);
  if (left != 0) {
    store<u32>(JIT_RECORDING, left - 1);
    return min(budget, countFrom(p));
  }
  return min(budget, untilSample);
}

/** Notes that hot() used up so many instructions of its stretch. */
export function stretched(used: i32): void {
  untilSample -= used;
}

/** Instructions of the block that the record `p` belongs to. */
export function countFrom(p: u32): i32 {
  while (operationOf(p) < FIRST_END || operationOf(p) == OP_cross) p += 32;
  return load<i32>(p, 40);
}

/** The block `q` is next: notes it when one is to be looked at. */
export function reached(q: u32): void {
  if (load<i32>(JIT_SAMPLE) == 0) return;
  if (load<u32>(JIT_RECORDING) != 0 || untilSample < <i32>MAX_INSTRUCTIONS) meet(q);
}

/**
 * The block `q` is next, after a stretch. What runs long is met often; from a block that was met often enough on, the
 * blocks that follow are written down one by one.
 */
function meet(q: u32): void {
  if (load<u32>(JIT_RECORDING) != 0) {
    log(q);
    return;
  }
  // What is compiled is met all the time between what is not: the sample is one of what is not.
  if (load<u16>(q) == OP_region) return;
  untilSample = load<i32>(JIT_SAMPLE);
  const met = <u32>load<u16>(q - 6) + 1;
  if (met > NEVER) return;
  store<u16>(q - 6, <u16>met);
  if (met < load<u32>(JIT_THRESHOLD) || met == NEVER || !isFast(load<u64>(q - 32)) || load<u64>(q - 32) >> KEY_VARIANT_SHIFT != 0) return;
  const record = load<u32>(JIT_RECORD);
  if (load<u32>(JIT_LOG_COUNT) + record > JIT_LOG_SIZE / 4) return;
  store<u16>(q - 6, 0);
  log(q | 1);
  store<u32>(JIT_RECORDING, record);
}

/** Each stretch that is written down has one word, and each region that comes between; where there is no room it ends. */
function log(word: u32): void {
  const n = load<u32>(JIT_LOG_COUNT);
  if (n >= JIT_LOG_SIZE / 4) {
    store<u32>(JIT_RECORDING, 0);
    return;
  }
  store<u32>(JIT_LOG + (n << 2), word);
  store<u32>(JIT_LOG_COUNT, n + 1);
}
