import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { Qmp } from "./qmp.js";

/** The command `kvm-xen`. */
export const main = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));

/** How a program under exec ended. */
export interface Ended {
  readonly status: number | null;
  /** The guest's console. */
  readonly console: string;
  readonly stderr: string;
  /** Calls of KVM_RUN that exec's server counted. */
  readonly runs: number;
}

/** A program whose standard output is a guest's console. */
export class Program {
  readonly ended: Promise<Ended>;
  readonly child: ChildProcess;
  #console = "";
  #stderr = "";
  readonly #waiting: { text: string | RegExp; from: number; resolve: () => void }[] = [];

  constructor(program: string, args: readonly string[], how: SpawnOptions = {}) {
    this.child = spawn(program, args, { ...how, stdio: "pipe" });
    const { child } = this;
    // One that a failed test leaves behind would be in the way of all others.
    onTestFinished(({ task }) => {
      if (task.result?.state === "fail") console.log(tail(this.#console));
      return this.stop();
    });
    child.stdout?.setEncoding("latin1").on("data", (text: string) => {
      this.#console += text.replaceAll("\r", "");
      this.#look();
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
    this.ended = new Promise((resolve) => {
      child.once("close", (status) => {
        const found = /^KVM_RUN +(\d+)/m.exec(this.#stderr)?.[1];
        resolve({ status, console: this.#console, stderr: this.#stderr, runs: Number(found ?? 0) });
        for (const one of this.#waiting.splice(0)) one.resolve();
      });
    });
  }

  /** What the guest's console has shown. */
  get console(): string {
    return this.#console;
  }

  /** What the monitor has said itself. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Waits until the console shows a text, from a place of the console on. @throws Error when the program ends before. */
  async shows(text: string | RegExp, from = 0): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#waiting.push({ text, from, resolve });
      this.#look();
      void this.ended.then(() => resolve());
    });
    if (!matches(this.#console.slice(from), text)) {
      throw new Error(
        `the guest ended without showing ${text}:\n${tail(this.#console)}${this.#stderr}`,
      );
    }
  }

  /** Types on the console. */
  type(text: string): void {
    this.child.stdin?.write(text);
  }

  /** Ends the program if it still runs. */
  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill("SIGTERM");
    await this.ended;
  }

  #look(): void {
    for (const one of [...this.#waiting]) {
      if (!matches(this.#console.slice(one.from), one.text)) continue;
      this.#waiting.splice(this.#waiting.indexOf(one), 1);
      one.resolve();
    }
  }
}

/** A virtual machine monitor that runs under `kvm-xen exec`. */
export class Monitor extends Program {
  constructor(words: readonly string[], options: readonly string[] = []) {
    super(process.execPath, [main, "exec", "--stats", ...options, "--", ...words]);
  }
}

const matches = (text: string, wanted: string | RegExp): boolean =>
  typeof wanted === "string" ? text.includes(wanted) : wanted.test(text);

const tail = (text: string): string => text.split("\n").slice(-40).join("\n");

/** Lines "E NAME VALUE" of a console, by name; what failed under `failed`. */
export function said(console: string): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [, name = "", value = ""] of console.matchAll(/^E (\S+) ?(.*)$/gm)) {
    found[name] = value.trim();
  }
  return found;
}

/** How many machine protocol sockets there have been. */
let sockets = 0;

/** QEMU with a machine protocol socket in a folder. */
export async function withQmp(
  folder: string,
  words: readonly string[],
  options: readonly string[] = [],
): Promise<{ monitor: Monitor; qmp: Qmp }> {
  const path = join(folder, `qmp-${sockets++}`);
  const monitor = new Monitor([...words, "-qmp", `unix:${path},server=on,wait=off`], options);
  const qmp = await Promise.race([
    Qmp.connect(path),
    monitor.ended.then(({ stderr }) => Promise.reject(new Error(`QEMU ended: ${stderr}`))),
  ]);
  return { monitor, qmp };
}
