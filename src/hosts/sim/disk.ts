import type { Clock, Disk, DiskDone, DiskFailure } from "../../ports/index.js";
import type { HeapTimers } from "./timers.js";

/** Virtual time of an operation, in nanoseconds, and of a byte: about what a solid-state disk takes. */
const OPERATION_NS = 20_000;
const NS_PER_BYTE = 0.5;
const FLUSH_NS = 200_000;

/**
 * A disk under a virtual clock: each operation ends at a time that follows from what was asked, and virtual time waits
 * there for the host where that is later. The host carries them out one after another, in the order of asking: so that
 * what a read finds does not depend on the host's pace, and a run repeats.
 */
export class PacedDisk implements Disk {
  readonly #disk: Disk;
  readonly #clock: Pick<Clock, "monotonicNs">;
  readonly #timers: HeapTimers;
  /** The operation of the host that was asked for last. */
  #last: Promise<void> = Promise.resolve();
  /** When the disk is free. */
  #freeNs = 0;

  constructor(disk: Disk, clock: Pick<Clock, "monotonicNs">, timers: HeapTimers) {
    this.#disk = disk;
    this.#clock = clock;
    this.#timers = timers;
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

  read(offset: number, into: Uint8Array, done: DiskDone): void {
    const ns = OPERATION_NS + into.length * NS_PER_BYTE;
    this.#do(ns, done, (ended) => this.#disk.read(offset, into, ended));
  }

  write(offset: number, bytes: Uint8Array, done: DiskDone): void {
    const ns = OPERATION_NS + bytes.length * NS_PER_BYTE;
    this.#do(ns, done, (ended) => this.#disk.write(offset, bytes, ended));
  }

  flush(done: DiskDone): void {
    this.#do(FLUSH_NS, done, (ended) => this.#disk.flush(ended));
  }

  discard(offset: number, length: number, done: DiskDone): void {
    this.#do(OPERATION_NS, done, (ended) => this.#disk.discard(offset, length, ended));
  }

  resize(bytes: number | undefined): Promise<void> {
    return this.#disk.resize(bytes);
  }

  async generation(): Promise<string | undefined> {
    return this.#disk.generation?.();
  }

  async idle(): Promise<void> {
    await this.#last;
    await this.#disk.idle();
  }

  close(): Promise<void> {
    return this.#disk.close();
  }

  #do(ns: number, done: DiskDone, operate: (ended: DiskDone) => void): void {
    let failure: DiskFailure | undefined;
    const ready = this.#last.then(
      () =>
        new Promise<void>((resolve) => {
          operate((trouble) => {
            failure = trouble;
            resolve();
          });
        }),
    );
    this.#last = ready;
    this.#freeNs = Math.max(this.#freeNs, this.#clock.monotonicNs()) + Math.round(ns);
    this.#timers.armHeld(this.#freeNs, ready, () => done(failure));
  }
}
