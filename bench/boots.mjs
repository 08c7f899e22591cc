// @ts-check
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheRoot } from "../dist/hosts/node/cache.js";
import { obtainDebianGuest } from "../dist/hosts/node/debian-guest.js";
import { nodeDecompressors } from "../dist/hosts/node/decompress.js";
import { busyboxInitramfs } from "../dist/hosts/node/initramfs.js";
import { median, runToMarker, table } from "./guests.mjs";

const MARKER = "bench-marker";
const main = new URL("../dist/cli/main.js", import.meta.url).pathname;
const QEMU = "qemu-system-x86_64";

/** @typedef {{ kernels: string[] | undefined, runs: number, full: boolean, only: string[] }} Options */

const has = (/** @type {string} */ program) => spawnSync(program, ["--version"]).status === 0;

/** Boots of kernels to a marker in their initramfs, here and in QEMU. */
export class Boots {
  #folder;
  #options;
  #progress;
  #guest;
  #haveQemu = has(QEMU);

  /**
   * @param {string} folder
   * @param {Options} options
   * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
   * @param {import("../dist/hosts/node/debian-guest.js").DebianGuest} guest
   */
  constructor(folder, options, progress, guest) {
    this.#folder = folder;
    this.#options = options;
    this.#progress = progress;
    this.#guest = guest;
    if (!this.#haveQemu) console.log(`${QEMU} is not installed: nothing to compare with`);
  }

  /**
   * @param {string} folder for files of the run
   * @param {Options} options
   * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
   */
  static async create(folder, options, progress) {
    const guest = await obtainDebianGuest({ cacheRoot: cacheRoot(), progress });
    progress.end();
    return new Boots(folder, options, progress, guest);
  }

  /** The kernels to boot. */
  get kernels() {
    return this.#options.kernels ?? [this.#guest.kernelPath];
  }

  /**
   * Writes an initramfs whose first process prints the marker and powers off.
   * @param {string} name
   * @param {string} commands run before the marker
   * @param {import("../dist/hosts/node/cpio.js").CpioEntry[]} [more]
   */
  #initramfs(name, commands, more = []) {
    const init = `#!/bin/busybox sh\n${commands}\necho ${MARKER}\n/bin/busybox poweroff -f\n`;
    const path = join(this.#folder, name);
    const busybox = readFileSync(this.#guest.busyboxPath);
    writeFileSync(path, busyboxInitramfs(busybox, Buffer.from(init), more));
    return path;
  }

  /**
   * QEMU boots the ELF image inside a bzImage.
   * @param {string} path
   */
  async #vmlinux(path) {
    const file = readFileSync(path);
    const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    const start = ((file[0x1f1] || 4) + 1) * 512 + view.getUint32(0x248, true);
    const payload = Buffer.from(file.subarray(start, start + view.getUint32(0x24c, true)));
    const formats = /** @type {const} */ ({ 31: "gzip", 253: "xz", 40: "zstd", 2: "lz4" });
    const format = formats[/** @type {keyof typeof formats} */ (payload[0] ?? 0)];
    const out = join(this.#folder, "vmlinux");
    const size = payload.readUInt32LE(payload.length - 4);
    writeFileSync(out, await nodeDecompressors.decompress(format, payload, size));
    return out;
  }

  get #append() {
    return `panic=-1${this.#options.full ? "" : " cryptomgr.notests"}`;
  }

  /** @param {string} kernel @param {string} initrd */
  #runOurs(kernel, initrd) {
    const files = ["--kernel", kernel, "--initrd", initrd];
    const args = [main, "run", ...files, "--append", this.#append, "--stats"];
    return runToMarker(process.execPath, args, MARKER, false);
  }

  /** @param {string} image @param {string} initrd */
  #runQemu(image, initrd) {
    // Not microvm: on a busy machine Linux often fails to calibrate its timers there, and hangs.
    const machine = "-M q35 -accel tcg -m 256M -nodefaults -no-user-config".split(" ");
    const devices = ["-display", "none", "-serial", "stdio", "-no-reboot"];
    const append = `console=ttyS0 ${this.#append}`;
    const files = ["-kernel", image, "-initrd", initrd, "-append", append];
    return runToMarker(QEMU, [...machine, ...devices, ...files], MARKER, true);
  }

