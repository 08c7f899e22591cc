// @ts-check
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cachedFolder, cacheRoot } from "../dist/hosts/node/cache.js";
import { obtainDebianGuest } from "../dist/hosts/node/debian-guest.js";
import { busyboxInitramfs } from "../dist/hosts/node/initramfs.js";
import { QEMU_10, unpackedQemu } from "../tools/debian/unpacked-qemu.mjs";
import { median, runToMarker, table } from "./guests.mjs";

const MARKER = "bench-marker";
const main = new URL("../dist/cli/main.js", import.meta.url).pathname;

/** A QEMU: the words before its options. @typedef {{ version: string, words: string[] }} Qemu */

/** @param {string[]} words */
function versionOf([program = "", ...args]) {
  const { stdout } = spawnSync(program, [...args, "--version"], { encoding: "utf8" });
  return /version (\d+\.\d+)/.exec(stdout ?? "")?.[1];
}

/** The installed QEMU, and the one that tests/monitors has fetched. @returns {Qemu[]} */
function qemus() {
  const folder = cachedFolder(cacheRoot(), QEMU_10);
  const all = [["qemu-system-x86_64"], ...(folder === undefined ? [] : [unpackedQemu(folder)])];
  return all.flatMap((words) => {
    const version = versionOf(words);
    return version === undefined ? [] : [{ version, words }];
  });
}

/**
 * Boots of one guest in QEMU to a marker in its initramfs: under exec with KVM and, from QEMU 8.1 on, with Xen, beside
 * the same QEMU's own processor. Prints seconds and ratios.
 * @param {{ folder: string, runs: number, full: boolean }} options
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
export async function monitors({ folder, runs, full }, progress) {
  const guest = await obtainDebianGuest({ cacheRoot: cacheRoot(), progress });
  const initrd = join(folder, "monitors.cpio");
  const init = `#!/bin/busybox sh\necho ${MARKER}\n/bin/busybox poweroff -f\n`;
  writeFileSync(initrd, busyboxInitramfs(readFileSync(guest.busyboxPath), Buffer.from(init)));
  const append = `console=ttyS0 panic=-1${full ? "" : " cryptomgr.notests"}`;
  const files = ["-kernel", guest.kernelPath, "-initrd", initrd, "-append", append];
  // With KVM the vendor is that of this machine's processor, with TCG AMD: Linux on Intel's isolates its page tables and
  // works around more, which is another guest.
  const cpu = "-cpu qemu64,vendor=AuthenticAMD";
  const machine = `-M q35 ${cpu} -m 256M -nodefaults -display none -serial stdio -no-reboot`.split(
    " ",
  );
  const found = qemus();
  if (found.length === 0) {
    console.log("\nqemu-system-x86_64 is not installed: no monitor to measure");
    return;
  }
  const exec = [process.execPath, main, "exec", "--"];
  for (const { version, words } of found) {
    const hasXen = Number.parseFloat(version) > 8;
    /** @type {{ name: string, before: string[], accel: string, seconds: number[] }[]} */
    const rows = [
      { name: "-accel tcg", before: [], accel: "tcg", seconds: [] },
      { name: "KVM under exec", before: exec, accel: "kvm", seconds: [] },
    ];
    const xen = "kvm,xen-version=0x40011,kernel-irqchip=split";
    if (hasXen) rows.push({ name: "Xen under exec", before: exec, accel: xen, seconds: [] });
    for (let i = 0; i < runs; i++) {
      for (const { name, before, accel, seconds } of rows) {
        progress.step(`QEMU ${version}, ${name}, ${i + 1} of ${runs}`);
        const [program = "", ...args] = [...before, ...words, "-accel", accel, ...machine];
        seconds.push((await runToMarker(program, [...args, ...files], MARKER, false)).seconds);
      }
    }
    progress.end();
    const own = median(rows[0]?.seconds ?? []);
    console.log(`\n${guest.description} in QEMU ${version} to a marker, median of ${runs}`);
    const figures = rows.map(({ name, seconds }) => {
      const middle = median(seconds);
      return [name, middle.toFixed(2), (middle / own).toFixed(2)];
    });
    console.log(table([["", "seconds", "ratio"], ...figures]));
  }
}
