/**
 * Self-modifying code. A linear page that holds decoded code is marked in PAGE_FLAGS and never gets
 * a write tag in a TLB, so that every write to it comes here; PAGE_CHUNKS says which of its 64-byte
 * pieces were decoded, so that data beside code does not drop the code.
 */
import { count } from "./count";
import { BLOCK_HASH_AT, N_DROPPED, PAGE_BLOCKS_AT, PAGE_CHUNKS_AT, PAGE_FLAGS_AT } from "./state.gen";
import { dropWriteTags } from "./mmu/tlb";
import { doubtRegions } from "./regions";

/** In a block's key, from this bit: 0, or whose breakpoints it leaves out (breakpoints.ts). */
export const KEY_VARIANT_SHIFT: u64 = 48;
/** Buckets of the block table. */
export const HASH_MASK: u32 = 0xfffff;
/** Instruction count of a block that must not be entered any more: larger than any budget. */
export const COUNT_DEAD: i32 = 0x7fffffff;

/** True while the interpreter runs cached blocks: a write to code must be made again outside. */
export let inBlocks: bool = false;
/** Says whether cached blocks are running. */
export function setInBlocks(yes: bool): void {
  inBlocks = yes;
}

/** Bucket address of a block key. */
export function bucketOf(key: u64): u32 {
  const lin = <u32>key;
  // Blocks of pages with breakpoints keep out of the way: fast jumps look at the first of a bucket only.
  const variant = <u32>(key >> KEY_VARIANT_SHIFT);
  return BLOCK_HASH_AT + (((lin ^ (lin >> 15) ^ (variant * 0x9e375)) & HASH_MASK) << 2);
}

function chunkMask(from: u32, size: u32): u64 {
  const first = (from & 0xfff) >> 6;
  let end = (from & 0xfff) + size - 1;
  if (end > 0xfff) end = 0xfff;
  const count = (end >> 6) - first + 1;
  return count >= 64 ? ~(<u64>0) : (((<u64>1) << count) - 1) << first;
}

/** Notes that `size` bytes from `lin` (inside one page) have been decoded. */
export function markCode(lin: u32, size: u32): void {
  const page = lin >> 12;
  const at = PAGE_CHUNKS_AT + (page << 3);
  store<u64>(at, load<u64>(at) | chunkMask(lin, size));
  if (load<u8>(PAGE_FLAGS_AT + page) == 0) {
    store<u8>(PAGE_FLAGS_AT + page, 1);
    dropWriteTags(lin & ~0xfff);
  }
}

/** Drops all decoded blocks of a page. */
export function invalidatePage(page: u32): void {
  count(N_DROPPED);
  let q = load<u32>(PAGE_BLOCKS_AT + (page << 2));
  while (q != 0) {
    const owner = load<u32>(q - 12);
    if (owner != 0) kill(owner);
    kill(q);
    q = load<u32>(q - 24);
  }
  store<u32>(PAGE_BLOCKS_AT + (page << 2), 0);
  store<u64>(PAGE_CHUNKS_AT + (page << 3), 0);
  store<u8>(PAGE_FLAGS_AT + page, 0);
}

/** Makes that a block is neither found nor entered any more. */
function kill(q: u32): void {
  unhash(q);
  doubtRegions();
  store<u64>(q - 32, 0);
  store<i32>(q - 20, COUNT_DEAD);
}

function unhash(q: u32): void {
  const bucket = bucketOf(load<u64>(q - 32));
  let at = load<u32>(bucket);
  if (at == q) {
    store<u32>(bucket, load<u32>(q - 16));
    return;
  }
  while (at != 0) {
    const next = load<u32>(at - 16);
    if (next == q) {
      store<u32>(at - 16, load<u32>(q - 16));
      return;
    }
    at = next;
  }
}

/**
 * Called before `size` bytes at `lin` (inside one page) are written, when the page is marked. Drops
 * the page's blocks if decoded code is hit. True: the caller must raise F_RETRY instead of writing.
 */
export function codeWritten(lin: u32, size: u32): bool {
  const page = lin >> 12;
  if ((load<u64>(PAGE_CHUNKS_AT + (page << 3)) & chunkMask(lin, size)) == 0) return false;
  invalidatePage(page);
  return inBlocks;
}

/** Memory was written from outside the engine: drops decoded code there. */
export function hostWrote(lin: u32, size: u32): void {
  if (size == 0) return;
  const last = (lin + size - 1) >> 12;
  for (let page = lin >> 12; page <= last; page++) {
    if (load<u8>(PAGE_FLAGS_AT + page) != 0) invalidatePage(page);
  }
}
