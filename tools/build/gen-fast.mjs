/**
 * Fast operations: specialised copies of the commonest instructions in 64-bit code, inlined into
 * the interpreter's big switch with the TLB look-up in place. The complete handlers of ops/ remain
 * the reference; a fast operation does the same for one operand size and form.
 *
 * An operation of the switch has a name such as `add4_rmb_F`: mnemonic and size in bytes, form, and
 * F when it sets flags, N when nobody reads them. Forms: destination then source, r register,
 * i immediate, m memory; b address = base + disp, x address = base + (index << scale) + disp.
 */

const T = { 1: "u8", 2: "u16", 4: "u32", 8: "u64" };
const I = { 1: "i8", 2: "i16", 4: "i32", 8: "i64" };
const LG = { 1: 0, 2: 1, 4: 2, 8: 3 };
const SIZES = [1, 2, 4, 8];
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
];

const ALU = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];

function kinds() {
  const map = new Map();
  const put = (asm, pattern, family) =>
    map.set(asm, PATTERN[pattern] | (FAMILIES.indexOf(family) << 5));
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
  for (const [asm, family] of [
    ["movzx gv,eb", "movzx1"],
    ["movzx gv,ew", "movzx2"],
    ["movsx gv,eb", "movsx1"],
    ["movsx gv,ew", "movsx2"],
    ["movsxd gv,ed", "movsx4"],
  ])
    put(asm, "GE", family);
  for (const op of ["inc", "dec", "neg", "not"]) put(`${op} ev`, "E", op);
  put("lea gv,m", "GM", "lea");
  for (const op of ["shl", "shr", "sar", "rol", "ror"]) {
    put(`${op} ev,ib`, "SHI", op);
    put(`${op} ev,1`, "SH1", op);
  }
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
  put("prefetchw ev", "NOP", "jump");
  put("xchg zv,rax", "XCHGA", "jump");
  put("bswap zv", "BSWAP", "bswap");
  return map;
}
const KINDS = kinds();

/** The fast kind of an instruction row: pattern | family << 5, or 0. */
export function fastKind(row) {
  const asm = row.asm.toLowerCase().trim().replace(/\s+/g, " ").replace(/ ?, ?/g, ",");
  return KINDS.get(asm) ?? 0;
}

const A = "<u32>load<u16>(p, 4)";
const B = "<u32>load<u16>(p, 6)";
const EA = {
  b: "load<u64>(<u32>load<u16>(p, 8)) + load<u64>(p, 24)",
  x: "load<u64>(<u32>load<u16>(p, 8)) + (load<u64>(<u32>load<u16>(p, 10)) << load<u8>(p, 12)) + load<u64>(p, 24)",
};
const rd = (n, at) => `load<${T[n]}>(${at})`;
const wr = (n, at, v) =>
  n === 4 ? `store<u64>(${at}, <u64>${v});` : `store<${T[n]}>(${at}, ${v});`;
const last = (n) => (n === 1 ? "ea" : `(ea + ${n - 1})`);
const FAULT = "if (load<u32>(FAULT) != 0) return faultAt(p, budget);";
const entry = "const e: u32 = tlb + ((<u32>ea >> 7) & TLB_MASK);";
const ldm = (v, n) =>
  `let ${v}: ${T[n]}; { ${entry} if (load<u64>(e) == (${last(n)} & PAGE_MASK)) ${v} = load<${T[n]}>(<u32>ea + load<u32>(e, 16)); else { ${v} = <${T[n]}>ldSlow(ea, ${n}); ${FAULT} } }`;
const stm = (v, n) =>
  `{ ${entry} if (load<u64>(e, 8) == (${last(n)} & PAGE_MASK)) store<${T[n]}>(<u32>ea + load<u32>(e, 16), ${v}); else { stSlow(ea, <u64>${v}, ${n}); ${FAULT} } }`;
