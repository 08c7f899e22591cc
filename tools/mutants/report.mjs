// @ts-check
import { folders } from "./folders.mjs";
import { reasonOf, staleReasons } from "./invisible.mjs";

/**
 * @typedef {import("./instrument.mjs").Mutant} Mutant
 * @typedef {import("./state.mjs").State} State
 * @typedef {{ all: number, scenario: number, unit: number, timeout: number, uncovered: number, survived: number, open: number }} Row
 */

const percent = (/** @type {number} */ part, /** @type {number} */ whole) =>
  whole === 0 ? "-" : `${((100 * part) / whole).toFixed(1)} %`;

/** @returns {Row} */
const emptyRow = () => ({
  all: 0,
  scenario: 0,
  unit: 0,
  timeout: 0,
  uncovered: 0,
  survived: 0,
  open: 0,
});

/** @param {string} name @param {Row} row */
function line(name, row) {
  const tried = row.all - row.open;
  const killed = row.scenario + row.unit;
  const cells = [
    row.all,
    row.scenario,
    row.unit,
    row.timeout,
    row.uncovered,
    row.survived,
    row.open,
  ];
  const texts = cells.map((cell) => String(cell).padStart(9)).join("");
  return `${name.padEnd(34)}${texts}${percent(killed, tried).padStart(9)}`;
}

/** @param {Mutant} mutant @param {boolean} uncovered */
function survivor(mutant, uncovered) {
  const { file, line: at, mutator, before, after } = mutant;
  const reason = reasonOf(mutant);
  const head = `${file}:${at} ${mutator}${uncovered ? " (uncovered)" : ""}`;
  const why = reason === undefined ? "" : `\n    nobody can see it: ${reason}`;
  return `${head}\n    - ${before}\n    + ${after}${why}`;
}

/**
 * Makes a table per file and writes the survivors down.
 * @param {string} folder
 * @param {Mutant[]} mutants those that were chosen
 * @param {Mutant[]} all
 * @param {State} state
 * @param {boolean} isSample
 * @returns {{ good: boolean, text: string }} whether as many were noticed as folders.mjs asks for, and every reason is one
 */
export function report(folder, mutants, all, state, isSample) {
  /** @type {Map<string, Row>} */
  const rows = new Map();
  const total = emptyRow();
  /** @type {string[]} */
  const text = [`\n== mutants of ${folder}`];
  /** @type {string[]} */
  const survivors = [];
  let quick = 0;
  for (const mutant of mutants) {
    const { key, file } = mutant;
    const row = rows.get(file) ?? emptyRow();
    rows.set(file, row);
    const known = state.outcomes.get(key);
    // That something was noticed counts only where it was tried in this code.
    const outcome = known?.status === "killed" && !state.isSettled(key) ? undefined : known;
    const column =
      outcome === undefined
        ? "open"
        : outcome.status === "killed"
          ? outcome.by?.startsWith("scenario ")
            ? "scenario"
            : "unit"
          : outcome.status === "survived" && outcome.asked === 0
            ? "uncovered"
            : outcome.status;
    for (const each of [row, total]) {
      each.all++;
      each[column]++;
    }
    if (outcome?.quick !== undefined) quick++;
    if (column === "survived" || column === "uncovered")
      survivors.push(survivor(mutant, column === "uncovered"));
  }
  const heads = ["all", "scenario", "unit", "timeout", "uncovered", "survived", "open", "killed"];
  text.push(`${"".padEnd(34)}${heads.map((head) => head.padStart(9)).join("")}`);
  const prefix = `src/${folder}/`;
  for (const [file, row] of rows) text.push(line(file.slice(prefix.length), row));
  text.push(line(folder, total));
  if (!isSample) {
    const path = state.write("survivors.txt", `${survivors.join("\n")}\n`);
    text.push(`  survivors: ${path}`);
  } else text.push(survivors.join("\n"));
  if (quick > 0)
    text.push(`  ${quick} of the survivors were not shown all cases: at least so many are noticed`);
  const stale = staleReasons(all, ({ key }) => state.outcomes.get(key)?.status === "killed");
  text.push(...stale.map((line) => `  a row of invisible.mjs ${line}`));
  const tried = total.all - total.open;
  const { goal, floor } = folders[folder] ?? { goal: 0, floor: 0 };
  const killed = (100 * (total.scenario + total.unit)) / Math.max(tried, 1);
  const least = isSample ? floor : goal;
  // A sample says something about all of them only within its error: the fewer were tried, the less.
  const atMost = isSample ? highest(killed / 100, tried) * 100 : killed;
  if (tried > 0 && atMost < least)
    text.push(`  ${folder}: ${killed.toFixed(1)} % noticed, ${least} % are wanted`);
  if (tried < mutants.length)
    text.push(`  ${mutants.length - tried} of ${mutants.length} were not tried: no time`);
  return { good: (tried === 0 || atMost >= least) && stale.length === 0, text: text.join("\n") };
}

/**
 * The highest share of all that a share found in a sample agrees with: the upper end of Wilson's interval, 95 %.
 * @param {number} share 0 to 1
 * @param {number} size of the sample
 */
function highest(share, size) {
  const z = 1.96;
  const middle = share + (z * z) / (2 * size);
  const spread = z * Math.sqrt((share * (1 - share)) / size + (z * z) / (4 * size * size));
  return (middle + spread) / (1 + (z * z) / size);
}
