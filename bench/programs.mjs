// @ts-check
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { geometricMean, median, table } from "./guests.mjs";

/** What the system calls return is a process id: not the same everywhere. */
const INCOMPARABLE = "syscall_500k";
/** One instruction: what an emulator does with it says nothing about others. Not in the mean. */
const ONE_INSTRUCTION = "repmovsb_1GiB";

/**
 * guest-bench.c, each program in a fresh guest: median and spread, here and in QEMU, and whether both compute what the
 * host's processor does. Needs gcc; the rows of 32-bit programs need its package gcc-multilib.
 * @param {import("./guest-runs.mjs").GuestRuns} guests
 * @param {string} folder for files of the run
 * @param {{ runs: number, only: string[] }} options
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
export async function programs(guests, folder, { runs, only }, progress) {
  const kernel = guests.kernels[0] ?? "";
  /** @type {Map<string, number>} */
  const wide = new Map();
  for (const bits of ["64", "32"]) {
    const data = buildProgram(folder, bits);
    if (data === undefined) {
      console.log(`\nNo ${bits}-bit programs: gcc -m${bits} does not build them (gcc-multilib)`);
      continue;
    }
    const native = results(execFileSync(join(folder, `guest-bench-${bits}`), only).toString());
    const head = ["", "native", "kvm-xen", "spread", "QEMU", "spread", "ratio", "check"];
    const rows = [bits === "64" ? head : [...head, "to 64"]];
    /** @type {number[]} */
    const ratios = [];
    for (const [name, match] of native) {
      const entry = { path: "guest-bench", mode: 0o755, data };
      const initrd = guests.initramfs(`${name}-${bits}.cpio`, `/guest-bench ${name}`, [
        { kind: "file", ...entry },
      ]);
      /** @type {RegExpExecArray[]} */
      const ours = [];
      /** @type {RegExpExecArray[]} */
      const theirs = [];
      for (let i = 0; i < runs; i++) {
        progress.step(`${name}, ${bits} bits, ${i + 1} of ${runs}`);
        ours.push(resultOf(name, (await guests.runOurs(kernel, initrd)).output));
        if (guests.haveQemu)
          theirs.push(resultOf(name, (await guests.runQemu(kernel, initrd)).output));
      }
      progress.end();
      const [here, there] = [ours, theirs].map((all) =>
        all.map(([, , seconds]) => Number(seconds)),
      );
      const ratio = median(here ?? []) / median(there ?? []);
      if (name !== ONE_INSTRUCTION) ratios.push(ratio);
      const same = ours.every(([, , , check]) => check === match[3]);
      rows.push([
        name,
        Number(match[2]).toFixed(3),
        ...spread(here ?? []),
        ...spread(there ?? []),
        ratio.toFixed(2),
        name === INCOMPARABLE ? "-" : same ? "same" : "DIFFERS",
        ...(bits === "64"
          ? []
          : [(median(here ?? []) / (wide.get(name) ?? Number.NaN)).toFixed(2)]),
      ]);
      if (bits === "64") wide.set(name, median(here ?? []));
    }
    const mean = geometricMean(ratios).toFixed(2);
    rows.push(["geometric mean", "", "", "", "", "", mean, ""]);
    console.log(`\n${bits}-bit programs, each in a fresh guest: seconds in it, median of ${runs}`);
    console.log(table(rows));
  }
}

/**
 * Median, and the distance of the extremes in hundredths of it.
 * @param {number[]} seconds
 */
function spread(seconds) {
  if (seconds.length === 0) return ["-", "-"];
  const middle = median(seconds);
  const share = ((Math.max(...seconds) - Math.min(...seconds)) / middle) * 100;
  return [middle.toFixed(3), `${share.toFixed(0)} %`];
}

/**
 * Builds guest-bench.c in a folder; undefined when gcc does not.
 * @param {string} folder
 * @param {string} bits
 */
export function buildProgram(folder, bits) {
  const source = new URL("guest-bench.c", import.meta.url).pathname;
  const binary = join(folder, `guest-bench-${bits}`);
  const options = [`-m${bits}`, "-O2", "-msse2", "-mfpmath=sse", "-static"];
  const built = spawnSync("gcc", [...options, "-o", binary, source, "-lm"], { stdio: "ignore" });
  return built.status === 0 ? readFileSync(binary) : undefined;
}

/** @param {string} output */
export const results = (output) =>
  new Map(
    [...output.matchAll(/^T (\S+) ([\d.]+) (\S+)/gm)].map((match) => [match[1] ?? "", match]),
  );

/**
 * @param {string} name
 * @param {string} output
 */
export function resultOf(name, output) {
  const found = results(output).get(name);
  if (found === undefined) throw new Error(`${name} printed no result:\n${output.slice(-800)}`);
  return found;
}
