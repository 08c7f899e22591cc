import type {
  ArmLater,
  Clock,
  Disk,
  DiskChanges,
  DiskDone,
  DiskFailure,
  KeptDisk,
  KeptOperation,
} from "../../ports/index.js";
import type { HeapTimers } from "./timers.js";

/** Virtual time of an operation, in nanoseconds, and of a byte: about what a solid-state disk takes. */
const OPERATION_NS = 20_000;
const NS_PER_BYTE = 0.5;
const FLUSH_NS = 200_000;

/** How an operation ends. */
interface End {
  readonly timer: { readonly order?: number };
  failure: DiskFailure | undefined;
}

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
  /** What has not ended for whoever asked. */
  readonly #underWay = new Map<DiskDone, { readonly atNs: number; readonly end: End }>();

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
    await this.idle();
    return this.#disk.generation?.();
  }

  get changes(): DiskChanges | undefined {
    return this.#disk.changes;
  }

  async kept(): Promise<KeptDisk> {
    await this.idle();
    const operations = new Map<DiskDone, KeptOperation>();
    for (const [done, { atNs, end }] of this.#underWay) {
      operations.set(done, { atNs, order: end.timer.order ?? 0, failure: end.failure });
    }
    return { freeNs: this.#freeNs, operations };
  }

  keep({ freeNs, operations }: KeptDisk, later: ArmLater): void {
    this.#freeNs = freeNs;
    for (const [done, { atNs, order, failure }] of operations) {
      later(order, () => {
        const timer = this.#timers.armHeld(atNs, Promise.resolve(), () => {
          this.#underWay.delete(done);
          done(failure);
        });
        this.#underWay.set(done, { atNs, end: { timer, failure } });
      });
    }
  }

  async idle(): Promise<void> {
    await this.#last;
    await this.#disk.idle();
  }

  close(): Promise<void> {
    return this.#disk.close();
  }

  #do(ns: number, done: DiskDone, operate: (ended: DiskDone) => void): void {
    const ready = this.#last.then(
      () =>
        new Promise<void>((resolve) => {
          operate((trouble) => {
            end.failure = trouble;
            resolve();
          });
        }),
    );
    this.#last = ready;
    this.#freeNs = Math.max(this.#freeNs, this.#clock.monotonicNs()) + Math.round(ns);
    const atNs = this.#freeNs;
    const timer = this.#timers.armHeld(atNs, ready, () => {
      this.#underWay.delete(done);
      done(end.failure);
    });
    const end: End = { timer, failure: undefined };
    this.#underWay.set(done, { atNs, end });
  }
}
