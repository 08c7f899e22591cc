// @ts-check
/** The instruction rows of spec/insn as the generator needs them: operands, sizes, effects. */
import { readRows } from "../../tools/build/gen-insn.mjs";
import { effectsOf } from "./effects.mjs";
import { exclusion } from "./exclusions.mjs";

/** Bytes of memory operands whose letters do not tell. */
/** @type {Readonly<Record<string, number>>} */
const MEMORY_BYTES = {
  fxsave: 512,
  fxrstor: 512,
  fnsave: 108,
  fsave: 108,
  frstor: 108,
  fnstenv: 28,
  fstenv: 28,
  fldenv: 28,
  fnstcw: 2,
  fstcw: 2,
  fldcw: 2,
  fnstsw: 2,
  fstsw: 2,
  fbld: 10,
  fbstp: 10,
  ldmxcsr: 4,
  stmxcsr: 4,
  clflush: 1,
  prefetch: 1,
  prefetchw: 1,
  lddqu: 16,
  lea: 1,
};

/** @type {Readonly<Record<string, number>>} */
const SUFFIX_BYTES = {
  b: 1,
  w: 2,
  d: 4,
  q: 8,
  dq: 16,
  x: 16,
  o: 16,
  ps: 16,
  pd: 16,
  ss: 4,
  sd: 8,
  si: 4,
  pi: 8,
  pq: 8,
  t: 10,
  mw: 2,
};

/** @param {string} text */
function parseOperand(text) {
  const m = /^([A-Z])([a-z0-9]*)$/.exec(text);
  if (!m || ["AL", "CL", "DX", "AX"].includes(text)) return { text, letter: "", suffix: "" };
  return { text, letter: m[1] ?? "", suffix: m[2] ?? "" };
}

/**
 * Bytes of an operand. `osize`: operand size in bytes, `wide`: REX.W.
 * @param {import("./types.js").Row} row
 * @param {import("./types.js").Operand} operand
 * @param {number} osize
 * @param {boolean} wide
 */
export function operandBytes(row, operand, osize, wide) {
  const { suffix } = operand;
  const digits = /^(?:M|m)(\d+)/.exec(operand.text);
  if (digits) return Number(digits[1]) / 8;
  if (row.mnemonic === "cmpxchg8b" || row.mnemonic === "cmpxchg16b") return wide ? 16 : 8;
  if (suffix === "v") return osize;
  if (suffix === "z") return Math.min(osize, 4);
  if (suffix === "y") return wide ? 8 : 4;
  if (suffix === "a") return osize * 2;
  if (suffix === "p") return osize + 2;
  if (suffix !== "" && SUFFIX_BYTES[suffix] !== undefined) return SUFFIX_BYTES[suffix];
  return MEMORY_BYTES[row.mnemonic] ?? (row.simd ? 16 : 8);
}

/**
 * Opcodes that ModRM.rm divides further: mnemonics by rm, "" where there is no instruction.
 * @type {Readonly<Record<string, readonly string[]>>}
 */
const X87_GROUPS = {
  "D9 /2": ["fnop", "", "", "", "", "", "", ""],
  "D9 /4": ["fchs", "fabs", "", "", "ftst", "fxam", "", ""],
  "D9 /5": ["fld1", "fldl2t", "fldl2e", "fldpi", "fldlg2", "fldln2", "fldz", ""],
  "D9 /6": ["f2xm1", "fyl2x", "fptan", "fpatan", "fxtract", "fprem1", "fdecstp", "fincstp"],
  "D9 /7": ["fprem", "fyl2xp1", "fsqrt", "fsincos", "frndint", "fscale", "fsin", "fcos"],
  "DA /5": ["", "fucompp", "", "", "", "", "", ""],
  "DB /4": ["fneni", "fndisi", "fnclex", "fninit", "fnsetpm", "", "", ""],
  "DE /3": ["", "fcompp", "", "", "", "", "", ""],
  "DF /4": ["fnstsw AX", "", "", "", "", "", "", ""],
};

/**
 * One row for each instruction of a row that stands for several.
 * @param {import("./types.js").Row} row
 */
function expand(row) {
  const group =
    row.form === "reg" && row.map === 0
      ? X87_GROUPS[`${row.opcode.toString(16).toUpperCase()} /${row.digit}`]
      : undefined;
  if (group === undefined) return [row];
  /** @type {import("./types.js").Row[]} */
  const rows = group.flatMap((asm, rm) => (asm === "" ? [] : [{ ...row, asm, rm }]));
  const gaps = [0, 1, 2, 3, 4, 5, 6, 7].filter((rm) => group[rm] === "");
  // All gaps together count as one row, so that they do not crowd out instructions.
  if (gaps.length > 0) rows.push({ ...row, asm: "undefined", gaps });
  return rows;
}

/**
 * @param {import("./types.js").Row} row
 * @param {Set<number>} mandatory
 */
function describe(row, mandatory) {
  const [mnemonic = "", ...rest] = row.asm.split(/\s+/);
  row.mnemonic = mnemonic.toLowerCase();
  row.operands = rest.join("").split(",").filter(Boolean).map(parseOperand);
  row.simd = row.operands.some((o) => "VWU".includes(o.letter) && o.letter !== "");
  row.mmx = row.operands.some((o) => "PQN".includes(o.letter) && o.letter !== "");
  row.x87 = row.map === 0 && row.opcode >= 0xd8 && row.opcode <= 0xdf;
  row.string = /^(movs|cmps|stos|lods|scas)[bwdq]?$/.test(row.mnemonic) && row.map === 0;
  row.sized =
    row.type === "v" ||
    row.imm === "iz" ||
    row.imm === "iv" ||
    row.imm === "relz" ||
    row.operands.some((o) => ["v", "z"].includes(o.suffix));
  // A 66, F2 or F3 in front of these opcodes makes another instruction of them.
  row.mandatory =
    row.prefix !== undefined || mandatory.has(row.map * 256 + row.opcode) || row.map >= 2;
  row.effects = effectsOf(row);
  row.why = exclusion(row);
  return row;
}

/**
 * All rows of the named families (all families without names), described.
 * @param {string[]} [families]
 * @returns {Promise<import("./types.js").Row[]>}
 */
export async function loadRows(families) {
  // describe() adds what is missing.
  const read = /** @type {unknown} */ (await readRows(families));
  const rows = /** @type {import("./types.js").Row[]} */ (read);
  const mandatory = new Set(
    rows.filter((r) => r.prefix !== undefined).map((r) => r.map * 256 + r.opcode),
  );
  return rows.flatMap(expand).map((row) => describe(row, mandatory));
}
