// @ts-check
/**
 * Fast operations that multiply and divide, exchange, and change flags and bases: what kernels do often
 * beside moving and adding. See gen-fast-ops.mjs for the others.
 */
import { CF, condition, FLAG_WORDS, OF, RECORD_CONDITION } from "./gen-fast-flags.mjs";
import { A, B, cc, EA, ldm, rd, rmw, stm, T, wr } from "./gen-fast-text.mjs";
import { words } from "./gen-fast-width.mjs";

/** @typedef {import("./gen-fast-ops.mjs").Op} Op */
/** @typedef {import("./gen-fast-width.mjs").Word} Word */

/** Declares `high`, the upper half of the unsigned product of a and b, 64 bits each: as mulHigh() in ops/wide.ts. */
const MUL_HIGH =
  "const a0 = a & 0xffffffff; const a1 = a >> 32; const b0 = b & 0xffffffff; const b1 = b >> 32; const mid = a1 * b0 + ((a0 * b0) >> 32); const mid2 = a0 * b1 + (mid & 0xffffffff); let high: u64 = a1 * b1 + (mid >> 32) + (mid2 >> 32);";

/** Flags of a product: CF and OF when the upper half counts, SF and PF from the lower one. */
const productFlags = (/** @type {number} */ n, /** @type {string} */ large) =>
  `store<u32>(CC_OP, K_EXPLICIT); store<u64>(CC_SRC, (${large} ? 0x801 : 0) | (((<u64>low >> ${n * 8 - 1}) & 1) << 7) | ((popcnt<u32>(<u32>low & 0xff) & 1) == 0 ? 4 : 0));`;

/** @param {Op} op */
function products(op) {
  for (const n of /** @type {const} */ ([4, 8])) {
    // To one register: a and b are unsigned here.
    const signed =
      n === 8
        ? `const low = a * b; ${MUL_HIGH} high -= (<u64>(<i64>a >> 63) & b) + (<u64>(<i64>b >> 63) & a); const large = high != <u64>(<i64>low >> 63);`
        : "const product: i64 = <i64><i32>a * <i64><i32>b; const low = <u32>product; const large = product != <i64><i32>low;";
    const to = `${signed} ${wr(n, A, "low")} ${productFlags(n, "large")} @NEXT`;
    op(`imul${n}_rr_F`, `const a = ${rd(n, A)}; const b = ${rd(n, B)}; ${to}`);
    op(`imul${n}_ri_F`, `const a = ${rd(n, B)}; const b = <${T[n]}>load<i32>(p, 16); ${to}`);
    for (const m of /** @type {const} */ (["b", "x"]))
      op(`imul${n}_rm${m}_F`, `const ea = ${EA[m]}; ${ldm("b", n)} const a = ${rd(n, A)}; ${to}`);
    // To rDX:rAX.
    const wide =
      n === 8
        ? `const low = a * b; ${MUL_HIGH}`
        : "const product: u64 = <u64>a * <u64>b; const low = <u32>product; const high = <u32>(product >> 32);";
    const both = `const a = ${rd(n, "RAX")}; ${wide} ${wr(n, "RAX", "low")} ${wr(n, "RDX", "high")} ${productFlags(n, "high != 0")} @NEXT`;
    op(`mul${n}_rr_F`, `const b = ${rd(n, A)}; ${both}`);
    for (const m of /** @type {const} */ (["b", "x"]))
      op(`mul${n}_rm${m}_F`, `const ea = ${EA[m]}; ${ldm("b", n)} ${both}`);
  }
}

/** Quotients that are wider than their dividends' halves, or do not exist, are the complete handler's. @param {Op} op */
function quotients(op) {
  const give = "return complete(p, budget);";
  for (const n of /** @type {const} */ ([4, 8])) {
    const write = `${wr(n, "RAX", `<${T[n]}>q`)} ${wr(n, "RDX", `<${T[n]}>rest`)} @NEXT`;
    const texts = {
      div:
        n === 8
          ? `if (b == 0 || load<u64>(RDX) != 0) ${give} const a = load<u64>(RAX); const q = a / b; const rest = a % b; ${write}`
          : `const high: u64 = load<u32>(RDX); if (high >= <u64>b) ${give} const a: u64 = (high << 32) | <u64>load<u32>(RAX); const q = a / <u64>b; const rest = a % <u64>b; ${write}`,
      idiv:
        n === 8
          ? `const a = load<i64>(RAX); if (b + 1 <= 1 || load<i64>(RDX) != a >> 63) ${give} const q = a / <i64>b; const rest = a % <i64>b; ${write}`
          : `const a = (load<i64>(RDX) << 32) | <i64>load<u32>(RAX); if (b + 1 <= 1) ${give} const q = a / <i64><i32>b; if (q != <i64><i32>q) ${give} const rest = a % <i64><i32>b; ${write}`,
    };
    for (const [name, text] of Object.entries(texts)) {
      op(`${name}${n}_rr_F`, `const b = ${rd(n, A)}; ${text}`);
      for (const m of /** @type {const} */ (["b", "x"]))
        op(`${name}${n}_rm${m}_F`, `const ea = ${EA[m]}; ${ldm("b", n)} ${text}`);
    }
  }
}

