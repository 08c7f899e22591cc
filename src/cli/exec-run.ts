/** `--exec CMD`: a machine that is there for one command in its guest. */
import type { ExecOptions, ExecResult } from "../hosts/node/index.js";
import { StandardErrorLog } from "../hosts/node/log.js";
import type { ByteStream } from "../ports/index.js";
import type { MachineEnd } from "../vmm/machine/index.js";
import { Attachments } from "./attachments.js";
import { describeFailure, ExitStatus } from "./exit-status.js";
import {
  Ending,
  type GuestRequest,
  type RunLimits,
  type RunnableMachine,
  report,
  type Surroundings,
  startTimeout,
} from "./guest-run.js";

/** A machine with commands. */
export interface CommandMachine extends RunnableMachine {
  exec(argv: readonly string[], options: ExecOptions): Promise<ExecResult>;
  requestShutdown(how: "poweroff"): void;
}

/** How long the guest may take to power off when the command has ended: it writes its disks back. */
const POWEROFF_MS = 10_000;
/** Characters of the guest's console that are shown when there is no answer. */
const SHOWN = 2000;

/**
 * Runs a command in a guest by `sh -c`, with this process's standard streams, and powers the guest off. The guest's
 * console is not seen, but for its end when there is no result.
 * @returns the command's exit status; that of a run which has ended without it.
 */
export async function runCommand(
  preparation: Promise<GuestRequest>,
  command: string,
  limits: RunLimits,
  around: Surroundings,
): Promise<number> {
  const log = new StandardErrorLog(around.error, limits.verbose);
  const ending = new Ending();
  const screen = new LastText();
  const stopListening = around.listenForSignals({
    onTerminate: (signal, status) => ending.stop({ status, message: `stopped by ${signal}` }),
    onImpatient: (status) => around.exit(status),
    onContinue: () => undefined,
  });
  const attached = new Attachments(limits, log);
  const timer = startTimeout(limits.timeoutSeconds, around.sinceStartMs(), ending);
  try {
    const request = await ending.unlessEnded(preparation);
    const streams = { console: screen, log, ...attached.watchers() };
    const made = request && around.createMachine(request, streams);
    const machine = made && ((await ending.unlessEnded(made)) as CommandMachine | undefined);
    if (request === undefined || machine === undefined) {
      return report({ kind: "stopped" }, ending.reason, log);
    }
    await attached.open(machine);
    ending.machine = machine;
    const end = machine.run();
    const result = await execIn(machine, command, around).catch((error: unknown) => error as Error);
    if (!(result instanceof Error)) {
      await powerOff(machine, end);
      if (request.stats) attached.tellStatistics(machine);
      return result.status;
    }
    const why = describeFailure(result);
    const isOver = machine.state === "ended";
    if (!isOver) machine.stop();
    const over = await end;
    if (request.stats) attached.tellStatistics(machine);
    const status = report(over, ending.reason, log);
    if (ending.reason !== undefined) return status;
    if (screen.text !== "") around.error.write(`${screen.text.trimEnd()}\n`);
    log.warn(why.text);
    return isOver && status !== 0 ? status : ExitStatus.FAILED;
  } finally {
    clearTimeout(timer);
    stopListening();
    await attached.close();
  }
}

function execIn(
  machine: CommandMachine,
  command: string,
  around: Surroundings,
): Promise<ExecResult> {
  const { input, output, error } = around;
  // What a person would type is for nobody: the command is not at a terminal.
  const stdin = input.isTTY ? "" : (input as unknown as AsyncIterable<Uint8Array>);
  return machine.exec(["sh", "-c", command], {
    stdin,
    onStdout: (bytes) => output.write(bytes),
    onStderr: (bytes) => error.write(bytes),
  });
}

async function powerOff(machine: CommandMachine, end: Promise<MachineEnd>): Promise<void> {
  if (machine.state === "ended") return;
  machine.requestShutdown("poweroff");
  const timer = setTimeout(() => machine.stop(), POWEROFF_MS);
  await end;
  clearTimeout(timer);
}

/** A console of which only the end is kept. */
class LastText implements ByteStream {
  text = "";
  readonly #decoder = new TextDecoder();

  write(bytes: Uint8Array): void {
    this.text = (this.text + this.#decoder.decode(bytes, { stream: true })).slice(-SHOWN);
  }

  onData(): void {}
}
