/** What further consoles of a machine are connected to: a file that takes what the guest writes, or a Unix socket. */
import { createWriteStream, type WriteStream } from "node:fs";
import { chmod } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import type { Writable } from "node:stream";
import { HostError } from "../../../base/index.js";
import type { ByteStream } from "../../../ports/index.js";
import { ConsoleBackend } from "../../../vmm/machine/index.js";

/** A console beside hvc0. */
export type PortOption = {
  /** 1 for hvc1, and so on. */
  readonly number: number;
} & (
  | {
      /** What the guest writes is what the file has. */
      readonly file: string;
    }
  | {
      /** A socket is made; one at a time may connect, and has the guest's console. */
      readonly socket: string;
    }
);

/**
 * Bytes of a console that wait for whoever reads the file or the socket.
 * @limit guest | output of a further console that nobody reads | bytes | the guest waits
 */
const MAX_WAITING = 64 << 10;

const reasons: Readonly<Record<string, string>> = {
  EACCES: "no permission",
  EADDRINUSE: "there is such a file already",
  EINVAL: "the path is too long for a socket",
  EISDIR: "it is a folder",
  ENOENT: "there is no such folder",
  ENOTDIR: "there is no such folder",
};

/** The end of the host: what is written to nothing is lost. */
export class PortStream implements ByteStream {
  #out: Writable | undefined;
  #onRoom: () => void = () => undefined;
  #receiver: (bytes: Uint8Array) => void = () => undefined;

  get room(): number {
    return Math.max(0, MAX_WAITING - (this.#out?.writableLength ?? 0));
  }

  get isTaken(): boolean {
    return this.#out !== undefined;
  }

  /** From now on this is what is written to. */
  connect(out: Writable): void {
    this.#out = out;
    out.on("drain", () => this.#onRoom());
    out.on("error", () => undefined);
    out.on("close", () => {
      if (this.#out !== out) return;
      this.#out = undefined;
      this.#onRoom();
    });
  }

  write(bytes: Uint8Array): void {
    this.#out?.write(Uint8Array.from(bytes));
  }

  onData(receiver: (bytes: Uint8Array) => void): void {
    this.#receiver = receiver;
  }

  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  input(bytes: Uint8Array): void {
    this.#receiver(bytes);
  }
}

/** A console that gives back what it has of the host. */
class PortBackend extends ConsoleBackend {
  readonly #end: () => Promise<void>;

  constructor(number: number, stream: ByteStream, end: () => Promise<void>) {
    super(number, stream);
    this.#end = end;
  }

  override async close(): Promise<void> {
    await super.close();
    await this.#end();
  }
}

/**
 * Opens the other end of a console. `close` gives it back.
 * @throws HostError PORT_UNUSABLE when the file or socket cannot be made.
 */
export async function openPortStream(
  option: PortOption,
): Promise<{ readonly stream: PortStream; readonly close: () => Promise<void> }> {
  const stream = new PortStream();
  const path = "file" in option ? option.file : option.socket;
  try {
    const close = "file" in option ? await toFile(path, stream) : await toSocket(path, stream);
    return { stream, close };
  } catch (cause) {
    const { code = "", message } = cause as NodeJS.ErrnoException;
    const why = reasons[code] ?? message;
    throw new HostError("PORT_UNUSABLE", `--port hvc${option.number}: ${path}: ${why}`, { cause });
  }
}

/** A console, with its other end. @throws HostError of {@link openPortStream}; CONSOLE_NUMBER. */
export async function openConsolePort(option: PortOption): Promise<ConsoleBackend> {
  const { stream, close } = await openPortStream(option);
  return new PortBackend(option.number, stream, close);
}

/** Opens all. @throws HostError of {@link openConsolePort}; none is open then. */
export async function openConsolePorts(options: readonly PortOption[]): Promise<ConsoleBackend[]> {
  const opened: ConsoleBackend[] = [];
  try {
    for (const option of options) opened.push(await openConsolePort(option));
    return opened;
  } catch (refusal) {
    await Promise.all(opened.map((port) => port.close()));
    throw refusal;
  }
}

async function toFile(path: string, stream: PortStream): Promise<() => Promise<void>> {
  const file = await new Promise<WriteStream>((resolve, reject) => {
    const opening = createWriteStream(path);
    opening.once("open", () => resolve(opening));
    opening.once("error", reject);
  });
  stream.connect(file);
  return () => new Promise((resolve) => file.end(resolve));
}

async function toSocket(path: string, stream: PortStream): Promise<() => Promise<void>> {
  let peer: Socket | undefined;
  const server = await new Promise<Server>((resolve, reject) => {
    const listening = createServer((socket) => {
      if (stream.isTaken) {
        socket.destroy();
        return;
      }
      peer = socket;
      stream.connect(socket);
      socket.on("data", (bytes: Buffer) => stream.input(bytes));
    });
    listening.once("error", reject);
    listening.listen(path, () => resolve(listening));
  });
  // Whoever may connect is at the guest's console.
  await chmod(path, 0o600);
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      // What the guest wrote last is still to be read.
      peer?.end();
    });
}
