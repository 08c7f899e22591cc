import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const built = join(root, "build/exec-tests");

/** The command. */
export const main = join(root, "dist/cli/main.js");

/** A file of this folder. */
export const here = (path: string) => join(root, "tests/exec", path);

/** Compiles a program of programs/ and returns its path. */
export function compile(name: string): string {
  return compileFile(here(`programs/${name}.c`), name);
}

/** Compiles a program and returns its path. */
export function compileFile(source: string, name: string, more: readonly string[] = []): string {
  mkdirSync(built, { recursive: true });
  const target = join(built, name);
  const flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result", "-pthread", ...more];
  const result = spawnSync("gcc", [...flags, "-o", target, source], { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`gcc ${name}: ${result.stderr}`);
  return target;
}

/** How a command ended. */
export interface Ended {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves when the output contains a text. */
  said(text: string): Promise<void>;
}

/** Starts `kvm-xen exec` with these words. */
export const start = (...words: readonly string[]): Running => startCommand("exec", ...words);

/** Starts a command of `kvm-xen`. */
export function startCommand(...words: readonly string[]): Running {
  const child = spawn(process.execPath, [main, ...words], { stdio: "pipe" });
  let stdout = "";
  let stderr = "";
  const waiting: { text: string; resolve: () => void }[] = [];
  child.stdout.on("data", (bytes: Buffer) => {
    stdout += bytes.toString();
    for (const one of waiting) if (stdout.includes(one.text)) one.resolve();
  });
  child.stderr.on("data", (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  const ended = new Promise<Ended>((resolve) => {
    child.once("close", (status, signal) => resolve({ status, signal, stdout, stderr }));
  });
  const said = (text: string) =>
    new Promise<void>((resolve) => {
      if (stdout.includes(text)) resolve();
      else waiting.push({ text, resolve });
    });
  return { child, ended, said };
}

/** Runs `kvm-xen exec` to its end. */
export const exec = (...words: readonly string[]): Promise<Ended> => start(...words).ended;

/** Names of the server's sockets that exist on this machine. */
export function sockets(): string[] {
  const text = readFileSync("/proc/net/unix", "latin1");
  return [...new Set(text.match(/@kvm-xen-exec-\S+/g) ?? [])];
}

/** Processes whose command line contains a text. */
export function processes(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "latin1");
        return line.includes(text);
      } catch {
        return false;
      }
    });
}

/** Waits until a condition holds, 10 s at most. */
export async function until(condition: () => boolean): Promise<boolean> {
  for (let i = 0; i < 200; i++) {
    if (condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return condition();
}
