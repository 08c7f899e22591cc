// @ts-check
/**
 * Differences that do not count because the processors of the two vendors differ. The engine answers as
 * AMD's where that is simple; the rules for Intel hosts are those places, the rules for AMD hosts the others.
 * runner.mjs counts by reason what they let pass.
 */
import { ADDRESS_FAULTS, fxView, linearIp, MEMORY_FAULTS } from "./compare.mjs";

/** @typedef {[mnemonic: RegExp, why: string, explains: (question: Question) => boolean]} Rule */

const VECTOR_DB = 1;
const VECTOR_UD = 6;
const VECTOR_SS = 12;
const VECTOR_GP = 13;
const VECTOR_PF = 14;
const VECTOR_AC = 17;

/** An operand of 16 bytes here ends at the end of 4 GiB. */
const LAST_16 = 0xfffffff0n;
/** MXCSR.MM: reserved where CPUID does not say MISALIGNSSE, as the engine's does not. */
const MISALIGNED = 0x20000;
/** Stores of x87 registers that may raise an x87 exception. */
const X87_STORE = /^(fst|fstp|fist|fistp|fisttp|fbstp)$/;
const LOADS_MXCSR = /^(fxrstor|ldmxcsr)$/;
/** Operands of 16 bytes at any address. */
const UNALIGNED_16 = /^(movup[sd]|movdqu|lddqu|pcmp[ei]str[im])$/;
const NEAR_BRANCH = /^(jcc|jmp|call|ret|loop|loope|loopne|jcxz)$/;

/**
 * @typedef {object} Question
 * @property {import("./types.js").TestCase} testCase
 * @property {import("./types.js").Insn} insn the instruction whose row the rule is for
 * @property {import("./types.js").HostAnswer} expected
 * @property {import("./types.js").EngineAnswer} got
 * @property {import("./types.js").Difference[]} diffs
 */

/** Whether an answer's RIP is at the instruction. */
const endsAt = (
  /** @type {Question} */ { testCase, insn },
  /** @type {import("./types.js").Answer} */ answer,
) => linearIp(testCase, answer.rip) === insn.address;

/** Whether nothing differs but these fields; memory's fields are addresses in brackets. */
const only = (/** @type {Question} */ { diffs }, /** @type {RegExp} */ pattern) =>
  diffs.every(([field]) => pattern.test(field));

/** Whether a later instruction of the case loads MXCSR once more. */
const loadsAgain = (/** @type {Question} */ { testCase, insn }) =>
  testCase.insns
    .slice(testCase.insns.indexOf(insn) + 1)
    .some((later) => LOADS_MXCSR.test(later.row.mnemonic));

/** Whether a later instruction of the case counts with RCX. */
const repeatsAgain = (/** @type {Question} */ { testCase, insn }) =>
  testCase.insns.slice(testCase.insns.indexOf(insn) + 1).some((later) => later.rep !== "");

/** Whether there is a LOCK prefix (VERW's opcode begins with 0F). */
const isLocked = (/** @type {import("./types.js").Insn} */ { bytes }) =>
  bytes.slice(0, bytes.indexOf(0x0f)).includes(0xf0);

const mxcsr = (/** @type {import("./types.js").Answer} */ answer) =>
  fxView(answer.fx).getUint32(24, true);
const isNan32 = (/** @type {number} */ bits) => (bits & 0x7fffffff) > 0x7f800000;
const isNan64 = (/** @type {bigint} */ bits) => (bits & 0x7fffffffffffffffn) > 0x7ff0000000000000n;

/**
 * Whether the XMM registers are equal but for NaNs in place of others.
 * @param {Question} question
 */
function nansOnly({ insn, expected, got, diffs }) {
  const [e, g] = [fxView(expected.fx), fxView(got.fx)];
  return diffs.every(([field]) => {
    const at = 160 + 16 * Number(/^xmm(\d+)$/.exec(field)?.[1]);
    const wide = insn.row.mnemonic === "dppd";
    for (let i = at; i < at + 16; i += wide ? 8 : 4) {
      const [x, y] = [e.getBigUint64(i, true), g.getBigUint64(i, true)];
      const [low, high] = [e.getUint32(i, true), g.getUint32(i, true)];
      const alike = wide
        ? x === y || (isNan64(x) && isNan64(y))
        : low === high || (isNan32(low) && isNan32(high));
      if (!alike) return false;
    }
    return true;
  });
}

