// @ts-check
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheRoot } from "../dist/hosts/node/cache.js";
import { obtainDebianGuest } from "../dist/hosts/node/debian-guest.js";
import { nodeDecompressors } from "../dist/hosts/node/decompress.js";
import { busyboxInitramfs } from "../dist/hosts/node/initramfs.js";
import { runToMarker } from "./guests.mjs";

export const MARKER = "bench-marker";
const main = new URL("../dist/cli/main.js", import.meta.url).pathname;
const QEMU = "qemu-system-x86_64";

/**
 * @typedef {object} Options
 * @property {string[] | undefined} kernels
 * @property {number} runs
 * @property {boolean} full with the kernel's self-tests of cryptography
 * @property {string[]} only
 * @property {string} [node] a Node to run kvm-xen with
 */

const has = (/** @type {string} */ program) => spawnSync(program, ["--version"]).status === 0;

/** Runs kernels with an initramfs that prints a marker, here and in QEMU. */
export class GuestRuns {
  #folder;
  #guest;
  #node;
  #full;
  /** @type {Map<string, string>} */
  #images = new Map();
  /** Whether there is a QEMU to compare with. */
  haveQemu = has(QEMU);
  /** The kernels to boot. */
  kernels;

  /**
   * @param {string} folder
   * @param {Options} options
   * @param {import("../dist/hosts/node/debian-guest.js").DebianGuest} guest
   */
  constructor(folder, options, guest) {
    this.#folder = folder;
    this.#guest = guest;
    this.#full = options.full;
    this.#node = options.node ?? process.execPath;
    this.kernels = options.kernels ?? [guest.kernelPath];
    if (!this.haveQemu) console.log(`${QEMU} is not installed: nothing to compare with`);
  }

  /**
   * @param {string} folder for files of the run
   * @param {Options} options
   * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
   */
  static async create(folder, options, progress) {
    const guest = await obtainDebianGuest({ cacheRoot: cacheRoot(), progress });
    progress.end();
    return new GuestRuns(folder, options, guest);
  }

  /**
   * Writes an initramfs whose first process runs commands, prints the marker and powers off.
   * @param {string} name
   * @param {string} commands
   * @param {import("../dist/hosts/node/cpio.js").CpioEntry[]} [more]
   */
  initramfs(name, commands, more = []) {
    const init = `#!/bin/busybox sh\n${commands}\necho ${MARKER}\n/bin/busybox poweroff -f\n`;
    const path = join(this.#folder, name);
    const busybox = readFileSync(this.#guest.busyboxPath);
    writeFileSync(path, busyboxInitramfs(busybox, Buffer.from(init), more));
    return path;
  }

  /** What the kernels are told. */
  get append() {
    return `panic=-1${this.#full ? "" : " cryptomgr.notests"}`;
  }

  /**
   * The command that boots a kernel here.
   * @param {string} kernel
   * @param {string} initrd
   * @returns {readonly [program: string, args: string[]]}
   */
  runCommand(kernel, initrd) {
    const files = ["--kernel", kernel, "--initrd", initrd];
    return [this.#node, [main, "run", ...files, "--append", this.append, "--stats"]];
  }

  /** @param {string} kernel @param {string} initrd */
  runOurs(kernel, initrd) {
    return runToMarker(...this.runCommand(kernel, initrd), MARKER, false);
  }

  /** @param {string} kernel @param {string} initrd */
  async runQemu(kernel, initrd) {
    const image = this.#images.get(kernel) ?? (await this.#vmlinux(kernel));
    // Not microvm: on a busy machine Linux often fails to calibrate its timers there, and hangs.
    const machine = "-M q35 -accel tcg -m 256M -nodefaults -no-user-config".split(" ");
    const devices = ["-display", "none", "-serial", "stdio", "-no-reboot"];
    const append = `console=ttyS0 ${this.append}`;
    const files = ["-kernel", image, "-initrd", initrd, "-append", append];
    return await runToMarker(QEMU, [...machine, ...devices, ...files], MARKER, true);
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
    const out = join(this.#folder, `vmlinux-${this.#images.size}`);
    const size = payload.readUInt32LE(payload.length - 4);
    writeFileSync(out, await nodeDecompressors.decompress(format, payload, size));
    this.#images.set(path, out);
    return out;
  }
}
