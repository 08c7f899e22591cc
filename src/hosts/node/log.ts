import type { Log } from "../../ports/index.js";

/** Where messages go: `process.stderr`, or a stand-in. */
export interface LogOutput {
  readonly isTTY?: boolean;
  /** Bytes that were written and not taken by the reader yet. */
  readonly writableLength?: number;
  write(text: string | Uint8Array): unknown;
}

/** @limit reader | messages on the standard error output that nobody reads | bytes | they are lost, and counted */
const MAX_UNREAD = 1 << 18;

/**
 * Messages as lines on the standard error output, each after the program's name.
 * @param verbose whether details are shown too.
 */
export class StandardErrorLog implements Log {
  readonly #output: LogOutput;
  readonly #verbose: boolean;
  #lost = 0;

  constructor(output: LogOutput, verbose: boolean) {
    this.#output = output;
    this.#verbose = verbose;
  }

  warn(message: string): void {
    if ((this.#output.writableLength ?? 0) > MAX_UNREAD) {
      this.#lost++;
      return;
    }
    if (this.#lost > 0) this.#write(`${this.#lost} messages that nobody read are lost`);
    this.#lost = 0;
    this.#write(message);
  }

  #write(message: string): void {
    // A terminal may be in raw mode, where a line feed alone does not return to the first column.
    const end = this.#output.isTTY ? "\r\n" : "\n";
    this.#output.write(`kvm-xen: ${message}${end}`);
  }

  get showsDetails(): boolean {
    return this.#verbose;
  }

  debug(message: string): void {
    if (this.#verbose) this.warn(message);
  }
}
