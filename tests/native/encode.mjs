// @ts-check
/**
 * Random legal encodings of an instruction row.
 * @typedef {import("./types.js").Insn} Insn
 */
import { shiftEffects } from "./effects.mjs";
import { littleEndian, memoryOperand } from "./memory-operand.mjs";
import { operandBytes } from "./rows.mjs";
import { steer } from "./steer.mjs";
import { interestingInt } from "./values.mjs";

const MANDATORY = { NP: [], 66: [0x66], F3: [0xf3], F2: [0xf2] };
const MAP_BYTES = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
const SEGMENT_PREFIX = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const LINE_LOCKED = /^(xchg|cmpxchg|xadd)/;

/**
 * Operand size in bytes by mode and prefixes.
 * @param {import("./types.js").Row} row
 * @param {number} mode
 * @param {boolean} o66
 * @param {boolean} wide
 */
function operandSize(row, mode, o66, wide) {
  if (mode === 64) {
    if (row.flags.has("f64")) return o66 && !wide ? 2 : 8;
    if (wide) return 8;
    if (row.flags.has("d64")) return o66 ? 2 : 8;
    return o66 ? 2 : 4;
  }
  return (mode === 32) !== o66 ? 4 : 2;
}

/**
 * Whether 66 may be put in front as a mere operand size (or nothing at all).
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Row} row
 */
function choose66({ rng, mode, single }, row) {
  if (row.mandatory && !row.sized) return false;
  if (row.prefix === "66" || (row.prefix === "NP" && row.map > 0)) return false;
  if (row.map >= 2 && !row.sized) return false;
  // In 64-bit code Intel ignores 66 on near branches and AMD does not (vendor.mjs): only in lone ones. The
  // 16-bit form of BSWAP, SHLD by too much and others is undefined: see steer.mjs.
  if (row.flags.has("f64")) return (mode !== 64 || single) && rng.chance(6);
  if (row.mnemonic === "bswap") return mode === 16;
  if (row.x87) return rng.chance(/^(fn?save|frstor|fn?stenv|fldenv)$/.test(row.mnemonic) ? 30 : 2);
  return rng.chance(row.sized ? 28 : 2);
}

/**
 * @param {import("./prng.mjs").Prng} rng
 * @param {import("./types.js").Row} row
 * @param {number} mode
 */
function chooseWide(rng, row, mode) {
  if (mode !== 64) return false;
  // REX.W makes other instructions of these.
  const y =
    row.type === "y" ||
    row.operands.some((/** @type {{ suffix: string; }} */ o) => o.suffix === "y");
  return rng.chance(y ? 50 : row.sized ? 38 : 6);
}

/** Whether ModRM.rm is a register whatever ModRM.mod says: MOV to and from control and debug registers. */
const ignoresMod = (/** @type {import("./types.js").Row} */ row) =>
  row.form === undefined &&
  row.operands.some(
    (/** @type {import("./types.js").Operand} */ operand) => operand.letter === "R",
  );

/**
 * Whether the operand in ModRM.rm or the register of a row is written (approximately: the first one is).
 * @param {import("./types.js").Row} row
 * @param {import("./types.js").Operand} operand
 */
function destination(row, operand) {
  if (row.operands[0] === operand) return true;
  return /^(xchg|xadd)$/.test(row.mnemonic);
}

/**
 * A register number for a general operand; in sequences never one that must keep its value.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./prng.mjs").Prng} rng
 * @param {import("./types.js").Row} row
 * @param {import("./types.js").Operand} operand
 * @param {import("./types.js").Rex} rex
 */
function generalRegister(setup, rng, row, operand, rex) {
  const byte = operand.suffix === "b" || operand.suffix.startsWith("b");
  for (let tries = 0; ; tries++) {
    const n = rng.below(setup.registers);
    if (tries > 20) return 0;
    const real = byte && !rex.forced && n < 8 ? n & 3 : n;
    if (!destination(row, operand) || (setup.writable(real) && setup.writable(n))) return n;
  }
}

