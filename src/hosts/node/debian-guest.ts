import { existsSync } from "node:fs";
import { copyFile, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HostError } from "../../base/index.js";
import { Apt, type AptPackage } from "./apt.js";
import { cachedFolder, fillFolder } from "./cache.js";
import { type RunProgram, runProgram } from "./subprocess.js";

/**
 * The guest of `npm start`: Debian's newest cloud kernel and its static busybox, fetched with apt
 * and kept in the user's cache. Once it is there the network is not asked again.
 */

/** Where the parts of the guest are. */
export interface DebianGuest {
  readonly kernelPath: string;
  readonly busyboxPath: string;
  /** Name and version of the kernel's package, for people. */
  readonly description: string;
}

/** Told about the parts of a download; what it shows is up to it. */
export interface Progress {
  /** A new step begins: a few words. */
  step(text: string): void;
  /** So much of the current step is done, 0 to 1. */
  fraction(done: number): void;
  /** All steps are over, one way or the other. */
  end(): void;
}

/** What {@link obtainDebianGuest} works with. */
export interface ObtainOptions {
  readonly cacheRoot: string;
  readonly progress: Progress;
  /** Fetch again even when the guest is there. */
  readonly update?: boolean;
  readonly run?: RunProgram;
}

const FOLDER = "debian-amd64";
const META_PACKAGE = "linux-image-cloud-amd64";
const POLL_MS = 200;

/**
 * Returns the guest, fetching it when the cache does not have it.
 * @throws HostError: `NO_PACKAGE` when the machine's apt has no Debian kernels; `GUEST_UNAVAILABLE`
 * when the download fails; those of the cache.
 */
export async function obtainDebianGuest(options: ObtainOptions): Promise<DebianGuest> {
  const { cacheRoot, progress } = options;
  const present = options.update ? undefined : cachedFolder(cacheRoot, FOLDER);
  if (present !== undefined) return describe(present);
  const run = options.run ?? runProgram;
  const ownLists = join(cacheRoot, "apt");
  try {
    const apt = new Apt(ownLists, run);
    const packages = await findPackages(apt, progress);
    const path = await fillFolder(cacheRoot, FOLDER, async (folder) => {
      await fetchInto(folder, packages, apt, progress).catch(async (first: unknown) => {
        // Stale lists name versions that the mirror no longer has.
        if (packages.ownLists) throw first;
        const fresh = await findPackages(apt, progress, true);
        await fetchInto(folder, fresh, apt, progress);
      });
      await unpack(folder, run, progress);
    });
    return await describe(path);
  } catch (cause) {
    if (cause instanceof HostError && ["NO_PACKAGE", "CACHE_UNUSABLE"].includes(cause.code)) {
      throw cause;
    }
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError("GUEST_UNAVAILABLE", `cannot fetch Debian's kernel: ${reason}`, { cause });
  } finally {
    progress.end();
    await rm(ownLists, { recursive: true, force: true });
  }
}

interface Packages {
  readonly kernel: AptPackage;
  readonly busybox: AptPackage;
  readonly ownLists: boolean;
}

async function findPackages(apt: Apt, progress: Progress, fresh = false): Promise<Packages> {
  progress.step("looking for Debian's newest cloud kernel");
  if (!fresh) {
    const found = await lookUp(apt, false).catch(() => undefined);
    if (found !== undefined) return found;
  }
  progress.step("fetching package lists");
  await apt.useOwnLists();
  return lookUp(apt, true);
}

async function lookUp(apt: Apt, ownLists: boolean): Promise<Packages> {
  await apt.newest(META_PACKAGE);
  const names = await apt.dependencies(META_PACKAGE);
  const name = names.find((candidate) => candidate.startsWith("linux-image-"));
  if (name === undefined) {
    throw new HostError("NO_PACKAGE", `apt's ${META_PACKAGE} names no kernel`);
  }
  const [kernel, busybox] = [await apt.newest(name), await apt.newest("busybox-static")];
  return { kernel, busybox, ownLists };
}

async function fetchInto(folder: string, packages: Packages, apt: Apt, progress: Progress) {
  for (const wanted of [packages.kernel, packages.busybox]) {
    const size = `${(wanted.bytes / 1e6).toFixed(1)} MB`;
    progress.step(`downloading ${wanted.name} ${wanted.version} (${size})`);
    const timer = setInterval(async () => {
      const have = await sizeOfDebs(folder, wanted.name);
      if (wanted.bytes > 0) progress.fraction(Math.min(have / wanted.bytes, 1));
    }, POLL_MS);
    try {
      await apt.download(wanted, folder);
    } finally {
      clearInterval(timer);
    }
  }
  const { name, version } = packages.kernel;
  await writeFile(join(folder, "guest.json"), `${JSON.stringify({ name, version })}\n`);
}

async function sizeOfDebs(folder: string, name: string): Promise<number> {
  const files = await readdir(folder).catch(() => []);
  const sizes = files
    .filter((file) => file.startsWith(`${name}_`))
    .map((file) =>
      stat(join(folder, file)).then(
        (found) => found.size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** Leaves `vmlinuz`, `busybox` and `guest.json` in the folder and removes everything else. */
async function unpack(folder: string, run: RunProgram, progress: Progress): Promise<void> {
  progress.step("unpacking");
  const tree = join(folder, "tree");
  for (const file of await readdir(folder)) {
    if (!file.endsWith(".deb")) continue;
    await run("dpkg-deb", ["-x", join(folder, file), tree]);
    await rm(join(folder, file));
  }
  const kernels = await readdir(join(tree, "boot"));
  const kernel = kernels.find((file) => file.startsWith("vmlinuz-"));
  if (kernel === undefined) throw new HostError("NO_PACKAGE", "the kernel package has no kernel");
  await copyFile(join(tree, "boot", kernel), join(folder, "vmlinuz"));
  const busybox = ["bin/busybox", "usr/bin/busybox"].map((path) => join(tree, path));
  const found = busybox.find((path) => existsSync(path));
  if (found === undefined) throw new HostError("NO_PACKAGE", "busybox-static has no busybox");
  await copyFile(found, join(folder, "busybox"));
  await rm(tree, { recursive: true });
}

async function describe(folder: string): Promise<DebianGuest> {
  const text = await readFile(join(folder, "guest.json"), "utf8");
  const { name, version } = JSON.parse(text) as { name: string; version: string };
  return {
    kernelPath: join(folder, "vmlinuz"),
    busyboxPath: join(folder, "busybox"),
    description: `${name} ${version}`,
  };
}
