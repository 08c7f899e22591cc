import { existsSync } from "node:fs";
import { copyFile, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
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
  /**
   * Paths of the kernel's modules for PV disks and PV network cards, not compressed; none where its package has none.
   * Undefined when the guest was fetched before modules were kept.
   */
  readonly modulePaths: readonly string[] | undefined;
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
/** Which modules are kept. */
const MODULES = ["kernel/drivers/block/xen-blkfront.ko", "kernel/drivers/net/xen-netfront.ko"];
/**
 * Bytes of a module.
 * @limit file | a module of a fetched kernel, unpacked | bytes | GUEST_UNAVAILABLE
 */
const MAX_MODULE = 16 << 20;
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

/** The guest, if the cache has it; nothing is fetched. */
export async function debianGuestInCache(cacheRoot: string): Promise<DebianGuest | undefined> {
  const folder = cachedFolder(cacheRoot, FOLDER);
  return folder === undefined ? undefined : describe(folder);
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
    let fetched = packages;
    await fetchInto(folder, packages, apt, progress).catch(async (first: unknown) => {
      // Stale lists name versions that the mirror no longer has.
      if (packages.ownLists) throw first;
      fetched = await findPackages(apt, progress, true);
      await fetchInto(folder, fetched, apt, progress);
    });
    const modules = await unpack(folder, run, progress);
    const { name, version } = fetched.image;
    await writeFile(join(folder, "guest.json"), `${JSON.stringify({ name, version, modules })}\n`);
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

/**
 * Leaves `vmlinuz`, `busybox` and modules in the folder and removes everything else.
 * @returns the names of the modules' files.
 */
async function unpack(folder: string, run: RunProgram, progress: Progress): Promise<string[]> {
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
  const modules = await copyModules(tree, folder);
  await rm(tree, { recursive: true });
  return modules;
}

/** The decoder is loaded when the first module needs it. */
async function unpackXz(data: Uint8Array): Promise<Uint8Array> {
  const [{ decodeXz }, { decodePlainXz }] = await Promise.all([
    import("../shared/unpack/xz.js"),
    import("../shared/unpack/xz-plain.js"),
  ]);
  return decodeXz(data, decodePlainXz, MAX_MODULE);
}

async function copyModules(tree: string, folder: string): Promise<string[]> {
  const names: string[] = [];
  for (const root of await kernelFolders(tree)) {
    for (const path of MODULES) {
      const name = basename(path);
      const [plain, packed] = [join(root, path), join(root, `${path}.xz`)];
      if (existsSync(plain)) await copyFile(plain, join(folder, name));
      else if (existsSync(packed)) {
        const data = await readFile(packed);
        await writeFile(join(folder, name), await unpackXz(data));
      } else continue;
      names.push(name);
    }
  }
  return names;
}

/** The folders of modules in an unpacked package; where they are depends on the release. */
async function kernelFolders(tree: string): Promise<string[]> {
  const folders = ["lib/modules", "usr/lib/modules"].map((path) => join(tree, path));
  const found = folders.map(async (path) => {
    const names = await readdir(path).catch(() => []);
    return names.map((name) => join(path, name));
  });
  return (await Promise.all(found)).flat();
}

/** The kernel in an unpacked package. */
async function findKernel(tree: string): Promise<string> {
  const within = async (folder: string, name: RegExp) => {
    const names = await readdir(join(tree, folder)).catch(() => []);
    return names.filter((found) => name.test(found)).map((found) => join(tree, folder, found));
  };
  const versions = await kernelFolders(tree);
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
    const { name, version, modules } = guest as Partial<Record<string, unknown>>;
    const modulePaths = Array.isArray(modules)
      ? modules.map((module) => join(folder, basename(String(module))))
      : undefined;
    return { kernelPath, busyboxPath, modulePaths, description: `${name} ${version}` };
  } catch {
    return undefined;
  }
}
