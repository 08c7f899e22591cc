// @ts-check
/**
 * Compares the engine with the host's own processor on random instructions.
 *
 *   node tests/native/run.mjs [--seed N] [--count N] [--family alu,shift] [--case I] [--row TEXT]
 *                             [--wasm FILE] [--mode 64|32|16] [--show N] [--list]
 *
 * --count   cases for each family (2000); half are lone instructions, half sequences of 2 to 16
 * --family  files of spec/insn (all); "integer" takes those of alu, move, branch and so on in one
 *           sequence, "mixed" those of all families
 * --case    one case of a family again, with everything about it
 * --row     only rows that contain TEXT: "fadd", "0F AF"
 * --wasm    the core (dist/engine/core.wasm); a partial build knows only some families
 * --mode    only 64-, 32- or 16-bit code
 * --show    failing cases printed for each family (3), one for each row
 * --list    the rows that are left out, with reasons
 *
 * Exit status 1 when anything differs, other than hosts of the two vendors do (vendor.mjs); how often that
 * was so, and why, is printed.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Engine, PATHS } from "./engine.mjs";
import { Host, unsupported } from "./host.mjs";
import { describeCase, minimise } from "./minimise.mjs";
import { loadRows } from "./rows.mjs";
import { Runner } from "./runner.mjs";

/** The seed that CI uses. */
export const FIXED_SEED = "1";
/** Cases for each family in CI. */
export const DEFAULT_COUNT = 2000;
/** The complete core that `npm run build` makes. */
export const CORE = fileURLToPath(new URL("../../dist/engine/core.wasm", import.meta.url));
/** The family that takes instructions of all the others. */
export const MIXED = "mixed";

/** The family that takes the instructions most programs consist of. */
export const INTEGER = "integer";
const INTEGER_FAMILIES = [
  "alu",
  "bit",
  "branch",
  "flag",
  "move",
  "muldiv",
  "shift",
  "stack",
  "string",
];

const OPTIONS = /** @type {const} */ ({
  seed: { type: "string", default: FIXED_SEED },
  count: { type: "string", default: String(DEFAULT_COUNT) },
  family: { type: "string" },
  case: { type: "string" },
  row: { type: "string" },
  wasm: { type: "string", default: CORE },
  mode: { type: "string" },
  show: { type: "string", default: "3" },
  list: { type: "boolean", default: false },
});

/**
 * What the options are, with their defaults.
 * @typedef {{ seed: string, count: string, family?: string, case?: string, row?: string, wasm: string, mode?: string,
 *   show: string, list: boolean }} Options
 */

/**
 * Families and their comparable rows; `mixed` last.
 * @param {import("./types.js").Row[]} rows
 * @returns {Map<string, import("./types.js").Row[]>}
 */
export function group(rows) {
  const families = new Map();
  for (const row of rows) {
    if (row.why !== undefined) continue;
    if (!families.has(row.family)) families.set(row.family, []);
    families.get(row.family).push(row);
  }
  if (families.size > 1) {
    const all = rows.filter((row) => row.why === undefined && !/^ud\d$/.test(row.mnemonic));
    families.set(
      INTEGER,
      all.filter((row) => INTEGER_FAMILIES.includes(row.family)),
    );
    families.set(MIXED, all);
  }
  return families;
}

/**
 * @param {import("./types.js").Row[]} rows
 * @param {boolean} all
 */
function printExcluded(rows, all) {
  const reasons = new Map();
  for (const row of rows)
    if (row.why !== undefined) reasons.set(row.why, [...(reasons.get(row.why) ?? []), row]);
  const total = rows.filter((row) => row.why !== undefined).length;
  console.log(`${rows.length} instruction rows, ${total} not compared with the host:`);
  for (const [why, list] of reasons) {
    console.log(
      `  ${String(list.length).padStart(3)}  ${why}${all ? `\n       ${[...new Set(list.map((/** @type {import("./types.js").Row} */ r) => r.mnemonic))].join(" ")}` : ""}`,
    );
  }
}

/**
 * Prints one failing case, minimised.
 * @param {import("./runner.mjs").Runner} runner
 * @param {import("./types.js").Failure} failure
 */
