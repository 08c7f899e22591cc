import { closeSync, openSync, readSync } from "node:fs";

/**
 * How long a thread of another process has waited for a processor while it could run: the second
 * number of its `schedstat` (proc(5)). Read when it is asked for; the file stays open.
 */
export class ThreadTime {
  readonly #fd: number;
  readonly #text = Buffer.alloc(96);
  #last = 0n;
  #open = true;
  /** Nanoseconds so far; once the thread is gone, what was last read. */
  readonly runDelayNs = (): bigint => {
    if (this.#open) this.#last = this.#read() ?? this.#last;
    return this.#last;
  };

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Undefined when the kernel does not keep that account. */
  static of(pid: number, tid: number): ThreadTime | undefined {
    try {
      return new ThreadTime(openSync(`/proc/${pid}/task/${tid}/schedstat`, "r"));
    } catch {
      return undefined;
    }
  }

  /** {@link runDelayNs} stays what it is. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
  }

  #read(): bigint | undefined {
    try {
      const length = readSync(this.#fd, this.#text, 0, this.#text.length, 0);
      const second = this.#text.toString("latin1", 0, length).split(" ")[1];
      return second === undefined ? undefined : BigInt(second);
    } catch {
      return undefined;
    }
  }
}
