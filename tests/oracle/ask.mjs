// @ts-check
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { unpackPackages } from "../../tools/debian/packages.mjs";

/** Asking a real Linux through ask-linux; the kernel is that in ASK_LINUX_CACHE. */

const here = new URL(".", import.meta.url).pathname;

/** The player of scenarios, and that of ioctls. */
export const SOURCES = { scn: join(here, "probe.c"), ioctls: join(here, "ioctls.c") };

/**
 * Runs a program. @throws Error with what failed
 * @param {string} program
 * @param {readonly string[]} args
 * @param {Record<string, string>} [environment]
 */
export function run(program, args, environment = {}) {
  const result = spawnSync(program, args, {
    encoding: "latin1",
    maxBuffer: 2 ** 30,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (result.error) throw new Error(`${program}: ${result.error.message}`);
  if (result.status !== 0)
    throw new Error(`${basename(program)}: ${result.stderr.trim().split("\n").at(-1)}`);
  return result.stdout;
}

/** The headers of the Linux that is recorded by default, as tests/headers leaves them. */
const headers = fileURLToPath(
  new URL("../../build/cache/headers-trixie/linux-libc-dev", import.meta.url),
);

/**
 * Builds a player, with those headers: fetched the first time.
 * @param {string} source
 * @param {string} program
 */
export function compile(source, program) {
  if (!existsSync(headers)) unpackPackages("trixie", ["linux-libc-dev"], headers);
  const include = join(headers, "usr/include");
  const folders = [include, join(include, "x86_64-linux-gnu")].flatMap((at) => ["-isystem", at]);
  run("gcc", ["-O2", "-w", "-static", ...folders, "-o", program, source]);
}

/**
 * The answers in what probe, ioctls or `kvm-xen play` printed, by name of the file.
 * @param {string} output
 */
export function answersIn(output) {
  /** @type {Map<string, string[]>} */
  const answers = new Map();
  /** @type {string[]} */
  let lines = [];
  for (const line of output.split("\n").slice(0, -1)) {
    // The kernel's own log comes by the same console.
    if (/^\[ *\d+\.\d+\] /.test(line)) continue;
    if (line.startsWith("== ")) {
      lines = [];
      answers.set(basename(line.slice(3)), lines);
    } else lines.push(line);
  }
  return answers;
}

/**
 * What a program printed on Linux.
 * @param {string} program
 * @param {readonly string[]} args files are taken along
 * @param {Record<string, string>} [environment] of ask-linux, such as CPU
 */
export function askText(program, args, environment = {}) {
  // The emulated machine needs a second or two for a scenario in which guests wait, more beside other work.
  const limit = { ...environment, LIMIT: String(120 + args.length * 15) };
  const ask = () => run(join(here, "ask-linux"), [program, ...args], limit);
  try {
    return ask();
  } catch (error) {
    // On a busy machine the emulated one does not always come up.
    console.error(`${error instanceof Error ? error.message : error}: once more`);
    return ask();
  }
}

/**
 * The answers of Linux by the names of files that a player plays. @param {string} program
 * @param {readonly string[]} files more than one, of different names
 * @param {Record<string, string>} [environment]
 */
export function askLinux(program, files, environment = {}) {
  return answersIn(askText(program, files, environment));
}
