/** Where a VM's time comes from. Two implementations: the host's clock and virtual time. */
export interface Clock {
  /** Nanoseconds since some fixed start; never goes back. Exact as a number for 104 days. */
  monotonicNs(): number;
  /** Nanoseconds since 1970-01-01 UTC, to the precision of a number (256 ns). */
  realtimeNs(): number;
  /**
   * Present on virtual clocks only: time stands still until it is moved. `advance` adds
   * nanoseconds of executed instructions; `jump` sets the time to a later moment.
   */
  readonly virtual?: {
    advance(ns: number): void;
    jump(toMonotonicNs: number): void;
  };
}

/** A timer that has been armed. */
export interface TimerHandle {
  /** Takes the timer back; does nothing when it has fired already. */
  cancel(): void;
  /** Timers of one deadline fire in this order. Virtual time only. */
  readonly order?: number;
}

/** How a timer that was saved is armed again: in the order in which all were armed, when all are known. */
export type ArmLater = (order: number, arm: () => void) => void;

/** Calls back when a moment of {@link Clock.monotonicNs} has come. */
export interface Timers {
  /**
   * Arms a timer. The callback runs between slices of the VM, never inside one, and never before
   * the deadline; a deadline in the past fires as soon as possible.
   */
  arm(deadlineNs: number, callback: () => void): TimerHandle;
  /** The earliest deadline that is armed, in nanoseconds, or undefined. */
  nextDeadlineNs(): number | undefined;
  /** Runs the callbacks of all deadlines that have passed; returns how many. */
  runDue(): number;
  /**
   * Virtual time only: a deadline has passed whose callback needs something of the host. It resolves when that is there,
   * and is given once, also when it was there before: whoever waits gives the host its turn then, so that what goes on
   * beside is as far as it can get in every run. To be asked before {@link runDue}, until there is nothing to wait for.
   */
  blocked?(): Promise<void> | undefined;
}
