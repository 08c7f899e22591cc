import { HostError } from "../../base/index.js";
import { isByteLocked, lockByte } from "./libc.js";

/**
 * Locks of disk images as QEMU has them (block/file-posix.c): whoever does something to an image has a shared lock of
 * the byte for it, and whoever cannot bear others doing it, of the byte for that. So two writers, or a writer and a
 * reader, hear of each other, whichever programs they are.
 */
const USED = 100;
const NOT_SHARED = 200;
/** Bits of QEMU's permissions. */
const Permission = { CONSISTENT_READ: 0, WRITE: 1, RESIZE: 3 } as const;

/** Locks that an open image has as long as its descriptor is open. */
export function lockImage(fd: number, path: string, access: "read" | "write"): void {
  const { CONSISTENT_READ, WRITE, RESIZE } = Permission;
  const used = access === "write" ? [CONSISTENT_READ, WRITE] : [CONSISTENT_READ];
  const notShared = [WRITE, RESIZE];
  const taken =
    used.every((bit) => lockByte(fd, USED + bit)) &&
    notShared.every((bit) => lockByte(fd, NOT_SHARED + bit));
  const conflict =
    used.some((bit) => isByteLocked(fd, NOT_SHARED + bit)) ||
    notShared.some((bit) => isByteLocked(fd, USED + bit));
  if (taken && !conflict) return;
  throw new HostError(
    "DISK_IN_USE",
    `disk ${path}: another program uses it, such as a virtual machine or qemu-nbd`,
  );
}
