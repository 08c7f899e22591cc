import type { Progress } from "./debian-guest.js";

/** Where progress is shown: `process.stderr`, or a stand-in. */
export interface ProgressOutput {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

const BAR = 24;
const ERASE_LINE = "\r\x1b[K";

/** Shows progress on one line of a terminal that is erased at the end; silent elsewhere. */
export class ProgressLine implements Progress {
  readonly #output: ProgressOutput;
  #text = "";

  constructor(output: ProgressOutput) {
    this.#output = output;
  }

  step(text: string): void {
    this.#text = text;
    this.#show(`${text} ...`);
  }

  fraction(done: number): void {
    const full = Math.round(BAR * done);
    const bar = "#".repeat(full).padEnd(BAR, ".");
    this.#show(`${this.#text} [${bar}] ${Math.round(done * 100)} %`);
  }

  end(): void {
    if (this.#output.isTTY) this.#output.write(ERASE_LINE);
  }

  #show(line: string): void {
    if (this.#output.isTTY) this.#output.write(`${ERASE_LINE}kvm-xen: ${line}`);
  }
}
