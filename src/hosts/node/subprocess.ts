import { spawn } from "node:child_process";
import { HostError } from "../../base/index.js";

/** How to run a program. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
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
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let complaint = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaint = (complaint + text).slice(-4000);
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
