// @ts-check
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cacheRoot } from "../dist/hosts/node/cache.js";
import { obtainDebianGuest } from "../dist/hosts/node/debian-guest.js";
import { nodeDecompressors } from "../dist/hosts/node/decompress.js";
import { busyboxInitramfs } from "../dist/hosts/node/initramfs.js";
import { median, runToMarker, table } from "./guests.mjs";

const USAGE = `npm run bench -- [--kernel FILE]... [--runs N] [--full] [--programs [--only NAME]...]
Boots kernels to a marker in their initramfs, here and in QEMU (software emulation) when that is
installed, and prints seconds, instructions and MIPS. It judges nothing.
  --kernel FILE   a bzImage; default: Debian's newest cloud kernel, as \`npm start\` fetches it
  --runs N        how often; medians are printed (3)
  --full          with the kernel's cryptography self-tests, two thirds of such a boot
  --programs      also guest-bench.c inside the guest and natively (needs gcc)
  --only NAME     of these programs only the named one; may be repeated`;

const MARKER = "bench-marker";
const main = new URL("../dist/cli/main.js", import.meta.url).pathname;
const QEMU = "qemu-system-x86_64";

const { values: options } = parseArgs({
  options: {
    kernel: { type: "string", multiple: true },
    runs: { type: "string", default: "3" },
    full: { type: "boolean", default: false },
    programs: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}

const has = (/** @type {string} */ program) => spawnSync(program, ["--version"]).status === 0;
const haveQemu = has(QEMU);
const folder = mkdtempSync(join(tmpdir(), "kvm-xen-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const progress = { step: () => undefined, fraction: () => undefined, end: () => undefined };
const guest = await obtainDebianGuest({ cacheRoot: cacheRoot(), progress });
const append = `panic=-1${options.full ? "" : " cryptomgr.notests"}`;

/**
 * Writes an initramfs whose first process prints the marker and powers off.
 * @param {string} name
 * @param {string} commands run before the marker
 * @param {import("../dist/hosts/node/cpio.js").CpioEntry[]} [more]
 */
function initramfs(name, commands, more = []) {
  const init = `#!/bin/busybox sh\n${commands}\necho ${MARKER}\n/bin/busybox poweroff -f\n`;
  const path = join(folder, name);
  writeFileSync(path, busyboxInitramfs(readFileSync(guest.busyboxPath), Buffer.from(init), more));
  return path;
}

/**
 * QEMU boots the ELF image inside a bzImage.
 * @param {string} path
 */
async function vmlinux(path) {
  const file = readFileSync(path);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const start = ((file[0x1f1] || 4) + 1) * 512 + view.getUint32(0x248, true);
  const payload = file.subarray(start, start + view.getUint32(0x24c, true));
  const formats = /** @type {const} */ ({ 31: "gzip", 253: "xz", 40: "zstd", 2: "lz4" });
  const format = formats[/** @type {keyof typeof formats} */ (payload[0] ?? 0)];
  const out = join(folder, "vmlinux");
  writeFileSync(out, await nodeDecompressors.decompress(format, payload));
  return out;
}

/** @param {string} kernel @param {string} initrd */
const runOurs = (kernel, initrd) => {
  const files = ["--kernel", kernel, "--initrd", initrd];
  const args = [main, "run", ...files, "--append", append, "--stats"];
  return runToMarker(process.execPath, args, MARKER, false);
};

/** @param {string} image @param {string} initrd */
const runQemu = (image, initrd) => {
  // Not microvm: on a busy machine Linux often fails to calibrate its timers there, and hangs.
  const machine = "-M q35 -accel tcg -m 256M -nodefaults -no-user-config".split(" ");
  const devices = ["-display", "none", "-serial", "stdio", "-no-reboot"];
  const files = ["-kernel", image, "-initrd", initrd, "-append", `console=ttyS0 ${append}`];
  return runToMarker(QEMU, [...machine, ...devices, ...files], MARKER, true);
};

/** @param {() => Promise<import("./guests.mjs").Run>} run */
async function repeat(run) {
  const runs = [];
  for (let i = 0; i < Number(options.runs); i++) runs.push(await run());
  return runs;
}

/** @param {string} kernel @param {string} initrd */
async function boots(kernel, initrd) {
  const rows = [["", "seconds", "instructions", "MIPS"]];
  const ours = await repeat(() => runOurs(kernel, initrd));
  const stats = ours.map((run) => /(\d+) instructions in ([\d.]+) s/.exec(run.messages) ?? []);
  const instructions = median(stats.map((match) => Number(match[1])));
  const inGuest = median(stats.map((match) => Number(match[2])));
  const seconds = median(ours.map((run) => run.seconds));
  const mips = (instructions / inGuest / 1e6).toFixed(0);
  rows.push(["kvm-xen", seconds.toFixed(2), `${(instructions / 1e9).toFixed(2)} G`, mips]);
  if (haveQemu) {
    const image = await vmlinux(kernel);
    const theirs = median((await repeat(() => runQemu(image, initrd))).map((run) => run.seconds));
    rows.push(["QEMU q35, TCG", theirs.toFixed(2), "", ""]);
    rows.push(["ratio", (seconds / theirs).toFixed(2), "", ""]);
  }
  console.log(`\nBoot of ${kernel} to a marker, median of ${options.runs}`);
  console.log(table(rows));
}

/** @param {string} output */
const results = (output) =>
  new Map([...output.matchAll(/^T (\S+) ([\d.]+) (\S+)/gm)].map((match) => [match[1], match]));

/** @param {string} kernel */
async function programs(kernel) {
  const only = options.only;
  const binary = join(folder, "guest-bench");
  const source = new URL("guest-bench.c", import.meta.url).pathname;
  execFileSync("gcc", ["-O2", "-static", "-o", binary, source, "-lm"]);
  const entry = { kind: /** @type {const} */ ("file"), path: "guest-bench", mode: 0o755 };
  const initrd = initramfs("programs.cpio", `/guest-bench ${only.join(" ")}`, [
    { ...entry, data: readFileSync(binary) },
  ]);
  const native = results(execFileSync(binary, only).toString());
  const ours = results((await runOurs(kernel, initrd)).output);
  const image = haveQemu ? await vmlinux(kernel) : "";
  const theirs = results(haveQemu ? (await runQemu(image, initrd)).output : "");
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

const kernels = options.kernel ?? [guest.kernelPath];
if (!haveQemu) console.log(`${QEMU} is not installed: nothing to compare with`);
const initrd = initramfs("boot.cpio", "");
for (const kernel of kernels) await boots(kernel, initrd);
if (options.programs) await programs(kernels[0] ?? "");
