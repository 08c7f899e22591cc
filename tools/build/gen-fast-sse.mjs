// @ts-check
/**
 * The fast operations on XMM registers. A memory operand of an arithmetic instruction is loaded into
 * SSE_TMP by a record of its own before the operation (families tmp*), so that each operation exists
 * once. Floating point is done here when rounding is to nearest, PE is masked and set already, and
 * operands and result are plain numbers (simd/fp.ts explains); else the complete handler does it.
 */
import { A, ADDRESSING, B, EA, ldm, rd, stm, T, wr } from "./gen-fast-text.mjs";

const READY = "if (load<u32>(SSE_OFF) != 0) return complete(p, budget);";
const QUICK = "(load<u32>(MXCSR) & 0x7020) == 0x1020";
const COMPLETE = "return complete(p, budget);";
const IMM = "load<u8>(p, 16)";
const IOTA = "i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)";

/** @typedef {import("./gen-fast-text.mjs").Width} Width */

/** Result of `v op w` by family. @type {Record<string, string>} */
const PACKED = {
  pand: "v128.and(v, w)",
  pandn: "v128.andnot(w, v)",
  por: "v128.or(v, w)",
  pxor: "v128.xor(v, w)",
  pcmpgtb: "i8x16.gt_s(v, w)",
  pcmpgtw: "i16x8.gt_s(v, w)",
  pcmpgtd: "i32x4.gt_s(v, w)",
  pminub: "v128.min<u8>(v, w)",
  pmaxub: "v128.max<u8>(v, w)",
  pminsw: "i16x8.min_s(v, w)",
  pmaxsw: "i16x8.max_s(v, w)",
  pmullw: "i16x8.mul(v, w)",
  pmulld: "i32x4.mul(v, w)",
  pmaddwd: "i32x4.dot_i16x8_s(v, w)",
  pmuludq:
    "i64x2.extmul_low_i32x4_u(v128.shuffle<u32>(v, v, 0, 2, 0, 2), v128.shuffle<u32>(w, w, 0, 2, 0, 2))",
  packuswb: "i8x16.narrow_i16x8_u(v, w)",
  packsswb: "i8x16.narrow_i16x8_s(v, w)",
  packssdw: "i16x8.narrow_i32x4_s(v, w)",
  punpcklbw: "v128.shuffle<u8>(v, w, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)",
  punpckhbw: "v128.shuffle<u8>(v, w, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)",
  punpcklwd: "v128.shuffle<u16>(v, w, 0, 8, 1, 9, 2, 10, 3, 11)",
  punpckhwd: "v128.shuffle<u16>(v, w, 4, 12, 5, 13, 6, 14, 7, 15)",
  punpckldq: "v128.shuffle<u32>(v, w, 0, 4, 1, 5)",
  punpckhdq: "v128.shuffle<u32>(v, w, 2, 6, 3, 7)",
  punpcklqdq: "v128.shuffle<u64>(v, w, 0, 2)",
  punpckhqdq: "v128.shuffle<u64>(v, w, 1, 3)",
  pshufb: "i8x16.swizzle(v, v128.and(w, i8x16.splat(<i8>0x8f)))",
};
for (const [x, t] of [
  ["b", "u8"],
  ["w", "u16"],
  ["d", "u32"],
  ["q", "u64"],
]) {
  PACKED[`padd${x}`] = `v128.add<${t}>(v, w)`;
  PACKED[`psub${x}`] = `v128.sub<${t}>(v, w)`;
  if (x !== "q") PACKED[`pcmpeq${x}`] = `v128.eq<${t}>(v, w)`;
}

/** Shifts by an immediate that is smaller than the element. */
const SHIFTS = {
  psllw: "v128.shl<u16>(v, c)",
  pslld: "v128.shl<u32>(v, c)",
  psllq: "v128.shl<u64>(v, c)",
  psrlw: "v128.shr<u16>(v, c)",
  psrld: "v128.shr<u32>(v, c)",
  psrlq: "v128.shr<u64>(v, c)",
  psraw: "i16x8.shr_s(v, c)",
  psrad: "i32x4.shr_s(v, c)",
  pslldq: `i8x16.swizzle(v, i8x16.sub(${IOTA}, i8x16.splat(<i8>c)))`,
  psrldq: `i8x16.swizzle(v, i8x16.add(${IOTA}, i8x16.splat(<i8>c)))`,
};

