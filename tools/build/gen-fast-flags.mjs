// @ts-check
/**
 * Conditions as AssemblyScript text for the hot loop, which may not call functions (see
 * gen-interpret.mjs). They mean what cond() of flags.ts means; FLAG_WORDS declares what they look at.
 */

/** Declares `k` (the kind), `d`, `s` and `sh` (the place of the sign) from the lazy flags. */
export const FLAG_WORDS =
  "const o: u32 = load<u32>(CC_OP); const k: u32 = o >> 2; const d: u64 = load<u64>(CC_DST); const s: u64 = load<u64>(CC_SRC); const sh: u64 = (<u64>8 << (o & 3)) - 1;";

/** The carry flag. */
export const CF =
  "(k == 1 ? d < s : k == 2 ? ((d + s) & (~(<u64>0) >> (63 - sh))) < s : k != 3 && (s & 1) != 0)";
const ZF = "(k == 0 ? (s & 0x40) != 0 : d == 0)";
const SF = "(k == 0 ? (s & 0x80) != 0 : ((d >> sh) & 1) != 0)";
const PF = "(k == 0 ? (s & 4) != 0 : (popcnt<u32>(<u32>d & 0xff) & 1) == 0)";
/** The overflow flag. */
export const OF =
  "(k == 1 ? (((((d - s) ^ s ^ -1) & ((d - s) ^ d)) >> sh) & 1) != 0 : k == 2 ? (((((d + s) ^ s) & ((d + s) ^ d)) >> sh) & 1) != 0 : k != 3 && (s & 0x800) != 0)";

const EVEN = [
  OF,
  CF,
  ZF,
  `(${CF} || ${ZF})`,
  SF,
  PF,
  `(${SF} != ${OF})`,
  `(${ZF} || ${SF} != ${OF})`,
];

/**
 * Condition `cc` of Jcc, SETcc and CMOVcc, after FLAG_WORDS.
 * @param {number} cc
 */
export function condition(cc) {
  return cc & 1 ? `!${EVEN[cc >> 1]}` : EVEN[cc >> 1];
}

/** Declares `yes`: the condition in the record. */
export const RECORD_CONDITION = `let yes: bool; { ${FLAG_WORDS} const cc: u32 = load<u8>(p, 21); switch ((cc >> 1) & 7) { ${EVEN.map(
  (text, i) => `${i < 7 ? `case ${i}` : "default"}: yes = ${text}; break;`,
).join(" ")} } if ((cc & 1) != 0) yes = !yes; }`;
