// @ts-check
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { cacheRoot } from "../dist/hosts/node/cache.js";
import { obtainDebianGuest } from "../dist/hosts/node/debian-guest.js";
import { busyboxInitramfs } from "../dist/hosts/node/initramfs.js";
import { median, table } from "./guests.mjs";

const MARKER = "bench-marker";
const main = new URL("../dist/cli/main.js", import.meta.url).pathname;
/** Where a boot is stopped first: the kernel's code is in its place, and ftrace has changed it already. */
const FIRST = "kernel_init_freeable";
/** Never called. */
const NEVER = "panic";
/** Called more often than {@link HITS} while drivers start. */
const OFTEN = "strcmp";
const HITS = 10_000;
const LIMIT_MS = 600_000;

const INIT = `#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc
$b mount -t proc proc /proc
for name in ${FIRST} ${NEVER} ${OFTEN}; do echo "S $name $($b grep " $name$" /proc/kallsyms)"; done
echo ${MARKER}
$b poweroff -f
`;

/** One packet after the other to a stub of gdb's remote protocol, each with its answer. */
class Remote {
  #text = "";
  /** @type {((packet: string) => void)[]} */
  #waiting = [];

  /** @param {import("node:net").Socket} socket */
  constructor(socket) {
    this.socket = socket.setEncoding("latin1").setNoDelay(true);
    socket.on("error", () => undefined);
    socket.on("data", (text) => {
      this.#text += text;
      for (;;) {
        const found = /\$([^#]*)#../.exec(this.#text);
        if (found === null) return;
        this.#text = this.#text.slice(found.index + found[0].length);
        socket.write("+");
        this.#waiting.shift()?.(found[1] ?? "");
      }
    });
  }

  /**
   * Sends a packet.
   * @param {string} data
   * @returns {Promise<string>} the answer
   */
  ask(data) {
    let sum = 0;
    for (let i = 0; i < data.length; i++) sum = (sum + data.charCodeAt(i)) & 0xff;
    this.socket.write(`$${data}#${sum.toString(16).padStart(2, "0")}`);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /**
   * @param {string} data
   * @param {RegExp} wanted
   */
  async expect(data, wanted) {
    const answer = await this.ask(data);
    if (!wanted.test(answer)) throw new Error(`gdb's stub answered ${answer} to ${data}`);
  }
}

/** @typedef {{ FIRST: string, NEVER: string, OFTEN: string }} Addresses */
/** @typedef {{ seconds: number, stopped: number, console: string }} Boot */

/**
 * Meets a breakpoint again and again, as gdb does: takes it away, steps, puts it back.
 * @param {Remote} remote
 * @param {string} breakpoint
 */
async function meet(remote, breakpoint) {
  let stopped = 0;
  await remote.expect(`Z${breakpoint}`, /^OK$/);
  for (let hits = 0; hits < HITS; hits++) {
    await remote.expect("c", /^[TS]05/);
    const since = performance.now();
    await remote.expect(`z${breakpoint}`, /^OK$/);
    await remote.expect("s", /^[TS]05/);
    if (hits < HITS - 1) await remote.expect(`Z${breakpoint}`, /^OK$/);
    stopped += performance.now() - since;
  }
  return stopped / 1000;
}

/**
 * Boots once, with gdb's stub of QEMU in use.
 * @param {string[]} words
 * @param {string} path of the stub's socket
 * @param {Addresses | undefined} at
 * @param {{ kind?: 0 | 1, often?: boolean }} row kind: 0 in memory, 1 in debug registers
 * @returns {Promise<Boot>} seconds from the first instruction to the marker
 */
async function boot([program = "", ...args], path, at, { kind, often = false }) {
  const stub = ["-gdb", `unix:${path},server=on,wait=off`, "-S"];
  rmSync(path, { force: true });
  const child = spawn(program, [...args, ...stub], { stdio: ["ignore", "pipe", "inherit"] });
  const limit = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
  let text = "";
  let end = Number.NaN;
  child.stdout.setEncoding("utf8").on("data", (more) => {
    text += more;
    if (Number.isNaN(end) && text.includes(MARKER)) end = performance.now();
  });
  const closed = once(child, "close");
  while (!existsSync(path)) {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
    await pause(20);
  }
  const remote = new Remote(connect(path));
  let stopped = 0;
  const start = performance.now();
  if (at !== undefined) {
    await remote.expect(`Z1,${at.FIRST},1`, /^OK$/);
    await remote.expect("c", /^[TS]05/);
    await remote.expect(`z1,${at.FIRST},1`, /^OK$/);
    if (kind !== undefined && often) stopped = await meet(remote, `${kind},${at.OFTEN},1`);
    if (kind !== undefined && !often) await remote.expect(`Z${kind},${at.NEVER},1`, /^OK$/);
  }
  void remote.ask("c");
  await closed;
  clearTimeout(limit);
  if (Number.isNaN(end)) throw new Error(`the guest did not come to its end:\n${text.slice(-800)}`);
  return { seconds: (end - start) / 1000, stopped, console: text };
}

/** @param {string} text @returns {Addresses} */
function addresses(text) {
  const one = (/** @type {string} */ name) => {
    const found = new RegExp(`^S ${name} ([0-9a-f]{16}) `, "m").exec(text)?.[1];
    if (found === undefined) throw new Error(`the guest has no symbol ${name}:\n${text}`);
    return found;
  };
  return { FIRST: one(FIRST), NEVER: one(NEVER), OFTEN: one(OFTEN) };
}

/**
 * Boots of Debian's kernel in the installed QEMU under exec, with gdb's stub: without a breakpoint, with one that is
 * never hit, and with one that is hit 10,000 times. Prints seconds and ratios; for the last the time between a stop and
 * going on is the exits' own cost, and taken off.
 * @param {{ folder: string, runs: number, full: boolean }} options
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
export async function breakpoints({ folder, runs, full }, progress) {
  const guest = await obtainDebianGuest({ cacheRoot: cacheRoot(), progress });
  const initrd = join(folder, "breakpoints.cpio");
  writeFileSync(initrd, busyboxInitramfs(readFileSync(guest.busyboxPath), Buffer.from(INIT)));
  const append = `console=ttyS0 panic=-1 nokaslr${full ? "" : " cryptomgr.notests"}`;
  const words = [
    ...[process.execPath, main, "exec", "--", "qemu-system-x86_64", "-accel", "kvm"],
    ..."-M q35 -m 256M -nodefaults -display none -serial stdio -no-reboot".split(" "),
    ...["-kernel", guest.kernelPath, "-initrd", initrd, "-append", append],
  ];
  const path = join(folder, "breakpoints.socket");
  progress.step("the guest's symbols");
  const at = addresses((await boot(words, path, undefined, {})).console);
  /** @type {{ name: string, row: { kind?: 0 | 1, often?: boolean }, boots: Boot[] }[]} */
  const rows = [
    { name: "no breakpoint", row: {}, boots: [] },
    { name: "in a debug register, never hit", row: { kind: 1 }, boots: [] },
    { name: "in memory, never hit", row: { kind: 0 }, boots: [] },
    { name: "in a debug register, hit 10,000 times", row: { kind: 1, often: true }, boots: [] },
    { name: "in memory, hit 10,000 times", row: { kind: 0, often: true }, boots: [] },
  ];
  for (let i = 0; i < runs; i++) {
    for (const { name, row, boots } of rows) {
      progress.step(`breakpoints: ${name}, ${i + 1} of ${runs}`);
      boots.push(await boot(words, path, at, row));
    }
  }
  progress.end();
  const middle = (/** @type {Boot[]} */ boots, /** @type {(boot: Boot) => number} */ what) =>
    median(boots.map(what));
  const running = (/** @type {Boot} */ one) => one.seconds - one.stopped;
  const own = middle(rows[0]?.boots ?? [], running);
  console.log(
    `\n${guest.description} in QEMU under exec with a breakpoint, to a marker, median of ${runs}`,
  );
  const figures = rows.map(({ name, boots }) => [
    name,
    middle(boots, (one) => one.seconds).toFixed(2),
    middle(boots, (one) => one.stopped).toFixed(2),
    (middle(boots, running) / own).toFixed(2),
  ]);
  console.log(table([["", "seconds", "of them stopped", "ratio of the others"], ...figures]));
}
