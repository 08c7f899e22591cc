import type { Clock, TimerHandle, Timers } from "../../ports/index.js";

interface Armed {
  readonly deadline: number;
  readonly callback: () => void;
  /** By the callback of another that was due with it. */
  cancelled: boolean;
}

/**
 * Timers on real time. They fire when the VM's scheduler calls runDue() between turns; the
 * scheduler sleeps in the event loop until the next deadline when all vCPUs wait.
 */
export class RealTimers implements Timers {
  readonly #clock: Pick<Clock, "monotonicNs">;
  /** By deadline, the earliest last; equal deadlines in reverse order of arming. */
  readonly #queue: Armed[] = [];

  constructor(clock: Pick<Clock, "monotonicNs">) {
    this.#clock = clock;
  }

  arm(deadlineNs: number, callback: () => void): TimerHandle {
    const timer: Armed = { deadline: deadlineNs, callback, cancelled: false };
    let at = this.#queue.length;
    while (at > 0 && (this.#queue[at - 1] as Armed).deadline <= deadlineNs) at--;
    this.#queue.splice(at, 0, timer);
    return {
      cancel: () => {
        timer.cancelled = true;
        // Out of the queue at once: a guest may arm a timer anew as often as it likes.
        const at = this.#queue.lastIndexOf(timer);
        if (at >= 0) this.#queue.splice(at, 1);
      },
    };
  }

  /** How many are armed. */
  get armed(): number {
    return this.#queue.length;
  }

  nextDeadlineNs(): number | undefined {
    return this.#queue.at(-1)?.deadline;
  }

  runDue(): number {
    const now = this.#clock.monotonicNs();
    const due: Armed[] = [];
    for (let timer = this.#queue.at(-1); timer !== undefined; timer = this.#queue.at(-1)) {
      if (timer.deadline > now) break;
      this.#queue.pop();
      due.push(timer);
    }
    let count = 0;
    for (const timer of due) {
      if (timer.cancelled) continue;
      timer.callback();
      count++;
    }
    return count;
  }
}
