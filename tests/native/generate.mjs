// @ts-check
/** Makes test cases: (seed, family, index) always gives the same one. */
import { CODE_AT, CODE_BYTES, DATA_BYTES, IMAGE_BYTES, PAGE } from "./areas.mjs";
import { ARITHMETIC } from "./effects.mjs";
import { encode, kindOf } from "./encode.mjs";
import { littleEndian } from "./memory-operand.mjs";
import { Prng } from "./prng.mjs";
import { Setup } from "./setup.mjs";
import { isApproximate } from "./tolerance.mjs";
import { fill } from "./values.mjs";

const MAX_CODE = 256;

/**
 * The memory every case starts from, before its patches: values of all kinds, code addresses on the stack.
 * @param {string} seed
 */
export function baseImage(seed) {
  const rng = new Prng(`${seed}/image`);
  const bytes = new Uint8Array(IMAGE_BYTES);
  const view = new DataView(bytes.buffer);
  const kinds = ["i1", "i2", "i4", "i8", "i8", "f4", "f8", "f10", "bcd", "raw"];
  for (let at = 0; at < IMAGE_BYTES; at += 64) fill(rng, view, at, 64, rng.pick(kinds));
  for (let at = DATA_BYTES; at < IMAGE_BYTES; at += 8) {
    if (rng.chance(40)) view.setBigUint64(at, BigInt(CODE_AT + 0x1f00 + rng.below(0xf0)), true);
  }
  return bytes;
}

/**
 * @param {Prng} rng
 * @param {import("./types.js").Row | undefined} row undefined for any
 * @param {readonly import("./types.js").Mode[]} modes
 */
function chooseMode(rng, row, modes) {
  const allowed = modes.filter(
    (mode) => !row || (mode === 64 ? !row.flags.has("i64") : !row.flags.has("o64")),
  );
  if (allowed.length === 0) return undefined;
  const mode = /** @type {import("./types.js").Mode} */ (
    Number(rng.weighted({ 64: 68, 32: 22, 16: 10 }))
  );
  if (allowed.includes(mode)) return mode;
  return rng.chance(70) ? allowed[0] : rng.pick(allowed);
}

/**
 * @param {Setup} setup
 * @param {import("./types.js").Row[]} rows
 */
function chooseFloats(setup, rows) {
  const { rng } = setup;
  const lanes = ["i1", "i2", "i4", "i8"];
  const kinds = rows.filter((r) => r.simd).map((r) => kindOf(r, 16));
  for (const kind of kinds.slice(0, 3)) lanes.push(kind, kind, kind);
  if (rows.some((r) => /^cvt/.test(r.mnemonic))) lanes.push("f4", "f8");
  const usesX87 = rows.some((r) => r.x87 || /^(emms|fxsave|fxrstor)/.test(r.mnemonic));
  const usesMmx = rows.some((r) => r.mmx);
  const stack = usesX87
    ? usesMmx && rng.chance(30)
      ? "mmx"
      : "x87"
    : usesMmx
      ? rng.chance(80)
        ? "mmx"
        : "x87"
      : "none";
  const control = usesX87 || usesMmx || rows.some((r) => r.simd);
  // Where one unit decides whether there is underflow, it must not trap.
  const masked = rows.some((r) => r.x87 && isApproximate(r.mnemonic)) ? 0x10 : 0;
  setup.chooseFloats({ lanes, stack, control, masked });
}

/**
 * Where a relative branch of a lone instruction goes: an address, or an offset in 16-bit code.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 * @param {number} address
 */
function branchAddress(setup, insn, address) {
  const { rng, mode } = setup;
  const base = mode === 16 ? CODE_AT : 0;
  const next = address + insn.bytes.length;
  for (let tries = 0; tries < 50; tries++) {
    let target;
    if (insn.fix?.bytes === 1) target = next + rng.range(-128, 127);
    else if (rng.chance(90)) target = setup.landing() + base;
    else
      target = rng.pick([CODE_AT - 1, CODE_AT + CODE_BYTES, CODE_AT + CODE_BYTES + 77, 0x20000100]);
    if (target <= address - 16 || target >= next) return target;
  }
  return next;
}

/**
 * Assigns addresses and fills in displacements that depend on them.
 * @param {import("./types.js").TestCase} testCase
 */
