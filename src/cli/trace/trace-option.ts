import { openTraceFile, TraceFile } from "../../hosts/node/trace-file.js";
import type { Clock, TraceSink } from "../../ports/index.js";
import { parseEventFilter, type TraceFormat, TraceRing, TraceWriter } from "../../trace/index.js";

/** The options of `kvm-xen trace`. */
export interface TraceOptions {
  /** Where events go; undefined: to the standard error output. */
  readonly output?: string;
  readonly format?: TraceFormat;
  readonly filter?: string;
  readonly summary?: true;
}

/** A trace that was asked for, with its file open. */
export interface TracePlan {
  readonly fd: number;
  readonly path: string | undefined;
  /** Undefined: only the summary is wanted. */
  readonly format: TraceFormat | undefined;
  readonly filter: string | undefined;
  readonly summary: boolean;
}

/** Milliseconds after which events are written at the latest, while the guest leaves time for it. */
const FLUSH_MS = 20;

/**
 * Opens what the options name.
 * @throws HostError TRACE_FILE; TRACE_FILTER.
 */
export function planTrace(options: TraceOptions): TracePlan {
  const { output: path, filter, summary = false } = options;
  if (filter !== undefined) parseEventFilter(filter);
  const format = options.format ?? (summary && path === undefined ? undefined : formatOf(path));
  return { fd: openTraceFile(path), path, format, filter, summary };
}

/** A file's ending says what is in it. */
function formatOf(path: string | undefined): TraceFormat {
  if (path?.endsWith(".jsonl")) return "json";
  return path?.endsWith(".json") ? "perfetto" : "text";
}

/** The trace of a machine of this process. */
export class MachineTrace {
  readonly #plan: TracePlan;
  readonly #say: (line: string) => void;
  readonly #file: TraceFile;
  #writer: TraceWriter | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `say` tells people a line. */
  constructor(plan: TracePlan, say: (line: string) => void) {
    this.#plan = plan;
    this.#say = say;
    this.#file = new TraceFile(plan.fd, plan.path, say);
  }

  /** Begins. @returns what the machine is to be given. */
  watch(clock: Clock): TraceSink {
    const { format, filter, summary, path } = this.#plan;
    this.#file.begin();
    const ring = new TraceRing(clock);
    // A terminal in raw mode does not return to the first column by a line feed alone.
    const isRaw = path === undefined && process.stderr.isTTY;
    const write = (text: string): void =>
      this.#file.write(isRaw ? text.replaceAll("\n", "\r\n") : text);
    this.#writer = new TraceWriter(ring, write, {
      ...{ format, summary },
      filter: filter === undefined ? undefined : parseEventFilter(filter),
    });
    this.#timer = setInterval(() => this.#writer?.flush(), FLUSH_MS);
    return ring.source();
  }

  /** Writes the rest, and the summary. */
  end(): void {
    clearInterval(this.#timer);
    const ended = this.#writer?.end();
    this.#file.close();
    if (ended === undefined) return;
    if (ended.dropped > 0) this.#say(`${ended.dropped} events came too fast and are lost`);
    for (const line of ended.summary?.split("\n") ?? []) this.#say(line);
  }
}
