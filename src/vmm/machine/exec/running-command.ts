/** A command that was asked for: what is known of it, its input and its output. */
import type { HostError } from "../../../base/index.js";
import { refuse } from "../../loader/errors.js";

/** What a command that has ended leaves. */
export interface ExecResult {
  /** Its exit status, 0 to 255; 128 and the signal's number when a signal has ended it, as shells have it. */
  readonly status: number;
  /** The signal that has ended it. */
  readonly signal?: number;
  /** What it has written, unless `onStdout` or `onStderr` has got that. */
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

/** How a command is run. */
export interface ExecOptions {
  /** Its standard input, empty by default. Text is UTF-8. */
  readonly stdin?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** Variables beside those that the guest's agent has, or in their place. */
  readonly env?: Readonly<Record<string, string>>;
  /** The folder that it starts in; the agent's by default. */
  readonly cwd?: string;
  /** Milliseconds of the machine's clock from the call on; when they are over, the command is killed. */
  readonly timeout?: number;
  /** Gets the standard output as it comes; the result has none then, and it may be as long as it wants. */
  readonly onStdout?: (bytes: Uint8Array) => void;
  /** The same for the standard error output. */
  readonly onStderr?: (bytes: Uint8Array) => void;
}

/**
 * Bytes of output that are kept.
 * @limit guest | each output of a command that exec keeps | bytes | EXEC_OUTPUT, the command is killed
 */
const MAX_OUTPUT = 64 << 20;

export class RunningCommand {
  readonly id: number;
  /** Payload of its START frame. */
  readonly start: Uint8Array;
  readonly result: Promise<ExecResult>;
  readonly #options: ExecOptions;
  readonly #input: AsyncIterator<Uint8Array> | undefined;
  #pending: Uint8Array;
  #inputEnded: boolean;
  #endSent = false;
  /** Bytes of input that the agent takes now. */
  credit = 0;
  #reading = false;
  readonly #chunks = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  readonly #sizes = { stdout: 0, stderr: 0 };
  #resolve: (result: ExecResult) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;
  /** Whoever waits has been told. */
  settled = false;

  constructor(id: number, start: Uint8Array, options: ExecOptions) {
    this.id = id;
    this.start = start;
    this.#options = options;
    const { stdin = new Uint8Array(0) } = options;
    const isStream = typeof stdin === "object" && Symbol.asyncIterator in stdin;
    this.#input = isStream ? stdin[Symbol.asyncIterator]() : undefined;
    this.#pending = isStream ? new Uint8Array(0) : bytesOf(stdin as string | Uint8Array);
    this.#inputEnded = !isStream;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Sends as much input as the agent takes; an empty piece is its end. */
  feed(send: (bytes: Uint8Array) => void): void {
    while (this.#pending.length > 0 && this.credit > 0) {
      const piece = this.#pending.subarray(0, this.credit);
      this.#pending = this.#pending.subarray(piece.length);
      this.credit -= piece.length;
      send(piece);
    }
    if (this.#pending.length > 0 || this.#endSent || this.settled) return;
    if (this.#inputEnded) {
      this.#endSent = true;
      send(new Uint8Array(0));
    } else if (!this.#reading && this.#input !== undefined) {
      this.#reading = true;
      void this.#read(this.#input).then(() => {
        this.#reading = false;
        this.feed(send);
      });
    }
  }

  /** Output. @returns why the command has to end, if so. */
  output(stream: "stdout" | "stderr", bytes: Uint8Array): HostError | undefined {
    if (this.settled) return undefined;
    const receiver = stream === "stdout" ? this.#options.onStdout : this.#options.onStderr;
    if (receiver !== undefined) {
      receiver(bytes);
      return undefined;
    }
    this.#sizes[stream] += bytes.length;
    if (this.#sizes[stream] > MAX_OUTPUT) {
      const message = `the command has written more than ${MAX_OUTPUT >> 20} MiB: take it with on${stream === "stdout" ? "Stdout" : "Stderr"}`;
      return refuse("EXEC_OUTPUT", message);
    }
    this.#chunks[stream].push(bytes);
    return undefined;
  }

  /** It has ended. */
  end(code: number, signal: number): void {
    if (this.settled) return;
    this.#settle();
    const { stdout, stderr } = this.#chunks;
    this.#resolve({
      status: signal === 0 ? code & 0xff : (128 + signal) & 0xff,
      ...(signal === 0 ? {} : { signal }),
      stdout: join(stdout),
      stderr: join(stderr),
    });
  }

  /** Whoever waits is told that there is no result. */
  fail(error: unknown): void {
    if (this.settled) return;
    this.#settle();
    this.#reject(error);
  }

  #settle(): void {
    this.settled = true;
    this.#pending = new Uint8Array(0);
    // Whoever gives the input is told that nobody reads any more.
    if (!this.#inputEnded) void this.#input?.return?.();
  }

  async #read(input: AsyncIterator<Uint8Array>): Promise<void> {
    try {
      const { done, value } = await input.next();
      if (done === true) this.#inputEnded = true;
      else this.#pending = bytesOf(value);
    } catch (error) {
      this.#inputEnded = true;
      this.fail(error);
    }
  }
}

const bytesOf = (data: string | Uint8Array): Uint8Array =>
  typeof data === "string" ? new TextEncoder().encode(data) : data;

function join(chunks: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
