/** Constants that several parts share; imports addresses only, so that no import circle reaches it. */
import { SCRATCH_AT } from "./state.gen";

/**
 * Entries of a TLB half for reads and writes, and behind them those for fetches; 32 bytes each: tag for reads, for writes,
 * addend u32 + flags u32, tag for fetches. Code and data have entries of their own: a page of code that is executed again
 * and again and a page of data that it uses must not take turns.
 */
export const TLB_ENTRIES: u32 = 2048;
export const TLB_MASK: u32 = (TLB_ENTRIES - 1) << 5;
export const FETCH_ENTRIES: u32 = 512;
export const FETCH_MASK: u32 = (FETCH_ENTRIES - 1) << 5;
/** Where a half's entries for fetches begin. */
export const FETCH_AT: u32 = TLB_ENTRIES << 5;
export const PAGE_MASK: u64 = ~0xfff;

/**
 * Offset in a TLB half of the entry for `va`: bits 12 to 22 and 23 to 33 of the address together. By the low bits
 * alone, a kernel's text, stacks, direct map and per-CPU areas, which begin at round addresses, get into
 * each other's way. gen-fast-text.mjs has the same as text.
 */
export function tlbAt(va: u64): u32 {
  return <u32>((va >> 7) ^ (va >> 18)) & TLB_MASK;
}

/** Offset in a TLB half of the entry for fetches from `va`. */
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
