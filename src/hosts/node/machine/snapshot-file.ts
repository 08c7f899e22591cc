/** Snapshots of machines as files of this host. */
import { constants, rmSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { HostError } from "../../../base/index.js";
import {
  SavedMachine,
  type Snapshot,
  type SnapshotOptions,
  type SnapshotSource,
} from "../../../vmm/machine/index.js";
import { whyFileFails } from "../files.js";

/**
 * Writes a snapshot: readable by its owner only, and under its name when it is whole. A file that is there is replaced.
 * @throws HostError SNAPSHOT_UNWRITABLE; nothing is left behind then.
 */
export async function writeSnapshotFile(
  path: string,
  snapshot: Snapshot,
  options: SnapshotOptions = {},
): Promise<void> {
  const unfinished = `${path}.${process.pid}.unfinished`;
  let file: FileHandle | undefined;
  // A process that ends meanwhile leaves nothing either.
  const remove = (): void => rmSync(unfinished, { force: true });
  process.once("exit", remove);
  try {
    // Of this process alone, with this mode: what is left of a former process with this number goes.
    await rm(unfinished, { force: true });
    file = await open(unfinished, "wx", 0o600);
    const { writeFile } = file;
    await snapshot.write({ write: (bytes) => writeFile.call(file, bytes), crc32 }, options);
    await file.sync();
    await file.close();
    file = undefined;
    await rename(unfinished, path);
  } catch (cause) {
    await file?.close().catch(() => undefined);
    await rm(unfinished, { force: true }).catch(() => undefined);
    const message = `cannot write the snapshot ${path}: ${whyFileFails(cause)}`;
    throw new HostError("SNAPSHOT_UNWRITABLE", message, { cause });
  } finally {
    process.off("exit", remove);
  }
}

/**
 * Opens a snapshot for {@link import("../../../vmm/machine/index.js").Machine.restore}.
 * @throws HostError FILE_UNREADABLE; NOT_A_SNAPSHOT, SNAPSHOT_VERSION, SNAPSHOT_DAMAGED.
 */
export async function openSnapshotFile(path: string): Promise<SavedMachine> {
  const source = await FileSource.open(path);
  try {
    return await SavedMachine.open(source);
  } catch (refusal) {
    await source.close();
    throw refusal;
  }
}

/** Bytes that are read at once: Node ends the process for more than 2 GiB. */
const PIECE = 16 << 20;

class FileSource implements SnapshotSource {
  readonly crc32 = crc32;
  readonly size: number;
  readonly #file: FileHandle;
  readonly #path: string;

  private constructor(file: FileHandle, size: number, path: string) {
    this.#file = file;
    this.size = size;
    this.#path = path;
  }

  static async open(path: string): Promise<FileSource> {
    let file: FileHandle | undefined;
    try {
      file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
      const kind = await file.stat();
      if (!kind.isFile()) throw new HostError("FILE_UNREADABLE", `snapshot ${path}: it is no file`);
      return new FileSource(file, kind.size, path);
    } catch (cause) {
      await file?.close().catch(() => undefined);
      throw cause instanceof HostError ? cause : unreadable(path, cause);
    }
  }

  async read(at: number, into: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < into.length; ) {
        const piece = Math.min(into.length - done, PIECE);
        const { bytesRead } = await this.#file.read(into, done, piece, at + done);
        if (bytesRead === 0) throw new Error("it has become shorter");
        done += bytesRead;
      }
    } catch (cause) {
      throw unreadable(this.#path, cause);
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

function unreadable(path: string, cause: unknown): HostError {
  const message = `cannot read the snapshot ${path}: ${whyFileFails(cause)}`;
  return new HostError("FILE_UNREADABLE", message, { cause });
}
