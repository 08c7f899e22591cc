/** A disk that an NBD server has: the transmission phase of the protocol, with simple replies. */
import type { Socket } from "node:net";
import { HostError } from "../../../base/index.js";
import type { Disk, DiskDone, DiskFailure } from "../../../ports/index.js";
import { Operations } from "../operations.js";
import { type NbdExport, NbdFlag, negotiate } from "./handshake.js";
import { SocketReader } from "./socket-reader.js";

const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
const REQUEST_SIZE = 28;
const REPLY_SIZE = 16;
const Command = { READ: 0, WRITE: 1, DISCONNECT: 2, FLUSH: 3, TRIM: 4 } as const;
/** Errors of the protocol: numbers and names are Linux's. */
const errors: Readonly<Record<number, string>> = {
  1: "EPERM",
  5: "EIO",
  12: "ENOMEM",
  22: "EINVAL",
  28: "ENOSPC",
  75: "EOVERFLOW",
  95: "ENOTSUP",
  108: "ESHUTDOWN",
};
/**
 * Lengths have 32 bits.
 * @nolimit more is discarded in parts
 */
const MAX_TRIM = 1 << 30;

/**
 * Milliseconds without a word of a server that owes an answer. Two minutes: the host's disk may be slow.
 * @limit client | silence of an NBD server that owes an answer | milliseconds | it is taken for gone
 */
const MAX_SILENCE = 120_000;

/** What a disk of a server is opened with. */
export interface NbdOptions {
  /** The export's name; empty for the server's default. */
  readonly name: string;
  /** The disk, for messages. */
  readonly what: string;
  readonly readonly: boolean;
  /** Instead of {@link MAX_SILENCE}. */
  readonly maxSilence?: number;
  /** Called when the connection is over. */
  readonly afterClose?: () => Promise<void>;
}

const NO_ANSWER = "the server does not answer";

/** A request without a reply. */
interface Pending {
  readonly into: Uint8Array | undefined;
  readonly end: (failure?: DiskFailure) => void;
}

export class NbdDisk implements Disk {
  readonly blockSize = 4096;
  readonly size: number;
  readonly readonly: boolean;
  readonly canDiscard: boolean;
  readonly #socket: Socket;
  readonly #reader: SocketReader;
  readonly #options: NbdOptions;
  readonly #flags: number;
  /** Bytes that one request may carry. */
  readonly #maximum: number;
  readonly #pending = new Map<bigint, Pending>();
  readonly #operations = new Operations();
  #next = 1n;
  /** Why there is no server any more. */
  #lost: string | undefined;
  #isClosing = false;

  private constructor(
    socket: Socket,
    reader: SocketReader,
    options: NbdOptions,
    { size, flags, maximum }: NbdExport,
  ) {
    this.#socket = socket;
    this.#reader = reader;
    this.#options = options;
    this.#flags = flags;
    this.#maximum = maximum;
    this.size = size;
    this.readonly = options.readonly || (flags & NbdFlag.READ_ONLY) !== 0;
    this.canDiscard = !this.readonly && (flags & NbdFlag.SEND_TRIM) !== 0;
    void this.#read();
    // Without a question it may be silent for as long as it likes.
    socket.removeAllListeners("timeout").on("timeout", () => {
      if (this.#pending.size > 0 || this.#isClosing) socket.destroy(new Error(NO_ANSWER));
    });
  }

  /**
   * Takes a connection over, and chooses an export of its server.
   * @throws HostError DISK_UNUSABLE when that fails; the connection is closed then.
   */
  static async open(socket: Socket, options: NbdOptions): Promise<NbdDisk> {
    const { name, what, readonly, maxSilence = MAX_SILENCE } = options;
    const reader = new SocketReader(socket);
    socket.setTimeout(maxSilence, () => socket.destroy(new Error(NO_ANSWER)));
    try {
      const found = await negotiate(reader, (bytes) => socket.write(bytes), name, what);
      if (!readonly && (found.flags & NbdFlag.READ_ONLY) !== 0) {
        throw new HostError("DISK_UNUSABLE", `disk ${what}: the server only lets it be read (,ro)`);
      }
      return new NbdDisk(socket, reader, options, found);
    } catch (cause) {
      socket.destroy();
      if (cause instanceof HostError) throw cause;
      const message = `disk ${what}: ${cause instanceof Error ? cause.message : cause}`;
      throw new HostError("DISK_UNUSABLE", message, { cause });
    }
  }

  read(offset: number, into: Uint8Array, done: DiskDone): void {
    const end = this.#begin("read", done);
    this.#inParts(into.length, this.#maximum, end, (from, to, next) =>
      this.#ask(Command.READ, offset + from, to - from, next, { into: into.subarray(from, to) }),
    );
  }

