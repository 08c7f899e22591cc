import { assert } from "../base/index.js";
import type { Clock, Timers } from "../ports/index.js";

/** Nanoseconds that pass with every step of a scenario. */
const STEP_NS = 100_000;

/**
 * Nanoseconds that an executed instruction takes. Scenarios wait for guests that spin until a
 * signal comes; a slower processor shortens that, and no answer depends on the speed.
 */
const INSTRUCTION_NS = 100;

/**
 * The virtual time of one scenario: nothing is waited for, and the same scenario is played in the
 * same way every time.
 */
export class PlayTime {
  /** For the VMs of the scenario. */
  readonly clock: Clock;
  readonly timers: Timers;
  readonly #jump: (toMonotonicNs: number) => void;

  /** `clock` must be a virtual one that nobody else uses, and `timers` must go by it. */
  constructor(clock: Clock, timers: Timers) {
    const { virtual } = clock;
    assert(virtual !== undefined, "PlayTime: the clock is not virtual");
    this.timers = timers;
    this.#jump = (to) => virtual.jump(to);
    this.clock = {
      monotonicNs: () => clock.monotonicNs(),
      realtimeNs: () => clock.realtimeNs(),
      virtual: {
        advance: (instructions) => virtual.advance(instructions * INSTRUCTION_NS),
        jump: this.#jump,
      },
    };
  }

  /** Lets time pass: everything that is due meanwhile happens at its moment. */
  pass(ns: number): void {
    const end = this.clock.monotonicNs() + ns;
    for (;;) {
      const next = this.timers.nextDeadlineNs();
      if (next === undefined || next > end) break;
      this.#jump(Math.max(next, this.clock.monotonicNs()));
      this.timers.runDue();
    }
    this.#jump(end);
  }

  /** The time between two steps. */
  step(): void {
    this.pass(STEP_NS);
  }
}