  /**
   * @param {string} what
   * @param {() => Promise<import("./guests.mjs").Run>} run
   */
  async #repeat(what, run) {
    const runs = [];
    for (let i = 0; i < this.#options.runs; i++) {
      this.#progress.step(`${what}, ${i + 1} of ${this.#options.runs}`);
      runs.push(await run());
    }
    this.#progress.end();
    return runs;
  }

  /**
   * Boots a kernel and prints seconds, instructions and MIPS.
   * @param {string} kernel
   */
  async boot(kernel) {
    const initrd = this.#initramfs("boot.cpio", "");
    const rows = [["", "seconds", "instructions", "MIPS"]];
    const ours = await this.#repeat("boot", () => this.#runOurs(kernel, initrd));
    const stats = ours.map((run) => /(\d+) instructions in ([\d.]+) s/.exec(run.messages) ?? []);
    const instructions = median(stats.map((match) => Number(match[1])));
    const inGuest = median(stats.map((match) => Number(match[2])));
    const seconds = median(ours.map((run) => run.seconds));
    const mips = (instructions / inGuest / 1e6).toFixed(0);
    rows.push(["kvm-xen", seconds.toFixed(2), `${(instructions / 1e9).toFixed(2)} G`, mips]);
    if (this.#haveQemu) {
      const image = await this.#vmlinux(kernel);
      const runs = await this.#repeat("boot in QEMU", () => this.#runQemu(image, initrd));
      const theirs = median(runs.map((run) => run.seconds));
      rows.push(["QEMU q35, TCG", theirs.toFixed(2), "", ""]);
      rows.push(["ratio", (seconds / theirs).toFixed(2), "", ""]);
    }
    console.log(`\nBoot of ${kernel} to a marker, median of ${this.#options.runs}`);
    console.log(table(rows));
  }

  /**
   * Runs guest-bench.c inside the guest and natively. Needs gcc.
   * @param {string} kernel
   */
  async programs(kernel) {
    const { only } = this.#options;
    const binary = join(this.#folder, "guest-bench");
    const source = new URL("guest-bench.c", import.meta.url).pathname;
    execFileSync("gcc", ["-O2", "-static", "-o", binary, source, "-lm"]);
    const entry = { kind: /** @type {const} */ ("file"), path: "guest-bench", mode: 0o755 };
    const initrd = this.#initramfs("programs.cpio", `/guest-bench ${only.join(" ")}`, [
      { ...entry, data: readFileSync(binary) },
    ]);
    this.#progress.step("programs");
    const native = results(execFileSync(binary, only).toString());
    const ours = results((await this.#runOurs(kernel, initrd)).output);
    const image = this.#haveQemu ? await this.#vmlinux(kernel) : "";
    const theirs = results(this.#haveQemu ? (await this.#runQemu(image, initrd)).output : "");
    this.#progress.end();
    const rows = [["", "native s", "kvm-xen s", "ratio", "QEMU s", "ratio", "check"]];
    for (const [name, match] of native) {
      const base = Number(match[2]);
      const seconds = (/** @type {typeof native} */ from) => Number(from.get(name)?.[2]);
      // What the system calls return is a process id: not the same everywhere.
      const isComparable = name !== "syscall_500k";
      const isSame = ours.get(name)?.[3] === match[3];
      const same = !isComparable ? "-" : isSame ? "same" : "DIFFERS";
      const columns = [seconds(ours), seconds(theirs)].flatMap((value) =>
        Number.isNaN(value) ? ["-", "-"] : [value.toFixed(3), (value / base).toFixed(1)],
      );
      rows.push([name ?? "", base.toFixed(3), ...columns, same]);
    }
    console.log("\nPrograms inside the guest (checks are compared with the native run's)");
    console.log(table(rows));
  }
}

/** @param {string} output */
const results = (output) =>
  new Map([...output.matchAll(/^T (\S+) ([\d.]+) (\S+)/gm)].map((match) => [match[1], match]));
