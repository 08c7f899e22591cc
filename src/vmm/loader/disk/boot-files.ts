/** The kernel that is installed on a disk, read without the guest's help. */
import { HostError } from "../../../base/index.js";
import type { Disk } from "../../../ports/index.js";
import { Damaged, DiskReader } from "./disk-reader.js";
import { Ext4 } from "./ext4.js";
import { possibleFileSystems } from "./partitions.js";

/** What a disk has to boot. */
export interface BootFiles {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array | undefined;
  /** Of the file system that they are in: for `root=UUID=`. */
  readonly uuid: string;
}

/**
 * A kernel on a disk.
 * @limit file | a kernel or an initial RAM disk on a disk | bytes | DISK_NOT_BOOTABLE, status 2
 */
const MAX_FILE = 1 << 30;

/** Where Debian keeps links to its newest kernel. */
const KERNELS = ["/vmlinuz", "/boot/vmlinuz"];
const INITRDS = ["/initrd.img", "/boot/initrd.img"];

/**
 * Finds the newest kernel and its initial RAM disk in the first file system that has one: an ext4 on the whole disk
 * or in a partition.
 * @param name the disk, for messages.
 * @throws HostError DISK_NOT_BOOTABLE when there is none.
 */
export async function readBootFiles(disk: Disk, name: string): Promise<BootFiles> {
  const reader = new DiskReader(disk);
  const troubles: string[] = [];
  const attempt = async <T>(read: () => Promise<T | undefined>): Promise<T | undefined> => {
    try {
      return await read();
    } catch (trouble) {
      if (!(trouble instanceof Damaged)) throw trouble;
      troubles.push(trouble.message);
      return undefined;
    }
  };
  for (const start of (await attempt(() => possibleFileSystems(reader))) ?? []) {
    const files = await attempt(async () => {
      const system = await Ext4.open(reader, start);
      const kernel = system && (await first(system, KERNELS));
      if (system === undefined || kernel === undefined) return undefined;
      return { kernel, initrd: await first(system, INITRDS), uuid: system.uuid };
    });
    if (files !== undefined) return files;
  }
  const why = troubles[0] ?? "no ext4 on it has /vmlinuz";
  throw new HostError("DISK_NOT_BOOTABLE", `disk ${name} cannot be booted: ${why}`);
}

async function first(system: Ext4, paths: readonly string[]): Promise<Uint8Array | undefined> {
  for (const path of paths) {
    const bytes = await system.readFile(path, MAX_FILE);
    if (bytes !== undefined) return bytes;
  }
  return undefined;
}
