import type { Clock, TimerHandle, Timers } from "../../ports/index.js";

interface Armed {
  readonly deadline: number;
  /** Order of arming, which decides between equal deadlines. */
  readonly serial: number;
  readonly callback: () => void;
  /** Place in the heap, -1 when it is not in it. */
  at: number;
}

/**
 * Timers kept in a heap and run by whoever owns the clock: nothing fires by itself. Equal deadlines
 * fire in the order in which they were armed.
 */
export class HeapTimers implements Timers {
  readonly #clock: Pick<Clock, "monotonicNs">;
  readonly #heap: Armed[] = [];
  #serial = 0;
  /** Those that need something of the host, until somebody has waited for that. */
  readonly #held = new Map<Armed, Promise<void>>();

  constructor(clock: Pick<Clock, "monotonicNs">) {
    this.#clock = clock;
  }

  arm(deadlineNs: number, callback: () => void): TimerHandle {
    return this.#handleOf(this.#insert(deadlineNs, callback));
  }

  #handleOf(timer: Armed): TimerHandle & { readonly order: number } {
    const place = (): number => this.#placeOf(timer);
    return {
      cancel: () => this.#remove(timer),
      get order() {
        return place();
      },
    };
  }

  /** How many that are armed were armed before. */
  #placeOf({ serial }: Armed): number {
    return this.#heap.reduce((sum, other) => sum + (other.serial < serial ? 1 : 0), 0);
  }

  /**
   * Arms a timer for something of the host whose time is declared: the callback runs at the deadline, and time stands
   * still there until `ready` has resolved.
   */
  armHeld(
    deadlineNs: number,
    ready: Promise<void>,
    callback: () => void,
  ): { readonly order: number } {
    const timer = this.#insert(deadlineNs, callback);
    this.#held.set(timer, ready);
    return this.#handleOf(timer);
  }

  blocked(): Promise<void> | undefined {
    if (this.#held.size === 0) return undefined;
    const now = this.#clock.monotonicNs();
    for (const [timer, ready] of this.#held) {
      if (timer.deadline > now) continue;
      this.#held.delete(timer);
      return ready;
    }
    return undefined;
  }

  #insert(deadline: number, callback: () => void): Armed {
    const timer: Armed = { deadline, serial: this.#serial++, callback, at: this.#heap.length };
    this.#heap.push(timer);
    this.#up(timer);
    return timer;
  }

  nextDeadlineNs(): number | undefined {
    return this.#heap[0]?.deadline;
  }

  runDue(): number {
    const first = this.#heap[0];
    if (first === undefined) return 0;
    const now = this.#clock.monotonicNs();
    // Timers that callbacks arm for a moment that has passed wait for the next call.
    const limit = this.#serial;
    const later: Armed[] = [];
    let count = 0;
    for (let timer = this.#heap[0]; timer !== undefined; timer = this.#heap[0]) {
      if (timer.deadline > now) break;
      this.#remove(timer);
      if (timer.serial >= limit) {
        later.push(timer);
        continue;
      }
      timer.callback();
      count++;
    }
    for (const timer of later) {
      timer.at = this.#heap.length;
      this.#heap.push(timer);
      this.#up(timer);
    }
    return count;
  }

  #remove(timer: Armed): void {
    const { at } = timer;
    if (at < 0) return;
    timer.at = -1;
    const last = this.#heap.pop() as Armed;
    if (last === timer) return;
    this.#heap[at] = last;
    last.at = at;
    this.#up(last);
    this.#down(last);
  }

  #up(timer: Armed): void {
    while (timer.at > 0) {
      const parent = this.#heap[(timer.at - 1) >> 1] as Armed;
      if (before(parent, timer)) return;
      this.#swap(parent, timer);
    }
  }

  #down(timer: Armed): void {
    for (;;) {
      const left = this.#heap[timer.at * 2 + 1];
      const right = this.#heap[timer.at * 2 + 2];
      const child = right !== undefined && left !== undefined && before(right, left) ? right : left;
      if (child === undefined || before(timer, child)) return;
      this.#swap(timer, child);
    }
  }

  #swap(a: Armed, b: Armed): void {
    const at = a.at;
    a.at = b.at;
    b.at = at;
    this.#heap[a.at] = a;
    this.#heap[b.at] = b;
  }
}

const before = (a: Armed, b: Armed): boolean =>
  a.deadline < b.deadline || (a.deadline === b.deadline && a.serial < b.serial);
