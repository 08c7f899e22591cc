import { HostError } from "../../base/index.js";
import type { Disk, DiskChanges, DiskDone, DiskFailure, DiskRun } from "../../ports/index.js";
import { lengthOf } from "./pieces.js";

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

  /** Bytes of the sectors in it. */
  get bytes(): number {
    let bits = 0;
    for (const chunk of this.#chunks.values()) {
      for (let byte of chunk) for (; byte !== 0; byte &= byte - 1) bits += 1;
    }
    return bits * SECTOR;
  }

  /** Sectors that follow each other, at most so many, in their order. */
  *runs(most: number): Generator<{ readonly from: number; readonly to: number }> {
    let from = 0;
    let to = 0;
    for (const index of [...this.#chunks.keys()].sort((a, b) => a - b)) {
      for (let sector = index * CHUNK; sector < (index + 1) * CHUNK; sector++) {
        if (!this.has(sector)) continue;
        if (sector !== to || to - from === most) {
          if (to > from) yield { from, to };
          from = sector;
        }
        to = sector + 1;
      }
    }
    if (to > from) yield { from, to };
  }

  add(sector: number): void {
    const index = Math.floor(sector / CHUNK);
    const bits = this.#chunks.get(index) ?? new Uint8Array(CHUNK / 8);
    this.#chunks.set(index, bits);
    const at = (sector % CHUNK) >> 3;
    bits[at] = (bits[at] ?? 0) | (1 << (sector & 7));
  }
}

/** Rejects when the host cannot. */
function ended(operation: (done: DiskDone) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    operation((failure) => {
      if (failure === undefined) resolve();
      else reject(new HostError("SNAPSHOT_DISK", `what a guest has written: ${failure.message}`));
    });
  });
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

  readNow(offset: number, pieces: readonly Uint8Array[]): boolean {
    const first = offset / SECTOR;
    const end = first + lengthOf(pieces) / SECTOR;
    const isChanged = this.#changed.has(first);
    for (let sector = first + 1; sector < end; sector++) {
      if (this.#changed.has(sector) !== isChanged) return false;
    }
    return (isChanged ? this.#changes : this.#base).readNow?.(offset, pieces) ?? false;
  }

  write(offset: number, bytes: Uint8Array, done: DiskDone): void {
    this.#changes.write(offset, bytes, (failure) => {
      if (failure === undefined) this.#note(offset, bytes.length);
      done(failure);
    });
  }

  writeNow(offset: number, pieces: readonly Uint8Array[]): boolean {
    const isWritten = this.#changes.writeNow?.(offset, pieces) ?? false;
    if (isWritten) this.#note(offset, lengthOf(pieces));
    return isWritten;
  }

  #note(offset: number, length: number): void {
    for (let at = 0; at < length; at += SECTOR) this.#changed.add((offset + at) / SECTOR);
  }

  /** What is gone with the machine need not be durable. */
  flush(done: DiskDone): void {
    queueMicrotask(() => done());
  }

  discard(_offset: number, _length: number, done: DiskDone): void {
    queueMicrotask(() => done());
  }

  /** Of its image, which other disks may have, too. */
  async generation(): Promise<string | undefined> {
    return this.#base.generation?.();
  }

  get changes(): DiskChanges {
    return {
      copy: async ({ most, all }) => {
        if (this.#changed.bytes > all) return undefined;
        const runs: DiskRun[] = [];
        for (const { from, to } of this.#changed.runs(Math.floor(most / SECTOR))) {
          const bytes = new Uint8Array((to - from) * SECTOR);
          await ended((done) => this.#changes.read(from * SECTOR, bytes, done));
          runs.push({ sector: from, bytes });
        }
        return runs;
      },
      put: ({ sector, bytes }) => ended((done) => this.write(sector * SECTOR, bytes, done)),
    };
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
