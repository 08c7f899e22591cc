import type { DecodePath } from "../engine/bridge/index.js";
import type { GdbMachine } from "../gdb/index.js";
import type { ConsoleEvents, ConsoleInput, ConsoleOutput } from "../hosts/node/console.js";
import { StandardConsole } from "../hosts/node/console.js";
import type { ClockChoice, NetOption, PortOption } from "../hosts/node/index.js";
import { type LogOutput, StandardErrorLog } from "../hosts/node/log.js";
import type { SignalHandlers } from "../hosts/node/signals.js";
import { type ConsoleCommand, ESCAPE_KEY_HELP } from "../hosts/shared/escape-key.js";
import type { ByteStream, Log } from "../ports/index.js";
import type { MachineConfig, MachineEnd, SavedMachine, Snapshot } from "../vmm/machine/index.js";
import { Attachments, type Watchers } from "./attachments.js";
import type { OpenDisk } from "./disk-option.js";
import { ExitStatus } from "./exit-status.js";
import { hostTrouble } from "./host-trouble.js";
import type { InspectRequest } from "./inspect/inspect-server.js";
import { type SavableMachine, saveAndEnd } from "./saving.js";
import type { TracePlan } from "./trace/trace-option.js";

/** A guest to run, and how. */
export interface GuestRequest {
  readonly config: MachineConfig;
  readonly clock: ClockChoice;
  readonly decode?: DecodePath;
  /** Print what it took when the guest has ended. */
  readonly stats: boolean;
  /** Open disks; the machine closes them. */
  readonly disks?: readonly OpenDisk[];
  /** It goes on from there: the rest of `config` counts for nothing but `bootAgain`. */
  readonly saved?: SavedMachine;
  /** What is run when `saved` cannot be used after all. */
  readonly otherwise?: () => Promise<GuestRequest>;
  /** The guest says when it is at its prompt, and waits for a word (guest/debian/suspend-point.S). */
  readonly atPrompt?: AtPrompt;
  /** Network cards; their networks are opened with the machine. */
  readonly cards?: readonly NetOption[];
  /** Consoles beside hvc0; they are opened with the machine. */
  readonly ports?: readonly PortOption[];
}

/** What is done when a guest is at its prompt for the first time. */
export interface AtPrompt {
  /** Keeps a snapshot that was made there; undefined: none is made. */
  readonly keep: ((snapshot: Snapshot) => Promise<void>) | undefined;
}

/** As much of a machine as running it needs. */
export interface RunnableMachine extends SavableMachine {
  run(): Promise<MachineEnd>;
  stop(kind?: "timeout" | "stopped"): unknown;
  /** Tells the guest the size of the terminal, in characters. */
  setConsoleSize?(rows: number, columns: number): void;
  /** What a person at the console can do to it. */
  /** Gives its vCPUs to a debugger. */
  debug?: GdbMachine["debug"];
  readonly state?: "running" | "paused" | "suspended" | "ended";
  pause?(): void;
  resume?(): void;
  reset?(): void;
  /** Instructions that all CPUs have executed. */
  readonly instructions: number;
  /** What the engine did beside plain execution, by name. */
  readonly engineCounters: Readonly<Record<string, number>>;
}

/** This process and its surroundings; tests give their own. */
export interface Surroundings {
  readonly input: ConsoleInput;
  readonly output: ConsoleOutput;
  readonly error: LogOutput;
  createMachine(
    request: GuestRequest,
    streams: { readonly console: ByteStream; readonly log: Log } & Watchers,
  ): Promise<RunnableMachine>;
  listenForSignals(handlers: SignalHandlers): () => void;
  /** Makes the terminal, in raw mode, show what it gets as it is. */
  passOutput?(): void;
  /** Milliseconds since the process was started. */
  sinceStartMs(): number;
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

/** What the command says about a run before its files are read. */
export interface RunLimits {
  /** Seconds of real time, from the start of the process, after which all ends. */
  readonly timeoutSeconds?: number;
  /** Print details about the running machine. */
  readonly verbose: boolean;

  /** Path of the control socket. */
  readonly control?: string;
  /** An inspector is served. */
  readonly inspect?: InspectRequest;
  /** The port on which gdb is waited for; 0 takes a free one. */
  readonly gdb?: number;
  /** Where a snapshot is put, and when without being asked to: seconds of real time after the start. */
  readonly save?: string;
  readonly saveAfterSeconds?: number;
  /** It is an exact one, and those seconds are of the virtual clock. */
  readonly saveExact?: boolean;
  /** What happens is written down. */
  readonly trace?: TracePlan;
}

/** Ends what is under way from outside: files that are read, a machine that is built, a guest. */
export class Ending {
  /** Why, once there is a reason: the first one. */
  reason: Stop | undefined;
  /** What runs and has to be told. */
  machine: RunnableMachine | undefined;
  #tell: (_: undefined) => void = () => undefined;
  /** Resolves when there is one. */
  readonly told = new Promise<undefined>((resolve) => {
    this.#tell = resolve;
  });

  #fail: (defect: unknown) => void = () => undefined;
  /** Rejects with a defect of what goes on beside the machine. */
  readonly failed = new Promise<never>((_, reject) => {
    this.#fail = reject;
  });

  fail(defect: unknown): void {
    this.#fail(defect);
  }

  stop(reason: Stop): void {
    if (this.reason !== undefined) return;
    this.reason = reason;
    this.machine?.stop();
    this.#tell(undefined);
  }

