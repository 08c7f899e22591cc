// @ts-check
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "./files.mjs";
import { checkHouseRules } from "./house-rules.mjs";
import { checkLayers } from "./layers.mjs";
import { closingLine, countsOf } from "./report.mjs";

/**
 * `node tools/check/run.mjs STAGE...` runs the stages `check`, `vectors`, `boot`, `exec` and `selftests`, or
 * some of them, one after the other and ends with a line that counts the tests. All steps of a stage run even when one fails; a stage
 * after a failed one does not.
 * @typedef {{ name: string, run: () => boolean }} Step
 */

const reports = join(root, "build/report");
const bin = (/** @type {string} */ name) => join(root, "node_modules/.bin", name);

/**
 * @param {string} program
 * @param {string[]} args
 */
function run(program, args) {
  const result = spawnSync(program, args, { cwd: root, stdio: "inherit" });
  if (result.error) console.error(String(result.error));
  return result.status === 0;
}

/** @param {string[]} problems */
function none(problems) {
  for (const problem of problems) console.log(problem);
  return problems.length === 0;
}

/**
 * @param {string} name
 * @param {string[]} args
 */
function vitest(name, args) {
  const report = [
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${reports}/${name}.json`,
  ];
  return run(bin("vitest"), ["run", ...args, ...report]);
}

/** Builds the embedded guest anew and compares; needs binutils, which a developer may not have. */
function embeddedGuest() {
  if (spawnSync("as", ["--version"]).status === 0)
    return run("guest/embedded/build.sh", ["--check"]);
  console.log("skipped: no assembler here");
  return process.env["CI"] === undefined;
}

/**
 * Tests whose programs are written in C; skipped, loudly, where there is no compiler.
 * @param {() => boolean} tests
 */
function withCompiler(tests) {
  if (spawnSync("gcc", ["--version"]).status === 0) return tests();
  console.log("skipped: no C compiler here");
  return process.env["CI"] === undefined;
}

const generator = "tools/build/gen.mjs";

/** @type {Record<string, Step[]>} */
const stages = {
  check: [
    { name: "types", run: () => run(bin("tsc"), ["--noEmit", "-p", "tsconfig.json"]) },
    { name: "build", run: () => run(bin("tsc"), ["-b", "tsconfig.build.json"]) },
    { name: "format and lint", run: () => run(bin("biome"), ["ci", "--error-on-warnings", "."]) },
    { name: "import rule", run: () => none(checkLayers()) },
    { name: "house rules", run: () => none(checkHouseRules()) },
    {
      name: "generated files",
      run: () =>
        !existsSync(join(root, generator)) || run(process.execPath, [generator, "--check"]),
    },
    { name: "embedded guest", run: embeddedGuest },
    { name: "unit tests", run: () => vitest("unit", []) },
  ],
  vectors: [
    {
      name: "recorded scenarios",
      run: () => vitest("vectors", ["--config", "tests/vectors/vitest.config.ts"]),
    },
  ],
  boot: [{ name: "boots", run: () => vitest("boot", ["--config", "tests/boot/vitest.config.ts"]) }],
  exec: [
    {
      name: "programs under exec",
      run: () => withCompiler(() => vitest("exec", ["--config", "tests/exec/vitest.config.ts"])),
    },
  ],
  selftests: [
    {
      name: "the kernel's selftests",
      run: () =>
        withCompiler(() => vitest("selftests", ["--config", "tests/selftests/vitest.config.ts"])),
    },
  ],
};

rmSync(reports, { recursive: true, force: true });
mkdirSync(reports, { recursive: true });
/** @type {string[]} */
const failed = [];
for (const stage of process.argv.slice(2)) {
  const steps = stages[stage];
  if (steps === undefined) throw new Error(`there is no stage ${stage}`);
  if (failed.length > 0) break;
  for (const step of steps) {
    const started = Date.now();
    console.log(`\n== ${step.name}`);
    const passed = step.run();
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    console.log(`== ${step.name}: ${passed ? "passed" : "FAILED"} (${seconds} s)`);
    if (!passed) failed.push(step.name);
  }
}
if (failed.length > 0) console.log(`\nFailed: ${failed.join(", ")}`);
const counts = ["unit", "vectors", "boot", "exec", "selftests"]
  .map((name) => join(reports, `${name}.json`))
  .filter((path) => existsSync(path))
  .map((path) => countsOf(readFileSync(path, "utf8")));
console.log(`\n${closingLine(counts)}`);
process.exitCode = failed.length === 0 ? 0 : 1;
