// @ts-check
/**
 * Fast operations that shift, rotate, test and find bits: shifts by CL and of 8 and 16 bits, double shifts,
 * rotations with flags, BT and its kin, BSF and BSR. See gen-fast-ops.mjs for the others.
 */
import { FLAG_WORDS, OF } from "./gen-fast-flags.mjs";
import { A, B, ccResult, EA, I, LG, ldm, rd, rmw, T, wr } from "./gen-fast-text.mjs";

const IMM = "load<i32>(p, 16)";

/**
 * Sets CF, and OF where an expression is given; the other flags stay. All flags become explicit, or CF AF OF
 * beside the result that is there already, as setCcRotate() does.
 * @param {string} cf @param {string} [of] expressions of 0 or 1, u64
 */
const keepFlags = (cf, of = `<u64>${OF}`) =>
  `{ const cf: u64 = ${cf}; ${FLAG_WORDS} const ov: u64 = ${of}; const af: u64 = (k == 1 ? (d - s) ^ s ^ d : k == 2 ? (d + s) ^ s ^ d : k == 3 ? 0 : s) & 16; store<u32>(CC_OP, k == 0 ? K_EXPLICIT : K_RESULT | (o & 3)); store<u64>(CC_SRC, (k == 0 ? s & 0xc4 : 0) | af | (ov << 11) | cf); }`;

/** @typedef {import("./gen-fast-ops.mjs").Op} Op */

/** Shifts by CL: of a count of zero the flags stay. @param {Op} op */
function shiftsByCl(op) {
  for (const n of /** @type {const} */ ([4, 8])) {
    const bits = n * 8;
    const flags = {
      shl: `((<u64>a >> (${bits} - <u64>c)) & 1) | (((<u64>(a ^ (a << 1)) >> ${bits - 1}) & 1) << 11)`,
      shr: `((<u64>a >> (<u64>c - 1)) & 1) | (((<u64>a >> ${bits - 1}) & 1) << 11)`,
      sar: `(<u64>(<${I[n]}>a >> (<${I[n]}>c - 1)) & 1)`,
    };
    const shifted = { shl: "a << c", shr: "a >> c", sar: `<${T[n]}>(<${I[n]}>a >> <${I[n]}>c)` };
    for (const s of /** @type {const} */ (["shl", "shr", "sar"])) {
      const turn = `const a = ${rd(n, A)}; const c = <${T[n]}>(load<u8>(RCX) & ${bits - 1}); const r = <${T[n]}>(${shifted[s]}); ${wr(n, A, "r")}`;
      op(`${s}c${n}_rr_F`, `${turn} if (c != 0) { ${ccResult(n, "r", flags[s])} } @NEXT`);
      op(`${s}c${n}_rr_N`, `${turn} @NEXT`);
    }
  }
}

/** Shifts of 8 and 16 bits by an immediate, which may be larger than they. @param {Op} op */
function narrowShifts(op) {
  for (const n of /** @type {const} */ ([1, 2])) {
    const bits = n * 8;
    const start = `const a = <u64>${rd(n, A)}; const c: u64 = <u64>load<u8>(p, 16);`;
    const over = `(((a ^ (a << 1)) >> ${bits - 1}) & 1) << 11`;
    const texts = {
      shl: [`a << c`, `(c > ${bits} ? 0 : (a >> (${bits} - c)) & 1) | (${over})`],
      shr: [`a >> c`, `((a >> (c - 1)) & 1) | (((a >> ${bits - 1}) & 1) << 11)`],
      sar: [`<u64>(<i64><${I[n]}>a >> c)`, `<u64>(<i64><${I[n]}>a >> (c - 1)) & 1`],
    };
    for (const [s, [value, flags]] of Object.entries(texts))
      op(
        `${s}${n}_ri_F`,
        `${start} const r = <${T[n]}>(${value}); ${wr(n, A, "r")} ${ccResult(n, "r", flags ?? "")} @NEXT`,
      );
  }
}

/** SHLD and SHRD by an immediate other than zero. @param {Op} op */
function doubleShifts(op) {
  for (const n of /** @type {const} */ ([4, 8])) {
    const bits = n * 8;
    const start = `const a = ${rd(n, A)}; const b = ${rd(n, B)}; const c = <${T[n]}>load<u8>(p, 16);`;
    const top = (/** @type {string} */ x) => `((<u64>${x} >> ${bits - 1}) & 1)`;
    op(
      `shld${n}_rr_F`,
      `${start} const r = <${T[n]}>((a << c) | (b >> (${bits} - c))); ${wr(n, A, "r")} ${ccResult(n, "r", `((<u64>a >> (${bits} - <u64>c)) & 1) | (${top("(a ^ (a << 1))")} << 11)`)} @NEXT`,
    );
    op(
      `shrd${n}_rr_F`,
      `${start} const r = <${T[n]}>((a >> c) | (b << (${bits} - c))); ${wr(n, A, "r")} ${ccResult(n, "r", `((<u64>a >> (<u64>c - 1)) & 1) | ((${top("a")} ^ (<u64>b & 1)) << 11)`)} @NEXT`,
    );
  }
}

