import type { ByteStream } from "../../ports/index.js";
import { CONSOLE_COMMANDS, type ConsoleCommand, EscapeKey } from "../shared/escape-key.js";

/** The input side: `process.stdin`, or a stand-in. */
export interface ConsoleInput {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
  on(event: "data", listener: (bytes: Uint8Array) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  removeAllListeners(event: "data" | "error"): unknown;
  resume(): unknown;
  pause(): unknown;
  unref?(): unknown;
}

/** The output side: `process.stdout`, or a stand-in. */
export interface ConsoleOutput {
  readonly isTTY?: boolean;
  /** Of a terminal. */
  readonly rows?: number;
  readonly columns?: number;
  /** Bytes that were written and not taken by the reader yet. */
  readonly writableLength: number;
  write(bytes: Uint8Array, taken?: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "drain" | "resize", listener: () => void): unknown;
}

/** Node's own handle of a terminal, which has no public name; where it is not there, all is as before. */
interface WithHandle {
  readonly _handle?: { setBlocking?(blocking: boolean): unknown };
}

/**
 * Bytes of output that wait for a reader; then the guest waits. More than a stream's high-water mark, below which
 * Node does not tell that it was drained.
 * @limit reader | output of a guest's console that nobody reads | bytes | the guest waits: its ring stays full, its
 *   UART's transmitter busy (a byte that it sends in spite of that is lost)
 */
const MAX_UNREAD = 1 << 16;

/** @limit user | input that comes before there is a guest | bytes | it is lost */
const MAX_EARLY = 1 << 20;

/** What a person or a pipe at the other end can do. */
export interface ConsoleEvents {
  /** The escape key was typed, with a command for this program. */
  onCommand(command: ConsoleCommand): void;
  /** The output takes nothing any more: nobody reads it (EPIPE), or the disk is full. */
  onOutputClosed(why: Error): void;
  /** The terminal that shows the output has another size, in characters. */
  onResize?(rows: number, columns: number): void;
}

/**
 * A guest's console on this process's standard input and output. A terminal is put into raw mode,
 * so that every key, Ctrl-C too, is the guest's; a pipe passes through as it is, and its end means
 * nothing. Output bytes are never changed.
 *
 * Order: construct, {@link open}, use, {@link close}. `close` may be called at any time and more
 * than once, and must be called on every way out, or the user's terminal stays in raw mode.
 */
export class StandardConsole implements ByteStream {
  readonly #input: ConsoleInput;
  readonly #output: ConsoleOutput;
  readonly #events: ConsoleEvents;
  readonly #escapeKey: EscapeKey | undefined;
  #open = false;
  #early: Uint8Array[] = [];
  #earlyBytes = 0;
  #receiver: ((bytes: Uint8Array) => void) | undefined;
  #onRoom: () => void = () => undefined;
  readonly #passOutput: () => void;

  /**
   * `passOutput` makes the terminal, which is raw by then, show what it gets as it is: Node's raw mode leaves
   * it make CR LF of LF. Leaving raw mode undoes that.
   */
  constructor(
    input: ConsoleInput,
    output: ConsoleOutput,
    events: ConsoleEvents,
    passOutput: () => void = () => undefined,
  ) {
    this.#passOutput = passOutput;
    this.#input = input;
    this.#output = output;
    this.#events = events;
    this.#escapeKey = input.isTTY ? new EscapeKey(CONSOLE_COMMANDS) : undefined;
  }

  /** Whether a person types at a terminal: then there is an escape key. */
  get hasEscapeKey(): boolean {
    return this.#escapeKey !== undefined;
  }

  /** Takes the terminal over and starts to read. */
  open(): void {
    this.#open = true;
    this.#setRaw(true);
    this.#input.on("data", (bytes) => this.#take(bytes));
    // A terminal that goes away reports an input error; the hang-up signal is what ends the VM.
    this.#input.on("error", () => undefined);
    this.#output.on("error", (why) => {
      if (this.#open) this.#events.onOutputClosed(why);
    });
    this.#output.on("drain", () => this.#onRoom());
    this.#output.on("resize", () => this.#tellSize());
    this.#tellSize();
    // Node makes writes to a terminal wait, and with them this whole program, while its reader does not read.
    if (this.#output.isTTY) (this.#output as WithHandle)._handle?.setBlocking?.(false);
    this.#input.resume();
  }

  /** Gives the terminal back as it was and stops reading. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#setRaw(false);
    this.#input.removeAllListeners("data");
    this.#input.pause();
    this.#input.unref?.();
  }

  /** Takes the terminal over again after the process was stopped and continued by job control. */
  reclaim(): void {
    if (!this.#open) return;
    // Somebody else may have set it meanwhile: Node has to forget that it is raw.
    this.#setRaw(false);
    this.#setRaw(true);
  }

  get room(): number {
    return Math.max(0, MAX_UNREAD - this.#output.writableLength);
  }

  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  /** Resolves when the reader has taken all output. */
  flushed(): Promise<void> {
    return new Promise((resolve) => {
      this.#output.write(new Uint8Array(0), resolve);
    });
  }

  write(bytes: Uint8Array): void {
    // The stream keeps what it cannot send at once, so it gets a copy.
    this.#output.write(Uint8Array.from(bytes));
  }

  onData(receiver: (bytes: Uint8Array) => void): void {
    this.#receiver = receiver;
    for (const bytes of this.#early.splice(0)) receiver(bytes);
  }

  #take(bytes: Uint8Array): void {
    const typed = this.#escapeKey?.feed(bytes) ?? { forward: bytes, commands: [] };
    if (typed.forward.length > 0) {
      if (this.#receiver) this.#receiver(typed.forward);
      else this.#keep(typed.forward);
    }
    for (const command of typed.commands) this.#events.onCommand(command);
  }

  #tellSize(): void {
    const { rows, columns } = this.#output;
    if (this.#open && rows && columns) this.#events.onResize?.(rows, columns);
  }

  #keep(bytes: Uint8Array): void {
    this.#earlyBytes += bytes.length;
    if (this.#earlyBytes <= MAX_EARLY) this.#early.push(Uint8Array.from(bytes));
  }

  #setRaw(raw: boolean): void {
    if (!this.#input.isTTY) return;
    try {
      this.#input.setRawMode?.(raw);
      if (raw) this.#passOutput();
    } catch {
      // The terminal is gone already: nothing is left to restore.
    }
  }
}
