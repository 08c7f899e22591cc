// @ts-check
/** Compares the engine's answer with the host's. */
import { CODE_AT, IMAGE_BYTES, imageAddress, imageOffset, SEGMENTS } from "./areas.mjs";
import { ARITHMETIC, X87_CODES } from "./effects.mjs";
import { VECTOR_TIMEOUT } from "./protocol.mjs";
import { toleranceOf } from "./tolerance.mjs";

/** RFLAGS bits compared besides the arithmetic ones: TF IF DF IOPL NT RF AC ID. */
const SYSTEM_FLAGS = 0x257700;
const NAMES = {
  64: [
    "rax",
    "rcx",
    "rdx",
    "rbx",
    "rsp",
    "rbp",
    "rsi",
    "rdi",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
  ],
};
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);
const VECTOR_BP = 3;
const VECTOR_PF = 14;
export const MEMORY_FAULTS = new Set([12, 13, 14]);
/** Those, and #AC: what an access may raise. */
export const ADDRESS_FAULTS = new Set([...MEMORY_FAULTS, 17]);

const hex = (/** @type {number | bigint} */ value, digits = 1) =>
  value.toString(16).padStart(digits, "0");
const hexBytes = (/** @type {Uint8Array} */ bytes) =>
  Buffer.from(bytes)
    .toString("hex")
    .replace(/(.{16})(?=.)/g, "$1 ");

/**
 * Linear address of an instruction pointer in the case's initial code segment.
 * @param {import("./types.js").TestCase} testCase
 * @param {number | bigint} rip
 */
export function linearIp(testCase, rip) {
  return testCase.mode === 16 ? Number(rip) + CODE_AT : Number(rip);
}

/**
 * The flags that are undefined where the case ended.
 * @param {import("./types.js").TestCase} testCase
 * @param {bigint} rip
 */
function undefinedAt(testCase, rip) {
  const linear = linearIp(testCase, rip);
  const at = testCase.insns.findIndex((insn) => insn.address === linear);
  if (at >= 0) return testCase.undef[at] ?? 0;
  const { end, undefAtEnd } = testCase;
  if (linear === end || linear === end + 1) return undefAtEnd;
  // A relative branch with a target cut to 16 bits may have led out of the code anywhere.
  return testCase.insns.reduce(
    (all, insn, i) => (insn.fix?.kind === "rel" ? all | (testCase.undef[i] ?? 0) : all),
    undefAtEnd,
  );
}

/**
 * The whole image after the case, from the host's list of changes; `scratch` is overwritten.
 * @param {import("./types.js").TestCase} testCase
 * @param {import("./types.js").HostAnswer} result
 * @param {Uint8Array} base
 * @param {Uint8Array} scratch
 */
export function expectedImage(testCase, result, base, scratch) {
  scratch.set(base);
  const { setup } = testCase;
  for (const patch of setup.patches)
    scratch.set(setup.blob.subarray(patch.blobAt, patch.blobAt + patch.length), patch.offset);
  for (const chunk of result.chunks) scratch.set(chunk.bytes, chunk.offset);
  return scratch;
}

/**
 * x87 registers; `undef` as BITS of effects.mjs.
 * @param {DataView} e
 * @param {DataView} g
 * @param {number} undef
 * @param {import("./types.js").Tolerance} tolerance
 * @param {import("./types.js").Difference[]} diffs
 */
function compareX87(e, g, undef, tolerance, diffs) {
  const word = (/** @type {string} */ name, /** @type {number} */ at, mask = 0xffff) => {
    const [a, b] = [e.getUint16(at, true) & mask, g.getUint16(at, true) & mask];
    if (a !== b) diffs.push([name, hex(a, 4), hex(b, 4)]);
  };
  // C0 C1 C2 are bits 8 to 10 of the status word, C3 is bit 14.
  const codes = ((undef & X87_CODES) >>> 16) | tolerance.codes(e);
  word("fcw", 0);
  const free = ((codes & 7) << 8) | ((codes & 8) << 11) | tolerance.status(e);
  word("fsw", 2, 0xffff & ~free);
  word("ftw", 4, 0xff);
  for (let i = 0; i < 8; i++) {
    const at = 32 + i * 16;
    if (st(e, at) !== st(g, at) && !tolerance.st(e, g, at)) {
      diffs.push([`st${i}`, st(e, at), st(g, at)]);
    }
  }
}

