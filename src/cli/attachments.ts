/** Who looks at a machine that runs: `--control`, `--inspect`, `--gdb`, `trace`, `--stats`. */
import type { LineServer } from "../hosts/node/line-server.js";
import { Inspection, type InspectTarget } from "../inspect/index.js";
import type { Clock, Log, TraceSink } from "../ports/index.js";
import { listenForControl } from "./control/control.js";
import type { ControlTarget } from "./control/methods.js";
import { GdbServer } from "./gdb/gdb-server.js";
import type { RunLimits, RunnableMachine } from "./guest-run.js";
import { every, type InspectRequest, InspectServer } from "./inspect/inspect-server.js";
import { MachineTrace } from "./trace/trace-option.js";

/** What a machine is told when it is made, so that it can be looked at. */
export interface Watchers {
  /** Is given the machine's clock, and gives who is told what happens. */
  readonly watch?: (clock: Clock) => TraceSink;
  /** Is given what `--inspect` needs. */
  readonly onInspect: (target: InspectTarget) => void;
  /** Is given what `--control` needs. */
  readonly onControl: (target: ControlTarget) => void;
}

/** What of a run's limits is there beside the machine, from its making to its end. */
export class Attachments {
  readonly #limits: RunLimits;
  readonly #log: Log;
  readonly #trace: MachineTrace | undefined;
  #control: LineServer | undefined;
  #gdb: GdbServer | undefined;
  #inspector: InspectServer | undefined;
  #inspected: InspectTarget | undefined;
  #controlled: ControlTarget | undefined;
  #openedMs = 0;

  constructor(limits: RunLimits, log: Log) {
    this.#limits = limits;
    this.#log = log;
    this.#trace = limits.trace && new MachineTrace(limits.trace, (line) => log.warn(line));
  }

  /** For who makes the machine. */
  watchers(): Watchers {
    const trace = this.#trace;
    return {
      ...(trace && { watch: (clock: Clock) => trace.watch(clock) }),
      onInspect: (target) => {
        this.#inspected = target;
      },
      onControl: (target) => {
        this.#controlled = target;
      },
    };
  }

  /** Listens, before the machine runs. @throws HostError when an address or path cannot be had. */
  async open(machine: RunnableMachine): Promise<void> {
    const { control, gdb, inspect } = this.#limits;
    if (control !== undefined && this.#controlled !== undefined) {
      this.#control = await listenForControl(control, this.#controlled);
    }
    if (inspect !== undefined && this.#inspected !== undefined) {
      this.#inspector = await serveInspector(inspect, this.#inspected);
      this.#log.warn(`inspector: ${this.#inspector.address}`);
    }
    const { debug } = machine;
    if (gdb !== undefined && debug !== undefined) {
      const debugged = { debug: debug.bind(machine), stop: () => void machine.stop() };
      this.#gdb = await GdbServer.listen(debugged, gdb);
      this.#log.warn(`the guest waits for gdb: target remote ${this.#gdb.address}`);
    }
    this.#openedMs = performance.now();
  }

  /** Says what `--stats` says of the time since {@link open}. */
  tellStatistics(machine: RunnableMachine): void {
    const lines = statistics(machine, performance.now() - this.#openedMs);
    for (const line of lines) this.#log.warn(line);
  }

  /** Lets go of everything, in whatever state. */
  async close(): Promise<void> {
    this.#trace?.end();
    await this.#control?.close();
    await this.#gdb?.close();
    await this.#inspector?.close();
  }
}

/** Serves an inspector of a machine of this thread. */
const serveInspector = (request: InspectRequest, target: InspectTarget): Promise<InspectServer> =>
  InspectServer.open(request, {
    ...{ inspected: "machine", name: "kvm-xen run" },
    connect: (output) => new Inspection(target, output, every),
  });

/** What --stats prints: the speed, and a line for each counter of the engine. */
function statistics(machine: RunnableMachine, milliseconds: number): string[] {
  const { instructions, engineCounters } = machine;
  const seconds = (milliseconds / 1000).toFixed(2);
  const speed = (instructions / milliseconds / 1000).toFixed(0);
  const rows = Object.entries(engineCounters).map(([name, count]) => {
    const rate = instructions === 0 ? 0 : (count * 1000) / instructions;
    const words = name.toLowerCase().replaceAll("_", " ");
    return `${words.padEnd(16)}${String(count).padStart(14)}${rate.toFixed(3).padStart(12)}`;
  });
  return [
    `${instructions} instructions in ${seconds} s, ${speed} MIPS`,
    "engine counters, and per 1000 instructions (docs/reference/counters.md):",
    ...rows,
  ];
}
