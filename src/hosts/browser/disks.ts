import type { Disk, DiskDone } from "../../ports/index.js";
import { SnapshotDisk } from "../shared/snapshot-disk.js";
import { MAX_CHANGES, PageDisk } from "./page-disk.js";

/** Bytes of changes that are kept together. */
const PIECE = 65_536;
/** The bytes of a file that a person chose. */
class BlobDisk extends PageDisk {
  readonly readonly = true;
  readonly #blob: Blob;

  constructor(blob: Blob) {
    super(blob.size);
    this.#blob = blob;
  }

  read(offset: number, into: Uint8Array, done: DiskDone): void {
    const read = async () => {
      const part = this.#blob.slice(offset, offset + into.length);
      into.set(new Uint8Array(await part.arrayBuffer()));
    };
    this.carryOut(read, done, "EIO");
  }

  write(_offset: number, _bytes: Uint8Array, done: DiskDone): void {
    queueMicrotask(() => done({ code: "EROFS", message: "the file is only read" }));
  }
}

/** What was written, in memory: what was not is never asked for. */
class MemoryDisk extends PageDisk {
  readonly readonly = false;
  readonly #pieces = new Map<number, Uint8Array>();

  read(offset: number, into: Uint8Array, done: DiskDone): void {
    const read = () =>
      this.#each(offset, into.length, (piece, from, at, length) => {
        if (piece === undefined) into.fill(0, at, at + length);
        else into.set(piece.subarray(from, from + length), at);
      });
    this.carryOut(read, done, "EIO");
  }

  write(offset: number, bytes: Uint8Array, done: DiskDone): void {
    const write = () =>
      this.#each(offset, bytes.length, (known, from, at, length, number) => {
        let piece = known;
        if (piece === undefined) {
          if (this.#pieces.size >= MAX_CHANGES / PIECE) throw new Error("too much was written");
          piece = new Uint8Array(PIECE);
          this.#pieces.set(number, piece);
        }
        piece.set(bytes.subarray(at, at + length), from);
      });
    this.carryOut(write, done, "ENOSPC");
  }

  #each(
    offset: number,
    length: number,
    visit: (
      piece: Uint8Array | undefined,
      from: number,
      at: number,
      length: number,
      number: number,
    ) => void,
  ): void {
    for (let at = 0; at < length; ) {
      const number = Math.floor((offset + at) / PIECE);
      const from = (offset + at) % PIECE;
      const part = Math.min(length - at, PIECE - from);
      visit(this.#pieces.get(number), from, at, part, number);
      at += part;
    }
  }
}

/** A disk whose image is a file that a person chose: what the guest writes is kept in memory, and the file stays as it is. */
export const blobDisk = (image: Blob): Disk =>
  new SnapshotDisk(new BlobDisk(image), new MemoryDisk(image.size));
