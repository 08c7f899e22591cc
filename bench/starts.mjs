// @ts-check
/** `npm start`: from the start of the command to a key that the guest has answered, by a boot and from a snapshot. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cacheRoot } from "../dist/hosts/node/cache.js";
import { median, table } from "./guests.mjs";

const root = new URL("..", import.meta.url).pathname;
/** Clock ticks of /proc/PID/stat in a second: what Linux shows on every x86-64. */
const TICKS = 100;

/**
 * @typedef {object} Start
 * @property {number} seconds until a key was answered
 * @property {number} processor seconds of the process that runs the guest, until then
 */

/** Processor time of a process's threads, in seconds. */
function processorOf(/** @type {number} */ pid) {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/**
 * Starts a guest, types a key at its prompt and waits for the echo.
 * @param {string} home folder for the cache
 * @param {string[]} words the command
 * @param {() => boolean} isOver whether the guest may be powered off
 * @returns {Promise<Start>}
 */
async function start(home, words, isOver) {
  const [program = "", ...rest] = words;
  const env = { ...process.env, XDG_CACHE_HOME: home };
  const began = performance.now();
  const child = spawn(program, rest, { cwd: root, env, stdio: ["pipe", "pipe", "ignore"] });
  let output = "";
  let changed = () => {};
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
    changed();
  });
  const closed = new Promise((resolve) => child.once("close", resolve));
  const matches = async (/** @type {RegExp} */ pattern, /** @type {number} */ from) => {
    while (!pattern.test(output.slice(from))) {
      await new Promise((resolve) => {
        changed = () => resolve(undefined);
      });
    }
  };
  await matches(/ # /, 0);
  const from = output.length;
  child.stdin.write("k");
  await matches(/k/, from);
  const seconds = (performance.now() - began) / 1000;
  const processor = program === process.execPath ? processorOf(child.pid ?? 0) : Number.NaN;
  while (!isOver()) await sleep(50);
  child.stdin.write("\x7fpoweroff\n");
  await closed;
  return { seconds, processor };
}

/**
 * Prints medians of boots, of starts from a snapshot, and what npm takes for itself.
 * @param {{ folder: string, runs: number }} options
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
export async function starts({ folder, runs }, progress) {
  // A cache of its own, with the guest that is there.
  mkdirSync(join(folder, "kvm-xen"), { recursive: true });
  const guest = "debian-amd64";
  symlinkSync(join(cacheRoot(), guest), join(folder, "kvm-xen", guest));
  const kept = join(folder, "kvm-xen", "snapshots");
  const isKept = () =>
    existsSync(kept) && readdirSync(kept).some((name) => name.endsWith(".snapshot"));
  const own = [process.execPath, join(root, "dist/cli/main.js"), "start"];
  const rows = [
    { name: "a boot (--cold)", words: [...own, "--cold"] },
    { name: "from a snapshot", words: own },
    { name: "from a snapshot, by npm start", words: ["npm", "start", "--silent"] },
  ];
  progress.step("the snapshot");
  await start(folder, own, isKept);
  const figures = [["", "seconds", "processor"]];
  for (const { name, words } of rows) {
    /** @type {Start[]} */
    const all = [];
    for (let i = 0; i < runs; i++) {
      progress.step(`${name}, ${i + 1} of ${runs}`);
      all.push(await start(folder, words, () => true));
    }
    const processor = median(all.map((one) => one.processor));
    figures.push([
      name,
      median(all.map((one) => one.seconds)).toFixed(2),
      Number.isNaN(processor) ? "" : processor.toFixed(2),
    ]);
  }
  const npm = Array.from({ length: runs }, () => {
    const began = performance.now();
    spawnSync("npm", ["--version"], { cwd: root });
    return (performance.now() - began) / 1000;
  });
  figures.push(["npm itself (--version)", median(npm).toFixed(2), ""]);
  progress.end();
  console.log(`\nnpm start until a key is answered, median of ${runs}`);
  console.log(table(figures));
}