  write(offset: number, bytes: Uint8Array, done: DiskDone): void {
    const end = this.#begin("written", done);
    this.#inParts(bytes.length, this.#maximum, end, (from, to, next) =>
      this.#ask(Command.WRITE, offset + from, to - from, next, { bytes: bytes.subarray(from, to) }),
    );
  }

  flush(done: DiskDone): void {
    const end = this.#begin("made durable", done);
    // A server without it has nothing to make durable.
    if ((this.#flags & NbdFlag.SEND_FLUSH) === 0) queueMicrotask(() => end());
    else this.#ask(Command.FLUSH, 0, 0, end);
  }

  discard(offset: number, length: number, done: DiskDone): void {
    const end = this.#begin("discarded", done);
    this.#inParts(length, MAX_TRIM, end, (from, to, next) =>
      this.#ask(Command.TRIM, offset + from, to - from, next),
    );
  }

  async resize(): Promise<void> {
    throw new HostError(
      "DISK_SIZE",
      `disk ${this.#options.what}: a disk of a server keeps its size`,
    );
  }

  idle(): Promise<void> {
    return this.#operations.idle();
  }

  async close(): Promise<void> {
    await this.idle();
    this.#isClosing = true;
    if (!this.#socket.destroyed) {
      const closed = new Promise((resolve) => this.#socket.once("close", resolve));
      // The protocol has no answer to this: a server that does not hang up is not waited for.
      this.#socket.end(request(Command.DISCONNECT, 0n, 0, 0), () => this.#socket.destroy());
      await closed;
    }
    await this.#options.afterClose?.();
  }

  /** What an operation's end is told, as a failure of a disk. */
  #begin(what: string, done: DiskDone): (failure?: DiskFailure) => void {
    const end = this.#operations.begin();
    return (failure) => {
      const message = failure && `${this.#options.what} cannot be ${what}: ${failure.message}`;
      done(failure && { code: failure.code, message: message ?? "" });
      end();
    };
  }

  /** Asks for `length` bytes in parts of at most `most`, one after another, up to the first that fails. */
  #inParts(
    length: number,
    most: number,
    end: (failure?: DiskFailure) => void,
    ask: (from: number, to: number, next: (failure?: DiskFailure) => void) => void,
  ): void {
    const go = (from: number): void => {
      const to = Math.min(from + most, length);
      ask(from, to, (failure) => {
        if (failure !== undefined || to >= length) end(failure);
        else go(to);
      });
    };
    go(0);
  }

  #ask(
    command: number,
    offset: number,
    length: number,
    end: (failure?: DiskFailure) => void,
    { bytes, into }: { readonly bytes?: Uint8Array; readonly into?: Uint8Array } = {},
  ): void {
    const lost = this.#lost;
    if (lost !== undefined) {
      queueMicrotask(() => end({ code: "EIO", message: lost }));
      return;
    }
    const handle = this.#next++;
    this.#pending.set(handle, { into, end });
    this.#socket.cork();
    this.#socket.write(request(command, handle, offset, length));
    if (bytes !== undefined) this.#socket.write(bytes);
    this.#socket.uncork();
  }

  /** Takes replies until there are no more. */
  async #read(): Promise<void> {
    try {
      for (;;) {
        const head = await this.#reader.take(REPLY_SIZE);
        const pending = this.#pending.get(head.readBigUInt64BE(8));
        if (head.readUInt32BE(0) !== REPLY_MAGIC || pending === undefined) {
          throw new Error("the server answers nonsense");
        }
        const error = head.readUInt32BE(4);
        if (error === 0 && pending.into !== undefined) {
          pending.into.set(await this.#reader.take(pending.into.length));
        }
        this.#pending.delete(head.readBigUInt64BE(8));
        const code = errors[error] ?? "EIO";
        pending.end(error === 0 ? undefined : { code, message: `the server says ${code}` });
      }
    } catch (why) {
      this.#lose(why instanceof Error ? why.message : String(why));
    }
  }

  #lose(why: string): void {
    this.#lost = why;
    this.#socket.destroy();
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const { end } of all) end({ code: "EIO", message: why });
  }
}

function request(command: number, handle: bigint, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(REQUEST_SIZE);
  bytes.writeUInt32BE(REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(command, 6);
  bytes.writeBigUInt64BE(handle, 8);
  bytes.writeBigUInt64BE(BigInt(offset), 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}
