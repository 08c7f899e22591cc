// @ts-check
/**
 * One plain encoding of an instruction row, with a memory operand where a case wants it. Not
 * random: what is wanted is each form once (tests/native/encode.mjs makes the random ones).
 */

/** @typedef {import("../native/types.js").Row} Row */

/**
 * @typedef {object} Form
 * @property {"register" | "base" | "index"} rm what ModRM.rm names: a register, [base], or [base + r8], in 32-bit code [base + ecx]
 * @property {number} [base] number of the base register (RSI)
 * @property {boolean} [wide] REX.W
 * @property {boolean} [short] an operand-size prefix
 * @property {boolean} [addr32] an address-size prefix
 * @property {number} [reg] ModRM.reg or the opcode's register (RDX)
 * @property {number} [to] displacement of a relative branch
 * @property {32 | 64} [bits] the code it is for (64)
 */

export const RAX = 0;
const RCX = 1;
export const RDX = 2;
export const RBX = 3;
const RSP = 4;
export const RSI = 6;
/** Of a SIB byte. */
const NO_INDEX = 4 << 3;

const PREFIX = { NP: [], 66: [0x66], F3: [0xf3], F2: [0xf2] };
const MAP = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];

/**
 * @param {number | bigint} value
 * @param {number} bytes
 */
export function little(value, bytes) {
  const word = BigInt.asUintN(64, BigInt(value));
  return Array.from({ length: bytes }, (_, i) => Number((word >> BigInt(8 * i)) & 0xffn));
}

/**
 * The bytes of the row's immediate: -2 where it is a value.
 * @param {Row} row
 * @param {Form} form
 * @returns {number[]}
 */
function immediate(row, form) {
  const near = form.bits !== 32 && (row.flags.has("f64") || row.flags.has("d64"));
  const size = row.type === "b" ? 1 : form.short ? 2 : form.wide || near ? 8 : 4;
  const value = (/** @type {number} */ n) => little(-2, n);
  switch (row.imm) {
    case "ib":
      return value(1);
    case "iw":
      return little(0, 2);
    case "iz":
      return value(Math.min(size, 4));
    case "id":
      return value(4);
    case "iv":
      return value(size);
    case "iwib":
      return little(8, 3);
    case "rel8":
      return little(form.to ?? 0, 1);
    case "relz":
      return little(form.to ?? 0, 4);
    case "moffs":
      return form.bits === 32
        ? little(form.to ?? 0, form.addr32 ? 2 : 4)
        : little(0, form.addr32 ? 4 : 8);
    default:
      return [];
  }
}

/** Whether ModRM.rm is a register whatever ModRM.mod says. @param {Row} row */
const ignoresMod = (row) => row.form === undefined && /\bR[a-z]/.test(row.asm);

/**
 * The row's encoding, or undefined when it has no such form.
 * @param {Row} row
 * @param {Form} form
 */
export function encode(row, form) {
  const memory = form.rm !== "register";
  const flat = form.bits === 32;
  if (row.flags.has(flat ? "o64" : "i64") || row.imm === "far") return undefined;
  if (flat && form.wide) return undefined;
  if (memory && (!row.modrm || row.form === "reg" || ignoresMod(row))) return undefined;
  if (!memory && row.form === "mem") return undefined;
  const reg = row.digit ?? form.reg ?? RDX;
  const base = form.base ?? RSI;
  const list = [];
  if (form.addr32) list.push(0x67);
  if (form.short) list.push(0x66);
  list.push(...PREFIX[/** @type {keyof typeof PREFIX} */ (row.prefix ?? "NP")]);
  const rex = flat ? 0 : (form.wide ? 8 : 0) | (form.rm === "index" ? 2 : 0);
  if (rex !== 0) list.push(0x40 | rex);
  list.push(.../** @type {number[]} */ (MAP[row.map]));
  list.push(row.opcode + (row.plus ? (form.reg ?? RDX) : 0));
  if (row.modrm) {
    if (!memory) list.push(0xc0 | (reg << 3) | base);
    else if (form.rm === "index") list.push(0x44 | (reg << 3), base | (flat ? RCX << 3 : 0), 0);
    else if (base === RSP) list.push(0x44 | (reg << 3), NO_INDEX | RSP, 0);
    else list.push(0x40 | (reg << 3) | base, 0);
  }
  list.push(...immediate(row, form));
  return list;
}