export function layOut(testCase) {
  const { insns, mode } = testCase;
  let at = testCase.codeAt;
  for (const insn of insns) {
    insn.address = at;
    at += insn.bytes.length;
  }
  const end = at;
  /** @type {number[]} */
  const bytes = [];
  insns.forEach((insn, i) => {
    const { fix } = insn;
    if (fix !== undefined) {
      let target = fix.target ?? 0;
      if (fix.skip !== undefined) target = BigInt(insns[i + 1 + fix.skip]?.address ?? end);
      const next = BigInt(insn.address + insn.bytes.length);
      insn.bytes.splice(fix.at, fix.bytes, ...littleEndian(BigInt(target) - next, fix.bytes));
    }
    bytes.push(...insn.bytes);
  });
  testCase.code = Uint8Array.from(bytes);
  testCase.rip = mode === 16 ? testCase.codeAt - CODE_AT : testCase.codeAt;
  testCase.end = end;
}

/**
 * Undefined flags before each instruction and behind the last, whichever way branches go.
 * @param {import("./types.js").Insn[]} insns
 */
function flow(insns, undef = 0) {
  const pending = new Array(insns.length + 1).fill(0);
  const before = insns.map((insn, i) => {
    undef |= pending[i];
    const start = undef;
    undef = (undef & ~insn.effects.writes) | insn.effects.undef;
    const skip = insn.fix?.skip;
    if (skip !== undefined && skip >= 0) pending[Math.min(insns.length, i + 1 + skip)] |= undef;
    return start;
  });
  return { before, end: undef | pending[insns.length] };
}

/**
 * Everything that some instruction leaves undefined.
 * @param {import("./types.js").Insn[]} insns
 */
function everUndefined(insns) {
  return insns.reduce(
    (/** @type {number} */ all, /** @type {import("./types.js").Insn} */ insn) =>
      all | insn.effects.undef,
    0,
  );
}

/**
 * Undefined flags at each instruction's start and at the end, for compare().
 * @param {import("./types.js").TestCase} testCase
 */
export function trackUndefined(testCase) {
  const { insns } = testCase;
  // In a loop, what the last instruction leaves reaches the first.
  const around = insns.some((insn) => (insn.fix?.skip ?? 0) < 0) ? everUndefined(insns) : 0;
  const { before, end } = flow(insns, around);
  testCase.undef = before;
  testCase.undefAtEnd = end;
}

const environmentStore = (/** @type {import("./types.js").Row} */ row) =>
  /^(fn?stenv|fn?save|fxsave)/.test(row.mnemonic);

/**
 * Whether a row may come next in a sequence.
 * @param {import("./types.js").Row} row
 * @param {import("./types.js").Insn[]} list
 * @param {number} undef
 * @param {import("./setup.mjs").Setup} setup
 */
function fits(row, list, undef, setup) {
  if (setup.mode === 64 ? row.flags.has("i64") : row.flags.has("o64")) return false;
  if ((row.effects.reads & undef) !== 0) return false;
  // The address and opcode of the last x87 instruction are not compared, so they must not be stored.
  if (
    environmentStore(row) &&
    list.some((i) => i.row.x87 || i.row.mmx || i.row.mnemonic === "fxrstor")
  )
    return false;
  return true;
}

/** Rows that read flags: chosen more often, since they tell whether flags were right. */
const readers = (/** @type {import("./types.js").Row[]} */ rows) =>
  rows.filter((row) => (row.effects.reads & ARITHMETIC) !== 0);

/**
 * @param {Setup} setup
 * @param {import("./types.js").Row[]} rows
 */
function sequence(setup, rows) {
  const { rng } = setup;
  const length = rng.range(2, 16);
  const list = [];
  const tellers = readers(rows);
  let bytes = 0;
  for (let tries = 0; list.length < length && tries < 80; tries++) {
    const row = tellers.length > 0 && rng.chance(15) ? rng.pick(tellers) : rng.pick(rows);
    if (!fits(row, list, flow(list).end, setup)) continue;
    const insn = encode(setup, row);
    if (insn === undefined) continue;
    if (bytes + insn.bytes.length > MAX_CODE - 16) break;
    bytes += insn.bytes.length;
    if (insn.fix?.kind === "rel") insn.fix.skip = rng.below(4);
    list.push(insn);
    if (insn.last || isApproximate(row.mnemonic)) return list;
  }
  if (setup.counter >= 0 && list.length > 0 && rng.chance(30)) closeLoop(setup, rows, list);
  return list;
}

/**
 * Makes a loop of a sequence: DEC of a register that nothing else writes, and JNZ back, when the
 * family has them. So blocks are entered again, linked, and left in the middle.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Row[]} rows
 * @param {import("./types.js").Insn[]} list
 */