const DWORDS =
  "const f: u32 = (c & 3) | ((c & 12) << 6) | ((c & 0x30) << 12) | ((c & 0xc0) << 18); const at = i8x16.add(i8x16.swizzle(i32x4.splat(f << 2), i8x16(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)), i32x4.splat(0x03020100));";

const SCALAR = { add: "+", sub: "-", mul: "*", div: "/" };
/** Text of a test for zero or a normal number that is not among the smallest. @param {4 | 8} n @param {string} x */
const normal = (n, x) =>
  n === 8 ? `(((${x} >> 52) - 2) & 0x7ff) < 0x7fd` : `(((${x} >> 23) - 2) & 0xff) < 0xfd`;
/** @param {4 | 8} n @param {string} x */
const plain = (n, x) => `(${normal(n, x)} || ${x} << 1 == 0)`;

/** Elements of a vector that are no normal numbers, as all ones. @param {4 | 8} n @param {string} x */
const odd = (n, x) =>
  n === 8
    ? `i32x4.gt_u(i64x2.sub(i64x2.shr_u(i64x2.shl(${x}, 1), 53), i64x2.splat(2)), i64x2.splat(0x7fc))`
    : `i32x4.gt_u(i32x4.sub(i32x4.shr_u(i32x4.shl(${x}, 1), 24), i32x4.splat(2)), i32x4.splat(0xfc))`;

/** Families that are operations of two XMM registers (or SSE_TMP). */
export const SSE_VW = [
  ...Object.keys(PACKED),
  "pshufd",
  "pshuflw",
  "pshufhw",
  "shufps",
  "palignr",
  ...["add", "sub", "mul", "div"].flatMap((x) => [`${x}sd`, `${x}ss`, `${x}pd`, `${x}ps`]),
  "sqrtsd",
  "minsd",
  "maxsd",
  "ucomisd",
  "ucomiss",
  "cvtss2sd",
  "cvtsd2ss",
  "cvttsd2si4",
  "cvttsd2si8",
  "cvtsi2sd4",
  "cvtsi2sd8",
  "pmovmskb",
  "mov16",
  "movd",
  "movq",
  "mergeq",
  "merged",
  "movhlps",
  "movlhps",
  "tomovd",
  "tomovq",
];
export const SSE_SHIFT = Object.keys(SHIFTS);
/** Of two families for a size, the second is the one with REX.W. Families that load or store: V and memory. `ld` and `st` with a size; `a` aligned, `h` the upper half, `m` the rest stays. */
export const SSE_MEMORY = [
  "ld16",
  "ld16a",
  "ld4",
  "ld8",
  "ld8m",
  "ld8h",
  "st16",
  "st16a",
  "st4",
  "st8",
  "st8h",
  "tmp16",
  "tmp4",
  "tmp8",
];

