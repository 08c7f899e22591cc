import type { Duplex } from "node:stream";
import {
  type Frame,
  type Log,
  MAX_FRAME,
  type Network,
  type NetworkOffers,
} from "../../../ports/index.js";

const HEAD = 4;
const MIN_FRAME = 14;
/**
 * Bytes that wait for a stream that is not read.
 * @limit guest | bytes for a socket that nobody reads | bytes | the guest's next frames wait in their ring
 */
const MAX_WAITING = 1 << 20;

/** Takes frames out of a stream of bytes: before each frame its length, 4 bytes in network order. */
export class FrameReader {
  readonly #head = new Uint8Array(HEAD);
  #frame: Uint8Array | undefined;
  /** Bytes of the head, or of the frame, that are there. */
  #have = 0;

  /** The frames that are whole by now; undefined when a length makes no sense, and nothing can follow. */
  read(bytes: Uint8Array): Frame[] | undefined {
    const frames: Frame[] = [];
    for (let at = 0; at < bytes.length; ) {
      const into = this.#frame ?? this.#head;
      const part = bytes.subarray(at, at + into.length - this.#have);
      into.set(part, this.#have);
      this.#have += part.length;
      at += part.length;
      if (this.#have < into.length) break;
      this.#have = 0;
      if (this.#frame === undefined) {
        const length = new DataView(this.#head.buffer).getUint32(0);
        if (length < MIN_FRAME || length > MAX_FRAME) return undefined;
        this.#frame = new Uint8Array(length);
      } else {
        frames.push({ bytes: this.#frame, checksum: "unknown" });
        this.#frame = undefined;
      }
    }
    return frames;
  }
}

/**
 * A network behind a stream, as QEMU's `-netdev stream` and passt speak it. Without a stream, or when it has ended, it is
 * a cable that is not plugged in.
 */
export class StreamNetwork implements Network {
  readonly offers: NetworkOffers = { checksum: false, segmentation: false };
  readonly #name: string;
  readonly #log: Log;
  readonly #onClose: () => Promise<void>;
  #stream: Duplex | undefined;
  #isCorked = false;
  #isClosed = false;
  /** Whole frames that the guest has not taken. */
  readonly #kept: Frame[] = [];
  #onRoom: () => void = () => undefined;
  #receiver: (frames: readonly Frame[]) => number = (frames) => frames.length;

  /** `name`: for messages. `onClose` gives back what the stream came from. */
  constructor(name: string, log: Log, onClose: () => Promise<void> = () => Promise.resolve()) {
    this.#name = name;
    this.#log = log;
    this.#onClose = onClose;
  }

  get isConnected(): boolean {
    return this.#stream !== undefined;
  }

  /** From now on the other end is this stream. */
  connect(stream: Duplex): void {
    const reader = new FrameReader();
    this.#stream = stream;
    stream.on("data", (bytes: Buffer) => {
      const frames = reader.read(bytes);
      if (frames === undefined) {
        this.#log.warn(`${this.#name}: the other end does not speak QEMU's stream protocol`);
        stream.destroy();
        return;
      }
      this.#kept.push(...frames);
      this.#deliver();
    });
    stream.on("drain", () => this.#onRoom());
    stream.on("error", () => undefined);
    stream.on("close", () => {
      if (this.#stream !== stream) return;
      this.#stream = undefined;
      if (!this.#isClosed) this.#log.warn(`${this.#name}: the other end has gone`);
      // What is sent from now on is lost, and does not wait.
      this.#onRoom();
    });
  }

  get isFull(): boolean {
    return (this.#stream?.writableLength ?? 0) >= MAX_WAITING;
  }

  send({ bytes }: Frame): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    if (!this.#isCorked) {
      // All frames of a turn are written at once.
      this.#isCorked = true;
      stream.cork();
      setImmediate(() => {
        this.#isCorked = false;
        stream.uncork();
      });
    }
    const head = new Uint8Array(HEAD);
    new DataView(head.buffer).setUint32(0, bytes.length);
    stream.write(head);
    stream.write(bytes);
  }

  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  onFrames(receiver: (frames: readonly Frame[]) => number): void {
    this.#receiver = receiver;
  }

  resume(): void {
    // Not inside of a call of the receiver.
    setImmediate(() => this.#deliver());
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stream?.destroy();
    await this.#onClose();
  }

  /** What the guest does not take makes the other end wait. */
  #deliver(): void {
    const taken = this.#kept.length === 0 ? 0 : this.#receiver(this.#kept);
    this.#kept.splice(0, taken);
    if (this.#kept.length > 0) this.#stream?.pause();
    else this.#stream?.resume();
  }
}