function closeLoop(setup, rows, list) {
  const dec = rows.find((row) => row.asm === "dec Ev");
  const jcc = rows.find((row) => row.asm === "jcc Jz" && row.opcode === 0x85);
  const undef = everUndefined(list);
  if (
    setup.pinned[setup.counter] ||
    !dec ||
    !jcc ||
    list.some((insn) => (insn.effects.reads & undef) !== 0)
  )
    return;
  // An environment store would save the address of an x87 instruction of the round before.
  if (list.some((insn) => environmentStore(insn.row))) return;
  // No branch may go past DEC.
  list.forEach((insn, i) => {
    const { fix } = insn;
    if (fix?.skip !== undefined && fix.skip > 0) fix.skip = Math.min(fix.skip, list.length - 1 - i);
  });
  const { counter } = setup;
  setup.want(counter, BigInt(setup.rng.range(2, 6)));
  const plain = {
    ...{ mode: setup.mode, osize: 8, wide: true, rep: "", isMem: false, lock: false },
    ...{ segment: undefined, mem: undefined, memSize: 0, reg: 0, rm: 0, imm: 0n, branch: false },
    ...{ leeway: {}, last: false, address: 0, fix: undefined },
  };
  list.push({
    ...plain,
    row: dec,
    effects: dec.effects,
    bytes: [0x48 | (counter >> 3), 0xff, 0xc8 | (counter & 7)],
  });
  list.push({
    ...plain,
    row: jcc,
    effects: jcc.effects,
    bytes: [0x0f, 0x85, 0, 0, 0, 0],
    fix: { at: 2, bytes: 4, kind: "rel", skip: -(list.length + 1) },
  });
}

/**
 * A test case.
 * @param {{ seed: string, family: string, index: number, rows: import("./types.js").Row[], modes: readonly import("./types.js").Mode[] }} from
 *   `rows`: the family's comparable rows; `modes`: code sizes that can be run
 * @returns {import("./types.js").TestCase | undefined} undefined when no row fits the modes
 */
export function makeCase(from) {
  const { seed, family, index, rows, modes } = from;
  for (let attempt = 0; ; attempt++) {
    const rng = new Prng(`${seed}/${family}/${index}/${attempt}`);
    // Families whose instructions all end a case have no sequences.
    const single = index % 2 === 0 || attempt > 2;
    const row = single ? rows[((index >> 1) + attempt * 7) % rows.length] : undefined;
    const mode = chooseMode(rng, row, modes);
    if (mode === undefined) {
      if (attempt > 50) return undefined;
      continue;
    }
    const setup = new Setup(rng, mode, single);
    setup.chooseFlags();
    const atEnd = single && rng.chance(2);
    setup.codeAt =
      CODE_AT +
      (atEnd ? CODE_BYTES - 64 : rng.chance(12) ? PAGE - rng.below(40) : 0x40 + rng.below(0x1c00));
    if (!single) setup.choosePointers();
    const lone = row === undefined ? undefined : encode(setup, row);
    const insns = row === undefined ? sequence(setup, rows) : lone === undefined ? [] : [lone];
    if (insns.length === 0) {
      if (attempt > 200) return undefined;
      continue;
    }
    chooseFloats(
      setup,
      insns.map((i) => i.row),
    );
    /** @type {import("./types.js").TestCase} */
    const testCase = {
      ...{ seed, family, index, mode, single, setup, insns, codeAt: setup.codeAt },
      ...{ rip: 0, code: new Uint8Array(0), undef: [], undefAtEnd: 0, end: 0 },
    };
    finish(testCase, atEnd);
    return testCase;
  }
}

/**
 * @param {import("./types.js").TestCase} testCase
 * @param {boolean} atEnd
 */
function finish(testCase, atEnd) {
  const { setup, insns } = testCase;
  const { rng } = setup;
  if (atEnd) {
    const length = insns[0]?.bytes.length ?? 0;
    testCase.codeAt =
      CODE_AT + CODE_BYTES - length + (rng.chance(50) && length > 1 ? rng.range(1, length - 1) : 0);
  }
  const [first] = insns;
  if (testCase.single && first?.fix?.kind === "rel") {
    first.fix.target = branchAddress(setup, first, testCase.codeAt);
  }
  layOut(testCase);
  testCase.code = testCase.code.subarray(0, CODE_AT + CODE_BYTES - testCase.codeAt);
  trackUndefined(testCase);
}
