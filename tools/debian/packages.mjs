// @ts-check
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { noteSecondTry } from "../check/report.mjs";

/**
 * Debian packages for tests, of any release, through newer-deb. Everything throws an Error that says
 * what failed.
 */

const tool = new URL("newer-deb", import.meta.url).pathname;

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: Record<string, string> }} [options]
 */
function output(program, args, { cwd, env } = {}) {
  const result = spawnSync(program, args, {
    cwd,
    env: { ...process.env, LC_ALL: "C.UTF-8", ...env },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (result.status !== 0) {
    const why = result.error?.message ?? result.stderr.trim().slice(-2000);
    throw new Error(`${basename(program)} ${args.join(" ")}: ${why}`);
  }
  for (const line of result.stderr.split("\n"))
    if (line.startsWith("newer-deb:")) noteSecondTry(line);
  return result.stdout;
}

/**
 * What a package depends on, alternatives left out.
 * @param {string} suite a release, such as `trixie`
 * @param {string} name
 */
export function dependsOf(suite, name) {
  return output(tool, ["--depends", name], { env: { SUITE: suite } })
    .split("\n")
    .filter((line) => /^[a-z0-9]/.test(line));
}

/**
 * Downloads packages into a folder.
 * @param {string} suite
 * @param {readonly string[]} names
 * @param {string} folder
 * @returns {string[]} the paths of their files
 */
export function downloadPackages(suite, names, folder) {
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, "download-"));
  try {
    output(tool, names, { cwd: work, env: { SUITE: suite } });
    return readdirSync(work).map((file) => {
      renameSync(join(work, file), join(folder, file));
      return join(folder, file);
    });
  } finally {
    rmSync(work, { recursive: true });
  }
}

/**
 * Downloads packages and unpacks them into a folder, as they would be below `/`.
 * @param {string} suite
 * @param {readonly string[]} names
 * @param {string} folder
 */
export function unpackPackages(suite, names, folder) {
  const work = mkdtempSync(join(tmpdir(), "kvm-xen-packages-"));
  try {
    mkdirSync(folder, { recursive: true });
    for (const file of downloadPackages(suite, names, work))
      output("dpkg-deb", ["-x", file, folder]);
  } finally {
    rmSync(work, { recursive: true });
  }
}

/**
 * Downloads the newest kernel that a meta package names and unpacks it into a folder. From Debian 14
 * on the kernel itself is in a package of its own.
 * @param {string} suite
 * @param {string} meta such as `linux-image-cloud-amd64`
 * @param {string} folder
 * @returns {string} the path of its vmlinuz
 */
export function unpackKernel(suite, meta, folder) {
  const image = dependsOf(suite, meta).find((name) => name.startsWith("linux-image-"));
  if (image === undefined) throw new Error(`${meta} of ${suite} names no kernel`);
  const binary = dependsOf(suite, image).filter((name) => name.startsWith("linux-binary-"));
  unpackPackages(suite, [image, ...binary], folder);
  const found = ["boot", "usr/lib/modules"]
    .map((part) => join(folder, part))
    .filter((part) => existsSync(part))
    .flatMap((part) =>
      readdirSync(part, { recursive: true, encoding: "utf8" }).map((name) => join(part, name)),
    )
    .find((path) => basename(path).startsWith("vmlinuz"));
  if (found === undefined) throw new Error(`${image} of ${suite} has no vmlinuz`);
  return found;
}
