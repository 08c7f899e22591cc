import { createHash } from "node:crypto";
import { readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { CompressionFormat, Decompressors } from "../../ports/decompress.js";
import { fillFolder } from "./cache.js";

/**
 * Kernels stay unpacked in the user's cache folder: unpacking one takes a third of a second before its first
 * instruction, reading it a hundredth. A folder for each, named by what was compressed; the latest used ones stay.
 */

const PREFIX = "unpacked-";
/** The name of its file begins with this, and ends with its length in bytes. */
const IMAGE = "image-";

/**
 * How many unpacked kernels the cache folder keeps, of some 40 MB each.
 * @limit host | unpacked kernels in the cache folder | kernels | the one that was not used for the longest time is removed
 */
const MAX_KEPT = 4;
/**
 * What is unpacked faster than found. @nolimit of a choice
 */
const MOST_SMALL = 8 << 20;
/**
 * @limit host | an unpacked kernel that the cache folder keeps | bytes | it is unpacked each time
 */
const MAX_IMAGE = 256 << 20;

/** Bytes that are summed up at once, in some hundredths of a second. */
const STEP = 16 << 20;

/**
 * As `plain`, but what was unpacked before is read from the cache folder `root`. Whatever is wrong with the folder, the
 * data are unpacked: it can be removed, and need not be writable.
 */
export function cachedDecompressors(root: string, plain: Decompressors): Decompressors {
  return {
    async decompress(format, data, limit) {
      if (limit <= MOST_SMALL || limit > MAX_IMAGE) return plain.decompress(format, data, limit);
      const folder = PREFIX + (await keyOf(format, data, limit));
      const kept = await readKept(join(root, folder));
      if (kept !== undefined) return kept;
      const bytes = await plain.decompress(format, data, limit);
      // Beside: the machine does not wait for the disk.
      void keep(root, folder, bytes.slice()).catch(() => undefined);
      return bytes;
    },
  };
}

/** Other work of this process gets its turn between the parts of a large kernel. */
async function keyOf(format: CompressionFormat, data: Uint8Array, limit: number): Promise<string> {
  const hash = createHash("sha256").update(`${format} ${limit} `);
  for (let at = 0; at < data.length; at += STEP) {
    hash.update(data.subarray(at, at + STEP));
    if (at + STEP < data.length) await setImmediate();
  }
  return hash.digest("hex");
}

/** What the folder holds; undefined when it is not there, or not as long as what was written. */
async function readKept(folder: string): Promise<Uint8Array | undefined> {
  try {
    const [name = ""] = await readdir(folder);
    const bytes = await readFile(join(folder, name));
    if (name !== IMAGE + bytes.length) return undefined;
    const now = new Date();
    await utimes(folder, now, now);
    return bytes;
  } catch {
    return undefined;
  }
}

async function keep(root: string, folder: string, bytes: Uint8Array): Promise<void> {
  await fillFolder(root, folder, (unfinished) =>
    writeFile(join(unfinished, IMAGE + bytes.length), bytes),
  );
  const names = (await readdir(root)).filter((name) => name.startsWith(PREFIX));
  const ages = await Promise.all(
    names.map(async (name) => ({ name, used: (await stat(join(root, name))).mtimeMs })),
  );
  ages.sort((a, b) => b.used - a.used);
  for (const { name } of ages.slice(MAX_KEPT))
    await rm(join(root, name), { recursive: true, force: true });
}
