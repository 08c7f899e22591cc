/** The interrupt that says to a guest that its VM generation ID is another one. */
import type { Clock, TimerHandle, Timers } from "../../ports/index.js";

/** Of the generic event device in the ACPI tables: an edge. */
export const GENERATION_GSI = 9;

const FIRST_NS = 1e6;
const LONGEST_NS = 100e6;
/**
 * Attempts to tell a guest that does not want to be told: some ten seconds.
 * @nolimit of our own making
 */
const MOST_ATTEMPTS = 100;

/** What it needs of a machine. */
export interface GenerationHost {
  readonly clock: Clock;
  readonly timers: Timers;
  /** Sets the line of the interrupt. @returns a negative number when it is masked, and the edge is lost */
  setLine(level: boolean): number;
}

/**
 * Gives a guest that was restored the interrupt. A guest has masked it while it is suspended, and an edge that meets
 * a mask is lost: it comes again until it is taken.
 */
export class GenerationNotice {
  readonly #host: GenerationHost;
  #attempts = 0;
  #timer: TimerHandle | undefined;

  constructor(host: GenerationHost) {
    this.#host = host;
  }

  /** The guest is still to be told. */
  get isPending(): boolean {
    return this.#timer !== undefined;
  }

  tell(): void {
    this.#timer = undefined;
    const taken = this.#host.setLine(true) >= 0;
    this.#host.setLine(false);
    if (taken || this.#attempts === MOST_ATTEMPTS) return;
    const delay = Math.min(FIRST_NS * 2 ** this.#attempts, LONGEST_NS);
    this.#attempts += 1;
    const { clock, timers } = this.#host;
    this.#timer = timers.arm(clock.monotonicNs() + delay, () => this.tell());
  }

  /** The machine ends. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
