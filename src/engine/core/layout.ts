/** Constants that several parts share; imports addresses only, so that no import circle reaches it. */
import { SCRATCH_AT } from "./state.gen";

/** Entries of a TLB half; 32 bytes each: tag for reads, for writes, addend u32 + flags u32, tag for fetches. */
export const TLB_ENTRIES: u32 = 2048;
export const TLB_MASK: u32 = (TLB_ENTRIES - 1) << 5;
export const PAGE_MASK: u64 = ~0xfff;

/** Where fast SSE operations find an operand that was loaded from memory: 16 bytes, aligned. */
export const SSE_TMP: u32 = SCRATCH_AT + 0xc0;
