// @ts-check
/**
 * What instructions do to flags: read, written with a defined value, left undefined. Undefined ones
 * are not compared and never read by a later instruction of the same case.
 *
 * Letters: O S Z A P C of RFLAGS, and 0 1 2 3 for C0 to C3 of the x87 status word. Sources: Intel
 * SDM volume 1 appendix A (table A-2, EFLAGS cross-reference) and 8.3.3 (condition codes), and the
 * "Flags Affected" paragraph of each instruction in volume 2; AMD APM volume 3 agrees.
 */

/** @type {Readonly<Record<"C" | "P" | "A" | "Z" | "S" | "O" | "0" | "1" | "2" | "3", number>>} */
export const BITS = {
  C: 1,
  P: 4,
  A: 0x10,
  Z: 0x40,
  S: 0x80,
  O: 0x800,
  0: 0x10000,
  1: 0x20000,
  2: 0x40000,
  3: 0x80000,
};
export const ARITHMETIC = 0x8d5;
export const X87_CODES = 0xf0000;

/**
 * The bits of a string of letters.
 * @param {string} letters
 */
export function bits(letters) {
  let mask = 0;
  for (const letter of letters) mask |= BITS[/** @type {keyof typeof BITS} */ (letter)];
  return mask;
}

const ALL = "OSZAPC";
const NONE = { reads: "", writes: "", undef: "" };

/**
 * [mnemonic, reads, writes, undefined].
 * @type {[RegExp, string, string, string][]}
 */
const TABLE = [
  [/^(add|sub|cmp|neg|xadd|cmpxchg)$/, "", ALL, ""],
  [/^(adc|sbb)$/, "C", ALL, ""],
  [/^(inc|dec)$/, "", "OSZAP", ""],
  // AF is undefined after the logical operations (vol. 2, AND, OR, XOR, TEST).
  [/^(and|or|xor|test)$/, "", "OSZPC", "A"],
  [/^(mul|imul)$/, "", "OC", "SZAP"],
  [/^(div|idiv)$/, "", "", ALL],
  // Counts are looked at in shiftEffects below.
  [/^(rcl|rcr)$/, "C", "", "O"],
  [/^(rol|ror)$/, "", "", "O"],
  [/^(shl|sal|shr|sar)$/, "", "", "OA"],
  [/^(shld|shrd)$/, "", "", "OA"],
  // ZF is unaffected by BT and the others (vol. 2, BT).
  [/^(bt|bts|btr|btc)$/, "", "C", "OSAP"],
  [/^(bsf|bsr)$/, "", "Z", "OSAPC"],
  [/^popcnt$/, "", ALL, ""],
  [/^(aaa|aas)$/, "A", "AC", "OSZP"],
  [/^(daa|das)$/, "AC", "SZAPC", "O"],
  [/^(aam|aad)$/, "", "SZP", "OAC"],
  [/^cmc$/, "C", "C", ""],
  [/^(clc|stc)$/, "", "C", ""],
  [/^sahf$/, "", "SZAPC", ""],
  [/^lahf$/, "SZAPC", "", ""],
  [/^salc$/, "C", "", ""],
  [/^popf/, "", ALL, ""],
  [/^pushf/, ALL, "", ""],
  [/^into$/, "O", "", ""],
  [/^(loopne|loope|loopnz|loopz)$/, "Z", "", ""],
  // With REP and a count of zero nothing is written, so nothing counts as defined afterwards.
  [/^(cmps|scas)[bwdq]?$/, "", "", ""],
  [/^(cmpxchg8b|cmpxchg16b|arpl|lar|lsl|verr|verw)$/, "", "Z", ""],
  [/^(comiss|comisd|ucomiss|ucomisd|ptest|pcmpestri|pcmpestrm|pcmpistri|pcmpistrm)$/, "", ALL, ""],
  // x87. Vol. 1, 8.1.3.3: C1 is what rounding and stack faults say; the others are undefined unless a
  // comparison, FXAM or FPREM sets them. FCOMI and FCMOV give C1 a value on stack faults only, and FCOMI's OF, SF
  // and AF differ between manuals.
  [/^(fcomi|fcomip|fucomi|fucomip)$/, "", "ZPC", "OSA1"],
  [/^(fcom|fcomp|fcompp|fucom|fucomp|fucompp|ficom|ficomp|ftst|fxam)$/, "", "0123", ""],
  [/^(fprem|fprem1)$/, "", "0123", ""],
  [/^(fsin|fcos|fsincos|fptan)$/, "", "2", "013"],
  [/^fcmov/, "ZPC", "", "0123"],
  [/^(fstsw|fnstsw|fstenv|fnstenv|fxsave)$/, "0123", "", ""],
  [/^(fsave|fnsave|finit|fninit)$/, "0123", "0123", ""],
  [/^(fldenv|frstor|fxrstor)$/, "", "0123", ""],
  [/^(fldcw|fnstcw|fwait|emms|fneni|fndisi|fnsetpm|undefined)$/, "", "", ""],
  [/^(fnop|fnclex|ffree|ffreep)$/, "", "1", "023"],
  [/^(f2xm1|fyl2x|fyl2xp1|fpatan)$/, "", "", "0123"],
];

