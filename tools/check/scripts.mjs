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
  "tools/build/gen-fast-kinds.mjs",
  "tools/build/gen-fast-ops.mjs",
  "tools/build/gen-fast-pairs.mjs",
  "tools/build/gen-fast-sse.mjs",
  "tools/build/gen-fast-text.mjs",
  "tools/build/gen-fast.mjs",
  "tools/build/gen-insn.mjs",
  "tools/build/gen-reference.mjs",
]);
