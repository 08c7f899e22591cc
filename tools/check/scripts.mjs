// @ts-check
/**
 * Scripts whose parameters have no types everywhere. tsconfig.scripts.json checks them all the same;
 * every other script says `@ts-check`, and is held to what TypeScript is held to. The list may only
 * get shorter.
 * @type {ReadonlySet<string>}
 */
export const OPEN_SCRIPTS = new Set([
  "tests/hostile/api.mjs",
  "tests/hostile/code.mjs",
  "tests/hostile/hypercall.mjs",
  "tests/hostile/ioctl.mjs",
  "tests/hostile/vmm.mjs",
  "tests/hostile/world.mjs",
  "tests/native/areas.mjs",
  "tests/native/compare.mjs",
  "tests/native/effects.mjs",
  "tests/native/encode.mjs",
  "tests/native/engine.mjs",
  "tests/native/generate.mjs",
  "tests/native/memory-operand.mjs",
  "tests/native/minimise.mjs",
  "tests/native/prng.mjs",
  "tests/native/protocol.mjs",
  "tests/native/rows.mjs",
  "tests/native/run.mjs",
  "tests/native/runner.mjs",
  "tests/native/setup.mjs",
  "tests/native/steer-far.mjs",
  "tests/native/steer-float.mjs",
  "tests/native/steer-segment.mjs",
  "tests/native/steer.mjs",
  "tests/native/tolerance.mjs",
  "tests/native/values.mjs",
  "tests/native/vendor.mjs",
  "tools/build/gen-fast-kinds.mjs",
  "tools/build/gen-fast-ops.mjs",
  "tools/build/gen-fast-pairs.mjs",
  "tools/build/gen-fast-sse.mjs",
  "tools/build/gen-fast-text.mjs",
  "tools/build/gen-fast.mjs",
  "tools/build/gen-insn.mjs",
  "tools/build/gen-reference.mjs",
]);