/**
 * SSE registers.
 * @param {DataView} e
 * @param {DataView} g
 * @param {import("./types.js").Tolerance} tolerance
 * @param {import("./types.js").Difference[]} diffs
 */
function compareSse(e, g, tolerance, diffs) {
  const [ma, mb] = [e.getUint32(24, true), g.getUint32(24, true)];
  if (ma !== mb) diffs.push(["mxcsr", hex(ma, 4), hex(mb, 4)]);
  for (let i = 0; i < 16; i++) {
    const at = 160 + i * 16;
    const same =
      e.getBigUint64(at, true) === g.getBigUint64(at, true) &&
      e.getBigUint64(at + 8, true) === g.getBigUint64(at + 8, true);
    if (!same && !tolerance.xmm(e, g, at)) diffs.push([`xmm${i}`, xmm(e, at), xmm(g, at)]);
  }
}

export const fxView = (/** @type {Uint8Array<ArrayBufferLike>} */ bytes) =>
  new DataView(bytes.buffer, bytes.byteOffset, 512);
const st = (/** @type {DataView} */ view, /** @type {number} */ at) =>
  `${hex(view.getUint16(at + 8, true), 4)}:${hex(view.getBigUint64(at, true), 16)}`;
/** High half first, as a number is written. */
export const xmm = (/** @type {DataView} */ view, /** @type {number} */ at) =>
  `${hex(view.getBigUint64(at + 8, true), 16)}_${hex(view.getBigUint64(at, true), 16)}`;

/**
 * What need not agree when the case ended with a fault: members of a plan (see steer.mjs).
 * @param {import("./types.js").TestCase} testCase
 * @param {import("./types.js").HostAnswer} result
 */
function leewayOf(testCase, result) {
  if (result.vector === VECTOR_BP) return {};
  return (
    testCase.insns.find((insn) => insn.address === linearIp(testCase, result.rip))?.leeway ?? {}
  );
}

/**
 * @param {import("./types.js").TestCase} testCase
 * @param {Uint8Array} expected
 * @param {Uint8Array} got
 * @param {import("./types.js").Difference[]} diffs
 */
function compareMemory(testCase, expected, got, diffs) {
  for (const { address, length } of testCase.setup.ignore) {
    for (let i = 0; i < length; i++) {
      const at = imageOffset(address + i);
      if (at >= 0) got[at] = expected[at] ?? 0;
    }
  }
  if (Buffer.compare(expected, got) === 0) return;
  let shown = 0;
  for (let at = 0; at < IMAGE_BYTES && shown < 4; at += 16) {
    const [x, y] = [expected.subarray(at, at + 16), got.subarray(at, at + 16)];
    if (Buffer.compare(x, y) === 0) continue;
    diffs.push([`[${hex(imageAddress(at))}]`, hexBytes(x), hexBytes(y)]);
    shown++;
  }
}

/**
 * Differences as [field, expected, got]; an empty list when engine and host agree.
 * @param {import("./types.js").TestCase} testCase
 * @param {import("./types.js").HostAnswer} expected
 * @param {Uint8Array} image the host's memory afterwards
 * @param {import("./types.js").EngineAnswer} got
 * @returns {import("./types.js").Difference[]}
 */
