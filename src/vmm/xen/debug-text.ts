import type { Log } from "../../ports/index.js";

/**
 * Longest line that is kept; longer ones are broken.
 * @limit guest | line of debug text (console_io, port 0xe9) | characters | it is broken into several
 */
const MAX_LINE = 1024;

/** Collects bytes that a guest writes for debugging into lines of the log. */
export class DebugText {
  readonly #log: Log;
  readonly #source: string;
  #line = "";

  /** `source` names where the text comes from, at the start of each line. */
  constructor(log: Log, source: string) {
    this.#log = log;
    this.#source = source;
  }

  /** Takes bytes; complete lines are logged. What is not printable ASCII becomes "?". */
  write(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte === 0x0a || this.#line.length >= MAX_LINE) this.#flush();
      if (byte !== 0x0a && byte !== 0x0d) {
        this.#line += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "?";
      }
    }
  }

  /** What there is of a line that is not complete. */
  get line(): string {
    return this.#line;
  }
  set line(text: string) {
    this.#line = text.slice(0, MAX_LINE);
  }

  /** Logs what there is of a line that is not complete. */
  end(): void {
    if (this.#line !== "") this.#flush();
  }

  #flush(): void {
    this.#log.debug(`${this.#source}: ${this.#line}`);
    this.#line = "";
  }
}
