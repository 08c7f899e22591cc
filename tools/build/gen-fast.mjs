// @ts-check
/**
 * Fast operations: specialised copies of the commonest instructions in 64-bit and flat 32-bit code, inlined into
 * the interpreter's big switch with the TLB look-up in place. The complete handlers of ops/ remain
 * the reference; a fast operation does the same for one operand size and form.
 *
 * An operation of the switch has a name such as `add4_rmb_F`: mnemonic and size in bytes, form, and
 * F when it sets flags, N when nobody reads them. Forms: destination then source, r register,
 * i immediate, m memory; b address = base + disp, x address = base + (index << scale) + disp.
 */

import { sseKinds } from "./gen-fast-kinds.mjs";
import { integerOps } from "./gen-fast-ops.mjs";
import { PAIRS, pairOps } from "./gen-fast-pairs.mjs";
import { SSE_MEMORY, SSE_SHIFT, SSE_VW, sseOps } from "./gen-fast-sse.mjs";
import { fetchEntryOf, SIZES } from "./gen-fast-text.mjs";
import { STACK } from "./gen-fast-width.mjs";

export const FORMS = ["rr", "ri", "rmb", "rmx", "mrb", "mrx", "mib", "mix"];

/** How the decoder fills a fast record from a generic one; numbers are used in specialise.ts. */
export const PATTERN = {
  none: 0,
  EG: 1,
  GE: 2,
  EI: 3,
  AI: 4,
  ZI: 5,
  E: 6,
  Z: 7,
  GM: 8,
  SHI: 9,
  SH1: 10,
  JCC: 11,
  JMP: 12,
  CALL: 13,
  RET: 14,
  JMPE: 15,
  CALLE: 16,
  CMOV: 17,
  SET: 18,
  GEI: 19,
  NOP: 20,
  BSWAP: 21,
  XCHGA: 22,
  PUSHI: 23,
  PUSHE: 24,
  FIXED: 25,
  SHC: 26,
  DSHIFT: 27,
  SREG: 28,
  MULDIV: 29,
  SWAPGS: 30,
  MOFFS: 31,
  STRING: 32,
  // SSE. V and W are operands, or W and V; in memory W is loaded first, or the whole is a load or a store.
  SSE: 40,
  SSELOAD: 41,
  SSESTORE: 42,
  SSESHIFT: 43,
};

/** Families: a row of operations by size and form. The order gives each its number. */
export const FAMILIES = [
  "add",
  "or",
  "and",
  "sub",
  "xor",
  "cmp",
  "test",
  "mov",
  "movzx1",
  "movzx2",
  "movsx1",
  "movsx2",
  "movsx4",
  "inc",
  "dec",
  "neg",
  "not",
  "lea",
  "shl",
  "shr",
  "sar",
  "rol",
  "ror",
  "imul",
  "push",
  "pop",
  "cmov",
  "set",
  "jump",
  "bswap",
  "adc",
  "sbb",
  "leave",
  "cbw",
  "cwd",
  "shlc",
  "shrc",
  "sarc",
  "shld",
  "shrd",
  "bt",
  "bts",
  "btr",
  "btc",
  "bsf",
  "bsr",
  "mul",
  "div",
  "idiv",
  "xchg",
  "xadd",
  "cmpxchg",
  "cli",
  "cld",
  "swapgs",
  "pushf",
  "movs",
  "stos",
  ...SSE_VW,
  ...SSE_SHIFT,
  ...SSE_MEMORY,
];

const ALU = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];