/** XCHG, XADD, CMPXCHG. One thread runs all vCPUs: LOCK asks for nothing more. @param {Op} op */
function exchanges(op) {
  for (const n of /** @type {const} */ ([4, 8])) {
    op(
      `xchg${n}_rr_F`,
      `const a = ${rd(n, A)}; const b = ${rd(n, B)}; ${wr(n, A, "b")} ${wr(n, B, "a")} @NEXT`,
    );
    for (const m of /** @type {const} */ (["b", "x"])) {
      const ea = `const ea = ${EA[m]}; const b = ${rd(n, B)};`;
      op(`xchg${n}_mr${m}_F`, `${ea} ${rmw(n, "", "b")} ${wr(n, B, "a")} @NEXT`);
      op(
        `xadd${n}_mr${m}_F`,
        `${ea} ${rmw(n, `const r = <${T[n]}>(a + b);`, "r")} ${wr(n, B, "a")} ${cc("K_ADD", n, "r", "b")} @NEXT`,
      );
      op(
        `cmpxchg${n}_mr${m}_F`,
        `${ea} const was = ${rd(n, "RAX")}; ${rmw(n, "const r = a == was ? b : a;", "r")} if (a != was) ${wr(n, "RAX", "a")} ${cc("K_SUB", n, `<${T[n]}>(was - a)`, "a")} @NEXT`,
      );
    }
  }
}

/** @param {Op} op */
function flagsAndBases(op) {
  const supervisor = "if (load<u32>(CPL) != 0) return complete(p, budget);";
  op("cli4_rr_F", `${supervisor} store<u64>(FLAGS, load<u64>(FLAGS) & ~IF); @NEXT`);
  op("cld4_rr_F", "store<u64>(FLAGS, load<u64>(FLAGS) & ~DF); @NEXT");
  op(
    "swapgs4_rr_F",
    `${supervisor} const base = load<u64>(GS_BASE); store<u64>(GS_BASE, load<u64>(KERNEL_GS_BASE)); store<u64>(KERNEL_GS_BASE, base); @NEXT`,
  );
  const bit = (/** @type {number} */ at, /** @type {number} */ c) =>
    `(<u64>${condition(c)} << ${at})`;
  const explicit = `k == 0 ? s : <u64>${CF} | ${bit(2, 10)} | ((k == 1 ? (d - s) ^ s ^ d : k == 2 ? (d + s) ^ s ^ d : k == 3 ? 0 : s) & 16) | ${bit(6, 4)} | ${bit(7, 8)} | (<u64>${OF} << 11)`;
  const pushed = (/** @type {import("./gen-fast-width.mjs").Word} */ w) =>
    `let v: u64; { ${FLAG_WORDS} v = (load<u64>(FLAGS) & ~(VM | RF)) | 2 | (${explicit}); } const ea = ${words(w).below}; ${stm(`<${T[w]}>v`, w)} store<u64>(RSP, ea); @NEXT`;
  op("pushf8_rr_F", pushed(8), undefined, pushed(4));
  for (const m of /** @type {const} */ (["b", "x"]))
    op(
      `set1_mr${m}_F`,
      `const ea = ${EA[m]}; ${RECORD_CONDITION} const v = <u8>yes; ${stm("v", 1)} @NEXT`,
    );
}

/**
 * MOVS and STOS that are not repeated, as the loops of small code have them. Both addresses are looked at before anything
 * changes. Downwards is the complete handler's.
 * @param {Op} op
 */
function strings(op) {
  const upwards = "if ((load<u64>(FLAGS) & DF) != 0) return complete(p, budget);";
  for (const n of /** @type {const} */ ([1, 4, 8])) {
    const text = (/** @type {Word} */ w, /** @type {boolean} */ moves) => {
      const at = (/** @type {string} */ register) => words(w).address(rd(w, register));
      const on = (/** @type {string} */ register) =>
        wr(w, register, `${w === 4 ? "<u32>" : ""}(${rd(w, register)} + ${n})`);
      const to = `const ea = ${at("RDI")};`;
      return moves
        ? `${upwards} let u: ${T[n]}; { const ea = ${at("RSI")}; ${ldm("v", n)} u = v; } ${to} ${stm("u", n)} ${on("RSI")} ${on("RDI")} @NEXT`
        : `${upwards} const v = ${rd(n, "RAX")}; ${to} ${stm("v", n)} ${on("RDI")} @NEXT`;
    };
    for (const [name, moves] of /** @type {const} */ ([
      ["movs", true],
      ["stos", false],
    ]))
      op(`${name}${n}_rr_F`, text(8, moves), undefined, n === 8 ? undefined : text(4, moves));
  }
}

/** @param {Op} op takes a name and a body */
export function restOps(op) {
  strings(op);
  products(op);
  quotients(op);
  exchanges(op);
  flagsAndBases(op);
}
