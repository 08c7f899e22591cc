import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { copyFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cachedFolder, cacheRoot, fillFolder } from "../../../src/hosts/node/cache.js";
import type { CpioEntry } from "../../../src/hosts/node/cpio.js";
import { obtainDebianGuest } from "../../../src/hosts/node/debian-guest.js";
import { busyboxInitramfs } from "../../../src/hosts/node/initramfs.js";
import { unpackKernel } from "../../../tools/debian/packages.mjs";

/** The kernels that the boots are about. */
export const kernels = ["6.1", "6.12"] as const;
/** A kernel's series. */
export type KernelName = (typeof kernels)[number];

const here = new URL("..", import.meta.url).pathname;
const silent = { step: () => undefined, fraction: () => undefined, end: () => undefined };

/** The Debian release that has a kernel of the series. */
export const SUITES: Record<KernelName, string> = { "6.1": "bookworm", "6.12": "trixie" };

/** Path of Debian's cloud kernel of a series: that of `npm start` when it is one, else another release's. */
export async function kernelPath(name: KernelName): Promise<string> {
  const own = await debianGuest();
  if (own.description.includes(`linux-image-${name}.`)) return own.kernelPath;
  const root = cacheRoot();
  const kept = `debian-${SUITES[name]}-amd64`;
  const fetch = async (folder: string): Promise<void> => {
    const tree = join(folder, "tree");
    const kernel = unpackKernel(SUITES[name], "linux-image-cloud-amd64", tree);
    await copyFile(kernel, join(folder, "vmlinuz"));
    await rm(tree, { recursive: true });
  };
  const folder = cachedFolder(root, kept) ?? (await fillFolder(root, kept, fetch));
  return join(folder, "vmlinuz");
}

/** Debian's kernel and busybox, as `npm start` keeps them. */
export const debianGuest = () => obtainDebianGuest({ cacheRoot: cacheRoot(), progress: silent });

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
