import { closeSync, constants, ftruncateSync, openSync, writeSync } from "node:fs";
import { HostError } from "../../base/index.js";

/** The standard error output. */
const STDERR = 2;

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "your disk quota is used up",
  EFBIG: "it would be larger than 'ulimit -f' allows",
  EPIPE: "nobody reads it",
};

/**
 * Opens the file of a trace. What is in it stays until {@link TraceFile.begin}: what is to be traced may still be refused.
 * @param path undefined for the standard error output.
 * @throws HostError TRACE_FILE.
 */
export function openTraceFile(path: string | undefined): number {
  if (path === undefined) return STDERR;
  try {
    return openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o666);
  } catch (cause) {
    const { code = "" } = cause as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "there is no such folder" : code;
    throw new HostError("TRACE_FILE", `${path}: the trace cannot be written there: ${why}`, {
      cause,
    });
  }
}

/** Where the lines of a trace go. What cannot be written ends the trace, but not what is traced. */
export class TraceFile {
  readonly #fd: number;
  readonly #name: string;
  readonly #say: (line: string) => void;
  /** Bytes of whole lines. */
  #bytes = 0;
  #works = true;

  /** `say` hears, once, that nothing more can be written. */
  constructor(fd: number, path: string | undefined, say: (line: string) => void) {
    this.#fd = fd;
    this.#name = path ?? "the standard error output";
    this.#say = say;
  }

  /** What is traced begins: nothing of an earlier trace stays. */
  begin(): void {
    this.#cut();
  }

  /** Writes whole lines. */
  write(text: string): void {
    if (!this.#works) return;
    const bytes = Buffer.from(text);
    let done = 0;
    try {
      while (done < bytes.length) done += this.#writeSome(bytes.subarray(done));
      this.#bytes += done;
    } catch (error) {
      this.#works = false;
      this.#bytes += bytes.subarray(0, done).lastIndexOf("\n") + 1;
      this.#cut();
      const { code = "" } = error as NodeJS.ErrnoException;
      this.#say(`${this.#name}: ${REASONS[code] ?? code}: the trace ends here, the rest goes on`);
    }
  }

  /** Closes the file. */
  close(): void {
    if (this.#fd !== STDERR) closeSync(this.#fd);
  }

  /** A pipe may be full for a while. */
  #writeSome(bytes: Uint8Array): number {
    for (;;) {
      try {
        return writeSync(this.#fd, bytes);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  }

  /** Only whole lines stay. */
  #cut(): void {
    if (this.#fd === STDERR) return;
    try {
      ftruncateSync(this.#fd, this.#bytes);
    } catch {
      // A pipe or a device keeps what it has.
    }
  }
}
