import type { Log } from "../../ports/index.js";

/** Where messages go: `process.stderr`, or a stand-in. */
export interface LogOutput {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/**
 * Messages as lines on the standard error output, each after the program's name.
 * @param verbose whether details are shown too.
 */
export class StandardErrorLog implements Log {
  readonly #output: LogOutput;
  readonly #verbose: boolean;

  constructor(output: LogOutput, verbose: boolean) {
    this.#output = output;
    this.#verbose = verbose;
  }

  warn(message: string): void {
    // A terminal may be in raw mode, where a line feed alone does not return to the first column.
    const end = this.#output.isTTY ? "\r\n" : "\n";
    this.#output.write(`kvm-xen: ${message}${end}`);
  }

  debug(message: string): void {
    if (this.#verbose) this.warn(message);
  }
}
