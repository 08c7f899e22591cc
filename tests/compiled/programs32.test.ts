import { expect, it } from "vitest";
import { EngineExit } from "../../src/engine/bridge/port.js";
import { GuestCpu, type GuestCpuOptions } from "../../src/engine/tests/guest-cpu.fixture.js";
import { interesting } from "../escape/random-code.mjs";
import { Prng } from "../native/prng.mjs";
import { loadRows } from "../native/rows.mjs";
import { MODES32, memoryOf32, place32, stateOf32 } from "./program32.js";

const SEED = process.env["KVM_XEN_SEED"] ?? "20261130";
const COUNT = Number(process.env["KVM_XEN_PROGRAMS"] ?? 1000);
const MOST_INSTRUCTIONS = 10_000;
const PROGRAMS_PER_VM = 50;
/** What is compared with single instructions. */
const PATHS = ["cached", "compiled at once", "compiled late"] as const;
const OPTIONS: readonly GuestCpuOptions[] = [
  { decode: "cached", cpl: 3 },
  { decode: "compiled", cpl: 3 },
  { decode: "compiled", cpl: 3, compile: { sample: 1, threshold: 7, record: 60, batch: 2 } },
];
const FAMILIES = [
  "alu",
  "bit",
  "branch",
  "flag",
  "misc",
  "move",
  "muldiv",
  "shift",
  "stack",
  "string",
];
const rows = interesting(
  await loadRows([...FAMILIES, ...FAMILIES, "sse", "sse2", "sse3", "ssse3", "sse41", "x87", "mmx"]),
);

/** Runs up to `count` instructions in one or more pieces. The exit, or undefined when they are done. */
function runFor(t: GuestCpu, count: number): number | undefined {
  const until = t.cpu.instructions + count;
  while (t.cpu.instructions < until) {
    const exit = t.run(until - t.cpu.instructions);
    if (exit !== EngineExit.BUDGET) return exit;
  }
  return undefined;
}

it.each(
  MODES32,
)(`random 32-bit programs run alike on all paths: %s (seed ${SEED}, ${COUNT} programs)`, async (mode) => {
  let generic = 0;
  let all = 0;
  let compiled = 0;
  let reference = await GuestCpu.create(mode, { decode: "each", cpl: 3 });
  let others: GuestCpu[] = [];
  const note = (): void => {
    const [cached] = others;
    if (cached === undefined) return;
    generic += cached.vm.counters().GENERIC;
    all += cached.cpu.instructions;
    for (const t of others.slice(1)) compiled += t.vm.counters().COMPILED;
  };
  for (let i = 0; i < COUNT; i++) {
    const seed = `${SEED}-${i}`;
    const rng = new Prng(`pieces ${seed}`);
    if (i % PROGRAMS_PER_VM === 0) {
      note();
      reference = await GuestCpu.create(mode, { decode: "each", cpl: 3 });
      others = await Promise.all(OPTIONS.map((options) => GuestCpu.create(mode, options)));
    }
    for (const t of [reference, ...others]) place32(t, rows, new Prng(seed));
    let exit: number | undefined;
    const end = reference.cpu.instructions + MOST_INSTRUCTIONS;
    while (exit === undefined && reference.cpu.instructions < end) {
      const piece = rng.pick([1, 3, 7, 20, 50, 200]);
      exit = runFor(reference, piece);
      const state = stateOf32(reference);
      for (const [n, t] of others.entries()) {
        const what = `seed ${seed}, ${PATHS[n]}, instruction ${reference.cpu.instructions}`;
        expect(runFor(t, piece), what).toBe(exit);
        expect(stateOf32(t), what).toBe(state);
      }
    }
    for (const [n, t] of others.entries())
      expect(memoryOf32(t), `seed ${seed}, ${PATHS[n]}`).toBe(memoryOf32(reference));
  }
  note();
  console.log(`${all} instructions, ${generic} by complete handlers, ${compiled / 2} compiled`);
  // Most of it is flat.
  expect(generic / all).toBeLessThan(0.5);
  expect(compiled / 2 / all).toBeGreaterThan(0.05);
}, 600_000);