/** Operations of SSE. The size in a name is always 1: it lies in the family. */
export function sseOps() {
  /** @type {import("./gen-fast-ops.mjs").Operation[]} */
  const ops = [];
  /** @param {string} family @param {string} form @param {string} body */
  const op = (family, form, body) =>
    ops.push({ name: `${family}1_${form}_F`, body: `${READY} ${body} @NEXT` });
  const V = `v128.load(${A})`;
  const put = (/** @type {string} */ text) => `v128.store(${A}, ${text});`;
  /** Of 64 bits, or 32: the rest becomes zero. As one word, so that nothing waits for what was there. @param {string} to @param {string} text */
  const low = (to, text) => `v128.store(${to}, i64x2.replace_lane(i64x2(0, 0), 0, <u64>${text}));`;
  const both = `const v = ${V}; const w = v128.load(${B});`;

  for (const [family, text] of Object.entries(PACKED)) op(family, "rr", `${both} ${put(text)}`);
  for (const [family, text] of Object.entries(SHIFTS))
    op(family, "ri", `const v = ${V}; const c: i32 = ${IMM}; ${put(text)}`);
  const c = `const c: u32 = ${IMM};`;
  op("pshufd", "rr", `${c} ${DWORDS} ${put(`i8x16.swizzle(v128.load(${B}), at)`)}`);
  op(
    "shufps",
    "rr",
    `${both} ${c} ${DWORDS} ${put("v128.shuffle<u64>(i8x16.swizzle(v, at), i8x16.swizzle(w, at), 0, 3)")}`,
  );
  const words =
    "const f: u64 = (<u64>((c & 3) | ((c & 12) << 14)) | (<u64>(((c >> 4) & 3) | ((c & 0xc0) << 10)) << 32)) * 0x202 + 0x0100010001000100;";
  const shuffle = (/** @type {string} */ at) => put(`i8x16.swizzle(v128.load(${B}), ${at})`);
  op(
    "pshuflw",
    "rr",
    `${c} ${words} ${shuffle("i64x2.replace_lane(i64x2(0, 0x0f0e0d0c0b0a0908), 0, f)")}`,
  );
  op(
    "pshufhw",
    "rr",
    `${c} ${words} ${shuffle("i64x2.replace_lane(i64x2(0x0706050403020100, 0), 1, f + 0x0808080808080808)")}`,
  );
  op(
    "palignr",
    "rr",
    `${both} const n: i32 = min<i32>(${IMM}, 32); ${put(`v128.or(i8x16.swizzle(w, i8x16.add(${IOTA}, i8x16.splat(<i8>n))), i8x16.swizzle(v, i8x16.add(${IOTA}, i8x16.splat(<i8>(n - 16)))))`)}`,
  );

  for (const n of /** @type {const} */ ([8, 4])) {
    const t = n === 8 ? "f64" : "f32";
    const x = n === 8 ? "d" : "s";
    const operands = `const a = ${A}; const v = load<${T[n]}>(a); const w = ${rd(n, B)};`;
    for (const [name, sign] of Object.entries(SCALAR)) {
      const ok = name === "mul" || name === "div" ? normal : plain;
      op(
        `${name}s${x}`,
        "rr",
        `${operands} const r = reinterpret<${T[n]}>(reinterpret<${t}>(v) ${sign} reinterpret<${t}>(w)); if (!(${QUICK} && ${ok(n, "v")} && ${ok(n, "w")} && ${ok(n, "r")})) ${COMPLETE} store<${T[n]}>(a, r);`,
      );
      const lanes = n === 8 ? "f64x2" : "f32x4";
      op(
        `${name}p${x}`,
        "rr",
        `${both} const r = ${lanes}.${name}(v, w); if (!(${QUICK}) || v128.any_true(v128.or(v128.or(${odd(n, "v")}, ${odd(n, "w")}), ${odd(n, "r")}))) ${COMPLETE} ${put("r")}`,
      );
    }
    op(
      `ucomis${x}`,
      "rr",
      `${operands} if (!(${plain(n, "v")} && ${plain(n, "w")})) ${COMPLETE} const x = reinterpret<${t}>(v); const y = reinterpret<${t}>(w); store<u32>(CC_OP, K_EXPLICIT); store<u64>(CC_SRC, (<u64>(x == y) << 6) | <u64>(x < y));`,
    );
  }
  op(
    "sqrtsd",
    "rr",
    `const w = ${rd(8, B)}; if (!(${QUICK} && ${normal(8, "w")} && <i64>w > 0)) ${COMPLETE} store<f64>(${A}, sqrt<f64>(reinterpret<f64>(w)));`,
  );
  for (const [name, sign] of /** @type {const} */ ([
    ["minsd", "<"],
    ["maxsd", ">"],
  ]))
    op(
      name,
      "rr",
      `const a = ${A}; const v = load<u64>(a); const w = ${rd(8, B)}; if (!(${plain(8, "v")} && ${plain(8, "w")})) ${COMPLETE} store<u64>(a, reinterpret<f64>(v) ${sign} reinterpret<f64>(w) ? v : w);`,
    );
  op(
    "cvtss2sd",
    "rr",
    `const w = ${rd(4, B)}; if (!${plain(4, "w")}) ${COMPLETE} store<f64>(${A}, <f64>reinterpret<f32>(w));`,
  );
  op(
    "cvtsd2ss",
    "rr",
    `const w = ${rd(8, B)}; const r = reinterpret<u32>(<f32>reinterpret<f64>(w)); if (!(${QUICK} && ${normal(8, "w")} && ${normal(4, "r")})) ${COMPLETE} store<u32>(${A}, r);`,
  );
  /** @type {[4 | 8, string][]} */
  const limits = [
    [4, "2147483648.0"],
    [8, "9223372036854775808.0"],
  ];
  for (const [n, limit] of limits) {
    op(
      `cvttsd2si${n}`,
      "rr",
      `const w = ${rd(8, B)}; const x = reinterpret<f64>(w); if (!(${QUICK} && ${plain(8, "w")} && x > -${limit} && x < ${limit})) ${COMPLETE} ${wr(n, A, `<${T[n]}>(<i${n * 8}>x)`)}`,
    );
    const exact = n === 4 ? "" : `if (!(${QUICK})) ${COMPLETE}`;
    op(`cvtsi2sd${n}`, "rr", `${exact} store<f64>(${A}, <f64>load<i${n * 8}>(${B}));`);
  }
  op("pmovmskb", "rr", wr(4, A, `<u32>i8x16.bitmask(v128.load(${B}))`));
  op("mov16", "rr", put(`v128.load(${B})`));
  // To an XMM register from the low part of one, or from a general one: the rest becomes zero.
  op("movq", "rr", low(A, rd(8, B)));
  op("movd", "rr", low(A, rd(4, B)));
  op("mergeq", "rr", `store<u64>(${A}, ${rd(8, B)});`);
  op("merged", "rr", `store<u32>(${A}, ${rd(4, B)});`);
  op("movhlps", "rr", `store<u64>(${A}, load<u64>(${B}, 8));`);
  op("movlhps", "rr", `store<u64>(${A}, ${rd(8, B)}, 8);`);
  // To a general register.
  op("tomovq", "rr", `store<u64>(${A}, ${rd(8, B)});`);
  op("tomovd", "rr", wr(4, A, rd(4, B)));

  for (const m of ADDRESSING) {
    const ea = `const ea = ${EA[m]};`;
    /** @param {string} family @param {Width} n @param {string} text @param {boolean} [aligned] */
    const load = (family, n, text, aligned) =>
      op(family, `rm${m}`, `${ea} ${ldm("v", n, aligned)} ${text}`);
    load("ld16", 16, put("v"));
    load("ld16a", 16, put("v"), true);
    for (const n of /** @type {const} */ ([8, 4])) load(`ld${n}`, n, low(A, "v"));
    load("ld8m", 8, `store<u64>(${A}, v);`);
    load("ld8h", 8, `store<u64>(${A}, v, 8);`);
    load("tmp16", 16, "v128.store(SSE_TMP, v);", true);
    load("tmp8", 8, low("SSE_TMP", "v"));
    load("tmp4", 4, low("SSE_TMP", "v"));
    /** @param {string} family @param {Width} n @param {string} text @param {boolean} [aligned] */
    const save = (family, n, text, aligned) =>
      op(family, `mr${m}`, `${ea} const v = ${text}; ${stm("v", n, aligned)}`);
    save("st16", 16, `v128.load(${B})`);
    save("st16a", 16, `v128.load(${B})`, true);
    save("st8", 8, rd(8, B));
    save("st4", 4, rd(4, B));
    save("st8h", 8, `load<u64>(${B}, 8)`);
  }
  return ops;
}
