/**
 * The proof that the engine executes instructions as a real processor does: at least 2,000 cases of
 * every instruction family, by the fixed seed, on the host's processor and on both engine paths.
 * Another seed, more cases, or one case by itself: node tests/native/run.mjs.
 */
import { existsSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { Engine } from "./engine.mjs";
import { Host, unsupported } from "./host.mjs";
import { describeCase } from "./minimise.mjs";
import { loadRows } from "./rows.mjs";
import { CORE, DEFAULT_COUNT, FIXED_SEED, group } from "./run.mjs";
import { Runner } from "./runner.mjs";

const families = group(await loadRows());

describe.runIf(unsupported() === undefined)("the engine agrees with the host's processor", () => {
  if (!existsSync(CORE))
    throw new Error("dist/engine/core.wasm is missing: npm run build makes it");
  let runner: Runner;
  beforeAll(() => {
    runner = new Runner(new Host(), new Engine(CORE), FIXED_SEED);
  });

  test.each([...families.keys()])("%s", (family) => {
    const result = runner.runFamily(family, families.get(family) ?? [], 0, DEFAULT_COUNT);
    const first = result.failed[0];
    const report = first && [...describeCase(first.testCase), JSON.stringify(first.failures)];
    expect(report?.join("\n")).toBeUndefined();
    expect(result.cases).toBeGreaterThanOrEqual(DEFAULT_COUNT);
    expect(result.undecided).toBe(0);
    // Differences between vendors are rare; a rule that took in more would hide defects.
    const tolerated = [...result.tolerated.values()].reduce((sum, n) => sum + n, 0);
    expect(tolerated).toBeLessThan(DEFAULT_COUNT / 10);
  });
});
