// @ts-check
/** Plans (see steer.mjs) for x87, MMX and SSE instructions. */
import { initialBase } from "./areas.mjs";
import { chooseTarget } from "./memory-operand.mjs";
import { RAX, RDI, RDX } from "./setup.mjs";
import { interestingF80, putF80, putInt } from "./values.mjs";

/**
 * MXCSR as programs load it; sometimes with a reserved bit (not 17: AMD gives it a meaning).
 * @param {import("./prng.mjs").Prng} rng
 */
function mxcsrValue(rng) {
  const value = (rng.chance(70) ? 0x1f80 : 0) | (rng.u32() & 0xffff);
  return (rng.chance(8) ? value | rng.pick([0x10000, 0x40000, 0x80000000]) : value) >>> 0;
}

/**
 * @param {import("./prng.mjs").Prng} rng
 */
function controlWord(rng) {
  if (rng.chance(10)) return rng.below(0x10000);
  return (
    0x40 |
    (rng.chance(80) ? 0x3f : rng.below(64)) |
    (rng.below(4) << 10) |
    (rng.pick([0, 2, 3]) << 8)
  );
}

/**
 * The environment of FLDENV and FRSTOR: control, status and tag words, the rest zero.
 * @param {import("./setup.mjs").Setup} setup
 * @param {number} at
 * @param {boolean} wide
 */
function environment(setup, at, wide) {
  const { rng } = setup;
  const step = wide ? 4 : 2;
  const place = setup.patchAt(at, step * 7);
  if (place < 0 || setup.blobUsed - place < step * 7) return;
  putInt(setup.blobView, place, BigInt(controlWord(rng)), 2);
  putInt(
    setup.blobView,
    place + step,
    BigInt(rng.below(0x10000) & (rng.chance(70) ? ~0x80bf : 0xffff)),
    2,
  );
  putInt(setup.blobView, place + 2 * step, BigInt(rng.chance(40) ? 0 : rng.below(0x10000)), 2);
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {number} at
 */
function registersImage(setup, at) {
  const place = setup.patchAt(at, 80);
  if (place < 0 || setup.blobUsed - place < 80) return;
  for (let i = 0; i < 8; i++) putF80(setup.blobView, place + 10 * i, interestingF80(setup.rng));
}

/**
 * x87 images depend on the operand size, 2 or 4 bytes.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function environmentPlan(setup, insn) {
  const wide = insn.osize !== 2;
  const state = /sav|rst/.test(insn.row.mnemonic);
  const bytes = (wide ? 28 : 14) + (state ? 80 : 0);
  const store = /^f(n?)s(av|tenv)/.test(insn.row.mnemonic);
  return {
    memBytes: bytes,
    fragile: true,
    anyMemoryFault: true,
    kind: "raw",
    memory: store
      ? () => {}
      : (/** @type {number} */ at) => {
          environment(setup, at, wide);
          if (state) registersImage(setup, at + (wide ? 28 : 14));
        },
  };
}

/**
 * The mask of MXCSR depends on the processor, and so does what is saved as the last x87 instruction
 * (AMD APM vol. 3, FXSAVE: only when an exception is pending).
 * @param {import("./setup.mjs").Setup} setup
 */
function fxsavePlan(setup) {
  return {
    memBytes: 512,
    align: 16,
    fragile: true,
    anyMemoryFault: true,
    /** @param {number} at */
    memory(at) {
      setup.ignore.push({ address: at + 6, length: 18 }, { address: at + 28, length: 4 });
    },
  };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 */
function fxrstorPlan(setup) {
  const { rng } = setup;
  return {
    memBytes: 512,
    anyMemoryFault: true,
    align: 16,
    /** @param {number} at */
    memory(at) {
      const place = setup.patchAt(at, 464);
      if (place < 0 || setup.blobUsed - place < 464) return;
      const { blobView } = setup;
      putInt(blobView, place, BigInt(controlWord(rng)), 2);
      putInt(blobView, place + 2, BigInt(rng.below(0x10000) & ~0x80bf), 2);
      putInt(blobView, place + 4, BigInt(rng.below(256)), 1);
      putInt(blobView, place + 24, BigInt(mxcsrValue(rng)), 4);
      for (let i = 0; i < 8; i++) putF80(blobView, place + 32 + 16 * i, interestingF80(rng));
      for (let i = 160; i < 416; i += 8) putInt(blobView, place + i, rng.u64(), 8);
    },
  };
}

/**
 * Whether bytes that the mask leaves out can fault depends on the processor (SDM vol. 2, MASKMOVDQU): vendor.mjs.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
function maskMovePlan(setup, insn) {
  const { rng, mode } = setup;
  if (!setup.single) return { skip: true };
  const plan = { a67: rng.chance(mode === 64 ? 10 : mode === 32 ? 0 : 30) };
  const asize = mode === 64 ? (plan.a67 ? 32 : 64) : (mode === 32) !== plan.a67 ? 32 : 16;
  const size = insn.row.simd ? 16 : 8;
  const target = chooseTarget(rng, size, 0, true, asize !== 64);
  setup.want(RDI, BigInt.asUintN(asize, BigInt(target) - initialBase(mode, 3)));
  return plan;
}

/**
 * @param {import("./setup.mjs").Setup} setup
 */
function stringComparePlan(setup) {
  const { rng } = setup;
  const length = () => (rng.chance(80) ? BigInt(rng.range(-18, 18)) : rng.u64());
  setup.want(RAX, length());
  setup.want(RDX, length());
  return { kind: "i1", align: 0 };
}

const valuePlan =
  (/** @type {(rng: import("./prng.mjs").Prng) => number} */ make, /** @type {number} */ bytes) =>
  (/** @type {import("./setup.mjs").Setup} */ setup) => ({
    memBytes: bytes,
    /** @param {number} at */
    memory(at) {
      const place = setup.patchAt(at, bytes);
      if (place >= 0 && setup.blobUsed - place === bytes)
        putInt(setup.blobView, place, BigInt(make(setup.rng)), bytes);
    },
  });

/** @type {import("./types.js").PlanRow[]} */
const PLANS = [
  [/^fldcw$/, valuePlan(controlWord, 2)],
  [/^ldmxcsr$/, valuePlan(mxcsrValue, 4)],
  [/^(fldenv|frstor|fn?stenv|fn?save)$/, environmentPlan],
  [/^fxrstor/, fxrstorPlan],
  [/^fxsave/, fxsavePlan],
  [/^maskmov(q|dqu)$/, maskMovePlan],
  [/^pcmp[ei]str[im]$/, stringComparePlan],
  // 16-byte operands that need no alignment.
  [/^(movups|movupd|movdqu|lddqu)$/, () => ({ align: 0 })],
];

/**
 * The plan for a floating-point or vector instruction; undefined when random operands will do.
 * @param {import("./setup.mjs").Setup} setup
 * @param {import("./types.js").Insn} insn
 */
export function floatPlans(setup, insn) {
  for (const [pattern, plan] of PLANS)
    if (pattern.test(insn.row.mnemonic)) return plan(setup, insn);
  return undefined;
}
