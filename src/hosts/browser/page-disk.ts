import type { Disk, DiskDone } from "../../ports/index.js";

/** Bytes of a sector. */
export const SECTOR = 512;
/**
 * What a guest writes to a disk in a page, in pieces of 64 KiB.
 * @limit guest | what is written to a disk in a page | bytes | writes fail with ENOSPC
 */
export const MAX_CHANGES = 2 ** 30;

/** What disks of a page have in common; unless a class says otherwise, nothing is durable. */
export abstract class PageDisk implements Disk {
  abstract readonly readonly: boolean;
  readonly blockSize = 4096;
  readonly canDiscard = false;
  readonly size: number;
  #underWay = 0;
  #onIdle: (() => void)[] = [];

  constructor(bytes: number) {
    this.size = Math.floor(bytes / SECTOR) * SECTOR;
  }

  abstract read(offset: number, into: Uint8Array, done: DiskDone): void;
  abstract write(offset: number, bytes: Uint8Array, done: DiskDone): void;

  /** Carries an operation out, and tells how it ended. */
  protected carryOut(work: () => Promise<void> | void, done: DiskDone, code: string): void {
    this.#underWay++;
    Promise.resolve()
      .then(work)
      .then(
        () => undefined,
        (cause: unknown) => ({
          code,
          message: cause instanceof Error ? cause.message : String(cause),
        }),
      )
      .then((failure) => {
        this.#underWay--;
        if (this.#underWay === 0) for (const idle of this.#onIdle.splice(0)) idle();
        done(failure);
      });
  }

  flush(done: DiskDone): void {
    queueMicrotask(() => done());
  }

  discard(_offset: number, _length: number, done: DiskDone): void {
    queueMicrotask(() => done());
  }

  resize(): Promise<void> {
    return Promise.reject(new RangeError("a disk of a page keeps its size"));
  }

  idle(): Promise<void> {
    if (this.#underWay === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