function kinds() {
  /** @type {Map<string, number>} */
  const map = new Map();
  /** @param {string} asm @param {keyof typeof PATTERN} pattern @param {string} family */
  const put = (asm, pattern, family) =>
    map.set(asm, PATTERN[pattern] | (FAMILIES.indexOf(family) << 6));
  for (const op of [...ALU, "test", "mov"]) {
    for (const s of ["b", "v"]) {
      put(`${op} e${s},g${s}`, "EG", op);
      put(`${op} g${s},e${s}`, "GE", op);
      for (const i of ["ib", "iz", "ibs"]) put(`${op} e${s},${i}`, "EI", op);
    }
    for (const acc of ["al,ib", "rax,iz", "eax,iz", "ax,iz"])
      if (op !== "mov") put(`${op} ${acc}`, "AI", op);
  }
  put("mov zb,ib", "ZI", "mov");
  put("mov zv,iv", "ZI", "mov");
  for (const [asm, family] of /** @type {const} */ ([
    ["movzx gv,eb", "movzx1"],
    ["movzx gv,ew", "movzx2"],
    ["movsx gv,eb", "movsx1"],
    ["movsx gv,ew", "movsx2"],
    ["movsxd gv,ed", "movsx4"],
  ]))
    put(asm, "GE", family);
  for (const op of ["inc", "dec", "neg", "not"]) put(`${op} ev`, "E", op);
  for (const op of ["inc", "dec"]) put(`${op} zv`, "BSWAP", op);
  for (const asm of ["al,ob", "rax,ov", "ob,al", "ov,rax"]) put(`mov ${asm}`, "MOFFS", "mov");
  put("lea gv,m", "GM", "lea");
  for (const op of ["shl", "shr", "sar", "rol", "ror"]) {
    put(`${op} ev,ib`, "SHI", op);
    put(`${op} ev,1`, "SH1", op);
  }
  for (const op of ["shl", "shr", "sar"]) {
    put(`${op} eb,ib`, "SHI", op);
    put(`${op} eb,1`, "SH1", op);
    put(`${op} ev,cl`, "SHC", `${op}c`);
  }
  for (const op of ["shld", "shrd"]) put(`${op} ev,gv,ib`, "DSHIFT", op);
  for (const op of ["bt", "bts", "btr", "btc"]) {
    put(`${op} ev,gv`, "EG", op);
    put(`${op} ev,ib`, "EI", op);
  }
  for (const op of ["bsf", "bsr"]) put(`${op} gv,ev`, "GE", op);
  for (const op of ["mul", "div", "idiv"]) put(`${op} ev`, "MULDIV", op);
  for (const op of ["xchg", "xadd", "cmpxchg"]) put(`${op} ev,gv`, "EG", op);
  put("mov ev,sw", "SREG", "movzx2");
  put("swapgs", "SWAPGS", "swapgs");
  for (const op of ["cli", "cld", "pushf"]) put(op, "FIXED", op);
  for (const asm of ["movs yb,xb", "movs yv,xv"]) put(asm, "STRING", "movs");
  for (const asm of ["stos yb,al", "stos yv,rax"]) put(asm, "STRING", "stos");
  put("imul gv,ev", "GE", "imul");
  put("imul gv,ev,iz", "GEI", "imul");
  put("imul gv,ev,ib", "GEI", "imul");
  put("push zv", "Z", "push");
  put("pop zv", "Z", "pop");
  put("jcc jb", "JCC", "jump");
  put("jcc jz", "JCC", "jump");
  put("jmp jb", "JMP", "jump");
  put("jmp jz", "JMP", "jump");
  put("call jz", "CALL", "jump");
  put("ret", "RET", "jump");
  put("jmp ev", "JMPE", "jump");
  put("call ev", "CALLE", "jump");
  put("cmovcc gv,ev", "CMOV", "cmov");
  put("setcc eb", "SET", "set");
  put("nop", "NOP", "jump");
  put("nop ev", "NOP", "jump");
  put("prefetch ev", "NOP", "jump");
  put("prefetchw mb", "NOP", "jump");
  put("xchg zv,rax", "XCHGA", "xchg");
  put("bswap zv", "BSWAP", "bswap");
  put("push ib", "PUSHI", "push");
  put("push iz", "PUSHI", "push");
  put("push ev", "PUSHE", "push");
  for (const op of ["leave", "cbw", "cwd"]) put(op, "FIXED", op);
  return map;
}
const KINDS = kinds();