/** ROL and ROR by an immediate, when someone sees the flags: OF changes for a count of one only. @param {Op} op */
function rotations(op) {
  for (const n of /** @type {const} */ ([2, 4, 8])) {
    const top = (/** @type {string} */ x) => `((<u64>${x} >> ${n * 8 - 1}) & 1)`;
    for (const [name, cf, of, narrow] of [
      ["rol", "<u64>r & 1", top("(a ^ (a << 1))"), "(a << (c & 15)) | (a >> (16 - (c & 15)))"],
      ["ror", top("r"), `(${top("a")} ^ (<u64>a & 1))`, "(a >> (c & 15)) | (a << (16 - (c & 15)))"],
    ]) {
      // Of 16 bits the count may be larger than they.
      const start =
        n === 2
          ? `const a = <u32>${rd(n, A)}; const c = <u32>load<u8>(p, 16); const r = <u16>(${narrow});`
          : `const a = ${rd(n, A)}; const c = <${T[n]}>load<u8>(p, 16); const r = rot${name === "rol" ? "l" : "r"}<${T[n]}>(a, c);`;
      const flags = keepFlags(cf ?? "", `c == 1 ? ${of} : <u64>${OF}`);
      op(`${name}${n}_ri_F`, `${start} ${wr(n, A, "r")} ${flags} @NEXT`);
      if (n === 2) op(`${name}${n}_ri_N`, `${start} ${wr(n, A, "r")} @NEXT`);
    }
  }
}

/** BT BTS BTR BTC. A bit offset in a register reaches memory outside of the operand. @param {Op} op */
function bitTests(op) {
  const change = { bt: "", bts: "a | bit", btr: "a & ~bit", btc: "a ^ bit" };
  const test = keepFlags("<u64>((a & bit) != 0)");
  for (const [name, text] of Object.entries(change)) {
    for (const n of /** @type {const} */ ([4, 8]))
      for (const [form, number] of [
        ["rr", `<u64>${rd(n, B)}`],
        ["ri", `<u64>${IMM}`],
      ])
        op(
          `${name}${n}_${form}_F`,
          `const bit = <${T[n]}>1 << <${T[n]}>(${number} & ${n * 8 - 1}); const a = ${rd(n, A)}; ${text === "" ? "" : wr(n, A, `<${T[n]}>(${text})`)} ${test} @NEXT`,
        );
    for (const m of /** @type {const} */ (["b", "x"]))
      for (const [form, number, step] of [
        ["mr", "load<u64>(<u32>load<u16>(p, 6))", " + <u64>((<i64>number >> 6) << 3)"],
        ["mi", `<u64>${IMM}`, ""],
      ]) {
        const start = `const number: u64 = ${number}; const bit: u64 = <u64>1 << (number & 63); const ea = ${EA[m]}${step};`;
        op(
          `${name}8_${form}${m}_F`,
          text === ""
            ? `${start} ${ldm("a", 8)} ${test} @NEXT`
            : `${start} ${rmw(8, `const r = ${text};`, "r")} ${test} @NEXT`,
        );
      }
  }
}

/** BSF and BSR: of zero they leave the destination. @param {Op} op */
function scans(op) {
  for (const n of /** @type {const} */ ([4, 8]))
    for (const [name, at] of [
      ["bsf", "ctz<u64>(v)"],
      ["bsr", "63 - clz<u64>(v)"],
    ])
      op(
        `${name}${n}_rr_F`,
        `const v = <u64>${rd(n, B)}; let flags: u64 = 0x44; if (v != 0) { const at: u64 = ${at}; store<u64>(${A}, at); flags = (popcnt<u64>(at) & 1) == 0 ? 4 : 0; } store<u32>(CC_OP, K_EXPLICIT | ${LG[n]}); store<u64>(CC_SRC, flags); @NEXT`,
      );
}

/** @param {Op} op takes a name and a body */
export function bitOps(op) {
  shiftsByCl(op);
  narrowShifts(op);
  doubleShifts(op);
  rotations(op);
  bitTests(op);
  scans(op);
}