function printFailure(runner, { testCase }) {
  const smaller = minimise(testCase, (candidate) => runner.runOne(candidate).failures.length > 0);
  const { failures } = runner.runOne(smaller);
  console.log(["", ...describeCase(smaller)].join("\n"));
  // Paths that differ in the same way are printed together.
  const groups = new Map();
  for (const { path, diffs } of failures) {
    const key = JSON.stringify(diffs);
    groups.set(key, { diffs, paths: [...(groups.get(key)?.paths ?? []), path] });
  }
  for (const { paths, diffs } of groups.values()) {
    const where = paths.length === PATHS.length ? "all paths" : paths.join(", ");
    for (const [field, expected, got] of diffs)
      console.log(`  ${where}: ${field.padEnd(8)} host ${expected}   engine ${got}`);
  }
}

/**
 * @param {Runner} runner
 * @param {Map<string, import("./types.js").Row[]>} families
 * @param {Options} options
 */
function runFamilies(runner, families, options) {
  let failed = 0;
  const reasons = new Map();
  const only = options.row;
  for (const [family, all] of families) {
    const rows =
      only === undefined
        ? all
        : all.filter(
            (/** @type {import("./types.js").Row} */ row) =>
              row.text.includes(only) || row.asm.includes(only),
          );
    if (rows.length === 0) continue;
    const started = performance.now();
    const first = options.case === undefined ? 0 : Number(options.case);
    const count = options.case === undefined ? Number(options.count) : 1;
    const result = runner.runFamily(family, rows, first, count);
    failed += result.failed.length;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const verdict = result.failed.length === 0 ? "agree" : `${result.failed.length} DIFFER`;
    const tolerated = [...result.tolerated.values()].reduce((sum, n) => sum + n, 0);
    console.log(
      `${family.padEnd(8)} ${String(rows.length).padStart(4)} rows ${String(result.cases).padStart(6)} cases, ${result.faults} with a fault, ${result.undecided} undecided, ${tolerated} tolerated: ${verdict} (${seconds} s)`,
    );
    for (const [why, n] of result.tolerated) reasons.set(why, (reasons.get(why) ?? 0) + n);
    printSome(runner, result.failed, Number(options.show));
  }
  if (reasons.size > 0) console.log("tolerated, because the host's vendor has another answer:");
  for (const [why, n] of reasons) console.log(`  ${String(n).padStart(4)}  ${why}`);
  return failed;
}

/**
 * Prints failing cases, lone instructions first, of different rows.
 * @param {import("./runner.mjs").Runner} runner
 * @param {import("./types.js").Failure[]} failed
 * @param {number} most
 */
function printSome(runner, failed, most) {
  const seen = new Set();
  const order = [...failed].sort((a, b) => a.testCase.insns.length - b.testCase.insns.length);
  for (const failure of order) {
    if (seen.size >= most) break;
    const key = failure.testCase.single
      ? failure.testCase.insns[0]?.row.text
      : `sequence ${seen.size}`;
    if (seen.has(key)) continue;
    seen.add(key);
    printFailure(runner, failure);
  }
  if (failed.length > 0) {
    const rows = new Map();
    for (const { testCase } of failed) {
      const asm = testCase.insns[0]?.row.asm;
      if (testCase.single) rows.set(asm, (rows.get(asm) ?? 0) + 1);
    }
    console.log(
      `  failing alone: ${[...rows].map(([asm, n]) => `${asm} x${n}`).join(", ") || "none"}`,
    );
  }
}

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  const options = /** @type {Options} */ (/** @type {unknown} */ (values));
  const why = unsupported();
  if (why !== undefined) {
    console.error(`tests/native: ${why}`);
    return 1;
  }
  const wanted = options.family && String(options.family).split(",");
  const rows = await loadRows(
    wanted && !wanted.some((name) => name === MIXED || name === INTEGER) ? wanted : undefined,
  );
  printExcluded(rows, options.list);
  if (options.list) return 0;
  const host = new Host();
  if (options.mode !== undefined) {
    host.modes = [/** @type {import("./types.js").Mode} */ (Number(options.mode))];
  } else if (host.modes.length < 3) console.log("16-bit code is left out: no modify_ldt here");
  host.onDeath = (testCase) => {
    const code = Buffer.from(testCase?.code ?? []).toString("hex");
    console.log(`  the harness died in ${testCase?.family} case ${testCase?.index}: ${code}`);
  };
  const families = group(rows);
  for (const family of families.keys())
    if (wanted && !wanted.includes(family)) families.delete(family);
  console.log(`seed ${options.seed}`);
  const failed = runFamilies(
    new Runner(host, new Engine(String(options.wasm)), String(options.seed)),
    families,
    options,
  );
  return failed > 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
