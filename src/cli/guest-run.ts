import type { ConsoleInput, ConsoleOutput } from "../hosts/node/console.js";
import { StandardConsole } from "../hosts/node/console.js";
import { type LogOutput, StandardErrorLog } from "../hosts/node/log.js";
import type { SignalHandlers } from "../hosts/node/signals.js";
import type { ByteStream, Log } from "../ports/index.js";
import type { MachineConfig, MachineEnd } from "../vmm/machine/index.js";
import { ExitStatus } from "./exit-status.js";
import { hostTrouble } from "./host-trouble.js";

/** Which clock the guest sees. */
export type ClockChoice = "real" | "virtual";

/**
 * Whether the engine keeps decoded code, or decodes each instruction every time it is executed: the
 * slow reference, which gives the same run.
 */
export type DecodeChoice = "cached" | "each";

/** A guest to run, and how. */
export interface GuestRequest {
  readonly config: MachineConfig;
  readonly clock: ClockChoice;
  readonly decode?: DecodeChoice;
  /** Seconds of real time after which the guest is stopped. */
  readonly timeoutSeconds?: number;
  /** Print what it took when the guest has ended. */
  readonly stats: boolean;
  /** Print details about the running machine. */
  readonly verbose: boolean;
}

/** As much of a machine as running it needs. */
export interface RunnableMachine {
  run(): Promise<MachineEnd>;
  stop(kind?: "timeout" | "stopped"): unknown;
  /** Tells the guest the size of the terminal, in characters. */
  setConsoleSize?(rows: number, columns: number): void;
  /** Instructions that all CPUs have executed. */
  readonly instructions: number;
}

/** This process and its surroundings; tests give their own. */
export interface Surroundings {
  readonly input: ConsoleInput;
  readonly output: ConsoleOutput;
  readonly error: LogOutput;
  createMachine(
    request: GuestRequest,
    streams: { console: ByteStream; log: Log },
  ): Promise<RunnableMachine>;
  listenForSignals(handlers: SignalHandlers): () => void;
  /** Makes the terminal, in raw mode, show what it gets as it is. */
  passOutput?(): void;
  /** Leaves the process at once; what it has registered for its exit still runs. */
  exit(status: number): void;
  /** Calls back when the process exits, on whatever way. */
  onExit(callback: () => void): void;
}

interface Stop {
  readonly status: number;
  readonly message?: string;
}

/** Milliseconds for which the output's reader is waited for when the guest was stopped. */
const FLUSH_MS = 300;

/**
 * Runs a guest on this process's terminal until it ends, is left, times out, or a signal comes.
 * @returns the exit status.
 * @throws HostError when the machine cannot be made of what was asked for.
 */
export async function runGuest(request: GuestRequest, around: Surroundings): Promise<number> {
  const log = new StandardErrorLog(around.error, request.verbose);
  let stopped: Stop | undefined;
  let machine: RunnableMachine | undefined;
  let noteStop: () => void = () => undefined;
  const hasStopped = new Promise<void>((resolve) => {
    noteStop = resolve;
  });
  const stop = (reason: Stop) => {
    stopped ??= reason;
    machine?.stop();
    noteStop();
  };
  const events = {
    onLeave: () => stop({ status: ExitStatus.OK }),
    onOutputClosed: (why: Error) => {
      const message = hostTrouble(why)?.message ?? "nobody reads the output";
      stop({ status: ExitStatus.FAILED, message });
    },
    onResize: (rows: number, columns: number) => machine?.setConsoleSize?.(rows, columns),
  };
  const passOutput = () => around.passOutput?.();
  const console = new StandardConsole(around.input, around.output, events, passOutput);
  machine = await around.createMachine(request, { console, log });
  if (console.hasLeaveKey) log.warn("Ctrl-] then q leaves");

  around.onExit(() => console.close());
  const stopListening = around.listenForSignals({
    onTerminate: (signal, status) => stop({ status, message: `stopped by ${signal}` }),
    onImpatient: (status) => around.exit(status),
    onContinue: () => console.reclaim(),
  });
  const timer = startTimeout(request.timeoutSeconds, stop);
  const started = performance.now();
  console.open();
  try {
    let end: MachineEnd;
    try {
      end = await machine.run();
    } finally {
      console.close();
    }
    if (request.stats) log.warn(statistics(machine.instructions, performance.now() - started));
    const status = report(end, stopped, log);
    // A slow reader gets all of it; one that does not read at all keeps nobody who was told to stop.
    const pause = hasStopped.then(
      () => new Promise<false>((done) => setTimeout(done, FLUSH_MS, false)),
    );
    const flushed = console.flushed().then(() => true);
    if (!(await Promise.race([flushed, pause]))) around.exit(status);
    return status;
  } finally {
    clearTimeout(timer);
    stopListening();
  }
}

function startTimeout(seconds: number | undefined, stop: (reason: Stop) => void) {
  if (seconds === undefined) return undefined;
  const message = `stopped: the ${seconds} s of --timeout are over`;
  return setTimeout(() => stop({ status: ExitStatus.TIMEOUT, message }), seconds * 1000);
}

function report(end: MachineEnd, stopped: Stop | undefined, log: Log): number {
  switch (end.kind) {
    case "poweroff":
      return ExitStatus.OK;
    case "crash":
      log.warn(`the guest crashed: ${end.reason}`);
      return ExitStatus.FAILED;
    case "timeout":
    case "stopped":
      if (stopped?.message !== undefined) log.warn(stopped.message);
      return stopped?.status ?? ExitStatus.FAILED;
  }
}

function statistics(instructions: number, milliseconds: number): string {
  const seconds = (milliseconds / 1000).toFixed(2);
  const speed = (instructions / milliseconds / 1000).toFixed(0);
  return `${instructions} instructions in ${seconds} s, ${speed} MIPS`;
}
