import { expect, it } from "vitest";
import { EngineExit } from "../../src/engine/bridge/port.js";
import { GuestCpu, type GuestCpuOptions } from "../../src/engine/tests/guest-cpu.fixture.js";
import { interesting } from "../escape/random-code.mjs";
import { Prng } from "../native/prng.mjs";
import { loadRows } from "../native/rows.mjs";
import { memoryOf, place, stateOf } from "./program.js";

const SEED = process.env["KVM_XEN_SEED"] ?? "20261130";
const COUNT = Number(process.env["KVM_XEN_PROGRAMS"] ?? 10_000);
/** A program that runs longer loops for ever in what it has made of itself. */
const MOST_INSTRUCTIONS = 20_000;
/** A program finds the blocks and regions of those before it. */
const PROGRAMS_PER_VM = 50;
/** What is compared with single instructions. Late, a region has both ways of each jump, and loops that are entered in the middle. */
const PATHS = ["cached", "compiled at once", "compiled late", "compiled in chaos"] as const;
const LATE: GuestCpuOptions = {
  decode: "compiled",
  compile: { sample: 1, threshold: 7, record: 60, batch: 2 },
};
const OPTIONS: readonly GuestCpuOptions[] = [
  { decode: "cached" },
  { decode: "compiled" },
  LATE,
  LATE,
];
const CHAOS = PATHS.indexOf("compiled in chaos");
/** Compiling again what was dropped costs most of the time: one VM in so many has that path, too. */
const CHAOS_EACH = 4;

/** Without the instructions that take the machine away from the program. */
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

/** What must not show: between two pieces all blocks and regions are gone, or code is compared again. */
function disturb(t: GuestCpu, rng: Prng): void {
  if (rng.chance(3)) t.vm.core.dropBlocks();
  if (rng.chance(2)) t.vm.distrustCode();
}

/** Runs up to `count` instructions in one or more pieces. The exit, or undefined when they are done. */
function runFor(t: GuestCpu, count: number): number | undefined {
  const until = t.cpu.instructions + count;
  while (t.cpu.instructions < until) {
    const exit = t.run(until - t.cpu.instructions);
    if (exit !== EngineExit.BUDGET) return exit;
  }
  return undefined;
}

it(`random programs run alike on all paths (seed ${SEED}, ${COUNT} programs)`, async () => {
  let entered = 0;
  let compiled = 0;
  let all = 0;
  const make = (options: GuestCpuOptions) => GuestCpu.create("long64", options);
  let reference = await make({ decode: "each" });
  let others: GuestCpu[] = [];
  const note = (): void => {
    for (const t of others.slice(1)) {
      const { REGION, COMPILED } = t.vm.counters();
      entered += REGION;
      compiled += COMPILED;
      all += t.cpu.instructions;
    }
  };
  for (let i = 0; i < COUNT; i++) {
    const seed = `${SEED}-${i}`;
    const rng = new Prng(`pieces ${seed}`);
    const chaos = new Prng(`chaos ${seed}`);
    if (i % PROGRAMS_PER_VM === 0) {
      note();
      reference = await make({ decode: "each" });
      const chaotic = (i / PROGRAMS_PER_VM) % CHAOS_EACH === 0;
      others = await Promise.all(OPTIONS.slice(0, chaotic ? undefined : CHAOS).map(make));
    }
    for (const t of [reference, ...others]) place(t, rows, seed);
    let exit: number | undefined;
    const end = reference.cpu.instructions + MOST_INSTRUCTIONS;
    while (exit === undefined && reference.cpu.instructions < end) {
      const piece = rng.pick([1, 3, 7, 20, 50, 200]);
      // On all paths: a program that has overwritten its own page tables sees it when the TLB is empty.
      if (chaos.chance(10)) for (const t of [reference, ...others]) t.vm.core.flushAllVcpus();
      exit = runFor(reference, piece);
      const state = stateOf(reference);
      for (const [n, t] of others.entries()) {
        if (n === CHAOS) disturb(t, chaos);
        const what = `seed ${seed}, ${PATHS[n]}, instruction ${reference.cpu.instructions}`;
        expect(runFor(t, piece), what).toBe(exit);
        expect(stateOf(t), what).toBe(state);
      }
    }
    for (const [n, t] of others.entries())
      expect(memoryOf(t), `seed ${seed}, ${PATHS[n]}`).toBe(memoryOf(reference));
  }
  note();
  console.log(`${all} instructions, ${compiled} compiled, ${entered} regions entered`);
  expect(compiled / all).toBeGreaterThan(0.1);
  expect(entered).toBeGreaterThan(COUNT);
}, 600_000);
