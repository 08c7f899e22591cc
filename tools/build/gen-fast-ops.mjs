// @ts-check
/**
 * The fast operations on general registers, and branches. A fast operation does what the complete
 * handler of ops/ does, for one size and form of operands.
 */
import { bitOps } from "./gen-fast-bits.mjs";
import { CF, condition, FLAG_WORDS, RECORD_CONDITION } from "./gen-fast-flags.mjs";
import { restOps } from "./gen-fast-rest.mjs";
import {
  A,
  ADDRESSING,
  B,
  cc,
  ccResult,
  EA,
  I,
  ldm,
  rd,
  rmw,
  SIZES,
  stm,
  T,
  WIDE,
  wr,
} from "./gen-fast-text.mjs";
import { words } from "./gen-fast-width.mjs";

/** @typedef {import("./gen-fast-text.mjs").Size} Size */
/** @typedef {import("./gen-fast-width.mjs").Word} Word */

/** Flags of INC and DEC, which keep CF (in `c`). @param {Size} n @param {string} edge */
const stepFlags = (n, edge) =>
  ccResult(n, "r", `c | <u64>((a ^ 1 ^ r) & 0x10) | (<u64>(r == ${edge}) << 11)`);

const OPERATOR = { add: "+", or: "|", and: "&", sub: "-", xor: "^", cmp: "-", test: "&" };
const KIND = {
  add: "K_ADD",
  or: "K_LOGIC",
  and: "K_LOGIC",
  sub: "K_SUB",
  xor: "K_LOGIC",
  cmp: "K_SUB",
  test: "K_LOGIC",
};

const OPERATIONS = /** @type {(keyof typeof OPERATOR)[]} */ (Object.keys(OPERATOR));

/** What ends a block and when its link may lead to another page: see gen-fast.mjs. */
const NEAR = "near";
const FAR = "far";

/**
 * @typedef {object} Operation
 * @property {string} name
 * @property {string} body
 * @property {"near" | "far" | undefined} [end] for one that ends a block: where its link may lead
 * @property {string | undefined} [flat] the text in flat 32-bit code, where it is another one: see gen-fast-width.mjs
 */
/** @typedef {(name: string, body: string, end?: "near" | "far", flat?: string) => unknown} Op takes an operation */

