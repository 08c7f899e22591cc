/**
 * Cached decoded blocks. A block is a run of instructions that starts at a linear-memory address
 * and stays on one page; it is found by that address and the size of code, whatever virtual address it
 * is mapped at. Before its first record lies a header of 32 bytes:
 *
 *   -32 key u64 (linear address | KEY_* of layout.ts | variant << 48; 0 when dropped)
 *   -24 next block of the page u32 | -20 instructions i32 | -16 next in the hash bucket u32
 *   -12 the block that a write to this page drops, too, or 0 | -8 regions: see regions.ts
 *
 * Its last record is 64 bytes long: +32 link when taken, +36 link when not, +40 instructions, +48
 * target, +56 fall-through (both relative to PAGE_BASE). A link leads to the first record of a block;
 * DEAD_BLOCK stands for none: its count exceeds every budget and its key matches nothing.
 */
import {
  ARENA_AT, ARENA_SIZE, BLOCK_HASH_AT, BLOCK_HASH_SIZE, BLOCK_KEY, CODE_SIZE, FAULT, FLAGS, IRQ_WINDOW, JIT_GENERATION, JIT_LOG_COUNT, JIT_RECORDING, N_ARENA, N_BUILD, N_DECODED, N_LOOKUP,
  N_UNBUILT, N_VERIFIED_BYTES, PAGE_BASE, PAGE_BLOCKS_AT,
  PAGE_BLOCKS_SIZE, PAGE_CHUNKS_AT, PAGE_CHUNKS_SIZE, PAGE_FLAGS_AT, PAGE_FLAGS_SIZE, RIP, SCRATCH_AT, SEG, SHADOW, TLB,
} from "./state.gen";
import { AT_BREAKPOINT, setHas, variantAt } from "./breakpoints";
import { count, countBy } from "./count";
import { MAX_LENGTH, ROW_END, decode, rowFlags } from "./decode";
import { F_HAS_ERR, F_PRESENT, F_RETRY, R_FAULT, R_JUMP, V_GP, faulted, raiseErr } from "./fault";
import { stepping } from "./cpu/debug";
import { maskIp } from "./cpu/ip";
import { IF } from "./flags";
import { KEY_SIZE_SHIFT, PAGE_MASK, fetchAt } from "./layout";
import { fetchPage } from "./mmu/access";
import { doubtRegions, operationOf } from "./regions";
import { COUNT_DEAD, KEY_VARIANT_SHIFT, bucketOf, invalidatePage, markCode } from "./smc";
import { FIRST_FAR, OP_check, OP_cross, OP_end_across, OP_jcc_across } from "./fast.gen";
import { closed, finish, finishAcross, note, startBlock } from "./specialise";

/** A block that is never entered. */
export const DEAD_BLOCK: u32 = ARENA_AT + 32;
const FIRST: u32 = ARENA_AT + 128;
/** No block is started in the last part of the arena: the longest fits into it. */
const LAST: u32 = ARENA_AT + ARENA_SIZE - 8192;
/** No block has more instructions. */
export const MAX_INSTRUCTIONS: u32 = 96;

let arena: u32 = FIRST;
/** Changes when all blocks are dropped: pointers from before are void. */
let generation: u32 = 0;
let budgetNow: i32 = 0;
/** Set by lookup() when the instruction at RIP crosses its page and must be stepped. */
export let mustStep: bool = false;

/**
 * 0 while every write to code is known to the engine. Otherwise each block begins with a record of
 * OP_check: it holds the value of this word when the block was last compared with its code (+4), where
 * the code lies (+8), its length (+12) and a copy of it (+16).
 */
export let codeEpoch: u32 = 0;

/**
 * From now on code may have been changed without notice: before a block runs again, it is compared
 * with memory.
 */
export function distrustCode(): void {
  if (codeEpoch == 0) dropBlocks();
  codeEpoch++;
  if (codeEpoch == 0) codeEpoch = 1;
  doubtRegions();
}

