import { rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HostError } from "../base/index.js";
import { Apt } from "../hosts/node/apt.js";
import { cacheRoot } from "../hosts/node/cache.js";
import { guestInitramfs } from "../hosts/node/guest-initramfs.js";
import { ProgressLine } from "../hosts/node/progress-line.js";
import { type ObtainGuest, obtainDebian, type StartTerminal } from "./start-command.js";

/** The options of `kvm-xen guest`. */
export interface GuestOptions {
  /** Fetch the newest kernel again. */
  readonly update?: boolean;
}

/**
 * `kvm-xen guest`: fetches the guest of `kvm-xen start` unless it is in the cache, and makes files of it that other
 * monitors boot. Its initial RAM disk has the kernel's modules for PV disks and PV network cards besides.
 * @returns what is to be printed: options of QEMU, `-kernel FILE -initrd FILE`.
 * @throws HostError when it cannot be fetched, or the files have names that a shell would take apart.
 */
export async function guestFiles(
  options: GuestOptions,
  error: StartTerminal,
  obtain: ObtainGuest = obtainDebian,
  hasApt: boolean = Apt.isPresent(),
): Promise<string> {
  if (!hasApt) {
    throw new HostError("NO_PACKAGE", "this system has no apt-get and dpkg-deb to fetch a kernel");
  }
  const progress = new ProgressLine(error);
  let guest = await obtain(progress, options.update ?? false);
  // It was fetched before modules were kept.
  if (guest.modulePaths === undefined) guest = await obtain(progress, true);
  if (guest.notUpdated !== undefined) {
    error.write(`kvm-xen: ${guest.notUpdated}: ${guest.description} was fetched before\n`);
  }
  const folder = dirname(guest.kernelPath);
  if (/[^\w@%+=:,./-]/.test(folder)) {
    const message = `the name of the cache folder ${folder} would have to be quoted: set XDG_CACHE_HOME to another`;
    throw new HostError("CACHE_UNUSABLE", message);
  }
  const initrd = join(folder, "initrd.img");
  // A guest that boots from it at this moment has the old file or the new one.
  const unfinished = `${initrd}.${process.pid}`;
  try {
    await writeFile(unfinished, await guestInitramfs(guest));
    await rename(unfinished, initrd);
  } catch (cause) {
    const message = `cannot write ${initrd}: set XDG_CACHE_HOME to a folder that you own: ${cacheRoot()}`;
    throw new HostError("CACHE_UNUSABLE", message, { cause });
  }
  return `-kernel ${guest.kernelPath} -initrd ${initrd}`;
}