/** Whether 16 bytes as compare() shows them differ in that bit of an MXCSR_MASK only. */
const maskInMemory = (/** @type {import("./types.js").Difference} */ [field, expected, got]) =>
  !field.startsWith("[") ||
  (expected.endsWith("ffff0200") && got === expected.replace(/ffff0200$/, "ffff0000"));

/**
 * Whether memory and the x87 and XMM registers differ in that bit of MXCSR's mask only.
 * @param {Question} question
 */
function maskOnly({ expected, got, diffs }) {
  if (!diffs.every(maskInMemory)) return false;
  const [e, g] = [fxView(expected.fx), fxView(got.fx)];
  for (let at = 32; at < 416; at += 4) {
    const change = e.getUint32(at, true) ^ g.getUint32(at, true);
    if (change !== 0 && change !== MISALIGNED) return false;
  }
  return true;
}

/** [mnemonic, reason, whether it explains all differences of a case with such an instruction]. */
/** @type {Rule[]} */
const ON_INTEL = [
  [
    /^movsxd$/,
    "MOVSXD to 16 bits: Intel reads 16",
    (q) =>
      q.insn.osize === 2 && q.insn.isMem && endsAt(q, q.got) && MEMORY_FAULTS.has(q.got.vector),
  ],
  [
    /^(fstp|fbstp)$/,
    "x87 stores of 80 bits: Intel writes 64 before the others fault",
    (q) => /^m80/.test(q.insn.row.operands[0]?.text ?? "") && endsAt(q, q.got) && only(q, /^\[/),
  ],
  [
    /^ud[01]$/,
    "UD0, UD1: Intel fetches a ModRM byte, which may fault",
    (q) => endsAt(q, q.got) && q.got.vector === VECTOR_UD && q.expected.vector === VECTOR_PF,
  ],
  [
    NEAR_BRANCH,
    "near branches in 64-bit code: Intel ignores 66",
    ({ testCase, insn }) => testCase.mode === 64 && insn.row.flags.has("f64") && insn.osize === 2,
  ],
  [
    /^push$/,
    "PUSH of a segment register with 32 bits: Intel writes 16",
    (q) =>
      /^[CDEFGS]S$/.test(q.insn.row.operands[0]?.text ?? "") &&
      q.insn.osize === 4 &&
      only(q, /^(\[|vector$)/),
  ],
  [
    /^(push|pop)$/,
    "PUSH and POP of a segment register: Intel looks at 2 bytes, whose alignment is another",
    (q) =>
      /^[CDEFGS]S$/.test(q.insn.row.operands[0]?.text ?? "") &&
      q.insn.osize >= 4 &&
      endsAt(q, q.got) &&
      q.got.vector === VECTOR_AC,
  ],
  [
    UNALIGNED_16,
    "16 bytes that need not be aligned: Intel raises no #AC",
    (q) => q.insn.isMem && endsAt(q, q.got) && q.got.vector === VECTOR_AC,
  ],
  [/^l[sfg]s$/, "LSS, LFS, LGS with REX.W: Intel reads an offset of 64 bits", (q) => q.insn.wide],
  [
    X87_STORE,
    "x87 stores with an unmasked exception: Intel notes it before it looks at memory",
    (q) =>
      q.insn.isMem &&
      endsAt(q, q.got) &&
      (MEMORY_FAULTS.has(q.got.vector) || q.got.vector === VECTOR_AC) &&
      (~fxView(q.got.fx).getUint16(0, true) & 0x3f) !== 0 &&
      !endsAt(q, q.expected),
  ],
  [
    /^(cmps|scas)$/,
    "repeated CMPS, SCAS that fault: Intel leaves the flags from before",
    (q) =>
      q.insn.rep !== "" &&
      endsAt(q, q.got) &&
      MEMORY_FAULTS.has(q.got.vector) &&
      only(q, /^rflags$/),
  ],
  [
    /^call$/,
    "CALL to an address that is not canonical: Intel stores the return address before it checks",
    (q) => endsAt(q, q.expected) && q.expected.vector === VECTOR_GP && only(q, /^\[/),
  ],
  [
    /^(movs|cmps|stos|lods|scas)$/,
    "repeated string instructions with 32-bit addresses in 64-bit code: Intel clears the upper halves of the registers even if no element is done",
    (q) =>
      q.testCase.mode === 64 &&
      q.insn.rep !== "" &&
      q.insn.bytes.includes(0x67) &&
      (only(q, /^(rcx|rsi|rdi)$/) || repeatsAgain(q)),
  ],
  [
    /^loopn?e$/,
    "LOOPE and LOOPNE with F2 or F3: Intel ignores the prefix",
    (q) => q.insn.bytes.some((/** @type {number} */ byte) => byte === 0xf2 || byte === 0xf3),
  ],
  [
    /^maskmov(q|dqu)$/,
    "MASKMOVQ and MASKMOVDQU: AMD faults for bytes that the mask leaves out, too",
    (q) => endsAt(q, q.got) && ADDRESS_FAULTS.has(q.got.vector),
  ],
  [/^ffreep?$/, "FFREE: AMD clears C1, Intel leaves it", (q) => only(q, /^fsw$/)],
  [
    /./,
    "alignment checks: what else is wrong with the address comes first or not",
    (q) =>
      endsAt(q, q.expected) &&
      endsAt(q, q.got) &&
      ADDRESS_FAULTS.has(q.expected.vector) &&
      ADDRESS_FAULTS.has(q.got.vector) &&
      [q.expected.vector, q.got.vector].includes(VECTOR_AC) &&
      only(q, /^vector$/),
  ],
  [
    /^dpp[sd]$/,
    "DPPS, DPPD: Intel prefers other NaNs when there are several",
    (q) => only(q, /^xmm/) && nansOnly(q),
  ],
];

/** @type {Rule[]} */
const ON_AMD = [
  [
    /./,
    "FS and GS in 64-bit code: AMD wants the offset to be canonical, too",
    (q) =>
      q.testCase.mode === 64 &&
      (q.insn.segment ?? 0) >= 4 &&
      endsAt(q, q.got) &&
      endsAt(q, q.expected) &&
      q.expected.vector === VECTOR_GP &&
      q.got.vector === VECTOR_PF &&
      only(q, /^vector$/),
  ],
  [
    /^verw$/,
    "LOCK VERW with memory: microcode that clears buffers executes it, others raise #UD",
    (q) => q.insn.isMem && isLocked(q.insn) && endsAt(q, q.got) && q.got.vector === VECTOR_UD,
  ],
  [
    /./,
    "operands over the end of 4 GiB: AMD checks the limit, others and the engine go on (SDM vol. 3, 5.3)",
    (q) =>
      q.testCase.mode !== 64 &&
      endsAt(q, q.got) &&
      endsAt(q, q.expected) &&
      (q.expected.vector === VECTOR_SS || q.expected.vector === VECTOR_GP) &&
      q.got.vector === VECTOR_PF &&
      (q.got.cr2 ?? 0n) > LAST_16 &&
      (q.got.cr2 ?? 0n) <= 0xffffffffn &&
      only(q, /^vector$/),
  ],
  [
    LOADS_MXCSR,
    "MXCSR.MM: AMD hosts have MISALIGNSSE, the engine not",
    (q) =>
      endsAt(q, q.got) &&
      q.got.vector === VECTOR_GP &&
      ((mxcsr(q.expected) & MISALIGNED) !== 0 || loadsAgain(q)),
  ],
  [
    /^fxsave$/,
    "MXCSR_MASK, when it is loaded again or lies where the generator did not want it: AMD hosts have MISALIGNSSE, the engine not",
    (q) => only(q, /^(xmm|st|\[)/) && maskOnly(q),
  ],
];

/** @type {Rule[]} */
const ON_AMD_GUEST = [
  [
    /^int1$/,
    "INT1: AMD's virtualization intercepts #DB at the instruction, and the host's hypervisor passes that RIP on",
    (q) =>
      only(q, /^rip$/) &&
      q.expected.vector === VECTOR_DB &&
      endsAt(q, q.expected) &&
      q.got.rip === q.expected.rip + BigInt(q.insn.bytes.length),
  ],
];

/**
 * Why the differences of a case do not count on this host; undefined when they do.
 * @param {import("./types.js").Processor} processor
 * @param {import("./types.js").TestCase} testCase
 * @param {import("./types.js").HostAnswer} expected
 * @param {import("./types.js").EngineAnswer} got
 * @param {import("./types.js").Difference[]} diffs
 * @returns {string | undefined}
 */
export function reasonByVendor(processor, testCase, expected, got, diffs) {
  if (got.crash !== undefined) return undefined;
  const rules = processor.amd
    ? [...ON_AMD, ...(processor.hypervisor ? ON_AMD_GUEST : [])]
    : ON_INTEL;
  for (const [mnemonic, why, explains] of rules)
    for (const insn of testCase.insns)
      if (mnemonic.test(insn.row.mnemonic) && explains({ testCase, insn, expected, got, diffs }))
        return why;
  return undefined;
}