const SSE_KINDS = sseKinds();
const numberOf = (/** @type {string} */ family) => {
  const n = FAMILIES.indexOf(family);
  if (n < 0) throw new Error(`gen-fast: no family ${family}`);
  return n;
};

/**
 * The fast kind of an instruction row: two numbers, 0 for none. The first is pattern | family << 6,
 * the second, for SSE, the family of the memory form | 0x4000 and 0x8000 when the next family is meant
 * with REX.W, for the memory and the register form.
 * @param {{ asm: string }} row
 * @returns {[number, number]}
 */
export function fastKind(row) {
  const asm = row.asm.toLowerCase().trim().replace(/\s+/g, " ").replace(/ ?, ?/g, ",");
  const sse = SSE_KINDS.get(asm);
  if (sse === undefined) return [KINDS.get(asm) ?? 0, 0];
  const [pattern, family, memory, wide = 0] = sse;
  return [PATTERN[pattern] | (numberOf(family) << 6), numberOf(memory) | wide];
}

/** @typedef {import("./gen-fast-ops.mjs").Operation} Operation */

/** First record of a block whose code may change behind the engine's back: see distrustCode(). */
const CHECK = {
  name: "check",
  body: "if (load<u32>(p, 4) != codeEpoch) return verify(p, budget); @NEXT",
};
/** First record of the head of a compiled region: what it was before lies in the block's header. */
const REGION = { name: "region", body: "return region(p, budget);" };
/** First record of a block of an instruction that goes on in the next page: is that still the page at +8? */
/** @type {Operation} */
const CROSS = {
  name: "cross",
  body: `const t: u64 = load<u64>(PAGE_BASE) + 0x1000; ${fetchEntryOf("t")} if (load<u64>(e, 24) != t || <u32>t + load<u32>(e, 16) != load<u32>(p, 8)) return complete(p, budget); @NEXT`,
  // By its complete handler the whole block is done.
  end: "near",
};

/**
 * All fast operations, in the order of their numbers. Those of SSE come first,
 * those that check their link last.
 * @returns {Operation[]}
 */
export function fastOps() {
  const single = integerOps();
  /** @type {Operation[]} */
  const rest = [CHECK, REGION, CROSS, ...pairOps(single), ...single];
  const ends = [undefined, "near", "far"];
  return [...sseOps(), ...ends.flatMap((end) => rest.filter((op) => op.end === end))];
}

/** How many of the operations belong into the second switch. @param {Operation[]} ops */
export function firstSwitch(ops) {
  if (ops.length - sseOps().length > 1024) throw new Error("gen-fast: too many operations");
  return sseOps().length;
}

/**
 * Which two records make a pair: classes of first and second operations, and the operation by class.
 * @param {Operation[]} ops
 * @param {number} generic number of the first
 * @param {Map<string, number>} id numbers by name
 */
function pairTables(ops, generic, id) {
  const firsts = [...new Set(PAIRS.map(([first]) => first))];
  const seconds = [...new Set(PAIRS.map(([, second]) => second))];
  const classes = (/** @type {string[]} */ list) => ops.map((op) => list.indexOf(op.name) + 1);
  const cell = (/** @type {string} */ a, /** @type {string} */ b) => id.get(`${a}+${b}`) ?? 0;
  return [
    "/** Number of the first fast operation, and behind the last. */",
    `export const FAST_FROM: u32 = ${generic};`,
    `export const FAST_END: u32 = ${generic + ops.length};`,
    "/** Class of an operation as the first or second of a pair, 0 = none; by its place among the fast ones. */",
    `export const PAIR_FIRST: usize = memory.data<u8>([${classes(firsts)}]);`,
    `export const PAIR_SECOND: usize = memory.data<u8>([${classes(seconds)}]);`,
    `export const PAIR_SECONDS: u32 = ${seconds.length};`,
    "/** Operation by [class of the first - 1][class of the second - 1], 0 = none. */",
    `export const PAIR: usize = memory.data<u16>([${firsts.flatMap((a) => seconds.map((b) => cell(a, b)))}]);`,
  ];
}

