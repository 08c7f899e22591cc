import type { Clock } from "../../ports/index.js";

/** What one reading takes, about: time is seen to go on even where nothing is counted between two of them. */
const READING_NS = 20;

/** Nanoseconds that a count of instructions may be ahead of a clock that stands still: a browser's coarsest step. */
const LONGEST_STEP_NS = 100_000;

/**
 * The browser's clocks. `performance.now()` goes in steps, of 100 µs where the page is not isolated; a guest that
 * reads the same time again and again would wait for the next one. Between two steps this clock goes on by what the
 * guest executed, a nanosecond an instruction, and by its own readings; it never goes back, and is never more than a
 * step ahead of the browser's.
 */
export class BrowserClock implements Clock {
  /** Instructions executed so far: that of the machine, once there is one. It never goes back either. */
  work: () => number = () => 0;
  readonly #source: () => number;
  /** The browser's time at its last step, and what was counted since then. */
  #step = Number.NEGATIVE_INFINITY;
  #workAtStep = 0;
  #readings = 0;
  #last = 0;

  /** `source`: milliseconds since some start, never going back. */
  constructor(source: () => number = () => performance.now()) {
    this.#source = source;
  }

  monotonicNs(): number {
    const step = this.#source() * 1e6;
    const work = this.work();
    if (step !== this.#step) {
      this.#step = step;
      this.#workAtStep = work;
      this.#readings = 0;
    }
    const ahead = Math.max(0, work - this.#workAtStep) + this.#readings++ * READING_NS;
    this.#last = Math.max(this.#last, step + Math.min(ahead, LONGEST_STEP_NS));
    return this.#last;
  }

  realtimeNs(): number {
    return Date.now() * 1e6;
  }
}
