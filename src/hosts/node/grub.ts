/** GRUB as Xen's hosts start it for a guest (pvgrub): it reads its configuration and the kernel from the guest's own disk. */
import { existsSync } from "node:fs";
import { copyFile, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { HostError } from "../../base/index.js";
import { Apt } from "./apt.js";
import { cachedFolder, fillFolder, openCache } from "./cache.js";
import type { ObtainOptions } from "./debian-guest.js";
import { runProgram } from "./subprocess.js";

const PACKAGE = "grub-xen-host";
/** Where the package has the build for PVH guests. */
const INSTALLED = "/usr/lib/grub-xen/grub-i386-xen_pvh.bin";
const FILE = "grub-i386-xen_pvh.bin";

/**
 * The path of Debian's GRUB for PVH guests: the one that is installed, or that of package grub-xen-host, fetched with
 * apt the first time and kept in the user's cache.
 * @throws HostError: `NO_PACKAGE` when the machine's apt does not have it; `GRUB_UNAVAILABLE` when the download fails;
 * those of the cache.
 */
export async function obtainGrub(
  options: Omit<ObtainOptions, "update">,
  hasApt: boolean = Apt.isPresent(),
  installed: string = INSTALLED,
): Promise<string> {
  if (existsSync(installed)) return installed;
  const { cacheRoot, progress, run = runProgram, pause } = options;
  const kept = cachedFolder(cacheRoot, PACKAGE);
  if (kept !== undefined && existsSync(join(kept, FILE))) return join(kept, FILE);
  if (!hasApt) throw new HostError("NO_PACKAGE", `${hint("this system has no apt-get")}`);
  const ownLists = join(cacheRoot, `apt-${process.pid}`);
  try {
    await openCache(cacheRoot);
    const apt = new Apt(ownLists, run, pause);
    progress.step("fetching GRUB");
    const folder = await fillFolder(cacheRoot, PACKAGE, async (into) => {
      // Lists that are missing, or name a version that the mirror no longer has, are fetched anew.
      const file = await download(apt, into).catch(async () => {
        progress.step("fetching package lists");
        const failure = await apt.useOwnLists();
        return download(apt, into).catch((missing: unknown) => {
          throw failure ?? missing;
        });
      });
      const tree = join(into, "tree");
      await run("dpkg-deb", ["-x", file, tree]);
      await copyFile(join(tree, INSTALLED), join(into, FILE));
      for (const name of await readdir(into)) {
        if (name !== FILE) await rm(join(into, name), { recursive: true });
      }
    });
    return join(folder, FILE);
  } catch (cause) {
    if (cause instanceof HostError && cause.code === "CACHE_UNUSABLE") throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const code = cause instanceof HostError && cause.code === "NO_PACKAGE" ? cause.code : undefined;
    throw new HostError(code ?? "GRUB_UNAVAILABLE", hint(reason), { cause });
  } finally {
    progress.end();
    await rm(ownLists, { recursive: true, force: true }).catch(() => undefined);
  }
}

const download = async (apt: Apt, folder: string): Promise<string> =>
  apt.download(await apt.newest(PACKAGE), folder);

const hint = (why: string): string =>
  `cannot fetch GRUB (package ${PACKAGE}): ${why}; --direct boots the disk's kernel without it`;
