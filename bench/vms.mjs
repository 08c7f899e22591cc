// @ts-check
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const COUNTS = [1, 10, 50];

/**
 * The numbers that a program prints.
 * @param {string[]} args of node
 */
function numbers(args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  return stdout.trim().split(/\s+/).map(Number);
}

/** @param {number[]} values */
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/**
 * Resident memory that a tiny VM costs: with 64 KiB of memory and a vCPU that has run.
 * @param {number} runs
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
export function vms(runs, progress) {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-bench-"));
  try {
    const program = join(folder, "client");
    const source = join(root, "bench/vms-client.c");
    const hasClient = spawnSync("gcc", ["-O2", "-o", program, source]).status === 0;
    if (!hasClient) console.log("vms under exec: left out, no C compiler");
    const main = join(root, "dist/cli/main.js");
    const here = join(root, "bench/vms-here.mjs");
    /** @param {string} where @param {number} count @param {() => number[]} once @param {string[]} names */
    const measure = (where, count, once, names) => {
      progress.step(`${count} VMs ${where}`);
      const all = Array.from({ length: runs }, once);
      for (const [i, name] of names.entries()) {
        const kib = median(all.map((row) => row[i] ?? Number.NaN)) / count;
        progress.end();
        console.log(`${count} VMs ${where}: ${(kib / 1024).toFixed(2)} MiB resident each${name}`);
      }
    };
    for (const count of COUNTS) {
      measure("in one process", count, () => numbers(["--expose-gc", here, `${count}`]), [""]);
      if (!hasClient) continue;
      const client = [main, "exec", "--", program, `${count}`];
      measure("under exec", count, () => numbers(client), [" in the server", " in the client"]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}
