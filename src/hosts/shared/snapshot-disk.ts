import { HostError } from "../../base/index.js";
import type { Disk, DiskDone, DiskFailure } from "../../ports/index.js";

const SECTOR = 512;
/** Sectors whose bits are kept together. */
const CHUNK = 32_768;

/** A set of sectors: memory for the neighbourhood of those that are in it only. */
class SectorSet {
  readonly #chunks = new Map<number, Uint8Array>();

  has(sector: number): boolean {
    const bits = this.#chunks.get(Math.floor(sector / CHUNK));
    return bits !== undefined && ((bits[(sector % CHUNK) >> 3] ?? 0) & (1 << (sector & 7))) !== 0;
  }

  add(sector: number): void {
    const index = Math.floor(sector / CHUNK);
    const bits = this.#chunks.get(index) ?? new Uint8Array(CHUNK / 8);
    this.#chunks.set(index, bits);
    const at = (sector % CHUNK) >> 3;
    bits[at] = (bits[at] ?? 0) | (1 << (sector & 7));
  }
}

/**
 * A disk that leaves its image alone: what is written goes to another one (`changes`, of the same size), from where it
 * is read again.
 */
export class SnapshotDisk implements Disk {
  readonly readonly = false;
  readonly canDiscard = false;
  readonly #base: Disk;
  readonly #changes: Disk;
  readonly #changed = new SectorSet();

  constructor(base: Disk, changes: Disk) {
    this.#base = base;
    this.#changes = changes;
  }

  get size(): number {
    return this.#base.size;
  }

  get blockSize(): number {
    return this.#base.blockSize;
  }

  read(offset: number, into: Uint8Array, done: DiskDone): void {
    const first = offset / SECTOR;
    const end = first + into.length / SECTOR;
    const parts: { readonly disk: Disk; readonly from: number; readonly to: number }[] = [];
    for (let from = first; from < end; ) {
      const isChanged = this.#changed.has(from);
      let to = from + 1;
      while (to < end && this.#changed.has(to) === isChanged) to += 1;
      parts.push({ disk: isChanged ? this.#changes : this.#base, from, to });
      from = to;
    }
    let left = parts.length;
    let failed: DiskFailure | undefined;
    for (const { disk, from, to } of parts) {
      const part = into.subarray((from - first) * SECTOR, (to - first) * SECTOR);
      disk.read(from * SECTOR, part, (failure) => {
        failed ??= failure;
        left -= 1;
        if (left === 0) done(failed);
      });
    }
  }

  write(offset: number, bytes: Uint8Array, done: DiskDone): void {
    this.#changes.write(offset, bytes, (failure) => {
      if (failure === undefined) {
        for (let at = 0; at < bytes.length; at += SECTOR) this.#changed.add((offset + at) / SECTOR);
      }
      done(failure);
    });
  }

  /** What is gone with the machine need not be durable. */
  flush(done: DiskDone): void {
    queueMicrotask(() => done());
  }

  discard(_offset: number, _length: number, done: DiskDone): void {
    queueMicrotask(() => done());
  }

  async resize(): Promise<void> {
    throw new HostError("DISK_SIZE", "a disk with ,snapshot keeps the size of its image");
  }

  async idle(): Promise<void> {
    await Promise.all([this.#base.idle(), this.#changes.idle()]);
  }

  async close(): Promise<void> {
    await Promise.all([this.#base.close(), this.#changes.close()]);
  }
}
