// @ts-check
import { median, table } from "./guests.mjs";

/**
 * Boots each kernel to a marker in its initramfs, here and in QEMU, and prints seconds, instructions and MIPS.
 * @param {import("./guest-runs.mjs").GuestRuns} guests
 * @param {number} runs
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
export async function boots(guests, runs, progress) {
  const initrd = guests.initramfs("boot.cpio", "");
  for (const kernel of guests.kernels) {
    /** @type {import("./guests.mjs").Run[]} */
    const ours = [];
    /** @type {import("./guests.mjs").Run[]} */
    const theirs = [];
    for (let i = 0; i < runs; i++) {
      progress.step(`boot, ${i + 1} of ${runs}`);
      ours.push(await guests.runOurs(kernel, initrd));
      if (guests.haveQemu) theirs.push(await guests.runQemu(kernel, initrd));
    }
    progress.end();
    const stats = ours.map((run) => /(\d+) instructions in ([\d.]+) s/.exec(run.messages) ?? []);
    const instructions = median(stats.map((match) => Number(match[1])));
    const inGuest = median(stats.map((match) => Number(match[2])));
    const seconds = median(ours.map((run) => run.seconds));
    const mips = (instructions / inGuest / 1e6).toFixed(0);
    const rows = [["", "seconds", "instructions", "MIPS"]];
    rows.push(["kvm-xen", seconds.toFixed(2), `${(instructions / 1e9).toFixed(2)} G`, mips]);
    if (guests.haveQemu) {
      const qemu = median(theirs.map((run) => run.seconds));
      rows.push(["QEMU q35, TCG", qemu.toFixed(2), "", ""]);
      rows.push(["ratio", (seconds / qemu).toFixed(2), "", ""]);
    }
    console.log(`\nBoot of ${kernel} to a marker, median of ${runs}`);
    console.log(table(rows));
  }
}
