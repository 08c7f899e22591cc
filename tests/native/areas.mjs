// @ts-check
/**
 * The machine that both sides of the comparison see: addresses, selectors and descriptors. The
 * native side gets them from Linux and harness.c, the engine from engine.mjs.
 */

export const PAGE = 0x1000;
export const CODE_AT = 0x10000000;
export const CODE_BYTES = 0x2000;
export const DATA_AT = 0x20000000;
export const DATA_BYTES = 0x4000;
/** The last page of DATA cannot be written. */
export const RO_AT = DATA_AT + DATA_BYTES - PAGE;
export const STACK_AT = 0x30000000;
export const STACK_BYTES = 0x2000;
/** The memory image: DATA, then STACK. */
export const IMAGE_BYTES = DATA_BYTES + STACK_BYTES;

/** Bases of FS and GS in 64-bit cases. */
export const FS_BASE = 0x712345678000n;
export const GS_BASE = 0x20001234n;

/**
 * Place of an address in the image, or -1.
 * @param {number} address
 */
export function imageOffset(address) {
  if (address >= DATA_AT && address < DATA_AT + DATA_BYTES) return address - DATA_AT;
  if (address >= STACK_AT && address < STACK_AT + STACK_BYTES)
    return address - STACK_AT + DATA_BYTES;
  return -1;
}

/**
 * Address of a place in the image.
 * @param {number} offset
 */
export function imageAddress(offset) {
  return offset < DATA_BYTES ? DATA_AT + offset : STACK_AT + offset - DATA_BYTES;
}

/** Order of segment registers everywhere here, and that of their numbers. */
export const SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs"];

/** Selectors of Linux for user programs (arch/x86/include/asm/segment.h names them). */
export const USER32_CS = 0x23;
export const USER_DS = 0x2b;
export const USER_CS = 0x33;

const ldt = (/** @type {number} */ entry) => (entry << 3) | 7;
export const LDT_CODE16 = ldt(0);
export const LDT_DATA16 = ldt(1);
export const LDT_STACK16 = ldt(2);
/** 32-bit data from DATA_AT with a byte limit below DATA's end. */
export const LDT_LIMITED = ldt(3);
/** Expand-down data from DATA_AT: offsets above 0x7ff. */
export const LDT_EXPAND_DOWN = ldt(4);
export const LIMITED_LIMIT = DATA_BYTES - 0x801;
export const EXPAND_DOWN_LIMIT = 0x7ff;

/** Access bytes as in a descriptor: present, DPL 3, and accessed, as modify_ldt makes them. */
export const LDT_ENTRIES = [
  { base: CODE_AT, limit: 0xffff, access: 0xfb, big: 0 },
  { base: DATA_AT, limit: 0xffff, access: 0xf3, big: 0 },
  { base: STACK_AT, limit: 0xffff, access: 0xf3, big: 0 },
  { base: DATA_AT, limit: LIMITED_LIMIT, access: 0xf3, big: 1 },
  { base: DATA_AT, limit: EXPAND_DOWN_LIMIT, access: 0xf7, big: 1 },
];

/**
 * Initial selectors of a case by code size. Order as SEGMENTS.
 * @param {number} mode
 */
export function initialSegments(mode) {
  if (mode === 64) return [USER_DS, USER_CS, USER_DS, USER_DS, 0, 0];
  if (mode === 32) return [USER_DS, USER32_CS, USER_DS, USER_DS, LDT_LIMITED, LDT_EXPAND_DOWN];
  return [LDT_DATA16, LDT_CODE16, LDT_STACK16, LDT_DATA16, LDT_LIMITED, LDT_EXPAND_DOWN];
}

/**
 * Base of a segment (by number) at the start of a case.
 * @param {number} mode
 * @param {number} seg
 */
export function initialBase(mode, seg) {
  if (seg === 4) return mode === 64 ? FS_BASE : BigInt(DATA_AT);
  if (seg === 5) return mode === 64 ? GS_BASE : BigInt(DATA_AT);
  if (mode !== 16) return 0n;
  return BigInt([DATA_AT, CODE_AT, STACK_AT, DATA_AT][seg] ?? 0);
}
