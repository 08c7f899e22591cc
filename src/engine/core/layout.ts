/** Constants that several parts share; imports addresses only, so that no import circle reaches it. */
import { SCRATCH_AT } from "./state.gen";

/**
 * Entries of a TLB half for reads and writes, and behind them those for fetches; 32 bytes each: tag for reads, for writes,
 * addend u32 + flags u32, tag for fetches. Code and data have entries of their own: a page of code that is executed again
 * and again and a page of data that it uses must not take turns.
 */
export const TLB_ENTRIES: u32 = 2048;
export const TLB_MASK: u32 = (TLB_ENTRIES - 1) << 5;
export const FETCH_ENTRIES: u32 = 2048;
export const FETCH_MASK: u32 = (FETCH_ENTRIES - 1) << 5;
/** Where a half's entries for fetches begin. */
export const FETCH_AT: u32 = TLB_ENTRIES << 5;
export const PAGE_MASK: u64 = ~0xfff;

/**
 * Offset in a TLB half of the entry for `va`: bits 12 to 22 and 19 to 29 of the address together. By the low bits
 * alone, a kernel's text, stacks, direct map and per-CPU areas, which begin at round addresses, get into
 * each other's way. With 23 to 33, buffers of 8 MiB one behind the other do, of which glibc's memcpy copies four pages at
 * a time. gen-fast-text.mjs has the same as text.
 */
export function tlbAt(va: u64): u32 {
  return <u32>((va >> 7) ^ (va >> 14)) & TLB_MASK;
}

/** Offset in a TLB half of the entry for fetches from `va`: bits 12 to 22 and 23 to 33. */
export function fetchAt(va: u64): u32 {
  return FETCH_AT + (<u32>((va >> 7) ^ (va >> 18)) & FETCH_MASK);
}

/**
 * Whether `bytes` (at most 4096) from `va` lie in the page that a TLB tag of the address's entry permits. The page
 * of the first byte must be compared: the page behind it may belong into the same entry.
 */
export function inPage(tag: u64, va: u64, bytes: u64): bool {
  return (tag ^ va) < 4097 - bytes;
}

/** Where fast SSE operations find an operand that was loaded from memory: 16 bytes, aligned. */
export const SSE_TMP: u32 = SCRATCH_AT + 0xc0;

/**
 * What the mode adds to the linear address of a block to make its key: KEY_ANY, and from KEY_SIZE_SHIFT on two bits for the size of
 * code, 0 16-bit, 1 32-bit, 2 64-bit, 3 flat 32-bit code: in protected mode, CS, SS, DS and ES begin at 0 and end at 4 GiB, and
 * the stack has ESP, so that no segment forbids anything or adds to an address. KEY_FS and KEY_GS: neither does FS or GS but its base.
 */
export const KEY_ANY: u64 = 0x10000000000;
export const KEY64: u64 = 0x10200000000;
export const KEY_FLAT32: u64 = 0x10300000000;
export const KEY_SIZE_SHIFT: u64 = 32;
export const KEY_FS: u64 = 0x400000000;
export const KEY_GS: u64 = 0x800000000;
/** The last two of them follow the segments FS and GS, 4 and 5, from this bit. */
export const KEY_SEGMENT_SHIFT: u64 = 30;
