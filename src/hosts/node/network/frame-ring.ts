import type { Frame } from "../../../ports/index.js";

/** Words of the head: both indices count bytes, modulo 2^32; the others are 0 or 1. */
const Word = {
  PRODUCED: 0,
  CONSUMED: 1,
  /** The consumer sleeps, and wants to be told of a frame. */
  CONSUMER_SLEEPS: 2,
  /** The producer found no room, and wants to be told of some. */
  PRODUCER_WAITS: 3,
} as const;
const HEAD = 16;
/** Before each frame: its length; bits 0 and 1 its checksum, the others its segment size. */
const RECORD_HEAD = 8;
const CHECKSUMS = ["unknown", "valid", "blank"] as const;

const padded = (length: number): number => (length + 7) & ~7;

/**
 * Frames from one thread to another, through shared memory: one of them produces, the other one consumes. Neither
 * waits in here; each tells the other when it has to be woken.
 */
export class FrameRing {
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  /** The same as words. */
  readonly #heads: Uint32Array;
  readonly #size: number;

  /** Over memory of {@link create}. */
  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#words = new Int32Array(shared, 0, HEAD / 4);
    this.#bytes = new Uint8Array(shared, HEAD);
    this.#heads = new Uint32Array(shared, HEAD);
    this.#size = this.#bytes.length;
  }

  /** `size`: bytes of room, a power of two. */
  static create(size: number): FrameRing {
    return new FrameRing(new SharedArrayBuffer(HEAD + size));
  }

  /** Bytes that are in it. */
  get used(): number {
    const produced = Atomics.load(this.#words, Word.PRODUCED);
    return (produced - Atomics.load(this.#words, Word.CONSUMED)) >>> 0;
  }

  /** Whether a frame of so many bytes has room. */
  hasRoom(length: number): boolean {
    return this.used + RECORD_HEAD + padded(length) <= this.#size;
  }

  /** Puts a frame in. @returns false when it has no room. */
  push({ bytes, checksum, segmentSize = 0 }: Frame): boolean {
    if (!this.hasRoom(bytes.length)) return false;
    const at = Atomics.load(this.#words, Word.PRODUCED);
    // Records begin at multiples of 8: a head never goes over the end.
    const word = (at & (this.#size - 1)) / 4;
    this.#heads[word] = bytes.length;
    this.#heads[word + 1] = CHECKSUMS.indexOf(checksum) | (segmentSize << 2);
    this.#write(at + RECORD_HEAD, bytes);
    Atomics.store(this.#words, Word.PRODUCED, (at + RECORD_HEAD + padded(bytes.length)) | 0);
    return true;
  }

  /** Takes the next frame out; undefined when there is none. */
  pop(): Frame | undefined {
    if (this.used === 0) return undefined;
    const at = Atomics.load(this.#words, Word.CONSUMED);
    const word = (at & (this.#size - 1)) / 4;
    const length = this.#heads[word] as number;
    const about = this.#heads[word + 1] as number;
    const bytes = this.#read(at + RECORD_HEAD, length);
    Atomics.store(this.#words, Word.CONSUMED, (at + RECORD_HEAD + padded(length)) | 0);
    const checksum = CHECKSUMS[about & 3] ?? "unknown";
    const segmentSize = about >>> 2;
    return segmentSize === 0 ? { bytes, checksum } : { bytes, checksum, segmentSize };
  }

  /** The consumer is about to sleep. @returns false when there is a frame: it does not sleep then. */
  sleep(): boolean {
    Atomics.store(this.#words, Word.CONSUMER_SLEEPS, 1);
    if (this.used === 0) return true;
    Atomics.store(this.#words, Word.CONSUMER_SLEEPS, 0);
    return false;
  }

  /** The consumer is awake, whatever woke it. */
  awake(): void {
    Atomics.store(this.#words, Word.CONSUMER_SLEEPS, 0);
  }

  /** After {@link push}: whether the consumer has to be woken. True once for each sleep. */
  takeSleeper(): boolean {
    return Atomics.exchange(this.#words, Word.CONSUMER_SLEEPS, 0) === 1;
  }

  /** The producer wants to hear when this is over: no room for so many bytes. @returns false when it is. */
  waitForRoom(length: number): boolean {
    return this.#waitWhile(() => !this.hasRoom(length));
  }

  /** The producer wants to hear when this is over: so many bytes in it, or more. @returns false when it is. */
  waitBelow(bytes: number): boolean {
    return this.#waitWhile(() => this.used >= bytes);
  }

  #waitWhile(lasts: () => boolean): boolean {
    Atomics.store(this.#words, Word.PRODUCER_WAITS, 1);
    if (lasts()) return true;
    Atomics.store(this.#words, Word.PRODUCER_WAITS, 0);
    return false;
  }

  /** After {@link pop}: whether the producer has to be told of room. True once for each wait. */
  takeWaiter(): boolean {
    return Atomics.exchange(this.#words, Word.PRODUCER_WAITS, 0) === 1;
  }

  #write(at: number, bytes: Uint8Array): void {
    const start = at & (this.#size - 1);
    const first = Math.min(bytes.length, this.#size - start);
    if (first === bytes.length) {
      this.#bytes.set(bytes, start);
      return;
    }
    this.#bytes.set(bytes.subarray(0, first), start);
    this.#bytes.set(bytes.subarray(first), 0);
  }

  /** A copy that is in memory of its own, not shared. */
  #read(at: number, length: number): Uint8Array {
    const start = at & (this.#size - 1);
    if (start + length <= this.#size) return this.#bytes.slice(start, start + length);
    const bytes = new Uint8Array(length);
    const first = this.#size - start;
    bytes.set(this.#bytes.subarray(start, start + first));
    bytes.set(this.#bytes.subarray(0, length - first), first);
    return bytes;
  }
}
