import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { cachedFolder, cacheRoot, fillFolder } from "../../../src/hosts/node/cache.js";
import { unpackKernel, unpackPackages } from "../../../tools/debian/packages.mjs";
import { QEMU_10, unpackedQemu } from "../../../tools/debian/unpacked-qemu.mjs";
import { type KernelName, SUITES } from "../../boot/support/guests.js";
import { type Kernel, kernelIn } from "./guest.js";

/** A folder of the user's cache with packages unpacked in it, fetched the first time. */
export async function unpacked(name: string, fetch: (folder: string) => void): Promise<string> {
  const root = cacheRoot();
  return cachedFolder(root, name) ?? fillFolder(root, name, async (folder) => fetch(folder));
}

/** Debian's cloud kernel of a release, with its modules. */
export async function kernel(series: KernelName): Promise<Kernel> {
  const tree = await unpacked(`monitors-kernel-${series}`, (folder) =>
    unpackKernel(SUITES[series], "linux-image-cloud-amd64", folder),
  );
  return kernelIn(tree);
}

/** How QEMU is started: the words before its options. */
export interface Qemu {
  readonly words: readonly string[];
  /** The folder that its package is unpacked in, "/" when it is installed. */
  readonly root: string;
}

/** QEMU of this machine. */
export function installedQemu(): Qemu {
  const { status } = spawnSync("qemu-system-x86_64", ["--version"]);
  if (status !== 0) throw new Error("qemu-system-x86_64 is missing: install qemu-system-x86");
  return { words: ["qemu-system-x86_64"], root: "/" };
}

/** QEMU 10 of the release after Debian 12, started without being installed, by its own dynamic linker. */
export async function qemu10(): Promise<Qemu> {
  const names = ["--with-depends", "qemu-system-x86", "qemu-utils", "ovmf"];
  const root = await unpacked(QEMU_10, (folder) => unpackPackages("trixie", names, folder));
  return { words: unpackedQemu(root), root };
}

/** The newest QEMU of Debian, of the release that is not out yet, started as {@link qemu10}. */
export async function newestQemu(): Promise<Qemu> {
  const names = ["--with-depends", "qemu-system-x86"];
  const root = await unpacked("monitors-qemu-11", (folder) =>
    unpackPackages("forky", names, folder),
  );
  return { words: unpackedQemu(root), root };
}

/** Debian's xen-shim of a release: Xen as a PVH guest that runs one PV guest. */
export async function xenShim(series: KernelName): Promise<string> {
  const version = series === "6.1" ? "4.17" : "4.20";
  const tree = await unpacked(`monitors-xen-${version}`, (folder) =>
    unpackPackages(SUITES[series], [`xen-utils-${version}`], folder),
  );
  return join(tree, `usr/lib/xen-${version}/boot/xen-shim`);
}
