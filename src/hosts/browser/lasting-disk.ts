import type { Disk, DiskDone } from "../../ports/index.js";
import { ChangesFile, PIECE, type SyncFile } from "./changes-file.js";
import { MAX_CHANGES, PageDisk, SECTOR } from "./page-disk.js";

/** Milliseconds after which what was written is made durable, when the guest has not asked for it. */
const PATIENCE_MS = 1000;

/** What is given for an image. */
export interface LastingDiskOptions {
  /** A file that a person chose, which is only read. */
  readonly image: Blob;
  /** A text that other images do not have, such as name, size and date of the file. */
  readonly identity: string;
  /** Where what is written is kept: a FileSystemSyncAccessHandle. */
  readonly changes: SyncFile;
}

/**
 * A disk whose image is a file that a person chose, which stays as it is: what the guest writes is kept in a file of the
 * browser's, and is there the next time. Durable is what the guest has flushed.
 * @throws HostError STATE_DAMAGED when the changes are those of another image, or damaged.
 */
export const lastingDisk = (options: LastingDiskOptions): Disk => new LastingDisk(options);

class LastingDisk extends PageDisk {
  readonly readonly = false;
  readonly #image: Blob;
  readonly #identity: string;
  readonly #changes: ChangesFile;
  /** What was to be durable may be lost: nobody may rely on this disk any more. */
  #hasFailed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor({ image, identity, changes }: LastingDiskOptions) {
    super(image.size);
    this.#image = image;
    this.#identity = identity;
    this.#changes = ChangesFile.open(changes, identity, this.size, MAX_CHANGES);
  }

  read(offset: number, into: Uint8Array, done: DiskDone): void {
    this.carryOut(() => this.#read(offset, into), done, "EIO");
  }

  write(offset: number, bytes: Uint8Array, done: DiskDone): void {
    const write = () => {
      if (this.#hasFailed) throw new Error("an earlier flush failed");
      for (let at = 0; at < bytes.length; ) {
        const length = Math.min(bytes.length - at, PIECE - ((offset + at) % PIECE));
        this.#changes.write(offset + at, bytes.slice(at, at + length));
        at += length;
      }
      // A tab is closed more easily than a computer is switched off.
      this.#timer ??= setTimeout(() => this.flush(() => undefined), PATIENCE_MS);
    };
    this.carryOut(write, done, this.#hasFailed ? "EIO" : "ENOSPC");
  }

  override flush(done: DiskDone): void {
    const flush = () => {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      if (this.#hasFailed) throw new Error("an earlier flush failed");
      this.#hasFailed = true;
      this.#changes.flush();
      this.#hasFailed = false;
    };
    this.carryOut(flush, done, "EIO");
  }

  generation(): Promise<string | undefined> {
    if (this.#hasFailed) return Promise.resolve(undefined);
    return Promise.resolve(`${this.#identity} ${this.#changes.content()}`);
  }

  override close(): Promise<void> {
    clearTimeout(this.#timer);
    if (!this.#hasFailed) this.#changes.flush();
    this.#changes.close();
    return Promise.resolve();
  }

  async #read(offset: number, into: Uint8Array): Promise<void> {
    const end = (offset + into.length) / SECTOR;
    for (let from = offset / SECTOR; from < end; ) {
      const isChanged = this.#changes.has(from);
      let to = from + 1;
      // One piece at most where it is changed.
      while (
        to < end &&
        this.#changes.has(to) === isChanged &&
        !(isChanged && (to * SECTOR) % PIECE === 0)
      ) {
        to++;
      }
      const length = (to - from) * SECTOR;
      const bytes = isChanged
        ? this.#changes.read(from * SECTOR, length)
        : new Uint8Array(
            await this.#image.slice(from * SECTOR, from * SECTOR + length).arrayBuffer(),
          );
      into.set(bytes, from * SECTOR - offset);
      from = to;
    }
  }
}
