/** The disk of a machine in a page; loaded when a machine has one. */
import { blobDisk, lastingDisk } from "../hosts/browser/index.js";
import type { Disk, Log } from "../ports/index.js";
import { type Backend, BlockBackend, readBootFiles } from "../vmm/machine/index.js";
import { identityOf, openChanges } from "./kept-changes.js";

/** What the guest calls its disk. */
const DISK = "xvda";

/** A disk whose file stays as it is. */
export async function openDisk(image: File, keepsChanges: boolean, log: Log): Promise<Disk> {
  if (!keepsChanges) return blobDisk(image);
  const changes = await openChanges(image);
  if (typeof changes !== "string") {
    return lastingDisk({ image, identity: identityOf(image), changes });
  }
  log.warn(`what this guest writes to ${image.name} is gone with it: ${changes}`);
  return blobDisk(image);
}

/** The device of a machine. */
export const diskDevice = (disk: Disk): Backend => new BlockBackend(DISK, disk);

/** The kernel that is installed on the disk, and what it is told. @throws HostError what is not there. */
export async function bootFilesOf(
  disk: Disk,
  append: string,
): Promise<{ kernel: Uint8Array; initrd: Uint8Array | undefined; append: string }> {
  const found = await readBootFiles(disk, DISK);
  const namesRoot = /(^|\s)root=/.test(append);
  return { ...found, append: namesRoot ? append : `root=UUID=${found.uuid} ro ${append}`.trim() };
}
