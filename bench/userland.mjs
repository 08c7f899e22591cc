// @ts-check
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheRoot } from "../dist/hosts/node/cache.js";
import { openDisk } from "../dist/hosts/node/open-disk.js";
import { readBootFiles } from "../dist/vmm/machine/index.js";
import { geometricMean, median, runToMarker, table } from "./guests.mjs";

const MARKER = "userland-marker";
const PACKAGES = "gcc,libc6-dev,python3,perl,xz-utils,openssl,sqlite3,nodejs";
const main = new URL("../dist/cli/main.js", import.meta.url).pathname;
const sources = new URL("userland/", import.meta.url).pathname;
const QEMU = "qemu-system-x86_64";

/** @typedef {{ seconds: number, check: string }} Result */

/**
 * What people run (gcc, Python, gzip, xz, openssl, sqlite, node, a shell), in a whole Debian: here, interpreted here, and in
 * QEMU. A row says whether all computed the same.
 * @param {{ runs: number, only: string[], node: string }} options
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
export async function userland({ runs, only, node }, progress) {
  const image = debian(progress);
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-userland-"));
  try {
    const { kernel, initrd, script } = await files(folder, image);
    const append = `root=/dev/xvda1 ${words("/dev/xvdb", only)}`;
    const disks = ["--disk", `${image},snapshot`, "--disk", `${script},ro`];
    const ours = [main, "run", "--direct", ...disks, "--memory", "512M", "--append", append];
    const machine = "-M q35 -accel tcg -m 512M -nodefaults -no-user-config -no-reboot".split(" ");
    const drive = (/** @type {string} */ file, /** @type {string} */ more) => [
      "-drive",
      `if=virtio,format=raw,file=${file},${more}`,
    ];
    const theirs = [
      ...machine,
      ...["-display", "none", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd],
      ...[...drive(image, "snapshot=on"), ...drive(script, "readonly=on")],
      ...["-append", `console=ttyS0 root=/dev/vda1 ${words("/dev/vdb", only)}`],
    ];
    /** @type {[name: string, program: string, args: string[]][]} */
    const columns = [
      ["kvm-xen", node, ours],
      ["interpreted", node, [...ours, "--decode", "cached"]],
    ];
    if (spawnSync(QEMU, ["--version"]).status === 0) columns.push(["QEMU", QEMU, theirs]);
    /** @type {Map<string, Result[]>[]} */
    const measured = columns.map(() => new Map());
    for (let i = 0; i < runs; i++) {
      for (const [at, [name, program, args]] of columns.entries()) {
        progress.step(`userland, ${name}, ${i + 1} of ${runs}`);
        const { output } = await runToMarker(program, args, MARKER, name === "QEMU", LIMIT_MS);
        for (const [, what = "", seconds, check = ""] of output.matchAll(
          /^T (\S+) ([\d.]+) (\S+)/gm,
        )) {
          const list = measured[at]?.get(what) ?? [];
          measured[at]?.set(what, [...list, { seconds: Number(seconds), check }]);
        }
      }
    }
    progress.end();
    print(
      columns.map(([name]) => name),
      measured,
      runs,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A guest that has not done everything by then has hung. */
const LIMIT_MS = 1_800_000;

/** What the kernel is told, so that it runs the script of a disk in place of an init. */
const words = (/** @type {string} */ disk, /** @type {string[]} */ only) =>
  `rw quiet cryptomgr.notests panic=-1 init=/bin/bash -- -c "mount -o ro ${disk} /mnt; exec bash /mnt/run.sh ${only.join(" ")}"`;

/**
 * Debian with the packages, made once.
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
function debian(progress) {
  const folder = join(cacheRoot(), "bench");
  const image = join(folder, "userland.img");
  if (existsSync(image)) return image;
  mkdirSync(folder, { recursive: true });
  progress.step("making a Debian with compilers and interpreters");
  execFileSync(process.execPath, [
    main,
    "image",
    "--include",
    PACKAGES,
    "--size",
    "4G",
    "-o",
    image,
  ]);
  return image;
}

/**
 * The kernel of the image, and the scripts as a disk.
 * @param {string} folder
 * @param {string} image
 */
async function files(folder, image) {
  const disk = await openDisk(image, { readonly: true });
  const boot = await readBootFiles(disk, "xvda");
  await disk.close();
  const at = (/** @type {string} */ name) => join(folder, name);
  writeFileSync(at("kernel"), boot.kernel);
  writeFileSync(at("initrd"), boot.initrd ?? "");
  mkdirSync(at("scripts"));
  for (const name of readdirSync(sources)) copyFileSync(join(sources, name), at(`scripts/${name}`));
  copyFileSync(new URL("guest-bench.c", import.meta.url).pathname, at("scripts/guest-bench.c"));
  execFileSync("mke2fs", ["-q", "-t", "ext4", "-d", at("scripts"), at("script.img"), "8M"]);
  return { kernel: at("kernel"), initrd: at("initrd"), script: at("script.img") };
}

/**
 * @param {string[]} names
 * @param {Map<string, Result[]>[]} measured
 * @param {number} runs
 */
function print(names, measured, runs) {
  const rows = [["", ...names, "ratio", "check"]];
  /** @type {number[]} */
  const ratios = [];
  for (const what of measured[0]?.keys() ?? []) {
    const lists = measured.map((results) => results.get(what) ?? []);
    const medians = lists.map((list) => median(list.map(({ seconds }) => seconds)));
    const checks = new Set(lists.flat().map(({ check }) => check));
    const ratio = (medians[0] ?? Number.NaN) / (medians[2] ?? Number.NaN);
    ratios.push(ratio);
    const same = checks.size === 1 ? "same" : "DIFFERS";
    rows.push([what, ...medians.map((value) => value.toFixed(2)), ratio.toFixed(2), same]);
  }
  rows.push(["geometric mean", ...names.map(() => ""), geometricMean(ratios).toFixed(2), ""]);
  console.log(`\nWhat people run, in a whole Debian: seconds in the guest, median of ${runs}`);
  console.log(table(rows));
}
