import type { ByteStream } from "../ports/index.js";

/**
 * Bytes of output that are on their way to the terminal at most; then the guest waits.
 * @limit reader | output that the page has not shown | bytes | the guest waits
 */
const MAX_UNSHOWN = 64 << 10;

/** The guest's console, whose terminal is the page's. */
export class WorkerConsole implements ByteStream {
  readonly #send: (bytes: Uint8Array<ArrayBuffer>) => void;
  #unshown = 0;
  #receiver: (bytes: Uint8Array) => void = () => undefined;
  #onRoom: () => void = () => undefined;

  /** `send` takes a copy of what is written. */
  constructor(send: (bytes: Uint8Array<ArrayBuffer>) => void) {
    this.#send = send;
  }

  write(bytes: Uint8Array): void {
    this.#unshown += bytes.length;
    this.#send(new Uint8Array(bytes));
  }

  get room(): number {
    return Math.max(0, MAX_UNSHOWN - this.#unshown);
  }

  onData(receiver: (bytes: Uint8Array) => void): void {
    this.#receiver = receiver;
  }

  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  /** The person types. */
  receive(bytes: Uint8Array): void {
    this.#receiver(bytes);
  }

  /** The terminal has shown so many bytes. */
  shown(bytes: number): void {
    const wasFull = this.room === 0;
    this.#unshown = Math.max(0, this.#unshown - bytes);
    if (wasFull && this.room > 0) this.#onRoom();
  }
}
