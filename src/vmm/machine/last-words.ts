import type { Log } from "../../ports/index.js";

/**
 * Characters of debugging text that are kept.
 * @limit guest | text of console_io, port 0xe9 and an hvc0 that is not the console, kept for a guest whose console
 *   stays silent | characters | the oldest is forgotten
 */
const MAX_KEPT = 1 << 16;

/**
 * What a guest writes for debugging, before its console is up or beside it. It is detail for the log; what came last
 * is kept, since of a guest that dies early nothing else is to be seen.
 */
export class LastWords implements Log {
  readonly #log: Log;
  #lines: string[] = [];
  #size = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  warn(message: string): void {
    this.#log.warn(message);
  }

  /** What is kept. */
  get lines(): readonly string[] {
    return this.#lines;
  }
  set lines(lines: readonly string[]) {
    this.#lines = [];
    this.#size = 0;
    for (const line of lines) this.#keep(line);
  }

  debug(message: string): void {
    this.#log.debug(message);
    this.#keep(message);
  }

  #keep(message: string): void {
    this.#lines.push(message);
    this.#size += message.length + 1;
    while (this.#size > MAX_KEPT) this.#size -= (this.#lines.shift() as string).length + 1;
  }

  /** Shows them, once, unless they were shown as details. */
  tell(): void {
    const lines = this.#lines;
    this.#lines = [];
    this.#size = 0;
    if (lines.length === 0 || this.#log.showsDetails) return;
    this.#log.warn("the guest wrote nothing to its console; for debugging it wrote:");
    for (const line of lines) this.#log.warn(line);
  }
}
