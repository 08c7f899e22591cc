import type { KvmXenHvmAttr, KvmXenVcpuAttr } from "../kvm/index.js";
import { KvmError } from "../kvm/index.js";
import type { Clock } from "../ports/index.js";
import { TraceReader, TraceRing } from "../trace/index.js";
import type { DomainViewParts } from "../vmm/machine/index.js";
import type { FromInspected, Inspected, InspectView, ToInspected } from "./protocol.js";
import { chunkToBytes } from "./wire.js";

/** What is inspected. */
export interface InspectTarget {
  readonly inspected: Inspected;
  readonly clock: Pick<Clock, "monotonicNs">;
  /** Events are noted in a ring from now on; undefined: no more, and nothing is called for them. */
  watch(ring: TraceRing | undefined): void;
  view(parts: DomainViewParts): Omit<InspectView, "hostTime">;
  /** @throws KvmError, RangeError. */
  setHvm(vm: number, attr: KvmXenHvmAttr): void;
  /** @throws KvmError, RangeError. */
  setVcpu(vm: number, vcpu: number, attr: KvmXenVcpuAttr): void;
  /** What cannot be done is not. */
  control(what: "pause" | "resume" | "reset"): void;
}

/** Where views and events go. */
export interface InspectOutput {
  send(message: FromInspected): void;
  sendEvents(bytes: Uint8Array<ArrayBuffer>): void;
}

/** Calls back again and again. @returns what ends that. */
export type Every = (ms: number, callback: () => void) => () => void;

/** Milliseconds between two views. */
const TICK_MS = 200;

/** Of so many turns one has a view while no panel is open: a viewer that looks at nothing costs next to nothing. */
const QUIET_TURNS = 5;

/**
 * Events between two views: 0.9 MB.
 * @limit guest | events that an inspector is sent at once | events | the others wait in the ring
 */
const MAX_EVENTS = 8192;

/**
 * Views that an inspector gets for what it asks, beside those of the clock.
 * @limit client | views that an inspector asks for between two of the clock | views | it gets the clock's next one
 */
const MAX_ASKED = 2;

/** One inspector's look at a target. While it wants no events, none are noted; while it does not keep up, it gets nothing. */
export class Inspection {
  readonly #target: InspectTarget;
  readonly #output: InspectOutput;
  readonly #stop: () => void;
  #parts: DomainViewParts = {};
  #reader: TraceReader | undefined;
  /** It has not said that it has seen the last view. */
  #waits = false;
  #asked = 0;
  /** Turns of the clock since the last one that had a view. */
  #turns = 0;

  constructor(target: InspectTarget, output: InspectOutput, every: Every) {
    this.#target = target;
    this.#output = output;
    this.#stop = every(TICK_MS, () => {
      this.#asked = 0;
      this.#turns++;
      if (this.#reader !== undefined || this.#turns >= QUIET_TURNS) this.#tick();
    });
    this.#tick();
  }

  /** What the inspector says. */
  receive(message: ToInspected): void {
    switch (message.kind) {
      case "watch":
        this.#parts = {
          store: message.parts.store === true,
          grants: message.parts.grants === true,
        };
        this.#watch(message.events);
        this.#answer();
        return;
      case "seen":
        this.#waits = false;
        return;
      case "setHvm":
        this.#set(message.id, () => this.#target.setHvm(message.vm, message.attr));
        return;
      case "setVcpu":
        this.#set(message.id, () => this.#target.setVcpu(message.vm, message.vcpu, message.attr));
        return;
      case "control":
        this.#target.control(message.what);
        this.#answer();
        return;
    }
  }

  /** The inspector is gone. */
  close(): void {
    this.#stop();
    this.#watch(false);
  }

  #watch(events: boolean): void {
    if (events === (this.#reader !== undefined)) return;
    if (events) {
      const ring = new TraceRing(this.#target.clock);
      this.#reader = new TraceReader(ring);
      this.#target.watch(ring);
    } else {
      this.#reader = undefined;
      this.#target.watch(undefined);
    }
  }

  /** Something was asked: its effect is shown at once, unless it is asked again and again. */
  #answer(): void {
    this.#waits = false;
    this.#asked++;
    if (this.#asked <= MAX_ASKED) this.#tick();
  }

  #tick(): void {
    if (this.#waits) return;
    this.#waits = true;
    this.#turns = 0;
    const { inspected } = this.#target;
    const hostTime = Date.now() * 1e6;
    const view = { hostTime, ...this.#target.view(this.#parts) };
    const chunk = this.#reader?.take(view.state !== "running", MAX_EVENTS);
    if (chunk !== undefined && (chunk.times.length > 0 || chunk.dropped > 0)) {
      this.#output.sendEvents(chunkToBytes(chunk));
    }
    this.#output.send({ kind: "view", inspected, view });
  }

  #set(id: number, set: () => void): void {
    let refused: string | undefined;
    try {
      set();
    } catch (error) {
      if (error instanceof KvmError) refused = error.message;
      else if (error instanceof RangeError || error instanceof TypeError) refused = error.message;
      else throw error;
    }
    this.#output.send({ kind: "set", id, refused });
  }
}