/**
 * One encoded instruction, its operands steered by changes to `setup`.
 * @param {import("./setup.mjs").Setup} setup
 * @returns {Insn | undefined} the instruction, or undefined when this row is not for this case
 * @param {import("./types.js").Row} row
 */
export function encode(setup, row) {
  const { rng, mode } = setup;
  const rex = { forced: false, w: chooseWide(rng, row, mode), r: 0, x: 0, b: 0 };
  rex.forced = mode === 64 && rng.chance(12);
  const o66 = choose66(setup, row) && !(row.flags.has("d64") && rex.w);
  const osize = row.type === "b" ? 1 : operandSize(row, mode, o66, rex.w);
  const wide = rex.w;
  /** @type {Insn} */
  const insn = {
    row,
    mode,
    osize,
    wide,
    rep: "",
    segment: undefined,
    mem: undefined,
    reg: 0,
    rm: 0,
    imm: 0n,
    fix: undefined,
    effects: row.effects,
    bytes: [],
    isMem: false,
    lock: false,
    memSize: 0,
    branch: false,
    leeway: {},
    last: false,
    address: 0,
  };

  const mem =
    row.modrm &&
    row.form !== "reg" &&
    !ignoresMod(row) &&
    (row.form === "mem" || row.flags.has("lock")
      ? rng.chance(65) || row.form === "mem"
      : rng.chance(50));
  const lock = mem && row.flags.has("lock") && rng.chance(25);
  if (row.string) insn.rep = rng.pick(["", "", "f3", "f3", "f2"]);
  insn.lock = lock;
  insn.isMem = mem;
  const plan = steer(setup, insn);
  if (plan.skip) return undefined;
  insn.last = plan.last === true;
  insn.leeway = row.mmx ? { ...plan, mmx: true } : plan;

  let modrm = -1;
  /** @type {number[]} */
  let tail = [];
  let a67 = false;
  if (row.modrm) {
    modrm = chooseReg(setup, row, insn, rex, plan) << 3;
    if (mem) {
      const m = chooseMemory(setup, row, insn, rex, lock, plan);
      modrm |= m.modrm;
      tail = m.tail;
      a67 = m.a67;
      insn.segment = m.seg;
      insn.mem = m;
    } else {
      const rm =
        row.rm ??
        (row.gaps ? rng.pick(row.gaps) : undefined) ??
        plan.rm ??
        chooseRm(setup, row, rex);
      insn.rm = rm;
      rex.b = rm >> 3;
      modrm |= (ignoresMod(row) ? rng.below(4) << 6 : 0xc0) | (rm & 7);
    }
  }
  let opcode = row.opcode;
  if (row.plus) {
    const operand = row.operands.find((o) => o.letter === "Z") ??
      row.operands[0] ?? { text: "", letter: "", suffix: "v" };
    const n = plan.rm ?? generalRegister(setup, rng, row, operand, rex);
    insn.rm = n;
    // 90 alone is NOP; F3 90 is PAUSE. Both are fine without REX.B.
    opcode += n & 7;
    rex.b = n >> 3;
  }
  if (!row.modrm && (row.string || row.mnemonic === "xlat" || row.imm === "moffs")) {
    if (plan.segment !== undefined) insn.segment = plan.segment;
    a67 = plan.a67 ?? false;
  } else if (plan.a67) a67 = true;

  const immediate = immediateBytes(setup, row, insn, a67, plan);
  insn.effects = finalEffects(row, insn, plan);
  const bytes = prefixBytes(setup, row, insn, { o66, a67, lock, rex });
  bytes.push(...(MAP_BYTES[row.map] ?? []), opcode);
  if (modrm >= 0) {
    bytes.push(modrm);
    if (insn.mem?.rip)
      insn.fix = { at: bytes.length, bytes: 4, kind: "rip", target: insn.mem.target, a67 };
    else if (insn.mem) tail = insn.mem.tail;
    bytes.push(...tail);
  }
  if (insn.branch) insn.fix = { at: bytes.length, bytes: immediate.length, kind: "rel" };
  bytes.push(...immediate);
  insn.bytes = bytes;
  return insn;
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Row} row
 * @param {import("./types.js").Insn} insn
 * @param {import("./types.js").Rex} rex
 * @param {import("./types.js").Plan} plan
 */
