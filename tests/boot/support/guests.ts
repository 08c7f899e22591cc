import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { copyFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cachedFolder, cacheRoot, fillFolder } from "../../../src/hosts/node/cache.js";
import type { CpioEntry } from "../../../src/hosts/node/cpio.js";
import { obtainDebianGuest } from "../../../src/hosts/node/debian-guest.js";
import { busyboxInitramfs } from "../../../src/hosts/node/initramfs.js";
import { runProgram } from "../../../src/hosts/node/subprocess.js";

/** The kernels that the boots are about. */
export const kernels = ["6.1", "6.12"] as const;
/** A kernel's series. */
export type KernelName = (typeof kernels)[number];

const here = new URL("..", import.meta.url).pathname;
const silent = { step: () => undefined, fraction: () => undefined, end: () => undefined };
const NEWER = "debian-next-amd64";

/** Path of Debian's cloud kernel of this machine's release, or of the next release. */
export async function kernelPath(name: KernelName): Promise<string> {
  if (name === "6.1") return (await debianGuest()).kernelPath;
  const root = cacheRoot();
  const folder = cachedFolder(root, NEWER) ?? (await fillFolder(root, NEWER, fetchNewer));
  return join(folder, "vmlinuz");
}

/** Debian's kernel and busybox, as `npm start` keeps them. */
export const debianGuest = () => obtainDebianGuest({ cacheRoot: cacheRoot(), progress: silent });

async function fetchNewer(folder: string): Promise<void> {
  const tool = join(here, "newer-deb");
  const options = { cwd: folder, env: { NEWER_DEB_CACHE: join(folder, "apt") } };
  const meta = await runProgram(tool, ["--depends", "linux-image-cloud-amd64"], options);
  const name = meta.split("\n").find((line) => line.startsWith("linux-image-")) ?? "";
  await runProgram(tool, [name], options);
  const deb = (await readdir(folder)).find((file) => file.endsWith(".deb")) ?? "";
  const tree = join(folder, "tree");
  await runProgram("dpkg-deb", ["-x", join(folder, deb), tree]);
  const kernel = (await readdir(join(tree, "boot"))).find((file) => file.startsWith("vmlinuz-"));
  await copyFile(join(tree, "boot", kernel ?? ""), join(folder, "vmlinuz"));
  for (const leftover of ["apt", "tree", deb]) {
    await rm(join(folder, leftover), { recursive: true });
  }
}

/** A folder for the files of one test file; `remove` it at the end. */
export function workFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "kvm-xen-boot-"));
  mkdirSync(path, { recursive: true });
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Writes an initramfs of busybox with a script of `guests/` as its first process. */
export async function writeInitramfs(
  folder: string,
  script: string,
  more: readonly CpioEntry[] = [],
): Promise<string> {
  const busybox = readFileSync((await debianGuest()).busyboxPath);
  const init = readFileSync(join(here, "guests", `${script}.sh`));
  const path = join(folder, `${script}.cpio`);
  writeFileSync(path, busyboxInitramfs(busybox, init, more));
  return path;
}
