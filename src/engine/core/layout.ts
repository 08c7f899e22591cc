/** Constants that several parts share; imports nothing, so that no import circle reaches it. */

/** Entries of a TLB half; 32 bytes each: tag for reads, for writes, addend u32 + flags u32, tag for fetches. */
export const TLB_ENTRIES: u32 = 1024;
export const TLB_MASK: u32 = (TLB_ENTRIES - 1) << 5;
export const PAGE_MASK: u64 = ~0xfff;
