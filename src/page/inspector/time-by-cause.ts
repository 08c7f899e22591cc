import type { TraceEvent } from "../../trace/index.js";
import { exitName } from "../../trace/index.js";

/** Where the time of a vCPU went, in nanoseconds of the machine. */
export interface Spent {
  /** Halted, until something woke it. */
  halted: number;
  /** From a hypercall to its answer: of KVM itself (a poll waits there), and of the monitor. */
  kvm: number;
  monitor: number;
  /** The first and the last event. */
  readonly first: number;
  last: number;
  /** When it halted, if it has not done anything since. */
  haltedAt: number | undefined;
}

/** @limit guest | vCPUs whose time the page counts | vCPUs | the others are left out */
const MAX_VCPUS = 4096;

/** Adds up events to what a vCPU did with its time. */
export class TimeByCause {
  readonly byVcpu = new Map<string, Spent>();

  add(event: TraceEvent): void {
    const key = `${event.vm}:${event.vcpu}`;
    let spent = this.byVcpu.get(key);
    if (spent === undefined) {
      if (this.byVcpu.size >= MAX_VCPUS) return;
      const { time } = event;
      spent = { halted: 0, kvm: 0, monitor: 0, first: time, last: time, haltedAt: undefined };
      this.byVcpu.set(key, spent);
    }
    spent.last = Math.max(spent.last, event.time);
    if (event.kind === "hypercall") {
      if (event.by !== undefined) spent[event.by] += event.duration ?? 0;
      spent.haltedAt = undefined;
    } else if (event.kind === "exit") {
      // One that halts with an interrupt at hand does not wait: its next event is no wake-up.
      spent.haltedAt = exitName(event.code) === "HLT" ? event.time : undefined;
    } else if (event.kind === "wake" && spent.haltedAt !== undefined) {
      spent.halted += event.time - spent.haltedAt;
      spent.haltedAt = undefined;
    }
  }
}
