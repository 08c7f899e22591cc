// @ts-check
/**
 * Operands for instructions that random ones would not suit: counts, divisors, implicit registers,
 * stack contents, branch targets. steer() looks the instruction up and answers with a plan for
 * encode(); all members are optional:
 *
 *   rm, reg   register numbers for ModRM.rm (or the opcode) and ModRM.reg
 *   imm, level, offset      immediate, ENTER's second one, address of MOV with an offset
 *   target, align, memBytes where a memory operand is to be, its alignment and size
 *   memory(at, size), kind  fills the memory operand, or says with what
 *   count     value of CL, when it is known
 *   segment, a67            overrides for instructions without ModRM
 *   fragile   memory is not compared when the instruction faults: processors write part of it or not
 *   anyMemoryFault  parts of the operand are touched in different orders by processors: when it
 *             lies across a border, any of #SS, #GP and #PF will do, with any CR2
 *   skip      this row is not for this case         last   nothing sensible can follow
 */
import {
  CODE_AT,
  CODE_BYTES,
  DATA_AT,
  DATA_BYTES,
  initialBase,
  PAGE,
  RO_AT,
  STACK_AT,
  STACK_BYTES,
} from "./areas.mjs";
import { RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP } from "./setup.mjs";
import { farPlan } from "./steer-far.mjs";
import { floatPlans } from "./steer-float.mjs";
import { segmentPlans } from "./steer-segment.mjs";
import { interestingInt } from "./values.mjs";

/**
 * Where a near jump through a register or memory goes.
 * @param {import("./setup.mjs").Setup} setup
 */
