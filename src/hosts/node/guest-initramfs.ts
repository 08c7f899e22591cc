/** The initial RAM disk of the Debian guest: busybox, the kernel's modules and what this package puts beside them. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import type { CpioEntry } from "./cpio.js";
import type { DebianGuest } from "./debian-guest.js";
import { readUserFile } from "./files.js";
import { busyboxInitramfs } from "./initramfs.js";
import { packageFile } from "./package-file.js";

/**
 * Bytes of a file that comes with this package, or is in the cache.
 * @limit file | a kernel or busybox in the cache | bytes | FILE_TOO_LARGE, status 2
 */
const MAX_CACHED_FILE = 256 << 20;

/** That limit, as files are read with it. */
const cachedLimit = { bytes: MAX_CACHED_FILE, what: "256 MiB" };

/** The bytes of a file of this package. @throws HostError when it is not there. */
export const readPackageFile = (path: string): Promise<Uint8Array> =>
  readUserFile(packageFile(path), "a file of this package", cachedLimit);

/** The bytes of the kernel. @throws HostError when it is not there. */
export const readGuestKernel = (guest: DebianGuest): Promise<Uint8Array> =>
  readUserFile(guest.kernelPath, "kernel", cachedLimit);

/** Where the agent of Machine.exec is; undefined where this package was built without a C compiler. */
export function agentPath(): string | undefined {
  const path = packageFile("dist/guest/kvm-xen-agent");
  return existsSync(path) ? path : undefined;
}

/**
 * The guest's initial RAM disk, with those of its kernel's modules that are named; all without a list.
 * @throws HostError when a file of it is not there.
 */
export async function guestInitramfs(
  guest: DebianGuest,
  wanted?: readonly string[],
): Promise<Uint8Array> {
  const read = (path: string) => readUserFile(path, "file in the cache", cachedLimit);
  const paths = (guest.modulePaths ?? []).filter(
    (path) => wanted?.includes(basename(path).replace(/\.ko$/, "")) ?? true,
  );
  const modules = paths.map(async (path): Promise<CpioEntry> => {
    const data = await read(path);
    return { kind: "file", path: `lib/modules/${basename(path)}`, mode: 0o644, data };
  });
  const init = await readPackageFile("guest/debian/init.sh");
  const point = await readPackageFile("guest/debian/suspend-point.elf");
  return busyboxInitramfs(await read(guest.busyboxPath), init, [
    { kind: "file", path: "bin/suspend-point", mode: 0o755, data: point },
    { kind: "folder", path: "lib" },
    { kind: "folder", path: "lib/modules" },
    ...(await Promise.all(modules)),
    ...(await agentEntries()),
  ]);
}

async function agentEntries(): Promise<CpioEntry[]> {
  if (agentPath() === undefined) return [];
  const data = await readPackageFile("dist/guest/kvm-xen-agent");
  return [{ kind: "file", path: "bin/kvm-xen-agent", mode: 0o755, data }];
}
