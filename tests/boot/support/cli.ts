import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";

const main = new URL("../../../dist/cli/main.js", import.meta.url).pathname;

/** A line of a guest's console and when it came. */
export interface TimedLine {
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** How the command ended. */
export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly lines: readonly TimedLine[];
}

/** The real command, running, with its console in the test's hand. */
export class Cli {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: TimedLine[] = [];
  readonly #ended: Promise<Ended>;
  #stdout = "";
  #stderr = "";
  #watchers: (() => void)[] = [];

  /** Starts `kvm-xen` with these arguments; `wrapper` is a program that runs it, such as `script`. */
  constructor(args: readonly string[], wrapper?: (command: string[]) => string[]) {
    const command = [process.execPath, main, ...args];
    const [program, ...rest] = wrapper ? wrapper(command) : command;
    this.#child = spawn(program ?? "", rest, { stdio: "pipe" });
    this.#child.stdin.on("error", () => undefined);
    let partial = "";
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout += text;
      const pieces = (partial + text).split("\n");
      partial = pieces.pop() ?? "";
      const at = Date.now();
      for (const piece of pieces) this.#lines.push({ text: piece.replace(/\r$/, ""), at });
      for (const watcher of this.#watchers) watcher();
    });
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
      for (const watcher of this.#watchers) watcher();
    });
    this.#ended = new Promise((resolve) => {
      this.#child.on("close", (status) => {
        const [stdout, stderr, lines] = [this.#stdout, this.#stderr, this.#lines];
        resolve({ status, stdout, stderr, lines });
        for (const watcher of this.#watchers) watcher();
      });
    });
  }

  /** All of the standard output so far. */
  get output(): string {
    return this.#stdout;
  }

  /** Types at the guest's console. */
  type(text: string): void {
    this.#child.stdin.write(text);
  }

  /** Ends the standard input. */
  endInput(): void {
    this.#child.stdin.end();
  }

  /** Sends a signal to the command. */
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /**
   * Waits until the output so far, from `after` characters on, matches; gives the length up to the
   * end of the match. Throws when the command ends without it.
   */
  async waitFor(pattern: RegExp, after = 0): Promise<number> {
    const match = await this.#match(pattern, () => this.#stdout.slice(after));
    return after + match.index + match[0].length;
  }

  /** Waits until the standard error output matches; gives the first group. */
  async waitForError(pattern: RegExp): Promise<string> {
    return (await this.#match(pattern, () => this.#stderr))[1] ?? "";
  }

  async #match(pattern: RegExp, text: () => string): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(text());
      if (match) return match;
      if (this.#child.exitCode !== null) {
        throw new Error(`ended without ${pattern}:\n${this.#stdout}\n${this.#stderr}`);
      }
      await new Promise<void>((resolve) => {
        const watcher = () => {
          this.#watchers = this.#watchers.filter((other) => other !== watcher);
          resolve();
        };
        this.#watchers.push(watcher);
      });
    }
  }

  /** Waits for the end. */
  ended(): Promise<Ended> {
    return this.#ended;
  }
}

/** Runs the command to its end, without input. */
export function runCli(
  args: readonly string[],
  wrapper?: (command: string[]) => string[],
): Promise<Ended> {
  const cli = new Cli(args, wrapper);
  cli.endInput();
  return cli.ended();
}