/** Read, change, write: one look-up for both. */
const rmw = (n, compute, v) =>
  `${entry} let h: u32 = 0; let a: ${T[n]}; if (load<u64>(e, 8) == (${last(n)} & PAGE_MASK)) { h = <u32>ea + load<u32>(e, 16); a = load<${T[n]}>(h); } else { a = <${T[n]}>rmwSlow(ea, ${n}); ${FAULT} } ${compute} if (h != 0) store<${T[n]}>(h, ${v}); else { stSlow(ea, <u64>${v}, ${n}); ${FAULT} }`;
const cc = (kind, n, dst, src) =>
  `store<u32>(CC_OP, ${kind} | ${LG[n]}); store<u64>(CC_DST, <u64>${dst}); store<u64>(CC_SRC, <u64>${src});`;

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

/** All fast operations: [{ name, body, end }], in the order of their numbers. */
export function fastOps() {
  const ops = [];
  const op = (name, body, end = false) => ops.push({ name, body, end });

  for (const n of SIZES) {
    for (const nm of Object.keys(OPERATOR)) {
      const quiet = nm === "cmp" || nm === "test";
      for (const f of quiet ? ["F"] : ["F", "N"]) {
        const calc = (a, b) => `const r = <${T[n]}>(${a} ${OPERATOR[nm]} ${b});`;
        const fl = f === "F" ? cc(KIND[nm], n, "r", KIND[nm] === "K_LOGIC" ? "0" : "b") : "";
        const put = quiet ? "" : wr(n, A, "r");
        op(`${nm}${n}_rr_${f}`, `const b = ${rd(n, B)}; ${calc(rd(n, A), "b")} ${put} ${fl} @NEXT`);
        op(
          `${nm}${n}_ri_${f}`,
          `const b = <${T[n]}>load<i32>(p, 16); ${calc(rd(n, A), "b")} ${put} ${fl} @NEXT`,
        );
        for (const m of ["b", "x"]) {
          const ea = `const ea = ${EA[m]};`;
          if (nm !== "test")
            op(
              `${nm}${n}_rm${m}_${f}`,
              `${ea} ${ldm("b", n)} ${calc(rd(n, A), "b")} ${put} ${fl} @NEXT`,
            );
          const src = { mr: rd(n, B), mi: `<${T[n]}>load<i32>(p, 16)` };
          for (const form of ["mr", "mi"]) {
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
    for (const m of ["b", "x"]) {
      op(`mov${n}_rm${m}_F`, `const ea = ${EA[m]}; ${ldm("v", n)} ${wr(n, A, "v")} @NEXT`);
      op(`mov${n}_mr${m}_F`, `const ea = ${EA[m]}; const v = ${rd(n, B)}; ${stm("v", n)} @NEXT`);
      op(
        `mov${n}_mi${m}_F`,
        `const ea = ${EA[m]}; const v = <${T[n]}>load<i32>(p, 16); ${stm("v", n)} @NEXT`,
      );
    }
  }
  op("movabs", `store<u64>(${A}, load<u64>(p, 24)); @NEXT`);

  for (const n of [4, 8]) {
    const bits = n * 8;
    for (const nm of ["adc", "sbb"]) {
      const add = nm === "adc";
      const carry = add ? "c != 0 ? r <= a : r < a" : "c != 0 ? a <= b : a < b";
      const over = add ? "(a ^ b ^ -1) & (a ^ r)" : "(a ^ b) & (a ^ r)";
      const calc = `const c = <${T[n]}>getCf(); const r = <${T[n]}>(a ${add ? "+" : "-"} b ${add ? "+" : "-"} c);`;
      const fl = `setCcResult<${T[n]}>(r, <u64>(${carry}) | (<u64>((a ^ b ^ r) & 0x10)) | (((<u64>(${over}) >> ${bits - 1}) & 1) << 11));`;
      op(
        `${nm}${n}_rr_F`,
        `const a = ${rd(n, A)}; const b = ${rd(n, B)}; ${calc} ${wr(n, A, "r")} ${fl} @NEXT`,
      );
      op(
        `${nm}${n}_ri_F`,
        `const a = ${rd(n, A)}; const b = <${T[n]}>load<i32>(p, 16); ${calc} ${wr(n, A, "r")} ${fl} @NEXT`,
      );
      for (const m of ["b", "x"])
        op(
          `${nm}${n}_rm${m}_F`,
          `const ea = ${EA[m]}; ${ldm("b", n)} const a = ${rd(n, A)}; ${calc} ${wr(n, A, "r")} ${fl} @NEXT`,
        );
    }
    for (const m of ["b", "x"]) op(`lea${n}_rm${m}_F`, `${wr(n, A, `<${T[n]}>(${EA[m]})`)} @NEXT`);
    const cnt = `<${T[n]}>load<u8>(p, 16)`;
    // CF is the last bit out. OF is defined for a count of 1 only; the same formula for all counts is
    // what the host's processor does. AF clear.
    const flags = {
      shl: `((<u64>a >> (${bits} - <u64>c)) & 1) | (((<u64>(a ^ (a << 1)) >> ${bits - 1}) & 1) << 11)`,
      shr: `((<u64>a >> (<u64>c - 1)) & 1) | (((<u64>a >> ${bits - 1}) & 1) << 11)`,
      sar: `(<u64>(<${I[n]}>a >> (<${I[n]}>c - 1)) & 1)`,
    };
    const shifted = { shl: "a << c", shr: "a >> c", sar: `<${T[n]}>(<${I[n]}>a >> <${I[n]}>c)` };
    for (const s of ["shl", "shr", "sar"])
      for (const f of ["F", "N"])
        op(
          `${s}${n}_ri_${f}`,
          `const a = ${rd(n, A)}; const c = ${cnt}; const r = <${T[n]}>(${shifted[s]}); ${wr(n, A, "r")} ${f === "F" ? `setCcResult<${T[n]}>(r, ${flags[s]});` : ""} @NEXT`,
        );
    for (const nm of ["rol", "ror"]) {
      const turn = `const c = ${cnt}; const r = ${nm === "rol" ? "rotl" : "rotr"}<${T[n]}>(${rd(n, A)}, c); ${wr(n, A, "r")}`;
      const top = `(<u64>r >> ${bits - 1})`;
      const cf = nm === "rol" ? "<u64>r & 1" : top;
      const of = nm === "rol" ? `${top} ^ (<u64>r & 1)` : `(${top} ^ (<u64>r >> ${bits - 2})) & 1`;
      op(`${nm}${n}_ri_N`, `${turn} @NEXT`);
      op(`${nm}${n}_ri_F`, `${turn} setCcRotate(${cf}, ${of}, c == 1); @NEXT`);
    }
    // IMUL's flags need the high half when someone reads them: only the quiet form is fast.
    for (const m of ["b", "x"])
      op(
        `imul${n}_rm${m}_N`,
        `const ea = ${EA[m]}; ${ldm("b", n)} const r = <${T[n]}>(${rd(n, A)} * b); ${wr(n, A, "r")} @NEXT`,
      );
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
    for (const [nm, sign, edge] of [
      ["inc", "+", `<${T[n]}>1 << ${bits - 1}`],
      ["dec", "-", `(<${T[n]}>1 << ${bits - 1}) - 1`],
    ]) {
      op(
        `${nm}${n}_rr_F`,
        `const a = ${rd(n, A)}; const r = <${T[n]}>(a ${sign} 1); const c = <u64>getCf(); ${wr(n, A, "r")} setCcResult<${T[n]}>(r, c | <u64>((a ^ 1 ^ r) & 0x10) | (<u64>(r == ${edge}) << 11)); @NEXT`,
      );
      op(`${nm}${n}_rr_N`, `${wr(n, A, `<${T[n]}>(${rd(n, A)} ${sign} 1)`)} @NEXT`);
    }
    op(
      `cmov${n}_rr_F`,
      n === 8
        ? `if (cond(load<u8>(p, 21))) store<u64>(${A}, ${rd(8, B)}); @NEXT`
        : `const v = cond(load<u8>(p, 21)) ? ${rd(4, B)} : ${rd(4, A)}; ${wr(4, A, "v")} @NEXT`,
    );
    for (const m of ["b", "x"])
      op(
        `cmov${n}_rm${m}_F`,
        `const ea = ${EA[m]}; ${ldm("b", n)} const v = cond(load<u8>(p, 21)) ? b : ${rd(n, A)}; ${wr(n, A, "v")} @NEXT`,
      );
    op(`bswap${n}_rr_N`, `${wr(n, A, `bswap<${T[n]}>(${rd(n, A)})`)} @NEXT`);
  }
  for (const [family, from, sizes] of [
    ["movzx1", 1, [4]],
    ["movzx2", 2, [4]],
    ["movsx1", 1, [4, 8]],
    ["movsx2", 2, [4, 8]],
    ["movsx4", 4, [8]],
  ]) {
    for (const n of sizes) {
      const ext = (v) =>
        family.startsWith("movzx") ? `<${T[n]}>${v}` : `<${T[n]}><${I[n]}><${I[from]}>${v}`;
      op(`${family}${n}_rr_F`, `const v = ${rd(from, B)}; ${wr(n, A, ext("v"))} @NEXT`);
      for (const m of ["b", "x"])
        op(
          `${family}${n}_rm${m}_F`,
          `const ea = ${EA[m]}; ${ldm("v", from)} ${wr(n, A, ext("v"))} @NEXT`,
        );
    }
  }
  op("set1_rr_F", `store<u8>(${A}, <u8>cond(load<u8>(p, 21))); @NEXT`);
  op(
    "push8_rr_F",
    `const ea = load<u64>(RSP) - 8; const v = ${rd(8, A)}; ${stm("v", 8)} store<u64>(RSP, ea); @NEXT`,
  );
  op(
    "pop8_rr_F",
    `const ea = load<u64>(RSP); ${ldm("v", 8)} store<u64>(RSP, ea + 8); store<u64>(${A}, v); @NEXT`,
  );

  // Ends of blocks. +32 link taken, +36 link fall, +40 instructions, +48 target and +56 fall-through,
  // both relative to PAGE_BASE.
  const count = "budget -= load<i32>(p, 40);";
  const slow = (target, link) =>
    `p = follow(p, ${target}, ${link}, budget); if (p == 0) return leaving(); continue;`;
  const go = (rel, link) =>
    `{ const q = load<u32>(p, ${link}); if (budget >= load<i32>(q - 20)) { p = q; continue; } ${slow(`load<u64>(PAGE_BASE) + load<u64>(p, ${rel})`, link)} }`;
  // The target's page is compared before the link is used. `commit` changes registers: a target that
  // is not canonical faults before that, in the complete handler.
  const far = (target, link, commit = "", check = false) =>
    `{ const t: u64 = ${target}; const e: u32 = tlb + ((<u32>t >> 7) & TLB_MASK); if (load<u64>(e, 24) == (t & PAGE_MASK)) { const q = load<u32>(p, ${link}); if (load<u64>(q - 32) == (<u64>(<u32>t + load<u32>(e, 16)) | KEY64) && budget >= load<i32>(q - 20)) { ${commit} store<u64>(PAGE_BASE, t & PAGE_MASK); p = q; continue; } } ${check ? "if (((<i64>t << 16) >> 16) != <i64>t) return retryAt(p, budget);" : ""} ${commit} ${slow("t", link)} }`;
  const TAKEN = { near: go(48, 32), far: far("load<u64>(PAGE_BASE) + load<u64>(p, 48)", 32) };
  const FALL = go(56, 36);
  const storeReturn = `const ea = load<u64>(RSP) - 8; const v = load<u64>(PAGE_BASE) + load<u64>(p, 56); ${stm("v", 8)}`;
  const COMMIT = "store<u64>(RSP, ea);";
  const pushReturn = `${storeReturn} ${COMMIT}`;
  op("end", `${count} ${FALL}`, true);
  for (const w of ["near", "far"]) {
    // The far ones and all that follow compare the target before they use the link: see follow().
    op(`jmp_${w}`, `${count} ${TAKEN[w]}`, true);
    op(`jcc_${w}`, `${count} if (cond(load<u8>(p, 21))) ${TAKEN[w]} else ${FALL}`, true);
    op(`call_${w}`, `${pushReturn} ${count} ${TAKEN[w]}`, true);
  }
  op(
    "ret",
    `const ea = load<u64>(RSP); ${ldm("v", 8)} ${count} ${far("v", 32, "store<u64>(RSP, ea + 8);", true)}`,
    true,
  );
  op("jmp_r", `const v = ${rd(8, B)}; ${count} ${far("v", 32, "", true)}`, true);
  op(
    "call_r",
    `const u = ${rd(8, B)}; ${storeReturn} ${count} ${far("u", 32, COMMIT, true)}`,
    true,
  );
  for (const m of ["b", "x"]) {
    op(`jmp_m${m}`, `const ea = ${EA[m]}; ${ldm("v", 8)} ${count} ${far("v", 32, "", true)}`, true);
    op(
      `call_m${m}`,
      `let u: u64; { const ea = ${EA[m]}; ${ldm("v", 8)} u = v; } ${storeReturn} ${count} ${far("u", 32, COMMIT, true)}`,
      true,
    );
  }

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
  const TT = {
    4: () => "r == 0",
    5: () => "r != 0",
    8: (n) => `<${I[n]}>r < 0`,
    9: (n) => `<${I[n]}>r >= 0`,
    14: (n) => `<${I[n]}>r <= 0`,
    15: (n) => `<${I[n]}>r > 0`,
  };
  for (const n of [1, 2, 4, 8]) {
    for (const [code, test] of Object.entries(CC)) {
      const tail = `const r = <${T[n]}>(a - b); ${cc("K_SUB", n, "r", "b")} ${count} if (${test(n)}) ${TAKEN.near} else ${FALL}`;
      op(`cmpj${n}_rr_${code}`, `const a = ${rd(n, A)}; const b = ${rd(n, B)}; ${tail}`, true);
      op(
        `cmpj${n}_ri_${code}`,
        `const a = ${rd(n, A)}; const b = <${T[n]}>load<i32>(p, 16); ${tail}`,
        true,
      );
      if (n !== 2) {
        op(
          `cmpj${n}_rmb_${code}`,
          `const ea = ${EA.b}; ${ldm("b", n)} const a = ${rd(n, A)}; ${tail}`,
          true,
        );
        op(
          `cmpj${n}_mib_${code}`,
          `const ea = ${EA.b}; ${ldm("a", n)} const b = <${T[n]}>load<i32>(p, 16); ${tail}`,
          true,
        );
        op(
          `cmpj${n}_mrb_${code}`,
          `const ea = ${EA.b}; ${ldm("a", n)} const b = ${rd(n, B)}; ${tail}`,
          true,
        );
      }
    }
    for (const [code, test] of Object.entries(TT)) {
      const tail = `const r = <${T[n]}>(a & b); ${cc("K_LOGIC", n, "r", "0")} ${count} if (${test(n)}) ${TAKEN.near} else ${FALL}`;
      op(`testj${n}_rr_${code}`, `const a = ${rd(n, A)}; const b = ${rd(n, B)}; ${tail}`, true);
      op(
        `testj${n}_ri_${code}`,
        `const a = ${rd(n, A)}; const b = <${T[n]}>load<i32>(p, 16); ${tail}`,
        true,
      );
      if (n === 1 || n === 4)
        op(
          `testj${n}_mib_${code}`,
          `const ea = ${EA.b}; ${ldm("a", n)} const b = <${T[n]}>load<i32>(p, 16); ${tail}`,
          true,
        );
    }
  }
  return ops;
}

/** Interpreter loop with all fast operations, as AssemblyScript. */
export function interpretFile() {
  const ops = fastOps();
  const expand = (body) => body.replaceAll("@NEXT", "p += 32; continue;");
  return `// Generated by tools/build/gen.mjs from tools/build/gen-fast.mjs. Do not edit.
import { CC_DST, CC_OP, CC_SRC, FAULT, GPR, PAGE_BASE, RIP, TLB } from "./state.gen";
import { K_ADD, K_LOGIC, K_SUB, cond, getCf, setCcResult, setCcRotate } from "./flags";
import { PAGE_MASK, TLB_MASK } from "./mem";
import { ldSlow, stSlow } from "./mmu/access";
import { GENERIC_OPS, dispatch } from "./dispatch.gen";
import { R_NEXT, R_JUMP } from "./fault";
import { KEY64, enter, faultAt, follow, getBudget, leaving, retryAt, rmwSlow, setBudget } from "./blocks";

const RSP: u32 = GPR + 32;

/**
 * Runs decoded blocks from record \`p\` until something needs the outer loop. Returns R_JUMP (RIP is
 * set, look around), R_FAULT or R_EXIT. \`budget\` counts instructions that may still be executed.
 */
export function interpret(p: u32, budget: i32): u32 {
  let tlb: u32 = load<u32>(TLB);
  for (;;) {
    switch (<u32>load<u16>(p) - GENERIC_OPS) {
${ops.map((o, i) => `      case ${i}: { ${expand(o.body)} }`).join("\n")}
      default: {
        store<u64>(RIP, load<u64>(PAGE_BASE) + <u64>load<u16>(p, 14));
        setBudget(budget - <i32>load<u8>(p, 3));
        const r = dispatch(p);
        if (r == R_NEXT) { p += 32; continue; }
        if (r != R_JUMP) return r;
        budget = getBudget() - 1;
        p = enter(budget);
        if (p == 0) return leaving();
        tlb = load<u32>(TLB);
        continue;
      }
    }
  }
}
`;
}

/** Numbers of the fast operations, and the decoder's look-up from family, size and form. */
export function fastTablesFile(generic) {
  const ops = fastOps();
  const id = new Map(ops.map((o, i) => [o.name, generic + i]));
  const byFamily = [];
  for (const family of FAMILIES)
    for (const n of SIZES)
      for (const form of FORMS)
        for (const f of ["F", "N"])
          byFamily.push(
            id.get(`${family}${family.startsWith("movzx") && n === 8 ? 4 : n}_${form}_${f}`) ?? 0,
          );
  const fused = (nm, forms, size) =>
    SIZES.flatMap(
      (n) =>
        forms.flatMap((form) =>
          Array.from({ length: 16 }, (_, c) => id.get(`${nm}${n}_${form}_${c}`) ?? 0),
        ),
      size,
    );
  const lines = ["// Generated by tools/build/gen.mjs from tools/build/gen-fast.mjs. Do not edit."];
  for (const name of [
    "movabs",
    "end",
    "jmp_near",
    "jmp_far",
    "jcc_near",
    "jcc_far",
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
  for (const [name, value] of Object.entries(PATTERN))
    lines.push(`export const PAT_${name}: u32 = ${value};`);
  for (const [i, family] of FAMILIES.entries())
    lines.push(`export const FAM_${family}: u32 = ${i};`);
  lines.push(
    "/** Operation by [family][log2 size][form][F, N]; 0 = none. */",
    `export const FAST: usize = memory.data<u16>([${byFamily}]);`,
  );
  lines.push(
    "/** CMP fused with Jcc by [log2 size][rr ri rmb mib mrb][condition]. */",
    `export const CMPJ: usize = memory.data<u16>([${fused("cmpj", ["rr", "ri", "rmb", "mib", "mrb"])}]);`,
  );
  lines.push(
    "/** TEST fused with Jcc by [log2 size][rr ri mib][condition]. */",
    `export const TESTJ: usize = memory.data<u16>([${fused("testj", ["rr", "ri", "mib"])}]);`,
    "",
  );
  return lines.join("\n");
}