export function compare(testCase, expected, image, got) {
  /** @type {import("./types.js").Difference[]} */
  const diffs = [];
  const leeway = leewayOf(testCase, expected);
  if (got.crash !== undefined)
    return expected.vector === VECTOR_TIMEOUT && got.crash === "does not end"
      ? []
      : [["end", `vector ${expected.vector}`, got.crash]];
  if (expected.vector !== got.vector) {
    const either = ADDRESS_FAULTS.has(expected.vector) && ADDRESS_FAULTS.has(got.vector);
    if (!leeway.anyMemoryFault || !either)
      diffs.push(["vector", `${expected.vector}`, `${got.vector}`]);
  } else if (WITH_ERROR.has(expected.vector)) compareFault(expected, got, leeway, diffs);
  if (expected.rip !== got.rip) diffs.push(["rip", hex(expected.rip), hex(got.rip)]);
  const undef = undefinedAt(testCase, expected.rip);
  const flagMask = SYSTEM_FLAGS | (ARITHMETIC & ~undef);
  if ((expected.rflags & flagMask) !== (got.rflags & flagMask))
    diffs.push(["rflags", flagText(expected.rflags & flagMask), flagText(got.rflags & flagMask)]);
  const mask = testCase.mode === 64 ? 0xffffffffffffffffn : 0xffffffffn;
  for (let i = 0; i < 16; i++) {
    // The upper halves of registers are undefined after leaving 32-bit code (AMD APM vol. 1, 3.1.2).
    const keep = i < 8 ? mask : 0xffffffffffffffffn;
    const [theirs, ours] = [(expected.gpr[i] ?? 0n) & keep, (got.gpr[i] ?? 0n) & keep];
    if (theirs !== ours) diffs.push([NAMES[64][i] ?? "", hex(theirs), hex(ours)]);
  }
  SEGMENTS.forEach((name, i) => {
    // Null selectors 1 to 3 become 0 on the way through the host's kernel (AMD APM vol. 3, IRET).
    const [theirs, ours] = [expected.seg[i] ?? 0, got.seg[i] ?? 0];
    if (theirs !== ours && (theirs > 3 || ours > 3)) diffs.push([name, hex(theirs), hex(ours)]);
  });
  // An MMX instruction that faults may or may not have switched the x87 registers over before.
  const tolerance = toleranceOf(testCase);
  const [e, g] = [fxView(expected.fx), fxView(got.fx)];
  if (!leeway.mmx) compareX87(e, g, undef, tolerance, diffs);
  compareSse(e, g, tolerance, diffs);
  if (!leeway.fragile) compareMemory(testCase, image, got.image, diffs);
  return diffs;
}

/**
 * @param {import("./types.js").HostAnswer} expected
 * @param {import("./types.js").EngineAnswer} got
 * @param {import("./types.js").Plan} leeway
 * @param {import("./types.js").Difference[]} diffs
 */
function compareFault(expected, got, leeway, diffs) {
  let [a, b] = [expected.error, got.error];
  if (expected.vector === VECTOR_PF) {
    if (leeway.anyMemoryFault) return;
    // Linux reports every fault of a user program at a kernel address as a protection fault, so as not
    // to tell what is mapped there (arch/x86/mm/fault.c, set_signal_archinfo).
    if (expected.cr2 >= 0x7ffffffff000n) [a, b] = [a | 1, b | 1];
    const { cr2 } = got;
    if (cr2 !== undefined && expected.cr2 !== cr2) diffs.push(["cr2", hex(expected.cr2), hex(cr2)]);
  }
  if (a !== b) diffs.unshift(["error", hex(a), hex(b)]);
}

/** @type {[number, string][]} */
const FLAG_NAMES = [
  [0x800, "OF"],
  [0x80, "SF"],
  [0x40, "ZF"],
  [0x10, "AF"],
  [4, "PF"],
  [1, "CF"],
  [0x400, "DF"],
  [0x100, "TF"],
  [0x4000, "NT"],
  [0x10000, "RF"],
  [0x40000, "AC"],
  [0x200000, "ID"],
];

/**
 * Flags by name.
 * @param {number} value
 */
export function flagText(value) {
  const names = FLAG_NAMES.filter(([bit]) => value & bit).map(([, name]) => name);
  return `${hex(value)}(${names.join(" ")})`;
}