function chooseReg(setup, row, insn, rex, plan) {
  const { rng, mode } = setup;
  if (row.digit !== undefined) {
    if (mode === 64) rex.r = rng.chance(5) ? 1 : 0;
    return row.digit;
  }
  if (plan.reg !== undefined) {
    rex.r = plan.reg >> 3;
    insn.reg = plan.reg;
    return plan.reg & 7;
  }
  const operand = row.operands.find((o) => "GVPSCD".includes(o.letter) && o.letter !== "");
  let n = rng.below(mode === 64 ? 16 : 8);
  if (operand?.letter === "G") n = generalRegister(setup, rng, row, operand, rex);
  else if (operand?.letter === "P") n = rng.below(8) | (mode === 64 && rng.chance(10) ? 8 : 0);
  insn.reg = n;
  rex.r = n >> 3;
  return n & 7;
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Row} row
 * @param {import("./types.js").Rex} rex
 */
function chooseRm(setup, row, rex) {
  const { rng, mode } = setup;
  const operand = row.operands.find((o) => "EWQURNM".includes(o.letter) && o.letter !== "");
  if (!operand || row.x87) return rng.below(8) | (mode === 64 && rng.chance(4) ? 8 : 0);
  if (operand.letter === "E" || operand.letter === "R" || operand.letter === "M")
    return generalRegister(setup, rng, row, operand, rex);
  if (operand.letter === "Q" || operand.letter === "N")
    return rng.below(8) | (mode === 64 && rng.chance(10) ? 8 : 0);
  return rng.below(mode === 64 ? 16 : 8);
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Row} row
 * @param {import("./types.js").Insn} insn
 * @param {import("./types.js").Rex} rex
 * @param {boolean} lock
 * @param {import("./types.js").Plan} plan
 */
function chooseMemory(setup, row, insn, rex, lock, plan) {
  const operand = row.operands.find((o) => "EMWQ".includes(o.letter) && o.letter !== "") ??
    row.operands.find((o) => /^m\d/.test(o.text)) ?? { text: "", letter: "M", suffix: "" };
  const size = plan.memBytes ?? operandBytes(row, operand, insn.osize, insn.wide);
  insn.memSize = size;
  const locked = lock || LINE_LOCKED.test(row.mnemonic);
  const align = plan.align ?? (row.simd && size === 16 ? 16 : 0);
  const { target } = plan;
  const place = target === undefined ? {} : { target };
  const m = memoryOperand(setup, { size, align, locked, ...place });
  rex.x = m.x;
  rex.b = m.b;
  const at = Number(m.target);
  if (plan.memory) plan.memory(at, size);
  else if (setup.rng.chance(85)) setup.patchKind(at, size, plan.kind ?? kindOf(row, size));
  return m;
}

/**
 * Kind of operand values that suits a row.
 * @param {import("./types.js").Row} row
 * @param {number} size
 */
export function kindOf(row, size) {
  if (/(ps|ss)$/.test(row.mnemonic) || /(pi2ps|ps2|ss2)/.test(row.mnemonic)) return "f4";
  if (/(pd|sd)$/.test(row.mnemonic) || /(pd2|sd2)/.test(row.mnemonic)) return "f8";
  if (row.x87) {
    if (/^fb/.test(row.mnemonic)) return "bcd";
    if (/^fi/.test(row.mnemonic)) return size === 2 ? "i2" : size === 4 ? "i4" : "i8";
    return size === 4 ? "f4" : size === 8 ? "f8" : size === 10 ? "f10" : "raw";
  }
  return size === 1 ? "i1" : size === 2 ? "i2" : size === 4 ? "i4" : "i8";
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Row} row
 * @param {import("./types.js").Insn} insn
 * @param {boolean} a67
 * @param {import("./types.js").Plan} plan
 */