/** Numbers of the fast operations, and the decoder's look-up from family, size and form. @param {number} generic number of the first */
export function fastTablesFile(generic) {
  const ops = fastOps();
  const id = new Map(ops.map((o, i) => [o.name, generic + i]));
  // On the stack, a number means 4 bytes in flat 32-bit code, and 8 in 64-bit code.
  const numbers = new Map(id);
  for (const [name, number] of id)
    if (STACK.test(name)) numbers.set(name.replace("8_", "4_"), number);
  const byFamily = [];
  for (const family of FAMILIES)
    for (const n of SIZES)
      for (const form of FORMS)
        for (const f of ["F", "N"])
          byFamily.push(
            numbers.get(`${family}${family.startsWith("movzx") && n === 8 ? 4 : n}_${form}_${f}`) ??
              0,
          );
  const conditions = (/** @type {string} */ name, suffix = "") =>
    Array.from({ length: 16 }, (_, c) => id.get(`${name}_${c}${suffix}`) ?? 0);
  const fused = (/** @type {string} */ nm, /** @type {string[]} */ forms) =>
    SIZES.flatMap((n) =>
      forms.flatMap((form) =>
        ["", "_far"].flatMap((suffix) => conditions(`${nm}${n}_${form}`, suffix)),
      ),
    );
  const first = (/** @type {string} */ end) => generic + ops.findIndex((op) => op.end === end);
  const lines = ["// Generated by tools/build/gen.mjs from tools/build/gen-fast.mjs. Do not edit."];
  for (const name of [
    "movabs",
    "check",
    "region",
    "cross",
    "end",
    "end_across",
    "jcc_across",
    "jmp_near",
    "jmp_far",
    "call_near",
    "call_far",
    "ret",
    "jmp_r",
    "call_r",
    "jmp_mb",
    "jmp_mx",
    "call_mb",
    "call_mx",
  ])
    lines.push(`export const OP_${name}: u32 = ${id.get(name)};`);
  lines.push(
    "/** From here on operations end a block; from FIRST_FAR on they check their taken link. */",
    `export const FIRST_END: u32 = ${first("near")};`,
    `export const FIRST_FAR: u32 = ${first("far")};`,
  );
  for (const [name, value] of Object.entries(PATTERN))
    lines.push(`export const PAT_${name}: u32 = ${value};`);
  for (const [i, family] of FAMILIES.entries())
    lines.push(`export const FAM_${family}: u32 = ${i};`);
  lines.push(
    "/** Operation by [family][log2 size][form][F, N]; 0 = none. */",
    `export const FAST: usize = memory.data<u16>([${byFamily}]);`,
  );
  lines.push(
    ...pairTables(ops, generic, id),
    "/** Jcc by [near, far][condition]. */",
    `export const JCC: usize = memory.data<u16>([${[...conditions("jcc_near"), ...conditions("jcc_far")]}]);`,
  );
  lines.push(
    "/** CMP fused with Jcc by [log2 size][rr ri rmb mib mrb][near, far][condition]. */",
    `export const CMPJ: usize = memory.data<u16>([${fused("cmpj", ["rr", "ri", "rmb", "mib", "mrb"])}]);`,
  );
  lines.push(
    "/** TEST fused with Jcc by [log2 size][rr ri mib][near, far][condition]. */",
    `export const TESTJ: usize = memory.data<u16>([${fused("testj", ["rr", "ri", "mib"])}]);`,
    "",
  );
  return lines.join("\n");
}
