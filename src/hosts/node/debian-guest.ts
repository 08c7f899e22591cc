import { existsSync } from "node:fs";
import { copyFile, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HostError } from "../../base/index.js";
import { Apt, type AptPackage, type Pause } from "./apt.js";
import { cachedFolder, fillFolder, openCache } from "./cache.js";
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
  /** Why a newer one, which was asked for, could not be fetched. */
  readonly notUpdated?: string;
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
  /** How to wait before a mirror is asked again. */
  readonly pause?: Pause;
}

const FOLDER = "debian-amd64";
const META_PACKAGE = "linux-image-cloud-amd64";
const POLL_MS = 200;

/**
 * Returns the guest, fetching it when the cache does not have it. When it is there and a newer one shall be
 * fetched but cannot, it is the one that is there, with what went wrong.
 * @throws HostError: `NO_PACKAGE` when the machine's apt has no Debian kernels; `GUEST_UNAVAILABLE`
 * when the download fails; `CACHE_FULL`; those of the cache.
 */
export async function obtainDebianGuest(options: ObtainOptions): Promise<DebianGuest> {
  const { cacheRoot, progress } = options;
  const folder = cachedFolder(cacheRoot, FOLDER);
  const present = folder === undefined ? undefined : await describe(folder);
  if (present !== undefined && !options.update) return present;
  const ownLists = join(cacheRoot, "apt");
  try {
    await openCache(cacheRoot);
    const path = await fetchGuest(options, new Apt(ownLists, options.run, options.pause));
    const fetched = await describe(path);
    if (fetched === undefined) throw new HostError("NO_PACKAGE", "the kernel package is empty");
    return fetched;
  } catch (cause) {
    const failure = whyNotFetched(cause, cacheRoot);
    if (present === undefined) throw failure;
    return { ...present, notUpdated: failure.message };
  } finally {
    progress.end();
    await rm(ownLists, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Of what apt and dpkg-deb say, and of errors of files. */
const DISK_FULL = /No space left on device|ENOSPC|enough free space|Disk quota exceeded|EDQUOT/;
/** What apt says when lists and packages of a mirror do not belong together. */
const MIRROR_CHANGES = /Mirror sync in progress|Hash Sum mismatch|unexpected size|\b404\b/;

function whyNotFetched(cause: unknown, cacheRoot: string): HostError {
  if (cause instanceof HostError && ["NO_PACKAGE", "CACHE_UNUSABLE"].includes(cause.code)) {
    return cause;
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (DISK_FULL.test(reason)) {
    const message = `the disk of the cache folder ${cacheRoot} is full: Debian's kernel needs 200 MB for a moment; make room, or set XDG_CACHE_HOME to another disk`;
    return new HostError("CACHE_FULL", message, { cause });
  }
  const hint = MIRROR_CHANGES.test(reason)
    ? "; the mirror is probably being brought up to date: try again in some minutes"
    : "";
  const message = `cannot fetch Debian's kernel: ${reason}${hint}`;
  return new HostError("GUEST_UNAVAILABLE", message, { cause });
}

async function fetchGuest(options: ObtainOptions, apt: Apt): Promise<string> {
  const { cacheRoot, progress } = options;
  const run = options.run ?? runProgram;
  const packages = await findPackages(apt, progress);
  return fillFolder(cacheRoot, FOLDER, async (folder) => {
    await fetchInto(folder, packages, apt, progress).catch(async (first: unknown) => {
      // Stale lists name versions that the mirror no longer has.
      if (packages.ownLists) throw first;
      const fresh = await findPackages(apt, progress, true);
      await fetchInto(folder, fresh, apt, progress);
    });
    await unpack(folder, run, progress);
  });
}

interface Packages {
  /** The package that names the version, and the one that has the kernel: often the same. */
  readonly image: AptPackage;
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
  const failure = await apt.useOwnLists();
  return lookUp(apt, true).catch((missing: unknown) => {
    throw failure ?? missing;
  });
}

async function lookUp(apt: Apt, ownLists: boolean): Promise<Packages> {
  await apt.newest(META_PACKAGE);
  const names = await apt.dependencies(META_PACKAGE);
  const name = names.find((candidate) => candidate.startsWith("linux-image-"));
  if (name === undefined) {
    throw new HostError("NO_PACKAGE", `apt's ${META_PACKAGE} names no kernel`);
  }
  const image = await apt.newest(name);
  // From Debian 14 on, the image package has nothing in it and depends on others.
  const binary = (await apt.dependencies(name)).find((part) => part.startsWith("linux-binary-"));
  const kernel = binary === undefined ? image : await apt.newest(binary);
  return { image, kernel, busybox: await apt.newest("busybox-static"), ownLists };
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
  const { name, version } = packages.image;
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
  await copyFile(await findKernel(tree), join(folder, "vmlinuz"));
  const busybox = ["bin/busybox", "usr/bin/busybox"].map((path) => join(tree, path));
  const found = busybox.find((path) => existsSync(path));
  if (found === undefined) throw new HostError("NO_PACKAGE", "busybox-static has no busybox");
  await copyFile(found, join(folder, "busybox"));
  await rm(tree, { recursive: true });
}

/** The kernel in an unpacked package. */
async function findKernel(tree: string): Promise<string> {
  const within = async (folder: string, name: RegExp) => {
    const names = await readdir(join(tree, folder)).catch(() => []);
    return names.filter((found) => name.test(found)).map((found) => join(tree, folder, found));
  };
  const versions = await within("usr/lib/modules", /./);
  const places = [
    ...(await within("boot", /^vmlinuz-/)),
    ...versions.map((v) => join(v, "vmlinuz")),
  ];
  const found = places.find((path) => existsSync(path));
  if (found === undefined) throw new HostError("NO_PACKAGE", "the kernel package has no kernel");
  return found;
}

/** The guest in a folder of the cache; undefined when somebody has damaged it. */
async function describe(folder: string): Promise<DebianGuest | undefined> {
  const [kernelPath, busyboxPath] = [join(folder, "vmlinuz"), join(folder, "busybox")];
  try {
    if (!existsSync(kernelPath) || !existsSync(busyboxPath)) return undefined;
    const guest: unknown = JSON.parse(await readFile(join(folder, "guest.json"), "utf8"));
    if (typeof guest !== "object" || guest === null) return undefined;
    const { name, version } = guest as { name?: unknown; version?: unknown };
    return { kernelPath, busyboxPath, description: `${name} ${version}` };
  } catch {
    return undefined;
  }
}