/** Puts a check in front of a block that is about to be built at `q`, for code at `off` in the page. */
function startCheck(q: u32, off: u32): u32 {
  if (codeEpoch == 0) return q;
  memory.fill(q, 0, 32);
  store<u16>(q, <u16>OP_check);
  store<u16>(q, <u16>off, 14);
  return q + 32;
}

/** Completes the check at `first` of the block that ends at `q`. Gives the end of the block in the arena. */
function finishCheck(first: u32, q: u32, start: u32, length: u32): u32 {
  if (codeEpoch == 0) return q;
  store<u32>(first, codeEpoch, 4);
  store<u32>(first, start, 8);
  store<u16>(first, <u16>length, 12);
  store<u32>(first, q, 16);
  memory.copy(q, start, length);
  return (q + length + 31) & ~31;
}

/** Compares a block with its code. False when the code has changed: its page's blocks are dropped, and RIP is set. */
export function verified(first: u32, budget: i32): bool {
  const start = load<u32>(first, 8);
  const length = <u32>load<u16>(first, 12);
  const copy = load<u32>(first, 16);
  countBy(N_VERIFIED_BYTES, length);
  for (let i: u32 = 0; i < length; i++) {
    if (load<u8>(start + i) == load<u8>(copy + i)) continue;
    store<u64>(RIP, load<u64>(PAGE_BASE) + <u64>load<u16>(first, 14));
    budgetNow = budget;
    invalidatePage(start >> 12);
    return false;
  }
  store<u32>(first, codeEpoch, 4);
  return true;
}

/** Instructions left, as of the current instruction. */
export function setBudget(value: i32): void {
  budgetNow = value;
}
/** Instructions left, as of the current instruction. */
export function getBudget(): i32 {
  return budgetNow;
}

/** Empties the cache. Must be called once before the first run. */
export function dropBlocks(): void {
  if (arena != FIRST) {
    // Only now: a new VM has nothing to empty, and 17 MiB that are not touched cost neither time nor memory.
    memory.fill(BLOCK_HASH_AT, 0, BLOCK_HASH_SIZE);
    memory.fill(PAGE_BLOCKS_AT, 0, PAGE_BLOCKS_SIZE);
    memory.fill(PAGE_CHUNKS_AT, 0, PAGE_CHUNKS_SIZE);
    memory.fill(PAGE_FLAGS_AT, 0, PAGE_FLAGS_SIZE);
    arena = FIRST;
  }
  generation++;
  store<u32>(JIT_GENERATION, generation);
  store<u32>(JIT_LOG_COUNT, 0);
  store<u32>(JIT_RECORDING, 0);
  count(N_ARENA);
  store<u64>(DEAD_BLOCK - 32, 0);
  store<i32>(DEAD_BLOCK - 20, COUNT_DEAD);
}

/** Bytes of decoded blocks; for statistics. */
export function arenaUsed(): u32 {
  return arena - FIRST;
}

/** What an exit from the interpreter returns when follow() or enter() found no block. */
export function leaving(): u32 {
  return faulted() ? R_FAULT : R_JUMP;
}

/**
 * A fault in the record `p`: sets RIP and the count. Fast operations do not know segments: whether an
 * address that is not canonical means #GP or #SS is found by the complete handler.
 */
export function faultAt(p: u32, budget: i32): u32 {
  if (load<u32>(FAULT) == (F_PRESENT | F_HAS_ERR | V_GP)) store<u32>(FAULT, F_RETRY);
  store<u64>(RIP, load<u64>(PAGE_BASE) + <u64>load<u16>(p, 14));
  budgetNow = budget - <i32>load<u8>(p, 3);
  return R_FAULT;
}

/**
 * The block at RIP: its first record, or 0 with a fault raised or mustStep set. Sets PAGE_BASE.
 */