function jumpTarget(setup) {
  const { rng } = setup;
  if (rng.chance(setup.single ? 85 : 95)) return BigInt(setup.landing());
  if (rng.chance(30) && setup.mode === 64)
    return rng.pick([0x800000000000n, 0xffff7fffffffffffn, rng.u64()]);
  return BigInt(rng.pick([DATA_AT + 64, CODE_AT + CODE_BYTES, CODE_AT - 2, RO_AT]));
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {number} at
 * @param {number | bigint} value
 * @param {number} bytes
 */
const patchInt = (setup, at, value, bytes) => setup.patchInt(at, value, bytes);

/**
 * @param {import("./setup.mjs").Setup} setup
 */
function useStack(setup) {
  setup.pinned[RSP] = 1;
}

/**
 * Address size in bits for an instruction without ModRM.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Plan} plan
 */
function implicitAddress(setup, plan) {
  const { rng, mode } = setup;
  plan.a67 = rng.chance(mode === 64 ? 10 : mode === 32 ? 1 : 30);
  if (mode === 64) return plan.a67 ? 32 : 64;
  return (mode === 32) !== plan.a67 ? 32 : 16;
}

/**
 * Puts an address into a register: as an offset from the segment's base, upper bits as they are.
 * @param {import("./setup.mjs").Setup} setup
 * @param {number} r
 * @param {number} address
 * @param {number} seg
 * @param {number} asize
 */
function pointTo(setup, r, address, seg, asize) {
  const offset = BigInt.asUintN(asize, BigInt(address) - initialBase(setup.mode, seg));
  const keep = setup.rng.chance(50)
    ? BigInt.asUintN(64, setup.reg(r) >> BigInt(asize)) << BigInt(asize)
    : 0n;
  setup.want(r, asize === 64 ? offset : offset | keep);
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function stringPlan(setup, insn) {
  const { rng } = setup;
  const plan = {};
  const asize = implicitAddress(setup, plan);
  // Which of the two operands is touched first depends on the processor: of AMD's, some do as KVM and the
  // engine, [rSI] first, others (family 19h, model 1) begin with [rDI].
  if (insn.row.mnemonic.startsWith("cmps")) plan.anyMemoryFault = true;
  const size = insn.osize;
  if (rng.chance(10)) plan.segment = rng.pick([0, 1, 2, 3, 4, 5]);
  const counts = setup.single
    ? [
        0,
        1,
        2,
        3,
        rng.below(40),
        rng.below(40),
        rng.below(300),
        rng.below(300),
        rng.below(6000),
        rng.u32(),
      ]
    : [0, 1, 2, 3, rng.below(20)];
  const count = insn.rep === "" ? 1 : rng.pick(counts);
  const keep =
    asize === 64 ? 0n : BigInt.asUintN(64, setup.reg(RCX) >> BigInt(asize)) << BigInt(asize);
  setup.want(RCX, BigInt.asUintN(asize, BigInt(count)) | keep);
  const bytes = Math.min(count * size, 0x2000);
  const place = () => {
    const kind = rng.below(20);
    if (kind < 13) return DATA_AT + bytes + rng.below(Math.max(16, RO_AT - DATA_AT - 2 * bytes));
    if (kind < 17) return DATA_AT + PAGE * rng.range(1, 2) + rng.range(-40, 40);
    if (kind < 18 && setup.single) return RO_AT - rng.below(64);
    if (kind < 19 && setup.single) return DATA_AT + DATA_BYTES - rng.below(64);
    return DATA_AT + rng.below(64);
  };
  const from = place();
  const to = rng.chance(25) ? from + rng.range(-20, 20) : place();
  const backwards = (setup.rflags & 0x400) !== 0;
  pointTo(setup, RSI, from, plan.segment ?? 3, asize);
  pointTo(setup, RDI, to, 0, asize);
  if (/^(cmps|scas)/.test(insn.row.mnemonic) && rng.chance(60)) {
    // Equal contents, so that a comparison goes on for a while.
    const byte = rng.below(256);
    const pattern = new Uint8Array(120).fill(byte);
    if (rng.chance(60)) pattern[rng.below(120)] = byte ^ (1 << rng.below(8));
    setup.patchBytes(backwards ? from - 100 : from, pattern);
    if (rng.chance(90)) pattern.fill(byte);
    if (insn.row.mnemonic.startsWith("cmps")) setup.patchBytes(backwards ? to - 100 : to, pattern);
    else {
      setup.patchBytes(backwards ? to - 100 : to, pattern);
      setup.want(RAX, 0x0101010101010101n * BigInt(byte));
    }
  }
  return plan;
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function divPlan(setup, insn) {
  const { rng } = setup;
  if (!setup.single && rng.chance(70)) return { skip: true };
  const bits = insn.osize * 8;
  const signed = insn.row.mnemonic === "idiv";
  if (insn.osize === 1) {
    if (rng.chance(60))
      setup.want(
        RAX,
        (setup.reg(RAX) & ~0xffffn) |
          BigInt(signed ? rng.range(-128, 127) & 0xffff : rng.below(1024)),
      );
  } else if (rng.chance(70)) {
    const negative = signed && rng.chance(50);
    const high = rng.chance(60) ? 0n : BigInt(rng.below(1 << rng.range(1, 15)));
    setup.want(RDX, BigInt.asUintN(bits, negative ? -1n - high : high));
    if (negative && high === 0n && rng.chance(60))
      setup.want(RAX, setup.reg(RAX) | (1n << BigInt(bits - 1)));
  }
  return {};
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function shiftPlan(setup, insn) {
  const { rng } = setup;
  const { row, osize } = insn;
  const last = row.operands[row.operands.length - 1]?.text;
  const double = /^sh[lr]d$/.test(row.mnemonic);
  // The result of a 16-bit SHLD by more than 16 is undefined (Intel SDM vol. 2, SHLD).
  const most = double && osize === 2 ? 16 : 255;
  const count = rng.chance(70) ? rng.below(Math.min(most + 1, 66)) : rng.range(0, most);
  if (last === "Ib") return { imm: count };
  if (last !== "CL") return {};
  if (!setup.single) return double && osize === 2 ? { skip: true } : {};
  setup.want(RCX, (setup.reg(RCX) & ~0xffn) | BigInt(count));
  return { count: Number(setup.reg(RCX) & 0xffn) };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function bitStringPlan(setup, insn) {
  const { rng } = setup;
  if (insn.row.operands[1]?.letter !== "G" || !insn.isMem) return {};
  const align = insn.lock ? insn.osize : 0;
  if (!setup.single) return { reg: setup.small, align };
  const reg = rng.below(setup.registers);
  const far = insn.osize === 2 ? 0x1fff : 0x3fff;
  if (rng.chance(90))
    setup.want(
      reg,
      BigInt.asUintN(insn.osize * 8, BigInt(rng.range(-far, far))) |
        (insn.osize === 2 ? setup.reg(reg) & ~0xffffn : 0n),
    );
  return {
    reg,
    align,
    target: DATA_AT + PAGE + rng.range(0, 255) * 8 + (insn.lock ? 0 : rng.below(8)),
  };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 */
function cmpxchgPlan(setup) {
  const { rng } = setup;
  if (!rng.chance(55)) return {};
  return {
    /**
     * @param {number} at
     * @param {number} size
     */
    memory(at, size) {
      const value = interestingInt(rng, size);
      patchInt(setup, at, value, size);
      const mask = BigInt.asUintN(size * 8, -1n);
      setup.want(RAX, size === 4 && rng.chance(50) ? value : (setup.reg(RAX) & ~mask) | value);
    },
  };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function cmpxchg2Plan(setup, insn) {
  const { rng } = setup;
  return {
    align: insn.wide ? 16 : 8,
    /**
     * @param {number} at
     * @param {number} size
     */
    memory(at, size) {
      const half = size / 2;
      const [low, high] = [interestingInt(rng, half), interestingInt(rng, half)];
      patchInt(setup, at, low, half);
      patchInt(setup, at + half, high, half);
      if (rng.chance(60)) {
        setup.want(RAX, low);
        setup.want(RDX, high);
      }
    },
  };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 */
function boundPlan(setup) {
  const { rng } = setup;
  return {
    // Whether the second bound is read when the first has failed depends on the processor.
    target: rng.chance(95) ? DATA_AT + 8 * rng.below(0x200) : DATA_AT - PAGE,
    /**
     * @param {number} at
     * @param {number} size
     */
    memory(at, size) {
      const half = size / 2;
      const low = rng.range(-1000, 1000);
      patchInt(setup, at, low, half);
      patchInt(setup, at + half, low + rng.range(-10, 3000), half);
      for (let r = 0; r < 8; r++)
        if (!setup.pinned[r] && rng.chance(70))
          setup.gpr[r] = BigInt.asUintN(32, BigInt(rng.range(-1200, 3000)));
    },
  };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function jumpPlan(setup, insn) {
  const { rng } = setup;
  useStack(setup);
  const target = jumpTarget(setup);
  if (insn.isMem)
    return {
      last: true,
      memory: (/** @type {number} */ at, /** @type {number} */ size) =>
        patchInt(setup, at, target, size),
    };
  for (let tries = 0; tries < 20; tries++) {
    const rm = rng.below(setup.registers);
    if (setup.pinned[rm] || rm === RSP) continue;
    setup.want(rm, target);
    return { last: true, rm };
  }
  return { skip: true };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function retPlan(setup, insn) {
  if (setup.single) {
    useStack(setup);
    if (setup.rng.chance(90)) patchInt(setup, setup.stackTop(), jumpTarget(setup), insn.osize);
  }
  return { last: true, imm: setup.rng.chance(70) ? setup.rng.below(64) : undefined };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 */
function enterPlan(setup) {
  const { rng } = setup;
  useStack(setup);
  if (!setup.writable(RBP)) return { skip: true };
  const frame = STACK_AT + PAGE + rng.range(-60, 60) * 8;
  setup.want(RBP, BigInt(setup.mode === 16 ? frame - STACK_AT : frame));
  return {
    fragile: true,
    imm: rng.chance(85) ? rng.below(200) : rng.below(0x10000),
    level: rng.pick([0, 0, 0, 1, 1, 2, 3, 7, 31, rng.below(256)]),
  };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 */
function leavePlan(setup) {
  const { rng } = setup;
  if (!setup.writable(RBP)) return { skip: true };
  const frame = STACK_AT + rng.range(0, STACK_BYTES / 8) * 8 + (rng.chance(10) ? rng.below(8) : 0);
  setup.want(RBP, BigInt(setup.mode === 16 ? frame - STACK_AT : frame));
  return { last: true };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function popfPlan(setup, insn) {
  const { rng } = setup;
  useStack(setup);
  let value = rng.u32() & 0xcd5;
  if (rng.chance(40)) value |= rng.u32() & 0x3070f0;
  if (rng.chance(setup.single ? 5 : 2)) value |= 0x100;
  // Alignment checks would end most sequences at the next access.
  if (!setup.single || rng.chance(70)) value &= ~0x40000;
  if (setup.single) patchInt(setup, setup.stackTop(), value, insn.osize);
  // Whatever lies on the stack would be loaded: the case's image keeps AC and TF rare there.
  return setup.single ? {} : { last: true };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 */
function loopPlan(setup) {
  const { rng, mode } = setup;
  setup.want(
    RCX,
    rng.chance(70)
      ? BigInt(rng.below(3))
      : rng.pick([0x10000n, 0x100000000n, 0x10001n, 0x100000001n, 0xffffffffn]),
  );
  return { a67: rng.chance(mode === 64 ? 20 : 10) };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function moffsPlan(setup, insn) {
  const { rng, mode } = setup;
  const plan = {};
  const asize = implicitAddress(setup, plan);
  if (rng.chance(10)) plan.segment = rng.pick([0, 1, 2, 3, 4, 5]);
  const base = initialBase(mode, plan.segment ?? 3);
  const at = rng.chance(90) ? DATA_AT + rng.below(DATA_BYTES) : DATA_AT - rng.range(1, 8);
  plan.offset = rng.chance(98)
    ? BigInt.asUintN(asize, BigInt(at) - base)
    : BigInt.asUintN(asize, rng.u64());
  setup.patchKind(at, insn.osize, `i${insn.osize}`);
  return plan;
}

/**
 * @param {import("./setup.mjs").Setup} setup
 */
function xlatPlan(setup) {
  const { rng } = setup;
  const plan = {};
  const asize = implicitAddress(setup, plan);
  if (rng.chance(10)) plan.segment = rng.pick([0, 1, 2, 3, 4, 5]);
  pointTo(setup, RBX, DATA_AT + rng.below(DATA_BYTES - 128), plan.segment ?? 3, asize);
  return plan;
}

const stackPlan = (/** @type {import("./setup.mjs").Setup} */ setup) => {
  useStack(setup);
  return {};
};

/**
 * POPA that faults halfway has loaded some registers or none.
 * @param {import("./setup.mjs").Setup} setup
 */
function popaPlan(setup) {
  if (setup.single) setup.centreStack();
  useStack(setup);
  return setup.single ? {} : { skip: true };
}

/**
 * PUSH of a segment register.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function pushPlan(setup, insn) {
  useStack(setup);
  if (!/^[CDEFGS]S$/.test(insn.row.operands[0]?.text ?? "") || insn.osize !== 4) return {};
  // With 32 bits, Intel writes the lower 16 only (SDM vol. 2, PUSH), AMD all of them: vendor.mjs.
  return setup.single ? {} : { skip: true };
}

/** @type {import("./types.js").PlanRow[]} */
const PLANS = [
  [/^(movs|cmps|stos|lods|scas)[bwdq]?$/, stringPlan],
  [/^(div|idiv)$/, divPlan],
  [/^(rol|ror|rcl|rcr|shl|sal|shr|sar|shld|shrd)$/, shiftPlan],
  [/^(bt|bts|btr|btc)$/, bitStringPlan],
  [/^cmpxchg$/, cmpxchgPlan],
  [/^cmpxchg(8|16)b$/, cmpxchg2Plan],
  [/^bound$/, boundPlan],
  [/^ret$/, retPlan],
  [/^enter$/, enterPlan],
  [/^leave$/, leavePlan],
  [/^popf/, popfPlan],
  [/^push$/, pushPlan],
  [/^pusha/, (setup) => ({ ...stackPlan(setup), fragile: true })],
  [
    /^int$/,
    (setup) => ({ last: true, imm: setup.rng.pick([3, 4, 0, 1, 5, 13, setup.rng.below(0x80)]) }),
  ],
  [/^(int1|int3|into)$/, () => ({ last: true })],
  [/^popa/, popaPlan],
  [/^(pop|pushf)[adq]?$/, stackPlan],
  [/^(loop|loope|loopne|loopz|loopnz|jcxz|jecxz|jrcxz)$/, loopPlan],
  [/^xlat/, xlatPlan],
  [
    /^aam$/,
    (setup) => ({
      imm: setup.rng.pick([setup.single ? 0 : 10, 10, 10, 10, 16, setup.rng.range(1, 255)]),
    }),
  ],
  [/^aad$/, (setup) => ({ imm: setup.rng.pick([10, 10, 10, 16, setup.rng.below(256)]) })],
  [/^ud[012]$/, () => ({ last: true })],
];

/**
 * The plan for an instruction; see above.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 * @returns {import("./types.js").Plan}
 */
export function steer(setup, insn) {
  const { row } = insn;
  if (/^(jmp|call|retf|iret)$/.test(row.mnemonic) && (row.family === "far" || row.imm === "far"))
    return farPlan(setup, insn);
  if (/^(jmp|call)$/.test(row.mnemonic)) {
    if (row.modrm && row.operands[0]?.letter === "E") return jumpPlan(setup, insn);
    useStack(setup);
    return {};
  }
  if (row.imm === "moffs") return moffsPlan(setup, insn);
  const segment = segmentPlans(setup, insn);
  if (segment !== undefined) return segment;
  if (row.map < 2 || !row.simd) {
    for (const [pattern, plan] of PLANS)
      if (pattern.test(row.mnemonic) && !row.simd && !row.mmx) return plan(setup, insn);
  }
  return floatPlans(setup, insn) ?? {};
}
