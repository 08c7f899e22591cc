/** The kernel that is installed on the first disk: by GRUB, as on any machine, or by `--direct` without a boot loader. */
import { HostError } from "../base/index.js";
import { type BootFiles, readBootFiles } from "../vmm/machine/index.js";
import type { OpenDisk } from "./disk-option.js";

/** What of a command line says what is booted. */
export interface BootChoice {
  readonly kernel?: string;
  readonly initrd: readonly string[];
  readonly disk?: readonly string[];
  readonly direct?: boolean;
  readonly append: string;
}

/**
 * Checks that there is one kernel.
 * @returns whether it is GRUB that boots it, from the disk.
 * @throws HostError USAGE when there is none, or two, or words for a kernel that only GRUB knows.
 */
export function checkBootChoice(choice: BootChoice): boolean {
  const { kernel, initrd, disk = [], direct, append } = choice;
  if (!direct && kernel === undefined) {
    if (disk.length === 0) {
      throw new HostError("USAGE", "give --kernel FILE, or a --disk that has one");
    }
    if (initrd.length > 0 || append !== "") {
      const message = `${append === "" ? "--initrd" : "--append"} needs --kernel or --direct`;
      throw new HostError("USAGE", `${message}: without them GRUB boots what the disk says`);
    }
    return true;
  }
  if (!direct) return false;
  if (kernel !== undefined || initrd.length > 0) {
    throw new HostError("USAGE", "--direct takes kernel and initrd from the disk: give no others");
  }
  if (disk.length === 0) throw new HostError("USAGE", "--direct needs a --disk");
  return false;
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
