import type { FromInspected, InspectView, ToInspected, VmView } from "../../inspect/protocol.js";
import {
  eventsOf,
  type HypercallEvent,
  type TraceChunk,
  type TraceEvent,
  TraceSummary,
} from "../../trace/index.js";
import { TimeByCause } from "./time-by-cause.js";

/** @limit guest | hypercalls that the page keeps | hypercalls | the oldest go */
const MAX_HYPERCALLS = 5000;
/** @limit guest | events of a port that the page keeps | events | the oldest go */
const MAX_PORT_EVENTS = 100;
/** @limit guest | ports whose events the page keeps | ports | events of the others are counted only */
const MAX_PORTS = 4096;
/** @limit guest | upcalls and timers that the plot marks | events | the oldest go */
const MAX_MARKS = 2000;

/** How the panels talk to the machine's thread. */
export interface InspectorLink {
  send(message: ToInspected): void;
}

/** What is known of a port from its events. */
interface PortHistory {
  count: number;
  readonly events: TraceEvent[];
}

/** What has come from a machine so far: the last view, and what its events add up to. */
export class InspectorModel {
  view: InspectView | undefined;
  before: InspectView | undefined;
  inspected: "machine" | "exec" = "machine";
  readonly hypercalls: HypercallEvent[] = [];
  /** Hypercalls seen in all. */
  hypercallCount = 0;
  summary = new TraceSummary();
  readonly ports = new Map<string, PortHistory>();
  /** Upcalls and timers: time, VM and vCPU, kind. */
  readonly marks: TraceEvent[] = [];
  /** One-shot timers of vCPUs: how often they were armed, and have fired. */
  readonly timers = new Map<string, { armed: number; fired: number }>();
  time = new TimeByCause();
  /** Events that came too fast. */
  dropped = 0;

  takeView(message: Extract<FromInspected, { kind: "view" }>): void {
    this.inspected = message.inspected;
    this.before = this.view;
    this.view = message.view;
  }

  takeEvents(chunk: TraceChunk): void {
    this.dropped += chunk.dropped;
    for (const event of eventsOf(chunk)) this.#take(event);
    trim(this.hypercalls, MAX_HYPERCALLS);
    trim(this.marks, MAX_MARKS);
  }

  /** Begins anew. */
  clear(): void {
    this.hypercalls.length = 0;
    this.hypercallCount = 0;
    this.summary = new TraceSummary();
    this.ports.clear();
    this.marks.length = 0;
    this.timers.clear();
    this.time = new TimeByCause();
    this.dropped = 0;
  }

  /** Events of a port in the second before the last view, from what is kept of it. */
  historyOf(vm: number, port: number): PortHistory | undefined {
    return this.ports.get(`${vm}:${port}`);
  }

  /** The VM before, for what has changed. */
  earlier(vm: number): VmView | undefined {
    return this.before?.vms.find((one) => one.vm === vm);
  }

  #take(event: TraceEvent): void {
    this.summary.add(event);
    this.time.add(event);
    if (event.kind === "hypercall") {
      this.hypercalls.push(event);
      this.hypercallCount++;
    }
    if (event.kind === "upcall" || event.kind === "fire") this.marks.push(event);
    if (event.kind === "arm" || event.kind === "fire") this.#noteTimer(event);
    if (event.kind === "send" || event.kind === "deliver" || event.kind === "unmask") {
      this.#noteAt(event, event.port);
    }
  }

  #noteTimer({ kind, vm, vcpu }: TraceEvent): void {
    const key = `${vm}:${vcpu}`;
    const timer = this.timers.get(key) ?? { armed: 0, fired: 0 };
    if (this.timers.size >= MAX_PORTS && !this.timers.has(key)) return;
    this.timers.set(key, timer);
    if (kind === "arm") timer.armed++;
    else timer.fired++;
  }

  #noteAt(event: TraceEvent, port: number): void {
    const key = `${event.vm}:${port}`;
    let history = this.ports.get(key);
    if (history === undefined) {
      if (this.ports.size >= MAX_PORTS) return;
      history = { count: 0, events: [] };
      this.ports.set(key, history);
    }
    history.count++;
    history.events.push(event);
    if (history.events.length > MAX_PORT_EVENTS * 2) trim(history.events, MAX_PORT_EVENTS);
  }
}

function trim(list: unknown[], most: number): void {
  if (list.length > most) list.splice(0, list.length - most);
}