function immediateBytes(setup, row, insn, a67, plan) {
  const { rng, mode } = setup;
  const { osize } = insn;
  const random = (/** @type {number} */ n) => littleEndian(interestingInt(rng, n), n);
  switch (row.imm) {
    case "none":
      return [];
    case "ib":
      insn.imm = plan.imm !== undefined ? BigInt(plan.imm) : interestingInt(rng, 1);
      return littleEndian(insn.imm, 1);
    case "iw":
      return littleEndian(plan.imm !== undefined ? BigInt(plan.imm) : interestingInt(rng, 2), 2);
    case "iz":
      return random(Math.min(osize, 4));
    case "id":
      return random(4);
    case "iv":
      return plan.imm !== undefined ? littleEndian(plan.imm, osize) : random(osize);
    case "iwib":
      return [...littleEndian(BigInt(plan.imm ?? 0), 2), plan.level ?? 0];
    case "rel8":
      insn.branch = true;
      return [0];
    case "relz":
      insn.branch = true;
      return osize === 2 ? [0, 0] : [0, 0, 0, 0];
    case "far":
      return [...littleEndian(plan.offset ?? 0n, osize), ...littleEndian(plan.selector ?? 0n, 2)];
    case "moffs":
      return littleEndian(
        plan.offset ?? 0n,
        mode === 64 ? (a67 ? 4 : 8) : (mode === 32) !== a67 ? 4 : 2,
      );
    default:
      throw new Error(`no generator for immediate ${row.imm} of "${row.text}"`);
  }
}

/**
 * @param {import("./types.js").Row} row
 * @param {import("./types.js").Insn} insn
 * @param {import("./types.js").Plan} plan
 */
function finalEffects(row, insn, plan) {
  if (!/^(rol|ror|rcl|rcr|shl|sal|shr|sar|shld|shrd)$/.test(row.mnemonic) || row.map > 1)
    return row.effects;
  const last = row.operands[row.operands.length - 1]?.text;
  const size = insn.osize * 8;
  const mask = size === 64 ? 63 : 31;
  let count;
  if (last === "1") count = 1;
  else if (last === "CL") count = plan.count === undefined ? undefined : plan.count & mask;
  else count = Number(insn.imm & 255n) & mask;
  return shiftEffects(row.mnemonic, count, size);
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Row} row
 * @param {import("./types.js").Insn} insn
 * @param {{ o66: boolean, a67: boolean, lock: boolean, rex: import("./types.js").Rex }} choice
 */
function prefixBytes(setup, row, insn, { o66, a67, lock, rex }) {
  const { rng, mode } = setup;
  /** @type {number[]} */
  const list = [];
  if (o66) list.push(0x66);
  if (a67) list.push(0x67);
  if (lock) list.push(0xf0);
  if (insn.rep !== "") list.push(insn.rep === "f3" ? 0xf3 : 0xf2);
  if (insn.segment !== undefined) list.push(SEGMENT_PREFIX[insn.segment] ?? 0);
  if (row.prefix !== undefined) list.push(...MANDATORY[row.prefix]);
  if (/^(loop|jcxz|jcc|jmp|call|ret)/.test(row.mnemonic) && rng.chance(15))
    list.push(rng.pick([0xf2, 0xf3]));
  // LOCK where it is not allowed; hints that nothing heeds.
  if (!lock && rng.chance(0.4) && !/^(nop|prefetch)/.test(row.mnemonic)) list.push(0xf0);
  else if (mode === 64 && insn.segment === undefined && rng.chance(1))
    list.push(rng.pick([0x26, 0x2e, 0x36, 0x3e]));
  for (let i = list.length - 1; i > 0; i--) {
    const k = rng.below(i + 1);
    [list[i], list[k]] = [list[k] ?? 0, list[i] ?? 0];
  }
  if (mode !== 64) return list;
  const value = 0x40 | (rex.w ? 8 : 0) | (rex.r << 2) | (rex.x << 1) | rex.b;
  if (value !== 0x40 || rex.forced) list.push(value);
  // REX not directly before the opcode means nothing.
  else if (list.length > 0 && list.length < 4 && rng.chance(1)) list.unshift(0x40 | rng.below(16));
  return list;
}
