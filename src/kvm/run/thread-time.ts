import type { VmClock } from "../cpu/clock.js";

/** How long a vCPU has waited for its VM's thread, and for the processor below that: stolen time. */
export class ThreadTime {
  readonly #clock: VmClock;
  /** KVM_REQ_STEAL_UPDATE: it got the thread since its last entry. */
  scheduledIn = false;
  /** What the client's thread waited for a processor, where that is known. */
  hostRunDelay: (() => bigint) | undefined;
  #waitingSinceNs: number | undefined;
  #runDelayNs = 0;

  constructor(clock: VmClock) {
    this.#clock = clock;
  }

  /** It could run from now on. */
  ready(): void {
    this.#waitingSinceNs ??= this.#clock.nowNs();
  }

  /** It gets the thread. */
  taken(): void {
    if (this.#waitingSinceNs !== undefined) {
      this.#runDelayNs += this.#clock.nowNs() - this.#waitingSinceNs;
      this.#waitingSinceNs = undefined;
    }
    this.scheduledIn = true;
  }

  /** It loses it although it could go on. */
  lost(): void {
    this.#waitingSinceNs = this.#clock.nowNs();
  }

  /** Nanoseconds in all (the kernel's run_delay). */
  runDelayNs(): bigint {
    const own = BigInt(Math.floor(this.#runDelayNs));
    return this.hostRunDelay === undefined ? own : own + this.hostRunDelay();
  }

  /** Since when it waits, and how long it has waited before. */
  get waited(): { readonly sinceNs: number | undefined; readonly totalNs: number } {
    return { sinceNs: this.#waitingSinceNs, totalNs: this.#runDelayNs };
  }
  set waited({ sinceNs, totalNs }: ThreadTime["waited"]) {
    this.#waitingSinceNs = sinceNs;
    this.#runDelayNs = totalNs;
  }
}