export function lookup(): u32 {
  mustStep = false;
  count(N_LOOKUP);
  const code = load<u32>(CODE_SIZE);
  const rip = load<u64>(RIP);
  let va = rip;
  if (code != 2) {
    if (rip > <u64>load<u32>(SEG + 16, 4)) {
      raiseErr(V_GP, 0);
      return 0;
    }
    va = (rip + load<u64>(SEG + 16, 8)) & 0xffffffff;
  }
  const e: u32 = load<u32>(TLB) + fetchAt(va);
  let lin: u32;
  let variant: u32 = 0;
  if (load<u64>(e, 24) == (va & PAGE_MASK)) lin = <u32>va + load<u32>(e, 16);
  else {
    variant = variantAt(va);
    if (variant == AT_BREAKPOINT) {
      mustStep = true;
      return 0;
    }
    const page = fetchPage(va);
    if (page == 0) return 0;
    lin = page | (<u32>va & 0xfff);
  }
  const key: u64 = <u64>lin | load<u64>(BLOCK_KEY) | (<u64>variant << KEY_VARIANT_SHIFT);
  let q = load<u32>(bucketOf(key));
  while (q != 0) {
    if (load<u64>(q - 32) == key) break;
    q = load<u32>(q - 16);
  }
  if (q == 0) {
    q = build(key, va);
    if (q == 0) {
      mustStep = true;
      return 0;
    }
  }
  store<u64>(PAGE_BASE, rip - <u64>(lin & 0xfff));
  return q;
}

/** Decodes the block with this key, which is at `va` now; 0 when its first instruction has to be stepped. */
function build(key: u64, va: u64): u32 {
  if (arena > LAST) dropBlocks();
  const start = <u32>key;
  const code = load<u32>(CODE_SIZE);
  const fast = isFast(key);
  const variant = variantOf(key);
  const first = arena + 32;
  let q = startCheck(first, start & 0xfff);
  let at = start;
  let made: u32 = 0;
  startBlock(key);
  while (made < MAX_INSTRUCTIONS) {
    const off = at & 0xfff;
    if (made > 0 && off == 0) break; // the next page begins
    if (made > 0 && variant != 0 && setHas(variant, off)) break;
    let from = at;
    if (off > 0x1000 - MAX_LENGTH) {
      memory.fill(SCRATCH_AT, 0, 32);
      memory.copy(SCRATCH_AT, at, 0x1000 - off);
      from = SCRATCH_AT;
    }
    const length = decode(q, from, code, off);
    if (off + length > 0x1000 || length > MAX_LENGTH) break; // crosses, or to be found too long by step()
    store<u8>(q, <u8>made, 3);
    at += length;
    made++;
    q = note(q, made);
    if (closed || (rowFlags & ROW_END) != 0) break;
  }
  countBy(N_DECODED, made);
  if (made == 0) {
    q = fast && variant == 0 ? buildAcross(key, va) : 0;
    if (q == 0) count(N_UNBUILT);
    return q;
  }
  count(N_BUILD);
  q = finish(q, made, ((at - 1) & 0xfff) + 1);
  arena = finishCheck(first, q, start, at - start);
  markCode(start, at - start);
  enlist(first, key, made);
  return first;
}

/** Writes the header of a block and puts it into its page's list and the hash table. */
function enlist(first: u32, key: u64, made: i32): void {
  const bucket = bucketOf(key);
  store<u64>(first - 32, key);
  listIn(<u32>key >> 12, first, 0);
  store<i32>(first - 20, made);
  store<u64>(first - 8, 0);
  store<u32>(first - 16, load<u32>(bucket));
  store<u32>(bucket, first);
}

/** Puts a block into the list of a page; a write to the page's code drops the block `owner`, too. */
function listIn(page: u32, first: u32, owner: u32): void {
  const at = PAGE_BLOCKS_AT + (page << 2);
  store<u32>(first - 24, load<u32>(at));
  store<u32>(first - 12, owner);
  store<u32>(at, first);
}

/**
 * Makes a block of the one instruction at `va`, which goes on in the next page; 0 when it has to be stepped: the
 * next page has no fetch translation, or the instruction is too long. The block looks each time it is entered whether the next page is
 * still the same one (OP_cross), and is in the lists of both pages.
 */
