// @ts-check
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { MARKER } from "./guest-runs.mjs";
import { geometricMean, median, table } from "./guests.mjs";
import { buildProgram, resultOf } from "./programs.mjs";

const main = new URL("../dist/cli/main.js", import.meta.url).pathname;
/** A guest that has not come so far by then has hung. */
const LIMIT_MS = 300_000;
/** Programs that need no host's processor to compare with, in the order of guest-bench.c. */
const PROGRAMS = ["sha256_64MiB", "int64_20M", "nbody_1M", "syscall_500k", "fault_64k", "pipe_20k"];
/** Ticks of /proc in a second, on every Linux. */
const HERTZ = 100;

/**
 * Boots and programs in a page in Chromium and in Node, in turns: seconds to a marker, from where a person starts it, and processor
 * time of all processes until then. Needs chromium.
 * @param {import("./guest-runs.mjs").GuestRuns} guests
 * @param {string} folder for files of the run
 * @param {{ runs: number, only: string[] }} options
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
export async function browser(guests, folder, { runs, only }, progress) {
  const program = ["chromium", "chromium-browser", "google-chrome"].find(
    (name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0,
  );
  if (program === undefined) {
    console.log("\nNo row of the browser: chromium is not installed");
    return;
  }
  const binary = buildProgram(folder, "64");
  const wanted = only.length > 0 ? PROGRAMS.filter((name) => only.includes(name)) : PROGRAMS;
  const names = binary === undefined ? [] : wanted;
  if (binary === undefined) console.log("\nNo programs: gcc does not build them");
  const page = await Page.open(spawnSync("which", [program]).stdout.toString().trim());
  const kernel = guests.kernels[0] ?? "";
  const head = ["", "Node", "Chromium", "ratio", "Node, CPU s", "Chromium, CPU s", "ratio"];
  const rows = [head];
  /** @type {number[]} */
  const ratios = [];
  try {
    for (const name of ["boot", ...names]) {
      const files =
        name === "boot" || binary === undefined
          ? []
          : [
              {
                kind: /** @type {const} */ ("file"),
                path: "guest-bench",
                mode: 0o755,
                data: binary,
              },
            ];
      const commands = name === "boot" ? "" : `/guest-bench ${name}`;
      const initrd = guests.initramfs(`${name}-browser.cpio`, commands, files);
      /** @type {{ seconds: number, cpu: number }[][]} */
      const [node, tab] = [[], []];
      for (let i = 0; i < runs; i++) {
        progress.step(`${name} in Node and in Chromium, ${i + 1} of ${runs}`);
        const ours = await inNode(guests.runCommand(kernel, initrd));
        const theirs = await page.run(kernel, initrd, guests.append);
        for (const [list, run] of /** @type {const} */ ([
          [node, ours],
          [tab, theirs],
        ])) {
          const seconds = name === "boot" ? run.seconds : Number(resultOf(name, run.output)[2]);
          list?.push({ seconds, cpu: run.cpu });
        }
      }
      progress.end();
      const middle = (/** @type {"seconds" | "cpu"} */ what) =>
        [node, tab].map((list) => median((list ?? []).map((run) => run[what])));
      const [[here = 0, there = 0], [hereCpu = 0, thereCpu = 0]] = [
        middle("seconds"),
        middle("cpu"),
      ];
      ratios.push(there / here);
      rows.push([
        ...[name, here.toFixed(2), there.toFixed(2), (there / here).toFixed(2)],
        ...[hereCpu.toFixed(2), thereCpu.toFixed(2), (thereCpu / hereCpu).toFixed(2)],
      ]);
    }
  } finally {
    await page.close();
  }
  rows.push(["geometric mean", "", "", geometricMean(ratios).toFixed(2), "", "", ""]);
  console.log(`\nA page in ${page.version} beside Node ${process.version}, median of ${runs}:`);
  console.log(
    "seconds of a boot from its start to a marker, of a program in its guest; CPU s: from start to marker,",
  );
  console.log("of Node's process, and of all of Chromium's, which show the guest's output beside");
  console.log(table(rows));
}

