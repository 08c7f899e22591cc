// @ts-check
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const main = join(root, "dist/cli/main.js");
const ROUNDS = "20000";

/**
 * Microseconds per round trip: on average; what the fastest tenth needs at most; processor time of
 * both sides.
 * @typedef {{ mean: number, tenth: number, cpu: number }} Figures
 */

/** @typedef {Map<string, Figures>} Rows */

/**
 * @param {string} command
 * @param {string[]} args
 * @returns {Rows} by name
 */
function measure(command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`exec failed: ${stderr}`);
  return new Map(
    stdout
      .trim()
      .split("\n")
      .map((line) => {
        const [name = "", ...figures] = line.split(" ");
        const [mean = Number.NaN, tenth = Number.NaN, cpu = Number.NaN] = figures.map(Number);
        return [name, { mean, tenth, cpu }];
      }),
  );
}

/** @param {number[]} values */
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/**
 * The median of each figure.
 * @param {Rows[]} runs
 * @param {string} name
 * @returns {Figures}
 */
function typical(runs, name) {
  const all = runs.flatMap((run) => run.get(name) ?? []);
  return {
    mean: median(all.map((one) => one.mean)),
    tenth: median(all.map((one) => one.tenth)),
    cpu: median(all.map((one) => one.cpu)),
  };
}

/**
 * @param {string} name
 * @param {Figures} figures
 * @param {Figures} floor
 */
function line(name, { mean, tenth, cpu }, floor) {
  const cells = [mean.toFixed(2), tenth.toFixed(2), (tenth / floor.tenth).toFixed(1)];
  return `${name.padEnd(24)}${[...cells, cpu.toFixed(2)].map((cell) => cell.padStart(10)).join("")}`;
}

/**
 * Round trips of a client under `kvm-xen exec`, through the socket and through mailboxes, and of two
 * bare processes that do nothing else.
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
    /** @param {string[]} options */
    const client = (options) =>
      measure(process.execPath, [main, "exec", ...options, "--", program, ROUNDS]);
    /** @type {Rows[]} */
    const floors = [];
    /** @type {Rows[]} */
    const socket = [];
    /** @type {Rows[]} */
    const mailbox = [];
    for (let run = 0; run < runs; run++) {
      progress.step(`exec: run ${run + 1} of ${runs}`);
      floors.push(measure(program, [ROUNDS, "floor"]));
      socket.push(client(["--no-mailbox"]));
      mailbox.push(client(["--mailbox"]));
    }
    progress.end();
    console.log(
      "\nRound trips of a client under exec, microseconds (medians): on average, what the",
    );
    console.log(
      "fastest tenth needs at most and how often the floor that is, processor time of both",
    );
    for (const [title, rows, way] of /** @type {const} */ ([
      ["socket", socket, "socket"],
      ["--mailbox", mailbox, "memory"],
    ])) {
      const head = ["mean", "tenth", "x floor", "cpu"].map((cell) => cell.padStart(10)).join("");
      console.log(`${title.padEnd(24)}${head}`);
      const floor = typical(floors, way);
      console.log(line(`  floor: bare ${way}`, floor, floor));
      for (const name of rows[0]?.keys() ?? []) {
        console.log(line(`  ${name}`, typical(rows, name), floor));
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
