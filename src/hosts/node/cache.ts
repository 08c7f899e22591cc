import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { HostError } from "../../base/index.js";

/**
 * The user's cache folder. What is in it is whole: a folder is filled under a name of its own and
 * gets its final name in one step, so a process that is killed leaves nothing that looks ready.
 */

const UNFINISHED = ".unfinished-";

/** `$XDG_CACHE_HOME/kvm-xen`, or `~/.cache/kvm-xen`. */
export function cacheRoot(env: NodeJS.ProcessEnv = process.env): string {
  const base = env["XDG_CACHE_HOME"];
  // The XDG base directory specification tells to ignore a relative path.
  return join(base?.startsWith("/") ? base : join(homeFolder(env), ".cache"), "kvm-xen");
}

/** `os.homedir()` takes an empty HOME as it is, which would mean the current folder. */
function homeFolder(env: NodeJS.ProcessEnv): string {
  const named = env["HOME"];
  if (named?.startsWith("/")) return named;
  try {
    const { homedir } = userInfo();
    if (homedir.startsWith("/")) return homedir;
  } catch {
    // A user without an entry in the password file.
  }
  // Debian's name for the home of users who have none: whoever needs the cache says that it cannot be made there.
  return "/nonexistent";
}

/** The folder `name` in the cache, or undefined when it is not there. */
export function cachedFolder(root: string, name: string): string | undefined {
  const path = join(root, name);
  return existsSync(path) ? path : undefined;
}

/**
 * Makes the cache folder itself, and sees that it can be written.
 * @throws HostError `CACHE_UNUSABLE`.
 */
export async function openCache(root: string): Promise<void> {
  await rm(await unfinishedFolder(root), { recursive: true, force: true });
}

/** Like mkdir's `recursive`, which never ends below /proc, where folders are and cannot be made. */
async function makeFolder(path: string): Promise<void> {
  const make = () =>
    mkdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  try {
    await make();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || dirname(path) === path) throw error;
    await makeFolder(dirname(path));
    await make();
  }
}

/** A new folder in the cache, named so that it is removed one day if this process dies. */
async function unfinishedFolder(root: string): Promise<string> {
  try {
    await makeFolder(root);
    await removeAbandoned(root);
    return await mkdtemp(join(root, `${UNFINISHED}${process.pid}-`));
  } catch (cause) {
    const why = whyNot(cause);
    const message = `cannot write the cache folder ${root}${why}: set XDG_CACHE_HOME to one that you own`;
    throw new HostError("CACHE_UNUSABLE", message, { cause });
  }
}

const reasons: Record<string, string> = {
  ENOENT: "it cannot be made there",
  EACCES: "no permission",
  EPERM: "no permission",
  EROFS: "it is read-only",
  ENOSPC: "its disk is full",
  EDQUOT: "its disk quota is used up",
  ENOTDIR: "it is not a folder",
  EEXIST: "it is not a folder",
};

function whyNot(cause: unknown): string {
  const reason = reasons[(cause as NodeJS.ErrnoException).code ?? ""];
  return reason === undefined ? "" : ` (${reason})`;
}

/**
 * Makes the folder `name` in the cache, replacing one that is there: `fill` is given an empty
 * folder, which gets its name when `fill` is done.
 * @returns the path of the finished folder.
 * @throws HostError `CACHE_UNUSABLE` when the cache cannot be written; whatever `fill` throws.
 */
export async function fillFolder(
  root: string,
  name: string,
  fill: (folder: string) => Promise<void>,
): Promise<string> {
  const path = join(root, name);
  const unfinished = await unfinishedFolder(root);
  try {
    await fill(unfinished);
    await replace(unfinished, path);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }
  return path;
}

async function replace(from: string, to: string): Promise<void> {
  const old = `${from}.old`;
  if (existsSync(to)) await rename(to, old);
  try {
    await rename(from, to);
  } catch (error) {
    // Another process may have finished the same folder in between: its work is as good.
    if (!existsSync(to)) throw error;
    await rm(from, { recursive: true, force: true });
  }
  await rm(old, { recursive: true, force: true });
}

/** Removes what processes that no longer run have left half-made. */
async function removeAbandoned(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    if (!name.startsWith(UNFINISHED)) continue;
    const pid = Number.parseInt(name.slice(UNFINISHED.length), 10);
    if (!isRunning(pid)) await rm(join(root, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
