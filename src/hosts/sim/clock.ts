import { assert } from "../../base/index.js";
import type { Clock } from "../../ports/index.js";

/** 2024-01-01 00:00:00 UTC: when a virtual clock begins unless told otherwise. */
const DEFAULT_EPOCH_NS = 1_704_067_200_000_000_000;

/**
 * A clock that stands still until the VM moves it: by what it executed, or over an idle period to
 * the next timer. The same inputs give the same times, to the nanosecond.
 */
export class VirtualClock implements Clock {
  #now = 0;
  readonly #epochNs: number;
  readonly virtual = {
    advance: (ns: number): void => {
      this.#now += ns;
    },
    jump: (toMonotonicNs: number): void => {
      assert(toMonotonicNs >= this.#now, "VirtualClock.jump: back in time");
      this.#now = toMonotonicNs;
    },
  };

  /** `epochNs`: real time at the start, nanoseconds since 1970. */
  constructor(epochNs: number = DEFAULT_EPOCH_NS) {
    this.#epochNs = epochNs;
  }

  monotonicNs(): number {
    return this.#now;
  }

  realtimeNs(): number {
    return this.#epochNs + this.#now;
  }
}