/**
 * Runs a command to the marker.
 * @param {readonly [program: string, args: readonly string[]]} command
 */
async function inNode([program, args]) {
  const started = performance.now();
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let seconds = Number.NaN;
  let cpu = Number.NaN;
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
    if (!Number.isNaN(seconds) || !output.includes(MARKER)) return;
    seconds = (performance.now() - started) / 1000;
    cpu = ticksOf(child.pid ?? 0) / HERTZ;
  });
  child.stderr.resume();
  const limit = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
  await once(child, "close");
  clearTimeout(limit);
  if (Number.isNaN(seconds)) throw new Error(`no marker in Node:\n${output.slice(-800)}`);
  return { seconds, cpu, output };
}

/** Processor time of a process so far, without its children's. @param {number} pid */
function ticksOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const words = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return Number(words[11]) + Number(words[12]);
  } catch {
    return 0;
  }
}

/** All that a process has started, itself among them. @param {number} root */
function familyOf(root) {
  /** @type {Map<number, number>} */
  const parents = new Map();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const text = readFileSync(`/proc/${name}/stat`, "latin1");
      parents.set(Number(name), Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // It has ended.
    }
  }
  const family = [root];
  for (const pid of family) {
    for (const [child, parent] of parents) if (parent === pid) family.push(child);
  }
  return family;
}

/** `kvm-xen web` in Chromium: each guest in a tab of its own. */
class Page {
  #served;
  #browser;
  #address;

  /**
   * @param {import("node:child_process").ChildProcess} served
   * @param {string} address
   * @param {import("playwright-core").Browser} browser
   */
  constructor(served, address, browser) {
    this.#served = served;
    this.#address = address;
    this.#browser = browser;
    this.version = `Chromium ${browser.version()}`;
  }

  /** @param {string} executablePath */
  static async open(executablePath) {
    const served = spawn(process.execPath, [main, "web"], { stdio: ["ignore", "pipe", "inherit"] });
    const [address] = await Promise.race([once(served.stdout, "data"), once(served, "exit")]);
    // The sandbox needs privileges that the user of a container may not have.
    const browser = await chromium.launch({
      ...{ executablePath, args: ["--no-sandbox"] },
      env: { ...process.env, HOME: "/tmp" },
    });
    return new Page(served, String(address).trim(), browser);
  }

  /**
   * Starts a guest as a person would, with its files chosen.
   * @param {string} kernel
   * @param {string} initrd
   * @param {string} append
   */
  async run(kernel, initrd, append) {
    const tab = await this.#browser.newPage();
    try {
      await tab.goto(this.#address);
      await tab.waitForFunction(says, "powered itself off", { timeout: LIMIT_MS });
      await tab.setInputFiles("#kernel", kernel);
      await tab.setInputFiles("#initrd", initrd);
      await tab.evaluate(`document.getElementById("append").value = ${JSON.stringify(append)}`);
      const before = this.#ticks();
      const started = performance.now();
      await tab.evaluate(`document.getElementById("form").requestSubmit()`);
      await tab.waitForFunction(says, MARKER, { timeout: LIMIT_MS, polling: 50 });
      const seconds = (performance.now() - started) / 1000;
      const cpu = (this.#ticks() - before) / HERTZ;
      const output = String(await tab.evaluate("kvmXen.text()"));
      return { seconds, cpu, output };
    } finally {
      await tab.close();
    }
  }

  #ticks() {
    // Of this process's children all but the server are the browser's.
    return familyOf(process.pid)
      .filter((pid) => pid !== process.pid && pid !== this.#served.pid)
      .reduce((sum, pid) => sum + ticksOf(pid), 0);
  }

  async close() {
    await this.#browser.close();
    this.#served.kill("SIGTERM");
  }
}

/** In the page: whether its terminal shows a text. @param {string} text */
function says(text) {
  const page = /** @type {{ kvmXen?: { text(): string } }} */ (globalThis);
  return page.kvmXen?.text().includes(text) ?? false;
}
