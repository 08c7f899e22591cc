// @ts-check
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const main = join(root, "dist/cli/main.js");

/**
 * @param {string} program
 * @param {string[]} options
 * @returns {Map<string, number>} microseconds by name
 */
function measure(program, options) {
  const args = [main, "exec", ...options, "--", program];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`exec failed: ${stderr}`);
  const lines = stdout.trim().split("\n");
  return new Map(
    lines.map((line) => line.split(" ")).map(([name, us]) => [name ?? "", Number(us)]),
  );
}

/** @param {number[]} values */
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/**
 * Round trips of a client under `kvm-xen exec`, through the socket and through mailboxes.
 * @param {number} runs
 * @param {{ step(text: string): void, end(): void }} progress
 */
export function execRoundTrips(runs, progress) {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-bench-"));
  try {
    const program = join(folder, "client");
    const source = join(root, "bench/exec-client.c");
    if (spawnSync("gcc", ["-O2", "-o", program, source]).status !== 0) {
      console.log("exec: left out, no C compiler");
      return;
    }
    /** @type {Map<string, number>[]} */
    const socket = [];
    /** @type {Map<string, number>[]} */
    const mailbox = [];
    for (let run = 0; run < runs; run++) {
      progress.step(`exec: run ${run + 1} of ${runs}`);
      socket.push(measure(program, []));
      mailbox.push(measure(program, ["--mailbox"]));
    }
    progress.end();
    console.log("\nRound trips of a client under exec, microseconds (median)");
    console.log(`${"".padEnd(22)}${"socket".padStart(10)}${"--mailbox".padStart(12)}`);
    for (const name of socket[0]?.keys() ?? []) {
      const of = (/** @type {Map<string, number>[]} */ all) =>
        median(all.map((one) => one.get(name) ?? Number.NaN)).toFixed(2);
      console.log(`${name.padEnd(22)}${of(socket).padStart(10)}${of(mailbox).padStart(12)}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
