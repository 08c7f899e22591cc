/** A disk in memory whose operations end when a test says so. */
import type { Disk, DiskDone, DiskFailure, KeptDisk } from "../../../../ports/index.js";

/** An operation that was asked for. */
export interface Asked {
  readonly what: "read" | "write" | "flush" | "discard" | "kept";
  readonly offset: number;
  readonly length: number;
  readonly done: DiskDone;
  /** Ends it, well or not. */
  end(failure?: DiskFailure): void;
}

export class ManualDisk implements Disk {
  readonly bytes: Uint8Array;
  readonly readonly: boolean;
  readonly blockSize = 4096;
  readonly canDiscard: boolean;
  /** What has not ended. */
  readonly asked: Asked[] = [];
  closed = false;
  /** Sectors below this are at hand, to be read and written: see {@link Disk.readNow}. */
  atHand = 0;
  size: number;

  constructor(sectors: number, options: { readonly?: boolean; canDiscard?: boolean } = {}) {
    this.size = sectors * 512;
    this.bytes = new Uint8Array(this.size);
    for (let i = 0; i < sectors; i++) this.bytes.fill(i + 1, i * 512, (i + 1) * 512);
    this.readonly = options.readonly ?? false;
    this.canDiscard = options.canDiscard ?? true;
  }

  read(offset: number, into: Uint8Array, done: DiskDone): void {
    this.#ask("read", offset, into.length, done, () => {
      into.set(this.bytes.subarray(offset, offset + into.length));
    });
  }

  readNow(offset: number, pieces: readonly Uint8Array[]): boolean {
    let at = offset;
    for (const piece of pieces) {
      if (at + piece.length > this.atHand * 512) return false;
      piece.set(this.bytes.subarray(at, at + piece.length));
      at += piece.length;
    }
    return true;
  }

  writeNow(offset: number, pieces: readonly Uint8Array[]): boolean {
    let at = offset;
    for (const piece of pieces) {
      if (at + piece.length > this.atHand * 512) return false;
      this.bytes.set(piece, at);
      at += piece.length;
    }
    return true;
  }

  write(offset: number, bytes: Uint8Array, done: DiskDone): void {
    this.#ask("write", offset, bytes.length, done, () => this.bytes.set(bytes, offset));
  }

  flush(done: DiskDone): void {
    this.#ask("flush", 0, 0, done, () => undefined);
  }

  discard(offset: number, length: number, done: DiskDone): void {
    this.#ask("discard", offset, length, done, () => {
      this.bytes.fill(0, offset, offset + length);
    });
  }

  /** Ends all that was asked for, and what is asked for meanwhile. */
  settle(): void {
    for (let next = this.asked[0]; next !== undefined; next = this.asked[0]) next.end();
  }

  async resize(bytes: number | undefined): Promise<void> {
    this.size = bytes ?? this.bytes.length;
  }

  idle(): Promise<void> {
    return Promise.resolve();
  }

  /** As if it were one of virtual time: what has not ended ends when the test says so, elsewhere. */
  async kept(): Promise<KeptDisk> {
    const operations = this.asked.map(({ done }, order) => [done, { atNs: order, order }] as const);
    return { freeNs: 7, operations: new Map(operations) };
  }

  keep({ operations }: KeptDisk): void {
    for (const [done, { atNs, failure }] of operations) {
      const asked: Asked = {
        ...{ what: "kept", offset: atNs, length: 0, done },
        end: () => {
          this.asked.splice(this.asked.indexOf(asked), 1);
          done(failure);
        },
      };
      this.asked.push(asked);
    }
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  #ask(what: Asked["what"], offset: number, length: number, done: DiskDone, act: () => void): void {
    if (offset < 0 || offset + length > this.size) throw new Error(`${what} outside the disk`);
    const asked: Asked = {
      ...{ what, offset, length, done },
      end: (failure) => {
        this.asked.splice(this.asked.indexOf(asked), 1);
        if (failure === undefined) act();
        done(failure);
      },
    };
    this.asked.push(asked);
  }
}