function buildAcross(key: u64, va: u64): u32 {
  const start = <u32>key;
  const off = start & 0xfff;
  const here: u32 = 0x1000 - off;
  const next = (va | 0xfff) + 1;
  const code = load<u32>(CODE_SIZE);
  if (maskIp(next) != next) return 0;
  const e: u32 = load<u32>(TLB) + fetchAt(next);
  if (load<u64>(e, 24) != next) return 0;
  const second: u32 = <u32>next + load<u32>(e, 16);
  memory.fill(SCRATCH_AT, 0, 32);
  memory.copy(SCRATCH_AT, start, here);
  memory.copy(SCRATCH_AT + here, second, 16);
  const first = arena + 32;
  const cross = startCheck(startCheck(first, off), off);
  const record = cross + 32;
  memory.fill(cross, 0, 32);
  store<u16>(cross, <u16>OP_cross);
  store<u32>(cross, second, 8);
  store<u16>(cross, <u16>off, 14);
  startBlock(key);
  const length = decode(record, SCRATCH_AT, code, off);
  if (length > MAX_LENGTH || off + length <= 0x1000) return 0;
  store<u8>(record, 0, 3);
  let q = note(record, 1);
  if (!closed) q = finishAcross(q, <i64>(off + length));
  q = finishCheck(first, q, start, here);
  q = finishCheck(first + 32, q, second, length - here);
  markCode(start, here);
  markCode(second, length - here);
  enlist(first, key, 1);
  const twin = q + 32;
  store<u64>(twin - 32, 0);
  store<i32>(twin - 20, COUNT_DEAD);
  listIn(second >> 12, twin, first);
  arena = twin;
  count(N_BUILD);
  return first;
}

/** Whether a block with this key has fast operations: it is of 64-bit or flat 32-bit code. */
export function isFast(key: u64): bool {
  return ((key >> KEY_SIZE_SHIFT) & 2) != 0;
}

function variantOf(key: u64): u32 {
  return <u32>(key >> KEY_VARIANT_SHIFT);
}

/** Instructions of a block. */
export function countOf(q: u32): i32 {
  return load<i32>(q - 20);
}

/**
 * Goes from the last record `p` of a block to `to` and remembers the way in the link at `link`.
 * 0: RIP is set, and the outer loop decides.
 */
export function follow(p: u32, to: u64, link: u32, budget: i32): u32 {
  budgetNow = budget;
  const target = maskIp(to);
  const same = ((target ^ load<u64>(PAGE_BASE)) & PAGE_MASK) == 0;
  const op = operationOf(p);
  const before = generation;
  store<u64>(RIP, target);
  // A fault of fetching from there belongs to the next run.
  if (budget <= 0) return 0;
  const q = lookup();
  if (q == 0) return 0;
  // A link that is not checked on the way must stay on the page. One that is never leads to a page with
  // breakpoints: other vCPUs would look for theirs again and again.
  const lasts = same || (checksLink(op, link) && variantOf(load<u64>(q - 32)) == 0);
  if (before == generation && lasts) store<u32>(p + link, q);
  return budget < countOf(q) ? 0 : q;
}

/** Operations that compare the target's address before they use the link. */
function checksLink(op: u32, link: u32): bool {
  return (link == 32 && op >= FIRST_FAR) || op == OP_jcc_across || op == OP_end_across;
}

/** Whether the outer loop has something to look at before the next instruction. */
export function attention(): bool {
  return (
    load<u32>(SHADOW) != 0 ||
    (load<u32>(IRQ_WINDOW) != 0 && (load<u32>(FLAGS) & <u32>IF) != 0) ||
    stepping()
  );
}

/** After an instruction that set RIP: the next block, or 0 for the outer loop. */
export function enter(budget: i32): u32 {
  budgetNow = budget;
  if (budget <= 0 || attention()) return 0;
  const q = lookup();
  return q == 0 || budget < countOf(q) ? 0 : q;
}
