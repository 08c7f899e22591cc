// @ts-check
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { coverWords } from "./cover.mjs";
import { root } from "./files.mjs";
import { checkHouseRules } from "./house-rules.mjs";
import { checkLayers } from "./layers.mjs";
import { movedReleases } from "./moved.mjs";
import { nodeFolder, onNode } from "./nodes.mjs";
import { noteRemarks, reports } from "./report.mjs";
import { skipProblems } from "./skips.mjs";

/**
 * A step of a stage.
 * @typedef {object} Step
 * @property {string} name
 * @property {() => boolean} run says whether all is well
 * @property {string} [skip] its name in skips.mjs, when it may be skipped as a whole
 */

/**
 * The stages in the order in which `npm test` runs them.
 * @typedef {object} Stage
 * @property {number} minutes its budget on a machine of two cores, downloads included; what takes longer is
 *   said loudly
 * @property {Step[]} steps all of them run even when one fails; none: room for a stage to come
 */

/** What all stages together may take in continuous integration; beyond 90 minutes it is stopped. */
export const BUDGET_MINUTES = 60;

const bin = (/** @type {string} */ name) => join(root, "node_modules/.bin", name);

/**
 * @param {string} program
 * @param {string[]} args
 * @param {Record<string, string>} [environment]
 */
export function run(program, args, environment = {}) {
  const env = { ...process.env, ...environment };
  const result = spawnSync(program, args, { cwd: root, stdio: "inherit", env });
  if (result.error) console.error(String(result.error));
  return result.status === 0;
}

/** @param {string[]} problems */
function none(problems) {
  for (const problem of problems) console.log(problem);
  return problems.length === 0;
}

/**
 * Runs vitest, keeps its report, and compares what was skipped with the list.
 * @param {string} name of the report
 * @param {string[]} args
 * @param {Record<string, string>} [environment]
 * @param {string[]} [before] words before the command
 */
function vitest(name, args, environment = {}, before = []) {
  const file = join(reports, `${name}.json`);
  rmSync(file, { force: true });
  const reporters = ["--reporter=default", "--reporter=./tools/check/reporter.mjs"];
  const [program = "", ...words] = [...before, bin("vitest"), "run", ...args, ...reporters];
  const passed = run(program, words, {
    ...environment,
    KVM_XEN_REPORT: file,
  });
  if (!existsSync(file)) return false;
  const report = /** @type {import("./report.mjs").Report} */ (
    JSON.parse(readFileSync(file, "utf8"))
  );
  return none(skipProblems(name, report)) && passed;
}

/** @param {string} name folder of tests/ with a configuration of its own, and name of the report */
const configured = (name) => vitest(name, ["--config", `tests/${name}/vitest.config.ts`]);

/**
 * Monitors that do not get this library's /dev/kvm might take the host's, and pass: /dev/null is in its place
 * wherever mounts are allowed.
 */
function monitors() {
  const cover = coverWords();
  const config = ["--config", "tests/monitors/vitest.config.ts"];
  const environment = { KVM_XEN_MONITORS: "all", ...(cover && { KVM_XEN_COVERED: "1" }) };
  return vitest("monitors", config, environment, cover);
}

/**
 * Runs vitest on the newest Node.
 * @param {string} name of the report
 * @param {string[]} args
 */
function onNewestNode(name, args) {
  const folder = nodeFolder("latest");
  return folder !== undefined && vitest(name, args, onNode(folder));
}

const generator = "tools/build/gen.mjs";

/** @type {Record<string, Stage>} */
export const stages = {
  check: {
    minutes: 7,
    steps: [
      { name: "types", run: () => run(bin("tsc"), ["--noEmit", "-p", "tsconfig.json"]) },
      {
        name: "types of scripts",
        run: () => run(bin("tsc"), ["--noEmit", "-p", "tsconfig.scripts.json"]),
      },
      {
        name: "types of the page",
        run: () => run(bin("tsc"), ["--noEmit", "-p", "tsconfig.page.json"]),
      },
      {
        name: "build",
        run: () =>
          run(bin("tsc"), ["-b", "tsconfig.build.json"]) &&
          run(process.execPath, ["tools/build/bundle.mjs"]) &&
          run(process.execPath, ["tools/build/web.mjs"]),
      },
      { name: "format and lint", run: () => run(bin("biome"), ["ci", "--error-on-warnings", "."]) },
      { name: "import rule", run: () => none(checkLayers()) },
      { name: "house rules", run: () => none(checkHouseRules()) },
      { name: "generated files", run: () => run(process.execPath, [generator, "--check"]) },
      {
        name: "embedded guest",
        skip: "embedded guest",
        run: () =>
          run("guest/embedded/build.sh", ["--check"]) && run("guest/debian/build.sh", ["--check"]),
      },
      { name: "unit tests", run: () => vitest("unit", []) },
    ],
  },
  vectors: {
    minutes: 3,
    steps: [
      { name: "recorded scenarios", run: () => configured("vectors") },
      {
        name: "whether Linux has moved on",
        run: () => {
          const lines = movedReleases();
          for (const line of lines) console.log(line);
          noteRemarks(lines);
          return true;
        },
      },
    ],
  },
  boot: {
    minutes: 7,
    steps: [
      { name: "boots", run: () => configured("boot") },
      { name: "machines that are saved and restored", run: () => configured("snapshots") },
    ],
  },
  devices: {
    minutes: 7,
    steps: [{ name: "paravirtual devices", skip: "devices", run: () => configured("devices") }],
  },
  browser: {
    minutes: 4,
    steps: [{ name: "machines in Chromium", skip: "browser", run: () => configured("browser") }],
  },
  exec: {
    minutes: 5,
    steps: [{ name: "programs under exec", skip: "exec", run: () => configured("exec") }],
  },
  selftests: {
    minutes: 9,
    steps: [
      { name: "the kernel's selftests", skip: "selftests", run: () => configured("selftests") },
    ],
  },
  monitors: {
    minutes: 10,
    steps: [{ name: "virtual machine monitors under exec", skip: "monitors", run: monitors }],
  },
  mutants: {
    minutes: 4,
    steps: [
      {
        name: "a sample of mutants",
        run: () =>
          run(process.execPath, [
            "tools/mutants/run.mjs",
            ...["kvm/xen", "vmm/xen", "--sample", "3000", "--seconds", "230"],
          ]),
      },
    ],
  },
  package: {
    minutes: 2,
    steps: [{ name: "the package, as its users have it", run: () => configured("package") }],
  },
  nodes: {
    minutes: 2,
    steps: [
      {
        name: "recorded scenarios on the newest Node",
        skip: "nodes",
        run: () => onNewestNode("nodes-vectors", ["--config", "tests/vectors/vitest.config.ts"]),
      },
      {
        name: "boots on the newest Node",
        skip: "nodes",
        run: () => {
          const files = ["tests/boot/balloon.test.ts", "tests/boot/embedded.test.ts"];
          return onNewestNode("nodes-boot", ["--config", "tests/boot/vitest.config.ts", ...files]);
        },
      },
    ],
  },
};
