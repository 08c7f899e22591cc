import type { Clock, TimerHandle, Timers } from "../../ports/index.js";

interface Armed {
  readonly deadline: number;
  readonly callback: () => void;
  cancelled: boolean;
}

/**
 * Timers on real time. They fire when the VM's scheduler calls runDue() between turns; the
 * scheduler sleeps in the event loop until the next deadline when all vCPUs wait.
 */
export class NodeTimers implements Timers {
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
      },
    };
  }

  nextDeadlineNs(): number | undefined {
    return this.#first()?.deadline;
  }

  runDue(): number {
    const now = this.#clock.monotonicNs();
    const due: Armed[] = [];
    for (let timer = this.#first(); timer !== undefined; timer = this.#first()) {
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

  /** The earliest timer that was not cancelled. */
  #first(): Armed | undefined {
    for (;;) {
      const timer = this.#queue.at(-1);
      if (timer === undefined || !timer.cancelled) return timer;
      this.#queue.pop();
    }
  }
}
