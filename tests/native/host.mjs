// @ts-check
/** Builds harness.c and runs cases on the host's own processor. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { machineHas } from "../../tools/check/machine.mjs";
import { CASE_BYTES, decodeResults, encodeBatch, RESULT_BYTES } from "./protocol.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const source = fileURLToPath(new URL("harness.c", import.meta.url));

/** Why native comparison is impossible here, or undefined. */
export function unsupported() {
  if (!machineHas("Linux on x86-64")) return "needs Linux on x86-64";
  if (!machineHas("a C compiler")) return "needs a C compiler";
  return undefined;
}

/** Compiles the harness (once for each version of it); returns the program's path. */
export function buildHarness() {
  const why = unsupported();
  if (why !== undefined) throw new Error(`tests/native: ${why}`);
  const hash = createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 16);
  const folder = `${root}build/native`;
  const program = `${folder}/harness-${hash}`;
  if (!existsSync(program)) {
    mkdirSync(folder, { recursive: true });
    const temporary = `${program}.${process.pid}`;
    execFileSync(
      "gcc",
      ["-O2", "-Wall", "-Wextra", "-fno-stack-protector", "-o", temporary, source],
      { stdio: ["ignore", "inherit", "inherit"] },
    );
    renameSync(temporary, program);
  }
  return program;
}

export class Host {
  constructor() {
    this.program = buildHarness();
    const probe = JSON.parse(execFileSync(this.program, ["--probe"], { encoding: "utf8" }));
    if (probe.caseBytes !== CASE_BYTES || probe.resultBytes !== RESULT_BYTES)
      throw new Error("tests/native: protocol.mjs does not fit harness.c");
    /**
     * Hears of a case in which the harness died.
     * @type {((testCase: import("./types.js").TestCase | undefined, child: unknown) => void) | undefined}
     */
    this.onDeath = undefined;
    /** Code sizes that can be run: 16-bit code needs modify_ldt. */
    /** @type {readonly import("./types.js").Mode[]} */
    this.modes = probe.ldt ? [64, 32, 16] : [64];
    /** What vendor.mjs goes by. @type {import("./types.js").Processor} */
    this.processor = {
      amd: ["AuthenticAMD", "HygonGenuine"].includes(probe.vendor),
      hypervisor: probe.hypervisor,
    };
  }

  /**
   * Runs cases; answers in the same order, undefined where the harness itself died.
   * @param {Uint8Array} image memory to start from
   * @param {import("./types.js").TestCase[]} cases
   * @returns {(import("./types.js").HostAnswer | undefined)[]}
   */
  run(image, cases) {
    const results = [];
    while (results.length < cases.length) {
      const rest = cases.slice(results.length);
      const child = spawnSync(this.program, [], {
        input: encodeBatch(image, rest),
        maxBuffer: 1 << 30,
      });
      if (child.error) throw child.error;
      const got = decodeResults(child.stdout);
      results.push(...got);
      if (got.length === rest.length) break;
      // The harness died in this case: what it did to itself has no answer.
      results.push(undefined);
      this.onDeath?.(cases[results.length - 1], child);
    }
    return results;
  }
}
