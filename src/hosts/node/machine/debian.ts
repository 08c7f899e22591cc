/** The Debian guest of `npm start`, for programs. */
import { cacheRoot } from "../cache.js";
import { obtainDebianGuest } from "../debian-guest.js";
import { guestInitramfs, readGuestKernel } from "../guest-initramfs.js";

/** Files of a guest, as createMachine takes them. */
export interface GuestFiles {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  readonly commandLine: string;
}

const SILENT = { step: () => undefined, fraction: () => undefined, end: () => undefined };

/**
 * The guest of `npm start`: Debian's newest cloud kernel, and an initial RAM disk of busybox with its drivers for disks
 * and network cards and with the agent of Machine.exec. The first call fetches about 40 MB with apt-get and keeps them
 * in the user's cache; `update` fetches a newer one if there is one.
 * @throws HostError NO_PACKAGE where there is no apt-get with Debian's kernels; GUEST_UNAVAILABLE or CACHE_FULL when it
 * cannot be fetched; CACHE_UNUSABLE.
 */
export async function debianGuest(
  options: { readonly update?: boolean } = {},
): Promise<GuestFiles> {
  const { update = false } = options;
  const root = { cacheRoot: cacheRoot(), progress: SILENT };
  const found = await obtainDebianGuest({ ...root, update });
  // One that was fetched before modules were kept.
  const isOld = found.modulePaths === undefined;
  const guest = isOld ? await obtainDebianGuest({ ...root, update: true }) : found;
  const [kernel, initrd] = await Promise.all([readGuestKernel(guest), guestInitramfs(guest)]);
  // The self-tests of the kernel's cryptography would be two thirds of the whole boot.
  return { kernel, initrd, commandLine: "cryptomgr.notests quiet" };
}
