/** Buffers that are used again: the host makes a new one of 128 KiB slower than it fills it. */

/** Sizes are powers of two from this one. */
const LEAST = 4096;

export class Buffers {
  readonly #most: number;
  readonly #spare = new Map<number, ArrayBuffer[]>();
  #bytes = 0;

  /** Keeps at most so many bytes that are not in use. */
  constructor(most: number) {
    this.#most = most;
  }

  /** A buffer of so many bytes, with anything in it. */
  take(length: number): Uint8Array {
    const size = sizeFor(length);
    const spare = this.#spare.get(size)?.pop();
    if (spare !== undefined) this.#bytes -= size;
    return new Uint8Array(spare ?? new ArrayBuffer(size), 0, length);
  }

  /** Gives one back that nobody reads or writes any more. */
  give({ buffer }: Uint8Array): void {
    const size = buffer.byteLength;
    // One of a machine that goes on has just its own bytes.
    if (!(buffer instanceof ArrayBuffer) || size !== sizeFor(size)) return;
    if (this.#bytes + size > this.#most) return;
    this.#bytes += size;
    const list = this.#spare.get(size);
    if (list === undefined) this.#spare.set(size, [buffer]);
    else list.push(buffer);
  }
}

const sizeFor = (length: number): number => Math.max(LEAST, 2 ** Math.ceil(Math.log2(length)));