/** Operations on general registers, and branches. */
export function integerOps() {
  /** @type {Operation[]} */
  const ops = [];
  /** @type {Op} */
  const op = (name, body, end, flat) => ops.push({ name, body, end, flat });
  /** One with a text for each size of words. @param {string} name @param {(w: Word) => string} text @param {"near" | "far"} [end] */
  const ofWords = (name, text, end) => op(name, text(8), end, text(4));

  for (const n of SIZES) {
    for (const nm of OPERATIONS) {
      const quiet = nm === "cmp" || nm === "test";
      for (const f of quiet ? ["F"] : ["F", "N"]) {
        const calc = (/** @type {string} */ a, /** @type {string} */ b) =>
          `const r = <${T[n]}>(${a} ${OPERATOR[nm]} ${b});`;
        const fl = f === "F" ? cc(KIND[nm], n, "r", KIND[nm] === "K_LOGIC" ? "0" : "b") : "";
        const put = quiet ? "" : wr(n, A, "r");
        op(`${nm}${n}_rr_${f}`, `const b = ${rd(n, B)}; ${calc(rd(n, A), "b")} ${put} ${fl} @NEXT`);
        op(
          `${nm}${n}_ri_${f}`,
          `const b = <${T[n]}>load<i32>(p, 16); ${calc(rd(n, A), "b")} ${put} ${fl} @NEXT`,
        );
        // An access may fault, and a fault shows the flags: no quiet forms with an operand in memory.
        for (const m of f === "F" ? ADDRESSING : []) {
          const ea = `const ea = ${EA[m]};`;
          if (nm !== "test")
            op(
              `${nm}${n}_rm${m}_${f}`,
              `${ea} ${ldm("b", n)} ${calc(rd(n, A), "b")} ${put} ${fl} @NEXT`,
            );
          const src = { mr: rd(n, B), mi: `<${T[n]}>load<i32>(p, 16)` };
          for (const form of /** @type {const} */ (["mr", "mi"])) {
            const b = `const b = ${src[form]};`;
            if (quiet)
              op(
                `${nm}${n}_${form}${m}_${f}`,
                `${ea} ${ldm("a", n)} ${b} ${calc("a", "b")} ${fl} @NEXT`,
              );
            else
              op(
                `${nm}${n}_${form}${m}_${f}`,
                `${ea} ${b} ${rmw(n, calc("a", "b"), "r")} ${fl} @NEXT`,
              );
          }
        }
      }
    }
    op(`mov${n}_rr_F`, `${wr(n, A, rd(n, B))} @NEXT`);
    op(
      `mov${n}_ri_F`,
      `${n === 4 ? `store<u64>(${A}, <u64>load<u32>(p, 16));` : wr(n, A, `<${T[n]}>load<i32>(p, 16)`)} @NEXT`,
    );
    for (const m of ADDRESSING) {
      op(`mov${n}_rm${m}_F`, `const ea = ${EA[m]}; ${ldm("v", n)} ${wr(n, A, "v")} @NEXT`);
      op(`mov${n}_mr${m}_F`, `const ea = ${EA[m]}; const v = ${rd(n, B)}; ${stm("v", n)} @NEXT`);
      op(
        `mov${n}_mi${m}_F`,
        `const ea = ${EA[m]}; const v = <${T[n]}>load<i32>(p, 16); ${stm("v", n)} @NEXT`,
      );
    }
  }
  op("movabs", `store<u64>(${A}, load<u64>(p, 24)); @NEXT`);

  for (const n of WIDE) {
    const bits = n * 8;
    for (const nm of ["adc", "sbb"]) {
      const add = nm === "adc";
      const carry = add ? "c != 0 ? r <= a : r < a" : "c != 0 ? a <= b : a < b";
      const over = add ? "(a ^ b ^ -1) & (a ^ r)" : "(a ^ b) & (a ^ r)";
      const calc = `let c: ${T[n]}; { ${FLAG_WORDS} c = <${T[n]}>${CF}; } const r = <${T[n]}>(a ${add ? "+" : "-"} b ${add ? "+" : "-"} c);`;
      const fl = ccResult(
        n,
        "r",
        `<u64>(${carry}) | (<u64>((a ^ b ^ r) & 0x10)) | (((<u64>(${over}) >> ${bits - 1}) & 1) << 11)`,
      );
      op(
        `${nm}${n}_rr_F`,
        `const a = ${rd(n, A)}; const b = ${rd(n, B)}; ${calc} ${wr(n, A, "r")} ${fl} @NEXT`,
      );
      op(
        `${nm}${n}_ri_F`,
        `const a = ${rd(n, A)}; const b = <${T[n]}>load<i32>(p, 16); ${calc} ${wr(n, A, "r")} ${fl} @NEXT`,
      );
      for (const m of ADDRESSING)
        op(
          `${nm}${n}_rm${m}_F`,
          `const ea = ${EA[m]}; ${ldm("b", n)} const a = ${rd(n, A)}; ${calc} ${wr(n, A, "r")} ${fl} @NEXT`,
        );
    }
    for (const m of ADDRESSING) op(`lea${n}_rm${m}_F`, `${wr(n, A, `<${T[n]}>(${EA[m]})`)} @NEXT`);
    const cnt = `<${T[n]}>load<u8>(p, 16)`;
    // CF is the last bit out. OF is defined for a count of 1 only; the same formula for all counts is
    // what the host's processor does. AF clear.
    const flags = {
      shl: `((<u64>a >> (${bits} - <u64>c)) & 1) | (((<u64>(a ^ (a << 1)) >> ${bits - 1}) & 1) << 11)`,
      shr: `((<u64>a >> (<u64>c - 1)) & 1) | (((<u64>a >> ${bits - 1}) & 1) << 11)`,
      sar: `(<u64>(<${I[n]}>a >> (<${I[n]}>c - 1)) & 1)`,
    };
    const shifted = { shl: "a << c", shr: "a >> c", sar: `<${T[n]}>(<${I[n]}>a >> <${I[n]}>c)` };
    for (const s of /** @type {const} */ (["shl", "shr", "sar"]))
      for (const f of ["F", "N"])
        op(
          `${s}${n}_ri_${f}`,
          `const a = ${rd(n, A)}; const c = ${cnt}; const r = <${T[n]}>(${shifted[s]}); ${wr(n, A, "r")} ${f === "F" ? ccResult(n, "r", flags[s]) : ""} @NEXT`,
        );
    for (const nm of ["rol", "ror"]) {
      const turn = `const c = ${cnt}; const r = ${nm === "rol" ? "rotl" : "rotr"}<${T[n]}>(${rd(n, A)}, c); ${wr(n, A, "r")}`;
      op(`${nm}${n}_ri_N`, `${turn} @NEXT`);
    }
    op(`imul${n}_rr_N`, `const r = <${T[n]}>(${rd(n, A)} * ${rd(n, B)}); ${wr(n, A, "r")} @NEXT`);
    op(
      `imul${n}_ri_N`,
      `const r = <${T[n]}>(${rd(n, B)} * <${T[n]}>load<i32>(p, 16)); ${wr(n, A, "r")} @NEXT`,
    );
    op(`not${n}_rr_N`, `${wr(n, A, `<${T[n]}>(~${rd(n, A)})`)} @NEXT`);
    op(
      `neg${n}_rr_F`,
      `const b = ${rd(n, A)}; const r = <${T[n]}>(0 - b); ${wr(n, A, "r")} ${cc("K_SUB", n, "r", "b")} @NEXT`,
    );
    op(`neg${n}_rr_N`, `${wr(n, A, `<${T[n]}>(0 - ${rd(n, A)})`)} @NEXT`);
    for (const [nm, sign, edge] of /** @type {const} */ ([
      ["inc", "+", `<${T[n]}>1 << ${bits - 1}`],
      ["dec", "-", `(<${T[n]}>1 << ${bits - 1}) - 1`],
    ])) {
      op(
        `${nm}${n}_rr_F`,
        `const a = ${rd(n, A)}; const r = <${T[n]}>(a ${sign} 1); let c: u64; { ${FLAG_WORDS} c = <u64>${CF}; } ${wr(n, A, "r")} ${stepFlags(n, edge)} @NEXT`,
      );
      op(`${nm}${n}_rr_N`, `${wr(n, A, `<${T[n]}>(${rd(n, A)} ${sign} 1)`)} @NEXT`);
      for (const m of ADDRESSING)
        op(
          `${nm}${n}_mr${m}_F`,
          `const ea = ${EA[m]}; ${rmw(n, `const r = <${T[n]}>(a ${sign} 1); let c: u64; { ${FLAG_WORDS} c = <u64>${CF}; }`, "r")} ${stepFlags(n, edge)} @NEXT`,
        );
    }
    op(
      `cmov${n}_rr_F`,
      n === 8
        ? `${RECORD_CONDITION} if (yes) store<u64>(${A}, ${rd(8, B)}); @NEXT`
        : `${RECORD_CONDITION} const v = yes ? ${rd(4, B)} : ${rd(4, A)}; ${wr(4, A, "v")} @NEXT`,
    );
    for (const m of ADDRESSING)
      op(
        `cmov${n}_rm${m}_F`,
        `const ea = ${EA[m]}; ${ldm("b", n)} ${RECORD_CONDITION} const v = yes ? b : ${rd(n, A)}; ${wr(n, A, "v")} @NEXT`,
      );
    op(`bswap${n}_rr_N`, `${wr(n, A, `bswap<${T[n]}>(${rd(n, A)})`)} @NEXT`);
  }
  /** @type {[string, 1 | 2 | 4, Size[]][]} */
  const extensions = [
    ["movzx1", 1, [4]],
    ["movzx2", 2, [4]],
    ["movsx1", 1, [4, 8]],
    ["movsx2", 2, [4, 8]],
    ["movsx4", 4, [8]],
  ];
  for (const [family, from, sizes] of extensions) {
    for (const n of sizes) {
      const ext = (/** @type {string} */ v) =>
        family.startsWith("movzx") ? `<${T[n]}>${v}` : `<${T[n]}><${I[n]}><${I[from]}>${v}`;
      op(`${family}${n}_rr_F`, `const v = ${rd(from, B)}; ${wr(n, A, ext("v"))} @NEXT`);
      for (const m of ADDRESSING)
        op(
          `${family}${n}_rm${m}_F`,
          `const ea = ${EA[m]}; ${ldm("v", from)} ${wr(n, A, ext("v"))} @NEXT`,
        );
    }
  }
  op("set1_rr_F", `${RECORD_CONDITION} store<u8>(${A}, <u8>yes); @NEXT`);
  /** Pushes `v`. @param {Word} w */
  const push = (w, v = "v") =>
    `const ea = ${words(w).below}; ${stm(v, w)} store<u64>(RSP, ea); @NEXT`;
  ofWords("push8_rr_F", (w) => `const v = ${rd(w, A)}; ${push(w)}`);
  ofWords(
    "pop8_rr_F",
    (w) => `const ea = ${words(w).top}; ${ldm("v", w)} ${words(w).popped} ${wr(w, A, "v")} @NEXT`,
  );
  ofWords("push8_ri_F", (w) => `const v = <${T[w]}>load<i32>(p, 16); ${push(w)}`);
  for (const m of ADDRESSING)
    ofWords(
      `push8_rm${m}_F`,
      (w) => `let u: ${T[w]}; { const ea = ${EA[m]}; ${ldm("v", w)} u = v; } ${push(w, "u")}`,
    );
  ofWords(
    "leave8_rr_F",
    (w) =>
      `const ea = ${words(w).frame}; ${ldm("v", w)} ${words(w).popped} ${wr(w, "RBP", "v")} @NEXT`,
  );
  op("cbw4_rr_F", "store<u64>(GPR, <u64><u32><i32>load<i16>(GPR)); @NEXT");
  op("cbw8_rr_F", "store<u64>(GPR, <u64>load<i32>(GPR)); @NEXT");
  op("cwd8_rr_F", "store<u64>(RDX, <u64>(load<i64>(GPR) >> 63)); @NEXT");
  op("cwd4_rr_F", "store<u64>(RDX, <u64><u32>(load<i32>(GPR) >> 31)); @NEXT");
  bitOps(op);
  restOps(op);
  // Ends of blocks. +32 link taken, +36 link fall, +40 instructions, +48 target and +56 fall-through,
  // both relative to PAGE_BASE.
  const count = "budget -= load<i32>(p, 40);";
  // How a block is left: see gen-fast-jumps.mjs.
  const go = (/** @type {number} */ rel, /** @type {number} */ link) => `@GO(${rel},${link})@`;
  /** @param {string} target @param {number} link */
  const far = (target, link, commit = "", check = false) =>
    `@FAR(${target}|${link}|${commit}|${check ? 1 : 0})@`;
  const TAKEN = { near: go(48, 32), far: far("$CODE_48", 32) };
  const FALL = go(56, 36);
  // The target of a call is checked before the return address is stored.
  const canonical = (/** @type {string} */ target) =>
    `if (((<i64>${target} << 16) >> 16) != <i64>${target}) return complete(p, budget);`;
  /** Stores the address behind a call. @param {Word} w */
  const storeReturn = (w) =>
    `const ea = ${words(w).below}; const v = ${words(w).behind}; ${stm("v", w)}`;
  const COMMIT = "store<u64>(RSP, ea);";
  op("end", `${count} ${FALL}`, NEAR);
  for (const w of /** @type {const} */ ([NEAR, FAR])) {
    op(`jmp_${w}`, `${count} ${TAKEN[w]}`, w);
    for (let c = 0; c < 16; c++)
      op(
        `jcc_${w}_${c}`,
        `${count} ${FLAG_WORDS} if (${condition(c)}) ${TAKEN[w]} else ${FALL}`,
        w,
      );
    const check = w === FAR ? `{ const t = $CODE_48; ${canonical("t")} }` : "";
    ofWords(
      `call_${w}`,
      (size) => `${size === 8 ? check : ""} ${storeReturn(size)} ${COMMIT} ${count} ${TAKEN[w]}`,
      w,
    );
  }
  // Behind these comes another page: an instruction ends with its page, or lies across two.
  op("end_across", `${count} ${far("$CODE_56", 36)}`, FAR);
  op(
    "jcc_across",
    `${count} ${RECORD_CONDITION} if (yes) ${TAKEN.far} else ${far("$CODE_56", 36)}`,
    FAR,
  );
  // Where 32 bits lead is no question.
  const checked = (/** @type {Word} */ w) => (w === 8 ? canonical("u") : "");
  const to = (/** @type {Word} */ w, v = "v", commit = "", check = true) =>
    far(words(w).address(v), 32, commit, check && w === 8);
  ofWords(
    "ret",
    (w) => `const ea = ${words(w).top}; ${ldm("v", w)} ${count} ${to(w, "v", words(w).popped)}`,
    FAR,
  );
  ofWords("jmp_r", (w) => `const v = ${rd(w, B)}; ${count} ${to(w)}`, FAR);
  const call = (/** @type {Word} */ w) =>
    `${checked(w)} ${storeReturn(w)} ${count} ${to(w, "u", COMMIT, false)}`;
  ofWords("call_r", (w) => `const u = ${rd(w, B)}; ${call(w)}`, FAR);
  for (const m of ADDRESSING) {
    ofWords(`jmp_m${m}`, (w) => `const ea = ${EA[m]}; ${ldm("v", w)} ${count} ${to(w)}`, FAR);
    ofWords(
      `call_m${m}`,
      (w) => `let u: ${T[w]}; { const ea = ${EA[m]}; ${ldm("v", w)} u = v; } ${call(w)}`,
      FAR,
    );
  }

  /** @type {Record<number, (n: Size) => string>} */
  const CC = {
    2: () => "a < b",
    3: () => "a >= b",
    4: () => "r == 0",
    5: () => "r != 0",
    6: () => "a <= b",
    7: () => "a > b",
    8: (n) => `<${I[n]}>r < 0`,
    9: (n) => `<${I[n]}>r >= 0`,
    12: (n) => `<${I[n]}>a < <${I[n]}>b`,
    13: (n) => `<${I[n]}>a >= <${I[n]}>b`,
    14: (n) => `<${I[n]}>a <= <${I[n]}>b`,
    15: (n) => `<${I[n]}>a > <${I[n]}>b`,
  };
  /** @type {Record<number, (n: Size) => string>} */
  const TT = {
    4: () => "r == 0",
    5: () => "r != 0",
    8: (n) => `<${I[n]}>r < 0`,
    9: (n) => `<${I[n]}>r >= 0`,
    14: (n) => `<${I[n]}>r <= 0`,
    15: (n) => `<${I[n]}>r > 0`,
  };
  // Compare or test, and the jump behind it. To another page only the commonest forms.
  for (const n of SIZES) {
    const wide = n >= 4;
    for (const [w, suffix] of /** @type {const} */ ([
      [NEAR, ""],
      [FAR, "_far"],
    ])) {
      for (const [code, test] of Object.entries(CC)) {
        const tail = `const r = <${T[n]}>(a - b); ${cc("K_SUB", n, "r", "b")} ${count} if (${test(n)}) ${TAKEN[w]} else ${FALL}`;
        const forms = {
          rr: `const a = ${rd(n, A)}; const b = ${rd(n, B)};`,
          ri: `const a = ${rd(n, A)}; const b = <${T[n]}>load<i32>(p, 16);`,
          rmb: `const ea = ${EA.b}; ${ldm("b", n)} const a = ${rd(n, A)};`,
          mib: `const ea = ${EA.b}; ${ldm("a", n)} const b = <${T[n]}>load<i32>(p, 16);`,
          mrb: `const ea = ${EA.b}; ${ldm("a", n)} const b = ${rd(n, B)};`,
        };
        for (const [form, text] of Object.entries(forms)) {
          const memory = form.length === 3;
          if (n === 2 || (w === FAR && (memory || !wide))) continue;
          op(`cmpj${n}_${form}_${code}${suffix}`, `${text} ${tail}`, w);
        }
      }
      for (const [code, test] of Object.entries(TT)) {
        const tail = `const r = <${T[n]}>(a & b); ${cc("K_LOGIC", n, "r", "0")} ${count} if (${test(n)}) ${TAKEN[w]} else ${FALL}`;
        const forms = {
          rr: `const a = ${rd(n, A)}; const b = ${rd(n, B)};`,
          ri: `const a = ${rd(n, A)}; const b = <${T[n]}>load<i32>(p, 16);`,
          mib: `const ea = ${EA.b}; ${ldm("a", n)} const b = <${T[n]}>load<i32>(p, 16);`,
        };
        for (const [form, text] of Object.entries(forms)) {
          if (form === "mib" && (w === FAR || (n !== 1 && n !== 4))) continue;
          if (form === "rr" && w === FAR && n === 2) continue;
          op(`testj${n}_${form}_${code}${suffix}`, `${text} ${tail}`, w);
        }
      }
    }
  }
  return ops;
}