  /** The result of a preparation; undefined when the end comes first. */
  async unlessEnded<T>(preparation: Promise<T>): Promise<T | undefined> {
    preparation.catch(() => undefined);
    const result = await Promise.race([preparation, this.told]);
    return this.reason === undefined ? result : undefined;
  }
}

/**
 * Prepares a guest and runs it on this process's terminal until it ends, is left, times out, or a signal
 * comes. The preparation is given up then as well.
 * @returns the exit status.
 * @throws HostError when the machine cannot be made of what was asked for.
 */
export async function runGuest(
  preparation: Promise<GuestRequest>,
  limits: RunLimits,
  around: Surroundings,
): Promise<number> {
  const log = new StandardErrorLog(around.error, limits.verbose);
  const ending = new Ending();
  const save = (): void => saveNow(ending, limits, log);
  const events = {
    onCommand: (command: ConsoleCommand) => {
      if (command === "leave") ending.stop({ status: ExitStatus.OK });
      else if (command === "save") save();
      else obey(command, ending.machine, log);
    },
    onOutputClosed: (why: Error) => {
      const message = hostTrouble(why)?.message ?? "nobody reads the output";
      ending.stop({ status: ExitStatus.FAILED, message });
    },
    onResize: (rows: number, columns: number) => ending.machine?.setConsoleSize?.(rows, columns),
  };
  const console = consoleOf(around, events);
  const stopListening = around.listenForSignals({
    onTerminate: (signal, status) => ending.stop({ status, message: `stopped by ${signal}` }),
    onImpatient: (status) => around.exit(status),
    onContinue: () => console.reclaim(),
  });
  const timer = startTimeout(limits.timeoutSeconds, around.sinceStartMs(), ending);
  const attached = new Attachments(limits, log);
  let saving: NodeJS.Timeout | undefined;
  try {
    const request = await ending.unlessEnded(preparation);
    const machine =
      request &&
      (await ending.unlessEnded(
        around.createMachine(request, { console, log, ...attached.watchers() }),
      ));
    if (request === undefined || machine === undefined) {
      return report({ kind: "stopped" }, ending.reason, log);
    }
    await attached.open(machine);
    if (console.hasEscapeKey) log.warn("Ctrl-] then q leaves, ? helps");
    around.onExit(() => console.close());
    ending.machine = machine;
    console.open();
    saving = startSaving(ending, limits, log);
    const end = await Promise.race([machine.run(), ending.failed]);
    console.close();
    if (request.stats) attached.tellStatistics(machine);
    const status = report(end, ending.reason, log);
    // A slow reader gets all of it; one that does not read at all keeps nobody who was told to stop.
    if (!(await flushedOrTold(console, ending))) around.exit(status);
    return status;
  } finally {
    console.close();
    clearTimeout(timer);
    clearTimeout(saving);
    stopListening();
    await attached.close();
  }
}

/** Does to a machine what a person at its console wants. */
function obey(
  command: Exclude<ConsoleCommand, "leave" | "save">,
  machine: RunnableMachine | undefined,
  log: Log,
): void {
  if (command === "help") {
    log.warn(ESCAPE_KEY_HELP);
  } else if (machine?.state === "ended") {
    return;
  } else if (command === "reset") {
    log.warn("the guest is reset");
    machine?.reset?.();
  } else if (machine?.state === "paused") {
    log.warn("the guest goes on");
    machine.resume?.();
  } else {
    log.warn("the guest is paused: Ctrl-] then p lets it go on");
    machine?.pause?.();
  }
}

/** Ends what is under way when the seconds of --timeout are over. */
export function startTimeout(seconds: number | undefined, elapsedMs: number, ending: Ending) {
  if (seconds === undefined) return undefined;
  const message = `stopped: the ${seconds} s of --timeout are over`;
  const left = Math.max(0, seconds * 1000 - elapsedMs);
  return setTimeout(() => ending.stop({ status: ExitStatus.TIMEOUT, message }), left);
}

function consoleOf(around: Surroundings, events: ConsoleEvents): StandardConsole {
  return new StandardConsole(around.input, around.output, events, () => around.passOutput?.());
}

/** Whether all output has been taken, before a moment after the end was asked for. */
function flushedOrTold(console: StandardConsole, ending: Ending): Promise<boolean> {
  const flushed = console.flushed().then(() => true);
  const pause = ending.told.then(
    () => new Promise<false>((done) => setTimeout(done, FLUSH_MS, false)),
  );
  return Promise.race([flushed, pause]);
}

/** Saves the machine that runs, and ends it, if it is known where to. */
function saveNow(ending: Ending, { save: path, saveExact = false }: RunLimits, log: Log, atNs = 0) {
  const { machine } = ending;
  if (machine === undefined || machine.state === "ended") return;
  const options = saveExact ? { exact: true, atNs, pauses: true } : {};
  if (path === undefined) log.warn("start it with --save FILE: then it can be saved");
  else saveAndEnd(machine, path, log, options).catch((defect: unknown) => ending.fail(defect));
}

/** What --save-after asks for; an exact one is asked for before the machine runs. */
function startSaving(ending: Ending, limits: RunLimits, log: Log): NodeJS.Timeout | undefined {
  const { saveAfterSeconds: seconds, saveExact } = limits;
  if (seconds === undefined) return undefined;
  if (!saveExact) return setTimeout(() => saveNow(ending, limits, log), seconds * 1000);
  saveNow(ending, limits, log, seconds * 1e9);
  return undefined;
}

/** Says how a machine has ended, where that has to be said. @returns the exit status. */
export function report(end: MachineEnd, stopped: Stop | undefined, log: Log): number {
  switch (end.kind) {
    case "poweroff":
      return ExitStatus.OK;
    case "crash":
      log.warn(`the guest crashed: ${end.reason}`);
      return ExitStatus.FAILED;
    case "timeout":
    case "stopped":
      if (stopped?.message !== undefined) log.warn(stopped.message);
      // Without a reason of this process, whoever controls the machine has stopped it.
      return stopped?.status ?? ExitStatus.OK;
  }
}
