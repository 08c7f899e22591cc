// @ts-check
/**
 * Shows the comparisons of the paths a translator with each mistake of translator-mutants.mjs in it, and names those that none of them
 * notices. By hand, ten minutes on an idle machine:
 *
 *   node tests/compiled/mutants.mjs [NUMBER...]
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { MUTANTS } from "./translator-mutants.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** The tests that a mutant is shown, few random programs first. @type {[count: number, tests: string[]][]} */
const STEPS = [
  [200, ["programs.test"]],
  [200, ["shapes.test", "found.test", "widths.test", "programs32.test"]],
];
/** A mutant may run for ever. */
const LIMIT_MS = 240_000;

/** Whether some comparison fails; the number of those that were shown to it. @param {number | undefined} number @param {number} steps */
function noticed(number, steps) {
  for (const [i, [count, tests]] of STEPS.slice(0, steps).entries()) {
    const { status } = spawnSync(
      process.execPath,
      [
        "node_modules/vitest/vitest.mjs",
        "run",
        "--config",
        "tests/compiled/mutants.config.ts",
        ...tests,
      ],
      {
        cwd: root,
        stdio: "ignore",
        timeout: LIMIT_MS,
        env: {
          ...process.env,
          KVM_XEN_MUTANT: String(number ?? ""),
          KVM_XEN_PROGRAMS: String(count),
        },
      },
    );
    if (status !== 0) return i + 1;
  }
  return 0;
}

if (noticed(undefined, STEPS.length) !== 0)
  throw new Error("the comparisons fail without any mistake");
const asked = process.argv.slice(2).map(Number);
let survivors = 0;
for (const [number, { file, what }] of MUTANTS.entries()) {
  if (asked.length > 0 && !asked.includes(number)) continue;
  const step = noticed(number, STEPS.length);
  if (step === 0) survivors++;
  console.log(
    `${number} ${step === 0 ? "NOT NOTICED" : `noticed in step ${step}`}: ${file}: ${what}`,
  );
}
console.log(`${survivors} not noticed`);
process.exitCode = survivors === 0 ? 0 : 1;
