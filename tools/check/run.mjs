// @ts-check
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { inCi } from "./machine.mjs";
import { closingLine, notedRemarks, notedSecondTries, reports } from "./report.mjs";
import { stepSkipped } from "./skips.mjs";
import { stages } from "./stages.mjs";

/**
 * `node tools/check/run.mjs [STAGE...]` runs the stages of stages.mjs, or some of them, one after the
 * other, and ends with a line that counts the tests. All steps of a stage run even when one fails; a
 * stage after a failed one does not.
 */

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => stages[name] === undefined);
if (unknown.length > 0) {
  console.error(`There is no stage ${unknown.join(", ")}: ${Object.keys(stages).join(", ")}`);
  process.exit(2);
}
rmSync(reports, { recursive: true, force: true });
mkdirSync(reports, { recursive: true });
// Random tests take it from here, so that all of a run can be repeated.
process.env["SEED"] ??= String(Math.floor(Math.random() * 2 ** 31));

/** @type {string[]} */
const failed = [];
/** @type {string[]} */
const closing = [];

/**
 * Whether a step that may be skipped, and cannot run here, is one that CI can do without: none is.
 * @param {import("./stages.mjs").Step} step
 */
function passes(step) {
  const why = step.skip === undefined ? undefined : stepSkipped(step.skip);
  if (why === undefined) return step.run();
  console.log(`skipped: there is not ${why}`);
  closing.push(`Skipped: ${step.name}; there is not ${why}`);
  return !inCi;
}

for (const name of wanted.length > 0 ? wanted : Object.keys(stages)) {
  const { minutes, steps } = stages[name] ?? { minutes: 0, steps: [] };
  if (failed.length > 0) break;
  if (steps.length === 0) continue;
  const seconds = (/** @type {number} */ since) => (Date.now() - since) / 1000;
  const started = Date.now();
  for (const step of steps) {
    const begun = Date.now();
    console.log(`\n== ${step.name}`);
    const passed = passes(step);
    const took = seconds(begun).toFixed(1);
    console.log(`== ${step.name}: ${passed ? "passed" : "FAILED"} (${took} s)`);
    if (!passed) failed.push(step.name);
  }
  const took = seconds(started);
  const over = took > minutes * 60 ? "   OVER ITS BUDGET (tools/check/stages.mjs)" : "";
  closing.push(
    `${`Stage ${name}:`.padEnd(18)}${took.toFixed(0).padStart(5)} s of ${minutes * 60}${over}`,
  );
}

/** @type {import("./report.mjs").Report[]} */
const runs = readdirSync(reports)
  .filter((file) => file.endsWith(".json"))
  .map((file) => JSON.parse(readFileSync(join(reports, file), "utf8")));
console.log("");
for (const line of closing) console.log(line);
for (const what of [...runs.flatMap((one) => one.secondTries), ...notedSecondTries()])
  console.log(`Needed a second try: ${what}`);
for (const remark of notedRemarks()) console.log(remark);
/** @type {Map<string, number>} */
const skippedIn = new Map();
for (const name of runs.flatMap((one) => one.skipped)) {
  const [file = ""] = name.split(" > ");
  skippedIn.set(file, (skippedIn.get(file) ?? 0) + 1);
}
for (const [file, count] of skippedIn) console.log(`Skipped: ${count} of ${file}`);
console.log(`Random tests: SEED=${process.env["SEED"]} repeats them`);
if (failed.length > 0) console.log(`Failed: ${failed.join(", ")}`);
console.log(closingLine(runs));
process.exitCode = failed.length === 0 ? 0 : 1;
