/** `--direct`: the kernel that is installed on the first disk, without a boot loader. */
import { HostError } from "../base/index.js";
import { type BootFiles, readBootFiles } from "../vmm/machine/index.js";
import type { OpenDisk } from "./disk-option.js";

/** What of a command line says what is booted. */
export interface BootChoice {
  readonly kernel?: string;
  readonly initrd: readonly string[];
  readonly disk?: readonly string[];
  readonly direct?: boolean;
}

/**
 * Checks that there is one kernel.
 * @throws HostError USAGE when there is none, or two.
 */
export function checkBootChoice({ kernel, initrd, disk = [], direct }: BootChoice): void {
  if (!direct && kernel === undefined) {
    throw new HostError("USAGE", "give --kernel FILE, or --direct for the one on the first --disk");
  }
  if (!direct) return;
  if (kernel !== undefined || initrd.length > 0) {
    throw new HostError("USAGE", "--direct takes kernel and initrd from the disk: give no others");
  }
  if (disk.length === 0) throw new HostError("USAGE", "--direct needs a --disk");
}

/**
 * Reads the kernel of the first disk, and completes the command line by where its root is.
 * @throws HostError DISK_NOT_BOOTABLE when it has none.
 */
export async function directBoot(
  [first]: readonly OpenDisk[],
  append: string,
): Promise<BootFiles & { readonly append: string }> {
  const { disk, name } = first as OpenDisk;
  const files = await readBootFiles(disk, name);
  const namesRoot = /(^|\s)root=/.test(append);
  const words = namesRoot ? append : `root=UUID=${files.uuid} ro ${append}`.trim();
  return { ...files, append: words };
}
