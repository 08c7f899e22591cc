/** Disks of tests: one in memory, and one that remembers what was asked, so that the power can be lost at any moment. */
import type { Disk, DiskDone } from "../../src/ports/index.js";

/** A disk in memory. */
export class MemoryDisk implements Disk {
  readonly bytes: Uint8Array;
  readonly readonly = false;
  readonly blockSize = 4096;
  readonly canDiscard = false;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get size(): number {
    return this.bytes.length;
  }

  read(offset: number, into: Uint8Array, done: DiskDone): void {
    into.set(this.bytes.subarray(offset, offset + into.length));
    queueMicrotask(done);
  }

  write(offset: number, bytes: Uint8Array, done: DiskDone): void {
    this.bytes.set(bytes, offset);
    queueMicrotask(done);
  }

  flush(done: DiskDone): void {
    queueMicrotask(done);
  }

  discard(_offset: number, _length: number, done: DiskDone): void {
    queueMicrotask(done);
  }

  resize(): Promise<void> {
    return Promise.reject(new Error("not this disk"));
  }

  idle(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Write {
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** Moments. */
  readonly asked: number;
  done: number;
}

interface Flush {
  readonly asked: number;
  done: number;
}

/** What the power has left. */
export interface Remains {
  readonly bytes: Uint8Array;
  /** What was told last before. */
  readonly told: number;
  /** Writes of which nothing, or a part only, is there. */
  readonly lost: number;
}

/** Bytes that are written whole or not at all: what the guest is told (`physical-sector-size`). */
const ATOM = 4096;

/** A disk that remembers writes, flushes and what was told meanwhile, each at a moment of its own. */
export class RecordingDisk implements Disk {
  readonly #disk: Disk;
  readonly #writes: Write[] = [];
  readonly #flushes: Flush[] = [];
  readonly #told: { readonly value: number; readonly at: number }[] = [];
  /** Moments so far. */
  moments = 0;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  get size(): number {
    return this.#disk.size;
  }
  get readonly(): boolean {
    return this.#disk.readonly;
  }
  get blockSize(): number {
    return this.#disk.blockSize;
  }
  get canDiscard(): boolean {
    return this.#disk.canDiscard;
  }

  /** The guest has told something, such as the number of its last commit. */
  told(value: number): void {
    this.#told.push({ value, at: this.moments++ });
  }

  read(offset: number, into: Uint8Array, done: DiskDone): void {
    this.#disk.read(offset, into, done);
  }

  write(offset: number, bytes: Uint8Array, done: DiskDone): void {
    const asked = this.moments++;
    const write = { offset, bytes: Uint8Array.from(bytes), asked, done: Infinity };
    this.#writes.push(write);
    this.#disk.write(offset, bytes, (failure) => {
      write.done = this.moments++;
      done(failure);
    });
  }

  flush(done: DiskDone): void {
    const flush = { asked: this.moments++, done: Infinity };
    this.#flushes.push(flush);
    this.#disk.flush((failure) => {
      flush.done = this.moments++;
      done(failure);
    });
  }

  discard(offset: number, length: number, done: DiskDone): void {
    this.#disk.discard(offset, length, done);
  }

  resize(bytes: number | undefined): Promise<void> {
    return this.#disk.resize(bytes);
  }

  idle(): Promise<void> {
    return this.#disk.idle();
  }

  close(): Promise<void> {
    return this.#disk.close();
  }

  /**
   * What a disk with these bytes has when the power is lost before a moment: every write that was done before a flush
   * began that was done by then; of all others any part, at random.
   */
  losePower(base: Uint8Array, moment: number, random: () => number): Remains {
    const bytes = Uint8Array.from(base);
    const durable = this.#flushes
      .filter(({ done }) => done < moment)
      .reduce((latest, { asked }) => Math.max(latest, asked), -1);
    // Now nearly all, now nearly nothing of what might be lost is there.
    const share = random();
    let lost = 0;
    for (const write of this.#writes) {
      if (write.asked >= moment) break;
      let isWhole = true;
      for (let at = 0; at < write.bytes.length; at += ATOM) {
        if (write.done < durable || random() < share) {
          bytes.set(write.bytes.subarray(at, at + ATOM), write.offset + at);
        } else isWhole = false;
      }
      if (!isWhole) lost += 1;
    }
    const told = this.#told.filter(({ at }) => at < moment).at(-1)?.value ?? 0;
    return { bytes, told, lost };
  }
}
