// @ts-check
/**
 * Pieces of AssemblyScript that the fast operations are made of. The hot loop calls no function that
 * comes back to it (see gen-interpret.mjs): whatever is not the usual case leaves it by `return`.
 */

/** @typedef {1 | 2 | 4 | 8} Size bytes of a general operand */
/** @typedef {Size | 16} Width bytes of an operand in memory */

/** @satisfies {Record<Width, string>} */
export const T = { 1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "v128" };
export const I = { 1: "i8", 2: "i16", 4: "i32", 8: "i64" };
export const LG = { 1: 0, 2: 1, 4: 2, 8: 3 };
/** Sizes of general operands, and those that most operations come in. */
export const SIZES = /** @type {const} */ ([1, 2, 4, 8]);
export const WIDE = /** @type {const} */ ([4, 8]);
/** Ways of addressing: the keys of EA. */
export const ADDRESSING = /** @type {const} */ (["b", "x"]);

/** Addresses of the registers in a record. */
export const A = "<u32>load<u16>(p, 4)";
export const B = "<u32>load<u16>(p, 6)";
/** Effective address by form: b base + disp, x with an index. What that is depends on the code: gen-fast-width.mjs. */
export const EA = { b: "$EA_b", x: "$EA_x" };
/** @param {Width} n @param {string} at */
export const rd = (n, at) => `load<${T[n]}>(${at})`;
/** @param {Size} n @param {string} at @param {string} v */
export const wr = (n, at, v) =>
  n === 4 ? `store<u64>(${at}, <u64>${v});` : `store<${T[n]}>(${at}, ${v});`;

/** The TLB entry of the address in `at`: as tlbAt() in core/layout.ts. @param {string} at */
export const entryOf = (at) =>
  `const e: u32 = tlb + (<u32>((${at} >> 7) ^ (${at} >> 14)) & TLB_MASK);`;
/** The TLB entry for fetches from the address in `at`: as fetchAt() in core/layout.ts. @param {string} at */
export const fetchEntryOf = (at) =>
  `const e: u32 = tlb + (FETCH_AT + (<u32>((${at} >> 7) ^ (${at} >> 18)) & FETCH_MASK));`;
const entry = entryOf("ea");
/** Whether n bytes do not lie in the page that a tag permits: as inPage() in core/layout.ts. @param {Width} n @param {boolean} aligned @param {string} tag */
const outside = (n, aligned, tag) =>
  aligned ? `${tag} != ${ALIGNED}` : `(${tag} ^ ea) >= ${4097 - n}`;
/** Page of an access of 16 bytes that must be aligned: no tag has the low bits that are left otherwise, one that is absent neither (absentTag()). */
const ALIGNED = "(ea & (PAGE_MASK | 15))";
/** @param {Width} n @param {boolean} [aligned] */
const missRead = (n, aligned) =>
  `return missRead(p, budget, ea, ${n}${aligned ? " | MISS_ALIGNED" : ""});`;
/** @param {Width} n @param {boolean} [aligned] */
const missWrite = (n, aligned) =>
  `return missWrite(p, budget, ea, ${n}${aligned ? " | MISS_ALIGNED" : ""});`;

/** Declares `v`: n bytes loaded from `ea`. @param {string} v @param {Width} n */
export const ldm = (v, n, aligned = false) =>
  `let ${v}: ${T[n]}; { ${entry} if (${outside(n, aligned, "load<u64>(e)")}) ${missRead(n, aligned)} ${v} = load<${T[n]}>(<u32>ea + load<u32>(e, 16)); }`;
/** Stores n bytes at `ea`. @param {string} v @param {Width} n */
export const stm = (v, n, aligned = false) =>
  `{ ${entry} if (${outside(n, aligned, "load<u64>(e, 8)")}) ${missWrite(n, aligned)} store<${T[n]}>(<u32>ea + load<u32>(e, 16), ${v}); }`;
/** Read as `a`, change, write: one look-up for both. @param {Size} n @param {string} compute @param {string} v */
export const rmw = (n, compute, v) =>
  `${entry} if (${outside(n, false, "load<u64>(e, 8)")}) ${missWrite(n)} const h: u32 = <u32>ea + load<u32>(e, 16); const a = load<${T[n]}>(h); ${compute} store<${T[n]}>(h, ${v});`;
/** Sets the flags lazily. @param {string} kind @param {Size} n @param {string} dst @param {string} src */
export const cc = (kind, n, dst, src) =>
  `store<u32>(CC_OP, ${kind} | ${LG[n]}); store<u64>(CC_DST, <u64>${dst}); store<u64>(CC_SRC, <u64>${src});`;
/** Flags from a result, and CF, AF, OF at their places. @param {Size} n @param {string} dst @param {string} bits */
export const ccResult = (n, dst, bits) =>
  `store<u32>(CC_OP, K_RESULT | ${LG[n]}); store<u64>(CC_DST, <u64>${dst}); store<u64>(CC_SRC, ${bits});`;
