import { readFileSync, writeSync } from "node:fs";
import { cpus } from "node:os";
import { getSystemErrorName } from "node:util";
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../base/index.js";
import { Engine } from "../engine/bridge/index.js";
import { NodeClock } from "../hosts/node/clock.js";
import { NodeTimers } from "../hosts/node/timers.js";
import { TraceFile } from "../hosts/node/trace-file.js";
import { Kvm, type LinuxRelease } from "../kvm/index.js";
import type { Clock, TraceSink } from "../ports/index.js";
import { parseEventFilter, type TraceFormat, TraceRing, TraceWriter } from "../trace/index.js";
import { InspectedVms, type InspectRequest } from "./inspector.js";
import { errno, installGuard } from "./libc.js";
import { Reactor } from "./reactor.js";
import { Server } from "./server.js";
import { asJson, asText, parseTraceFilter, type TraceOutput, Tracer } from "./trace/index.js";

/** What is traced. */
export interface TraceRequest {
  /** Where to: a descriptor. */
  readonly fd: number;
  /** As lines of JSON. */
  readonly json: boolean;
  /** What `--trace-filter` says. */
  readonly filter: string | undefined;
}

/** Which events of the VMs are written, and where to. */
export interface EventRequest {
  /** A descriptor, and its name for people. */
  readonly fd: number;
  readonly path: string | undefined;
  readonly format: TraceFormat | undefined;
  readonly filter: string | undefined;
  readonly summary: boolean;
}

/** Milliseconds after which events are written at the latest. */
const FLUSH_MS = 20;

/** What the thread of the server is started with. */
export interface WorkerRequest {
  /** Path of the engine. */
  readonly engine: string;
  /** Path of the server's own part in C. */
  readonly guard: string;
  /** Name of the socket. */
  readonly name: string;
  /** An eventfd that tells the server to end as soon as nobody uses it. */
  readonly stop: number;
  readonly trace: TraceRequest | undefined;
  readonly events: EventRequest | undefined;
  /** An inspector is served: its port is transferred. */
  readonly inspect: InspectRequest | undefined;
  readonly stats: boolean;
  readonly mailboxes: boolean;
  readonly linux: LinuxRelease;
}

/** What it says. */
export type WorkerReport =
  | { readonly kind: "listening" }
  | { readonly kind: "said"; readonly text: string }
  /** `code`: of the system's error, where that is known. */
  | { readonly kind: "failed"; readonly message: string; readonly code?: string }
  | { readonly kind: "ended"; readonly summary: string | undefined };

/** Writes lines until that fails: a full disk must not end the program. */
function printer(fd: number): (line: string) => void {
  let works = true;
  return (line) => {
    if (!works) return;
    try {
      writeSync(fd, `${line}\n`);
    } catch {
      works = false;
    }
  };
}

function outputOf({ fd, json, filter }: TraceRequest): TraceOutput {
  return {
    print: printer(fd),
    form: json ? asJson : asText,
    ...(filter !== undefined && { filter: parseTraceFilter(filter) }),
  };
}

/** Writes what happens in VMs, each with its number. */
class EventTrace {
  readonly #ring: TraceRing;
  readonly #writer: TraceWriter;
  readonly #reactor: Reactor;
  #vms = 0;

  constructor(request: EventRequest, clock: Clock, reactor: Reactor, say: (line: string) => void) {
    const { fd, path, format, filter, summary } = request;
    const file = new TraceFile(fd, path, say);
    file.begin();
    this.#ring = new TraceRing(clock);
    this.#writer = new TraceWriter(this.#ring, (text) => file.write(text), {
      ...{ format, summary },
      filter: filter === undefined ? undefined : parseEventFilter(filter),
    });
    this.#reactor = reactor;
    this.#flush();
  }

  watch(vm: { trace: TraceSink | undefined }): void {
    vm.trace = this.#ring.source(this.#vms++);
  }

  /** @returns lines for people. */
  end(): string[] {
    const { summary, dropped } = this.#writer.end();
    const lost = dropped > 0 ? [`kvm-xen: ${dropped} events came too fast and are lost`] : [];
    return [...lost, ...(summary === undefined ? [] : [summary])];
  }

  #flush(): void {
    this.#writer.flush();
    this.#reactor.after(FLUSH_MS, () => this.#flush());
  }
}

/**
 * A program may ask again and again for what cannot be had.
 * @limit client | lines that exec says about memory that it cannot give | lines | it says no more
 */
const MOST_LINES = 20;

async function serve(request: WorkerRequest, report: (report: WorkerReport) => void) {
  installGuard(request.guard);
  const reactor = new Reactor();
  const engine = await Engine.compile(readFileSync(request.engine));
  const clock = new NodeClock();
  const tell = (text: string) => report({ kind: "said", text: `kvm-xen: ${text}` });
  const events = request.events && new EventTrace(request.events, clock, reactor, tell);
  const inspected = request.inspect && new InspectedVms(request.inspect, clock, reactor);
  const kvm = await Kvm.open({
    engine,
    clock,
    timers: new NodeTimers(clock),
    loop: reactor,
    linux: request.linux,
    onVm(vm) {
      events?.watch(vm);
      inspected?.add(vm);
    },
    onlineCpus: cpus().length,
  });
  const { trace } = request;
  const output = trace === undefined ? undefined : outputOf(trace);
  const tracer = output !== undefined || request.stats ? new Tracer(output) : undefined;
  const { name, mailboxes } = request;
  let lines = 0;
  const say = (text: string) => {
    if (lines++ < MOST_LINES) report({ kind: "said", text });
  };
  const server = new Server({ kvm, reactor, name, mailboxes, say, ...(tracer && { tracer }) });
  reactor.watch(request.stop, () => {
    reactor.unwatch(request.stop);
    // A program that went to the background goes on.
    server.whenUnused(() => reactor.stop());
  });
  if (!server.listen()) {
    const code = getSystemErrorName(-errno());
    report({ kind: "failed", message: `no socket to listen on (${code})`, code });
    return;
  }
  report({ kind: "listening" });
  try {
    await reactor.run();
  } finally {
    // Whatever went wrong: clients that wait for answers hear of it.
    server.close();
  }
  const calls = request.stats ? tracer?.summary() : undefined;
  const ends = [...(events?.end() ?? []), ...(calls === undefined ? [] : [calls])];
  report({ kind: "ended", summary: ends.length === 0 ? undefined : ends.join("\n") });
}

assert(parentPort !== null, "worker.ts runs as a thread only");
const port = parentPort;
serve(workerData as WorkerRequest, (report) => port.postMessage(report)).catch((error: unknown) => {
  const { code } = error as NodeJS.ErrnoException;
  const report = { kind: "failed", message: String(error), ...(code && { code }) } as const;
  port.postMessage(report satisfies WorkerReport);
});
