import { type ChildProcess, spawn } from "node:child_process";
import { constants as access, accessSync, existsSync } from "node:fs";
import { constants } from "node:os";
import type { Readable } from "node:stream";
import { getSystemErrorName } from "node:util";
import { HostError } from "../base/index.js";
import { reapOrphans, stateOf } from "./processes.js";
import { whyNotStartable } from "./program.js";

/** Signals that end this program: the client gets them too. */
const FORWARDED: readonly NodeJS.Signals[] = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"];
/** Signals that a terminal sends to the client as well: it decides. */
const LEFT_TO_CLIENT: readonly NodeJS.Signals[] = ["SIGINT", "SIGQUIT"];
/** Milliseconds that the client has to stop after SIGTSTP, and between looks. */
const STOP_MS = 500;
const STOP_LOOK_MS = 20;

/** The device that programs without the preload library would reach. */
const DEVICE = "/dev/kvm";

/** How a program is started. */
interface Start {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Path of the starter that covers the real device. */
  readonly launch: string;
  readonly print: (text: string) => void;
}

/** What the starter says (launch/launch.c): pairs of a number and an error. */
const Report = { NOT_COVERED: 2, NOT_STARTED: 3 } as const;

/**
 * Runs a program to its end. Where this user could open the real /dev/kvm, it is covered for the program and all
 * that it starts: a mount namespace of their own in which it is no device.
 * @returns its exit status; 128 and the signal's number when a signal ended it.
 * @throws HostError NO_PROGRAM, PROGRAM_REFUSED.
 */
export function runProgram(start: Start): Promise<number> {
  return new Promise((resolve, reject) => {
    const isCovered = canOpenDevice();
    const child = isCovered ? launch(start) : spawnPlain(start);
    const reap = () => reapOrphans(child.pid);
    process.on("SIGCHLD", reap);
    const stopListening = passSignals(child);
    const ended = () => {
      stopListening();
      process.off("SIGCHLD", reap);
    };
    const fail = (cause: NodeJS.ErrnoException) => {
      ended();
      reject(whyNotStarted(start.program, cause));
    };
    child.once("error", fail);
    const reports = isCovered ? reportsOf(child) : Promise.resolve([]);
    child.once("exit", async (status, signal) => {
      const notStarted = errorIn(await reports, Report.NOT_STARTED);
      if (notStarted !== undefined) {
        fail(Object.assign(new Error("execvp"), { code: getSystemErrorName(-notStarted) }));
        return;
      }
      ended();
      resolve(signal === null ? (status ?? 0) : 128 + constants.signals[signal]);
    });
    reports.then((found) => {
      const error = errorIn(found, Report.NOT_COVERED);
      if (error === undefined) return;
      const why = getSystemErrorName(-error);
      start.print(
        `kvm-xen: ${DEVICE} cannot be covered (${why}): programs without this library would reach the real one\n`,
      );
    });
  });
}

function canOpenDevice(): boolean {
  try {
    accessSync(DEVICE, access.R_OK | access.W_OK);
    return true;
  } catch {
    return false;
  }
}

const spawnPlain = ({ program, args, env }: Start): ChildProcess =>
  spawn(program, [...args], { stdio: "inherit", env });

const launch = ({ launch: starter, program, args, env }: Start): ChildProcess =>
  spawn(starter, [program, ...args], { stdio: ["inherit", "inherit", "inherit", "pipe"], env });

/** All that the starter says, once the program runs or has not been started. */
function reportsOf(child: ChildProcess): Promise<readonly Report[]> {
  // Without any when it could not be started for want of descriptors.
  const stdio: ChildProcess["stdio"] | undefined = child.stdio;
  const pipe = stdio?.[3] as Readable | null | undefined;
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    pipe?.on("data", (part: Buffer) => parts.push(part));
    pipe?.on("error", () => resolve([]));
    pipe?.once("close", () => {
      const bytes = Buffer.concat(parts);
      const reports: Report[] = [];
      for (let at = 0; at + 8 <= bytes.length; at += 8) {
        reports.push({ what: bytes.readInt32LE(at), error: bytes.readInt32LE(at + 4) });
      }
      resolve(reports);
    });
  });
}

interface Report {
  readonly what: number;
  readonly error: number;
}

const errorIn = (reports: readonly Report[], what: number): number | undefined =>
  reports.find((report) => report.what === what)?.error;

function whyNotStarted(program: string, cause: NodeJS.ErrnoException): Error {
  // Not the program's: the command has words for it.
  if (cause.code === "EMFILE") return cause;
  const isMissing = cause.code === "ENOENT";
  if (isMissing && !(program.includes("/") && existsSync(program))) {
    return new HostError("NO_PROGRAM", `${program}: no such program`, { cause });
  }
  const kind = program.includes("/") ? whyNotStartable(program) : undefined;
  const why = isMissing
    ? "its interpreter is missing"
    : (kind ?? `cannot be started (${cause.code})`);
  return new HostError("PROGRAM_REFUSED", `${program}: ${why}`, { cause });
}

function passSignals(child: ChildProcess): () => void {
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  const ignore = () => {};
  for (const signal of FORWARDED) process.on(signal, forward);
  const stopToo = () => void stopWith(child.pid);
  for (const signal of LEFT_TO_CLIENT) process.on(signal, ignore);
  process.on("SIGTSTP", stopToo);
  return () => {
    for (const signal of FORWARDED) process.off(signal, forward);
    for (const signal of LEFT_TO_CLIENT) process.off(signal, ignore);
    process.off("SIGTSTP", stopToo);
  };
}

/** Stops this process if SIGTSTP stopped the client, which may do something else: the shell waits for both. */
async function stopWith(client: number | undefined): Promise<void> {
  for (let waited = 0; client !== undefined && waited < STOP_MS; waited += STOP_LOOK_MS) {
    if (stateOf(client) === "T") {
      process.kill(process.pid, "SIGSTOP");
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, STOP_LOOK_MS));
  }
}
