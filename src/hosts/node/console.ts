import type { ByteStream } from "../../ports/index.js";
import { LeaveKey } from "./leave-key.js";

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
  write(bytes: Uint8Array): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
}

/** What a person or a pipe at the other end can do. */
export interface ConsoleEvents {
  /** The leave key was typed. */
  onLeave(): void;
  /** Nobody reads the output any more. */
  onOutputClosed(): void;
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
  readonly #leaveKey: LeaveKey | undefined;
  #open = false;
  #early: Uint8Array[] = [];
  #receiver: ((bytes: Uint8Array) => void) | undefined;

  constructor(input: ConsoleInput, output: ConsoleOutput, events: ConsoleEvents) {
    this.#input = input;
    this.#output = output;
    this.#events = events;
    this.#leaveKey = input.isTTY ? new LeaveKey() : undefined;
  }

  /** Whether a person types at a terminal: then there is a leave key. */
  get hasLeaveKey(): boolean {
    return this.#leaveKey !== undefined;
  }

  /** Takes the terminal over and starts to read. */
  open(): void {
    this.#open = true;
    this.#setRaw(true);
    this.#input.on("data", (bytes) => this.#take(bytes));
    // A terminal that goes away reports an input error; the hang-up signal is what ends the VM.
    this.#input.on("error", () => undefined);
    this.#output.on("error", () => {
      if (this.#open) this.#events.onOutputClosed();
    });
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
    if (this.#open) this.#setRaw(true);
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
    const typed = this.#leaveKey?.feed(bytes) ?? { forward: bytes, leave: false };
    if (typed.forward.length > 0) {
      if (this.#receiver) this.#receiver(typed.forward);
      else this.#early.push(Uint8Array.from(typed.forward));
    }
    if (typed.leave) this.#events.onLeave();
  }

  #setRaw(raw: boolean): void {
    if (!this.#input.isTTY) return;
    try {
      this.#input.setRawMode?.(raw);
    } catch {
      // The terminal is gone already: nothing is left to restore.
    }
  }
}
