import { fstatSync, fsync, read, statfsSync, write, writevSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { HostError } from "../../base/index.js";
import type { Disk, DiskDone, DiskFailure } from "../../ports/index.js";
import { lengthOf } from "../shared/pieces.js";
import { punchHole, readAtHand, sizeOf } from "./libc.js";
import { Operations } from "./operations.js";

/** What is known of an open image. */
export interface OpenImage {
  readonly file: FileHandle;
  /** For messages. */
  readonly path: string;
  readonly size: number;
  readonly readonly: boolean;
  readonly canDiscard: boolean;
}

/** What Node says of a system call that failed. */
interface SystemError {
  readonly code?: string | undefined;
  readonly message: string;
}

/** More than two files' times that are not the same are apart: Linux counts them by its ticks, of 10 ms at most. */
const FILE_TICK_MS = 20;
const BLOCK_SIZE = 4096;
/** File systems of linux/magic.h that have no other machine to wait for: ext4, XFS, Btrfs, tmpfs. */
const LOCAL = new Set([0xef53, 0x58465342, 0x9123683e, 0x01021994]);
/** A write into the host's memory that took longer than this had to wait for something: for a while, threads do that. */
const SLOW_MS = 5;
const WHILE_MS = 1000;
const SECTOR = 512;

const reasons: Record<string, string> = {
  ENOSPC: "the host's disk is full",
  EDQUOT: "your disk quota on the host is used up",
  EFBIG: "it would be larger than the host allows",
  EIO: "the host's disk has an error",
};

/** An image of raw bytes: a file, or a block device of the host. */
export class FileDisk implements Disk {
  readonly blockSize = BLOCK_SIZE;
  size: number;
  readonly readonly: boolean;
  readonly canDiscard: boolean;
  readonly #image: OpenImage;
  readonly #operations = new Operations();
  readonly #isLocal: boolean;
  /** Until then, writes are for threads. */
  #slowUntil = 0;
  /** The host cannot tell of this file what is in its memory. */
  #isNeverAtHand = false;

  constructor(image: OpenImage) {
    this.#image = image;
    this.size = image.size;
    this.readonly = image.readonly;
    this.canDiscard = image.canDiscard;
    this.#isLocal = isLocal(image.file.fd);
  }

  read(offset: number, into: Uint8Array, done: DiskDone): void {
    const end = this.#begin("read", done);
    const go = (at: number): void => {
      read(this.#fd, into, at, into.length - at, offset + at, (error, count) => {
        if (error) return end(error);
        // The file has become shorter: what is missing is zero, not what was in the buffer.
        if (count === 0) into.fill(0, at);
        if (count === 0 || at + count === into.length) return end();
        go(at + count);
      });
    };
    go(0);
  }

  readNow(offset: number, pieces: readonly Uint8Array[]): boolean {
    if (this.#isNeverAtHand) return false;
    const count = readAtHand(this.#fd, pieces, offset);
    this.#isNeverAtHand = count === undefined;
    return count === lengthOf(pieces);
  }

  write(offset: number, bytes: Uint8Array, done: DiskDone): void {
    const end = this.#begin("written", done);
    const go = (at: number): void => {
      write(this.#fd, bytes, at, bytes.length - at, offset + at, (error, count) => {
        if (error) return end(error);
        if (at + count === bytes.length) return end();
        go(at + count);
      });
    };
    go(0);
  }

  /** Not while something else is under way: a file that is made durable makes writers wait. */
  writeNow(offset: number, pieces: readonly Uint8Array[]): boolean {
    const start = performance.now();
    if (!this.#isLocal || !this.#operations.isIdle || start < this.#slowUntil) return false;
    let count = 0;
    try {
      count = writevSync(this.#fd, pieces, offset);
    } catch {
      // It is written again by a thread, which tells why it cannot be.
    }
    const end = performance.now();
    if (end - start > SLOW_MS) this.#slowUntil = end + WHILE_MS;
    return count === lengthOf(pieces);
  }

  flush(done: DiskDone): void {
    const end = this.#begin("made durable", done);
    fsync(this.#fd, (error) => end(error ?? undefined));
  }

  discard(offset: number, length: number, done: DiskDone): void {
    const end = this.#begin("discarded", done);
    punchHole(this.#fd, offset, length, (worked) =>
      end(worked ? undefined : { code: "EIO", message: "the host refuses" }),
    );
  }

  async resize(bytes: number | undefined): Promise<void> {
    const refuse = (why: string, cause?: unknown): never => {
      throw new HostError("DISK_SIZE", `disk ${this.#image.path}: ${why}`, { cause });
    };
    const { file } = this.#image;
    if (bytes !== undefined) {
      if (!Number.isSafeInteger(bytes) || bytes % SECTOR !== 0) {
        refuse(`${bytes} bytes are no size of a disk: give a multiple of ${SECTOR}`);
      }
      if (bytes < this.size) refuse("it may only become larger, so that nothing is lost");
      if (this.readonly) refuse("it is read-only");
      await file.truncate(bytes).catch((error: SystemError) => {
        refuse(reasons[error.code ?? ""] ?? error.message, error);
      });
    }
    const size = Math.floor(sizeOf(file.fd) / SECTOR) * SECTOR;
    if (size <= 0) refuse("it is empty");
    this.size = size;
  }

  /** A file's time of change and size; of a block device nothing tells. */
  async generation(): Promise<string | undefined> {
    const now = await this.#image.file.stat({ bigint: true });
    // The host's clock of files stands still for some milliseconds: what is written next has to have another time.
    if (Date.now() - Number(now.mtimeMs) < FILE_TICK_MS) await sleep(FILE_TICK_MS);
    return now.isFile() ? `${now.size} bytes, changed ${now.mtimeNs}` : undefined;
  }

  idle(): Promise<void> {
    return this.#operations.idle();
  }

  /** Also ends the locks. */
  async close(): Promise<void> {
    await this.idle();
    await this.#image.file.close();
  }

  get #fd(): number {
    return this.#image.file.fd;
  }

  #begin(what: string, done: DiskDone): (error?: SystemError) => void {
    const end = this.#operations.begin();
    return (error) => {
      done(error && this.#failure(what, error));
      end();
    };
  }

  #failure(what: string, { code, message }: SystemError): DiskFailure {
    const reason = reasons[code ?? ""] ?? message;
    return { code: code ?? "EIO", message: `${this.#image.path} cannot be ${what}: ${reason}` };
  }
}

/** Whether a file, not a device, is on a file system of this machine. */
function isLocal(fd: number): boolean {
  try {
    // It may have no name any more.
    return fstatSync(fd).isFile() && LOCAL.has(statfsSync(`/proc/self/fd/${fd}`).type);
  } catch {
    return false;
  }
}
