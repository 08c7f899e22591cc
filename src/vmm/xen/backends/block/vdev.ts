/** Numbers of virtual disks (Xen's docs/man/xen-vbd-interface): what frontends make names of. */
import { HostError } from "../../../../base/index.js";

/** Linux's major number of xvd devices. */
const XVD_MAJOR = 202;
/** Disks that the old form of the number has room for: xvda to xvdp. */
const OLD_FORM = 16;
/** Marks the newer form. */
const EXTENDED = 1 << 28;

/**
 * Disks of a machine.
 * @limit user | disks of a machine | disks | DISK_NAME, status 1
 */
export const MAX_DISKS = 26;

/** The name of the disk with a number from 0: `xvda` is the first. */
export const diskName = (index: number): string => `xvd${String.fromCharCode(0x61 + index)}`;

/**
 * The number of a disk by its name, from 0.
 * @throws HostError DISK_NAME for anything but xvda to xvdz.
 */
export function diskIndex(name: string): number {
  if (!/^xvd[a-z]$/.test(name)) {
    throw new HostError("DISK_NAME", `${name || "''"} is no name of a disk: xvda to xvdz are`);
  }
  return name.charCodeAt(3) - 0x61;
}

/** The virtual device number of a whole disk. */
export function vdevNumber(index: number): number {
  return index < OLD_FORM ? (XVD_MAJOR << 8) | (index << 4) : EXTENDED | (index << 8);
}