const CONDITION_READS = [
  "O",
  "O",
  "C",
  "C",
  "Z",
  "Z",
  "ZC",
  "ZC",
  "S",
  "S",
  "P",
  "P",
  "SO",
  "SO",
  "ZSO",
  "ZSO",
];

/**
 * Effects of a row, before its operands are known: { reads, writes, undef } as bits.
 * @param {import("./types.js").Row} row
 */
export function effectsOf(row) {
  const toBits = (/** @type {{ reads: string, writes: string, undef: string }} */ e) => ({
    reads: bits(e.reads),
    writes: bits(e.writes),
    undef: bits(e.undef),
  });
  if (
    row.map < 2 &&
    /^(j|set|cmov)(cc|n?[opszcbael]+)$/.test(row.mnemonic) &&
    !/^(jmp|jcxz|jecxz|jrcxz)/.test(row.mnemonic)
  ) {
    return toBits({ ...NONE, reads: CONDITION_READS[row.opcode & 15] ?? "" });
  }
  for (const [pattern, reads, writes, undef] of TABLE) {
    if (pattern.test(row.mnemonic)) return toBits({ reads, writes, undef });
  }
  if (row.x87) return toBits({ ...NONE, writes: "1", undef: "023" });
  return toBits(NONE);
}

/**
 * Effects of a shift or rotation by `count` (already masked by the processor's rule; undefined when
 * it is not known) of `size` bits.
 * @param {string} mnemonic
 * @param {number | undefined} count
 * @param {number} size
 */
export function shiftEffects(mnemonic, count, size) {
  const reads = /^rc/.test(mnemonic) ? BITS.C : 0;
  if (count === 0) return { reads, writes: 0, undef: 0 };
  const known = count !== undefined;
  if (/^r/.test(mnemonic))
    return {
      reads,
      writes: bits(count === 1 ? "OC" : known ? "C" : ""),
      undef: count === 1 ? 0 : bits("O"),
    };
  const double = /d$/.test(mnemonic);
  let undef = bits(count === 1 ? "A" : "OA");
  // CF is undefined when SHL or SHR shift by the operand's size or more (vol. 2, SAL/SAR/SHL/SHR),
  // and everything is when SHLD or SHRD shift by more than it.
  if (/^(shl|sal|shr)$/.test(mnemonic) && size < 32 && (!known || count >= size)) undef |= BITS.C;
  if (double && size < 32 && (!known || count > size)) undef |= ARITHMETIC;
  const writes = known ? bits(count === 1 ? "OSZPC" : "SZPC") & ~undef : 0;
  return { reads, writes, undef };
}
