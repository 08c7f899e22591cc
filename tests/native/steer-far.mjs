// @ts-check
/** Plans (see steer.mjs) for far jumps, calls and returns: between 64-, 32- and 16-bit code too. */
import { CODE_AT, LDT_CODE16, STACK_AT, USER_CS, USER_DS, USER32_CS } from "./areas.mjs";
import { RSP } from "./setup.mjs";

/** Selectors that cannot be code for a program. */
const WRONG = [0, 3, USER_DS, 0x10, 0x18, 0x7f7];

/** An offset outside of 16-bit code. */
const FAR_OUT = 0x20000;

/**
 * A far target: a selector of code, most of the time, and INT3 at the offset.
 * @param {import("./setup.mjs").Setup} setup
 * @param {boolean} call
 */
function target(setup, call) {
  const { rng } = setup;
  let selector = rng.chance(85) ? rng.pick([USER_CS, USER32_CS, LDT_CODE16]) : rng.pick(WRONG);
  // Whether a call into 64-bit code pushes on the old stack segment or on a flat one is not said.
  if (call && setup.mode === 16 && selector === USER_CS) selector = USER32_CS;
  const linear = setup.landing() + (setup.mode === 16 ? CODE_AT : 0);
  const offset = rng.chance(4) ? FAR_OUT : selector === LDT_CODE16 ? linear - CODE_AT : linear;
  return { selector, offset };
}

/**
 * The frame of IRET: offset, selector, flags, and in 64-bit code the stack.
 * @param {import("./setup.mjs").Setup} setup
 * @param {{ selector: number, offset: number }} to
 */
function iretFrame(setup, { selector, offset }) {
  const { rng } = setup;
  const flags = 0x202 | (rng.u32() & 0xcd5);
  // One mistake at a time: which is found first depends on the processor.
  const right = [USER_CS, USER32_CS, LDT_CODE16].includes(selector) && offset !== FAR_OUT;
  const values = [offset, selector, flags];
  if (setup.mode === 64)
    values.push(
      STACK_AT + 0x800 + rng.below(64) * 8,
      rng.chance(90) || !right ? USER_DS : rng.pick([0, USER_CS, 0x18]),
    );
  return values;
}

/**
 * The plan for a far transfer.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 * @returns {import("./types.js").Plan}
 */
export function farPlan(setup, insn) {
  const { row, osize } = insn;
  // AMD has no far pointers with 64-bit offsets (APM vol. 3, CALL and JMP far), Intel has.
  if (!setup.single || (insn.isMem && insn.wide)) return { skip: true };
  // In which order and width the parts of a frame are read depends on the processor.
  setup.centreStack();
  setup.pinned[RSP] = 1;
  const to = target(setup, row.mnemonic === "call");
  if (row.imm === "far")
    return { last: true, fragile: true, offset: BigInt(to.offset), selector: BigInt(to.selector) };
  if (insn.isMem) {
    return {
      last: true,
      fragile: true,
      anyMemoryFault: true,
      memBytes: osize + 2,
      /** @param {number} at */
      memory(at) {
        setup.patchInt(
          at,
          BigInt(to.offset) | (BigInt(to.selector) << BigInt(osize * 8)),
          osize + 2,
        );
      },
    };
  }
  const values = row.mnemonic === "iret" ? iretFrame(setup, to) : [to.offset, to.selector];
  const frame = values.reduce(
    (all, value, i) => all | (BigInt.asUintN(osize * 8, BigInt(value)) << BigInt(8 * osize * i)),
    0n,
  );
  setup.patchInt(setup.stackTop(), frame, osize * values.length);
  return { last: true, anyMemoryFault: true, imm: setup.rng.below(64) };
}
