import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { HostError } from "../../base/index.js";

/** How to run a program. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** An open file that takes its standard output, of which nothing is returned then. */
  readonly output?: number;
  /** Is given the lines of its standard error output as they come. */
  readonly onErrorLine?: (line: string) => void;
  /** Ends it by SIGTERM. */
  readonly signal?: AbortSignal;
}

/** Whether programs can be started by their names. */
export function areInstalled(names: readonly string[], path = process.env["PATH"] ?? ""): boolean {
  const folders = path.split(":");
  return names.every((name) => folders.some((folder) => existsSync(join(folder, name))));
}

/** Runs a program to its end and returns what it wrote to its standard output. */
export type RunProgram = (
  program: string,
  args: readonly string[],
  options?: RunOptions,
) => Promise<string>;

/**
 * {@link RunProgram} on this machine, with no standard input and the messages in English.
 * @throws HostError `PROGRAM_MISSING` when there is no such program; `PROGRAM_FAILED` with its first
 * error (`E: ...`) or last line of complaint when it fails.
 */
export const runProgram: RunProgram = (program, args, options = {}) =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...process.env, LC_ALL: "C.UTF-8", ...options.env },
      stdio: ["ignore", options.output ?? "pipe", "pipe"],
      signal: options.signal,
    });
    let output = "";
    let complaint = "";
    let line = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      complaint = (complaint + text).slice(-4000);
      const lines = (line + text).split("\n");
      line = (lines.pop() ?? "").slice(-4000);
      for (const whole of lines) options.onErrorLine?.(whole);
    });
    child.on("error", (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === "ENOENT";
      const code = missing ? "PROGRAM_MISSING" : "PROGRAM_FAILED";
      const message = missing ? `${program} is not installed` : `${program}: ${cause.message}`;
      reject(new HostError(code, message, { cause }));
    });
    child.on("close", (status, signal) => {
      if (status === 0) return resolve(output);
      const lines = complaint.split("\n").filter((line) => line.trim() !== "");
      // apt ends with what it makes of its errors; the first one says what went wrong.
      const first = lines.find((line) => line.startsWith("E: "));
      const reason =
        first ?? lines.at(-1) ?? (signal ? `ended by ${signal}` : `exit status ${status}`);
      reject(new HostError("PROGRAM_FAILED", `${program}: ${reason.trim()}`));
    });
  });
