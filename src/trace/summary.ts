import type { TraceEvent } from "./event.js";
import { deliveryText, exitName, hypercallName, runstateName, subOpName } from "./names.js";

/** What is counted together. */
interface Line {
  readonly isCall: boolean;
  count: number;
  kvm: number;
  monitor: number;
  /** Nanoseconds until the answers. */
  ns: number;
}

/** Counts events by what they are. */
export class TraceSummary {
  readonly #lines = new Map<string, Line>();
  #first: number | undefined;
  #last = 0;

  add(event: TraceEvent): void {
    this.#first ??= event.time;
    this.#last = event.time;
    const name = summaryName(event);
    let line = this.#lines.get(name);
    if (line === undefined) {
      line = { isCall: event.kind === "hypercall", count: 0, kvm: 0, monitor: 0, ns: 0 };
      this.#lines.set(name, line);
    }
    line.count++;
    if (!("by" in event)) return;
    if (event.by !== undefined) line[event.by]++;
    if (event.kind === "hypercall") line.ns += event.duration ?? 0;
  }

  /** Counts by name. */
  get counts(): ReadonlyMap<string, Readonly<Line>> {
    return this.#lines;
  }

  /** A table, what was most often first. */
  toString(): string {
    const span = (this.#last - (this.#first ?? 0)) / 1e9;
    const rows = [...this.#lines].sort(([, a], [, b]) => b.count - a.count);
    const number = (value: number): string => (value === 0 ? "" : String(value));
    const table = rows.map(([name, { count, kvm, monitor, ns }]) => [
      ...[name, String(count), span > 0 ? (count / span).toFixed(0) : ""],
      ...[number(kvm), number(monitor), ns > 0 ? (ns / count / 1000).toFixed(3) : ""],
    ]);
    const all = [["event", "count", "per s", "by KVM", "monitor", "µs each"], ...table];
    const widths = [0, 1, 2, 3, 4, 5].map((at) =>
      Math.max(...all.map((row) => (row[at] ?? "").length)),
    );
    return all
      .map((row) =>
        row
          .map((cell, at) =>
            at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0),
          )
          .join("  ")
          .trimEnd(),
      )
      .join("\n");
  }
}

/** The name under which an event is counted. */
export function summaryName(event: TraceEvent): string {
  switch (event.kind) {
    case "hypercall": {
      const op = subOpName(event);
      return op === undefined ? hypercallName(event.nr) : `${hypercallName(event.nr)} ${op}`;
    }
    case "deliver":
      return `deliver port ${event.port}, ${deliveryText(event.result)}`;
    case "send":
    case "unmask":
      return `${event.kind} port ${event.port}`;
    case "runstate":
      return `runstate ${runstateName(event.to)}`;
    case "exit":
      return `exit ${exitName(event.code)}`;
    case "upcall":
      return `upcall vector ${event.vector}`;
    default:
      return event.kind === "wake" ? "wake" : `${event.kind} timer`;
  }
}
