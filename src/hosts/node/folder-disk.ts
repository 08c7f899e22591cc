/** A folder of the host as a disk that is only read: a copy in an ext4 of `mke2fs -d`, without a name of its own. */
import { randomBytes } from "node:crypto";
import type { Dirent } from "node:fs";
import { lstat, open, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HostError } from "../../base/index.js";
import { FileDisk } from "./file-disk.js";
import { type RunProgram, runProgram } from "./subprocess.js";

const BLOCK = 4096;
/** What an inode takes, and a directory at least. */
const INODE = 256;
/** Room for superblocks, group descriptors, bitmaps and the like. */
const OVERHEAD = 4 << 20;

/** Users have no sbin in their PATH. */
export const SBIN_PATH = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;

/**
 * @throws HostError TOOL_MISSING without mke2fs; DISK_UNUSABLE when the folder cannot be read, or there is no room for
 * the copy.
 */
export async function openFolder(path: string, run: RunProgram = runProgram): Promise<FileDisk> {
  const copy = join(tmpdir(), `kvm-xen-${randomBytes(8).toString("hex")}.img`);
  try {
    const { bytes, files } = await measure(path);
    const inodes = files + 16;
    const size = roundUp(bytes * 1.02 + inodes * INODE + OVERHEAD, BLOCK);
    await (await open(copy, "wx", 0o600)).close();
    await makeExt4(run, copy, size, [
      "-d",
      path,
      "-N",
      `${inodes}`,
      "-O",
      "^has_journal,^resize_inode",
      "-m",
      "0",
    ]);
    const file = await open(copy, "r");
    return new FileDisk({ file, path, size, readonly: true, canDiscard: false });
  } catch (cause) {
    if (cause instanceof HostError && cause.code === "TOOL_MISSING") throw cause;
    const message = `disk ${path}: ${(cause as Error).message}`;
    throw new HostError("DISK_UNUSABLE", message, { cause });
  } finally {
    await rm(copy, { force: true });
  }
}

/**
 * Makes an ext4 of so many bytes in a file, which old GRUBs read, too.
 * @throws HostError TOOL_MISSING without mke2fs; PROGRAM_FAILED with its words.
 */
export async function makeExt4(
  run: RunProgram,
  image: string,
  size: number,
  more: readonly string[],
): Promise<void> {
  const args = ["-q", "-F", "-t", "ext4", "-b", `${BLOCK}`, ...more, image, `${size / 1024}k`];
  try {
    await run("mke2fs", args, { env: { PATH: SBIN_PATH } });
  } catch (cause) {
    if (!(cause instanceof HostError) || cause.code !== "PROGRAM_MISSING") throw cause;
    const message = "mke2fs (package e2fsprogs) is not installed: folders become disks by it";
    throw new HostError("TOOL_MISSING", message, { cause });
  }
}

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** Bytes of blocks that a folder's files take in a file system, and how many files there are. */
async function measure(path: string): Promise<{ bytes: number; files: number }> {
  const entries: Dirent[] = await readdir(path, { withFileTypes: true });
  // Names in a directory take at most as much as twice the longest ones.
  let bytes =
    BLOCK +
    roundUp(
      entries.reduce((sum, { name }) => sum + 16 + 2 * name.length, 0),
      BLOCK,
    );
  let files = 1;
  for (const entry of entries) {
    const at = join(path, entry.name);
    if (entry.isDirectory()) {
      const inside = await measure(at);
      bytes += inside.bytes;
      files += inside.files;
      continue;
    }
    files += 1;
    bytes += BLOCK + roundUp((await lstat(at)).size, BLOCK);
  }
  return { bytes, files };
}
