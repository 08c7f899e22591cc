// @ts-check
/**
 * Attacks the library with random calls, hypercalls, machine code, memory contents and files. Nothing may be
 * thrown but what the interfaces promise, nothing outside of guest memory may change, and the VM must
 * go on afterwards.
 *
 *   node tests/hostile/run.mjs [--target api|ioctl|hypercall|vmm|files|code] [--seed N] [--count N]
 *                              [--library DIR]
 *
 * --target   one of them (all)
 * --seed     the same seed makes the same calls (1)
 * --count    calls for each target (that of the tests)
 * --library  a build of the library (dist)
 *
 * Exit status 1 at the first finding, which names its episode.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadLibrary } from "./library.mjs";
import { targets } from "./targets.mjs";

const OPTIONS = /** @type {const} */ ({
  target: { type: "string" },
  seed: { type: "string", default: "1" },
  count: { type: "string" },
  library: { type: "string", default: fileURLToPath(new URL("../../dist", import.meta.url)) },
});

const { values } = parseArgs({ options: OPTIONS });
const lib = await loadLibrary(String(values.library));
let failed = false;
let current = "";
// Node ends a program that waits for nothing: a run() that never resolves would go unseen.
process.on("exit", () => {
  if (current !== "") console.log(`${current}: a call never ended`);
  if (current !== "") process.exitCode = 1;
});
for (const [name, { attack, count }] of Object.entries(targets)) {
  if (values.target !== undefined && values.target !== name) continue;
  const started = performance.now();
  current = name;
  try {
    const report = await attack(lib, {
      seed: Number(values.seed),
      count: Number(values.count ?? count),
    });
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const most = [...report.outcomes].sort((a, b) => b[1] - a[1]).slice(0, 12);
    console.log(`${name.padEnd(9)} ${report.calls} calls, nothing found (${seconds} s)`);
    console.log(`          ${most.map(([what, n]) => `${what} ${n}`).join(", ")}`);
  } catch (error) {
    failed = true;
    console.log(`${name.padEnd(9)} ${error instanceof Error ? error.message : String(error)}`);
  }
}
current = "";
process.exitCode = failed ? 1 : 0;
