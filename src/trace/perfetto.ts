/**
 * Perfetto's reading of Chrome's JSON trace format (https://perfetto.dev/docs/getting-started/other-formats): an array of
 * events with ph, ts and dur in microseconds, pid, tid. Each VM is a process; each vCPU has a track for its
 * hypercalls and events, and one for its runstates, since what overlaps without nesting must not share a track.
 */
import type { TraceEvent } from "./event.js";
import {
  argumentTexts,
  deliveryText,
  hypercallName,
  resultText,
  runstateName,
  subOpName,
} from "./names.js";
import { describe } from "./text.js";

/** An event of the format. */
interface Row {
  readonly name: string;
  readonly cat?: string;
  readonly ph: "X" | "B" | "E" | "i" | "M";
  readonly ts?: number;
  readonly dur?: number;
  readonly s?: "t";
  readonly pid: number;
  readonly tid: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** Numbers of the tracks of a vCPU. */
const TRACKS = { events: 0, runstate: 1 } as const;
const tid = (vcpu: number, track: keyof typeof TRACKS): number => vcpu * 2 + TRACKS[track] + 1;

const micros = (ns: number): number => Math.round(ns) / 1000;

/** Turns events into rows, in order. */
export class PerfettoRows {
  /** vCPUs that have been named, as `vm:vcpu`, and the runstate each is in, with its begin. */
  readonly #vcpus = new Map<string, { vm: number; vcpu: number; state: number; since: number }>();
  readonly #vms = new Set<number>();
  #last = 0;

  /** The rows of an event, each a line of JSON. */
  rows(event: TraceEvent): string[] {
    this.#last = Math.max(this.#last, event.time);
    return [...this.#names(event), ...this.#rowsOf(event)].map((row) => JSON.stringify(row));
  }

  /** Rows of what is not over. */
  end(): string[] {
    return [...this.#vcpus.values()].flatMap((vcpu) =>
      vcpu.state < 0 ? [] : runstateRows(vcpu, this.#last).map((row) => JSON.stringify(row)),
    );
  }

  #names({ vm, vcpu, time }: TraceEvent): Row[] {
    const key = `${vm}:${vcpu}`;
    if (this.#vcpus.has(key)) return [];
    this.#vcpus.set(key, { vm, vcpu, state: -1, since: time });
    const name = (what: string, thread: number, text: string): Row => ({
      ...{ name: what, ph: "M", pid: vm + 1, tid: thread, args: { name: text } },
    });
    const isNew = !this.#vms.has(vm);
    this.#vms.add(vm);
    return [
      ...(isNew ? [name("process_name", 0, `VM ${vm}`)] : []),
      name("thread_name", tid(vcpu, "events"), `vCPU ${vcpu}`),
      name("thread_name", tid(vcpu, "runstate"), `vCPU ${vcpu} runstate`),
    ];
  }

  #rowsOf(event: TraceEvent): Row[] {
    const { kind, vm, vcpu, time } = event;
    const place = { cat: kind, ts: micros(time), pid: vm + 1, tid: tid(vcpu, "events") };
    switch (event.kind) {
      case "hypercall": {
        const { by, result, duration, nr, rip } = event;
        const op = subOpName(event);
        const name = op === undefined ? hypercallName(nr) : `${hypercallName(nr)} ${op}`;
        const args = {
          args: argumentTexts(event).join(", "),
          result: result === undefined ? "?" : resultText(result),
          ...(by === undefined ? {} : { by }),
          rip: `0x${rip.toString(16)}`,
        };
        return [{ name, ph: "X", dur: micros(duration ?? 0), ...place, args }];
      }
      case "runstate": {
        const entry = this.#vcpus.get(`${vm}:${vcpu}`);
        if (entry === undefined) return [];
        const rows = runstateRows({ ...entry, state: event.from }, time);
        entry.state = event.to;
        entry.since = time;
        return rows;
      }
      case "deliver":
      case "fire":
        return [
          {
            name: `${kind} ${event.port}`,
            ph: "i",
            s: "t",
            ...place,
            args: { result: deliveryText(event.result) },
          },
        ];
      case "wake":
        return [{ name: kind, ph: "i", s: "t", ...place }];
      default:
        return [{ name: kind, ph: "i", s: "t", ...place, args: { what: describe(event) } }];
    }
  }
}

/**
 * Begin and end of a state, unless it took no time. With a duration instead of the end, a reader that adds up fractions finds that
 * a state ends a billionth of a microsecond behind the begin of the next, and is lost in what overlaps (speedscope is one).
 */
function runstateRows(
  { vm, vcpu, state, since }: { vm: number; vcpu: number; state: number; since: number },
  until: number,
): Row[] {
  if (until <= since) return [];
  const place = { name: runstateName(state), cat: "runstate" };
  const track = { pid: vm + 1, tid: tid(vcpu, "runstate") };
  return [
    { ...place, ph: "B", ts: micros(since), ...track },
    { ...place, ph: "E", ts: micros(until), ...track },
  ];
}
