// @ts-check
/** Plans (see steer.mjs) for instructions that load segment registers. */
import {
  LDT_CODE16,
  LDT_DATA16,
  LDT_EXPAND_DOWN,
  LDT_LIMITED,
  LDT_STACK16,
  RO_AT,
  STACK_AT,
  USER_CS,
  USER_DS,
  USER32_CS,
} from "./areas.mjs";
import { RSP } from "./setup.mjs";

/** Selectors whose descriptors are the same on every Linux, and the null ones. */
const SELECTORS = [
  0,
  1,
  3,
  USER_DS,
  USER_DS,
  USER_DS,
  USER32_CS,
  USER_CS,
  0x28,
  0x10,
  0x18,
  LDT_DATA16,
  LDT_STACK16,
  LDT_CODE16,
  LDT_LIMITED,
  LDT_EXPAND_DOWN,
  0x7f7,
];

const SEGMENT_NAMES = ["ES", "CS", "SS", "DS", "FS", "GS"];

/**
 * A selector for a segment register (by number).
 * @param {import("./setup.mjs").Setup} setup
 * @param {number} seg
 */
function selector(setup, seg) {
  const { rng } = setup;
  if (seg === 2 && rng.chance(70)) return setup.seg[2] ?? 0;
  return rng.pick(SELECTORS);
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function loadPlan(setup, insn) {
  const { rng } = setup;
  if (!setup.single) return { skip: true };
  const reg = rng.chance(90) ? rng.pick([0, 2, 3, 4, 5]) : rng.pick([1, 6, 7]);
  const value = selector(setup, reg);
  if (insn.isMem)
    return { reg, memBytes: 2, memory: (/** @type {number} */ at) => setup.patchInt(at, value, 2) };
  const rm = rng.below(setup.registers);
  setup.want(rm, (setup.reg(rm) & ~0xffffn) | BigInt(value));
  return { reg, rm };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 * @param {number} seg
 */
function farPointerPlan(setup, insn, seg) {
  if (!setup.single) return { skip: true };
  // AMD has no far pointers with 64-bit offsets (APM vol. 3, LFS), Intel has: vendor.mjs.
  const offset = Math.min(insn.osize, 4);
  return {
    memBytes: offset + 2,
    anyMemoryFault: true,
    memory: (/** @type {number} */ at) => {
      setup.patchInt(at, setup.rng.u64(), offset);
      setup.patchInt(at + offset, selector(setup, seg), 2);
    },
  };
}

/**
 * LAR and the others look at a descriptor.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function inspectPlan(setup, insn) {
  const { rng } = setup;
  const value = rng.pick(SELECTORS);
  if (insn.isMem)
    return { memBytes: 2, memory: (/** @type {number} */ at) => setup.patchInt(at, value, 2) };
  if (!setup.single) return { skip: true };
  const rm = rng.below(setup.registers);
  setup.want(rm, (setup.reg(rm) & ~0xffffn) | BigInt(value));
  return { rm };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {number} seg
 */
function popPlan(setup, seg) {
  if (!setup.single) return { skip: true };
  // Some processors read only the selector's two bytes, so all of the operand is there.
  setup.centreStack();
  setup.pinned[RSP] = 1;
  const base = setup.mode === 16 ? STACK_AT : 0;
  const top = base + Number(setup.mode === 16 ? setup.reg(RSP) & 0xffffn : setup.reg(RSP));
  if (top > RO_AT) setup.patchInt(top, selector(setup, seg), 2);
  return {};
}

/**
 * The plan for an instruction that loads or stores a segment register; undefined for others.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 * @returns {import("./types.js").Plan | undefined}
 */
export function segmentPlans(setup, insn) {
  const { row } = insn;
  const [first, second] = row.operands;
  if (row.mnemonic === "mov" && first?.letter === "S") return loadPlan(setup, insn);
  if (row.mnemonic === "mov" && second?.letter === "S") return insn.isMem ? { memBytes: 2 } : {};
  if (/^(lar|lsl|verr|verw)$/.test(row.mnemonic)) return inspectPlan(setup, insn);
  const far = /^l([defgs])s$/.exec(row.mnemonic);
  if (far) return farPointerPlan(setup, insn, "e sdfg".indexOf(far[1] ?? ""));
  if (row.mnemonic === "pop" && first !== undefined && SEGMENT_NAMES.includes(first.text))
    return popPlan(setup, SEGMENT_NAMES.indexOf(first.text));
  return undefined;
}
