import type { ArmLater, TimerHandle, Timers } from "../../ports/index.js";
import type { LapicTimerKept, LapicTimerMode } from "../api/kept.js";

/** Time as a local APIC sees it. */
export interface LapicTime {
  readonly timers: Timers;
  /** Nanoseconds of the clock port. */
  nowNs(): number;
  /** The moment, in nanoseconds of the clock port, at which this vCPU's TSC has that value. */
  tscToNs(tsc: bigint): number;
}

/**
 * The timer of a local APIC: its bus runs at 1 GHz, as KVM's. Counts are in bus cycles after the
 * divider; `fire` is called between slices of the VM.
 */
export class LapicTimer {
  readonly #time: LapicTime;
  readonly #fire: () => void;
  /** Nanoseconds of a bus cycle. */
  readonly #cycleNs: number;
  #armed: TimerHandle | undefined;
  #mode: LapicTimerMode = "one-shot";
  #divider = 2;
  #initialCount = 0;
  /** Expiry of the running count, or of the TSC deadline. */
  #targetNs = 0;
  #tscDeadline = 0n;

  constructor(time: LapicTime, fire: () => void, cycleNs: number) {
    this.#time = time;
    this.#fire = fire;
    this.#cycleNs = cycleNs;
  }

  /** Nanoseconds of one count. */
  get #countNs(): number {
    return this.#divider * this.#cycleNs;
  }

  /** The TSC deadline that is armed, or 0. */
  get tscDeadline(): bigint {
    return this.#mode === "tsc-deadline" ? this.#tscDeadline : 0n;
  }

  /** Changes the mode. To and from tsc-deadline it disarms and forgets the count. */
  setMode(mode: LapicTimerMode): void {
    if (mode === this.#mode) return;
    const forget = mode === "tsc-deadline" || this.#mode === "tsc-deadline";
    this.#mode = mode;
    if (!forget) return;
    this.stop();
    this.#initialCount = 0;
  }

  /** The initial count register; 0 after a change to or from tsc-deadline mode. */
  get initialCount(): number {
    return this.#initialCount;
  }

  /** Writes the divide configuration register: a running count goes on with the new rate. */
  setDivideConfiguration(value: number): void {
    const code = (value & 3) | ((value & 8) >> 1);
    const divider = 1 << ((code + 1) & 7);
    if (divider === this.#divider) return;
    const left = this.currentCount();
    this.#divider = divider;
    if (this.#armed !== undefined && this.#mode !== "tsc-deadline") {
      this.#armAt(this.#time.nowNs() + left * this.#countNs);
    }
  }

  /** Writes the initial count register: starts the count, or stops it for 0. */
  setInitialCount(count: number): void {
    if (this.#mode === "tsc-deadline") return;
    this.stop();
    this.#initialCount = count;
    if (count !== 0 && this.#mode !== "reserved")
      this.#armAt(this.#time.nowNs() + count * this.#countNs);
  }

  /** Writes IA32_TSC_DEADLINE; ignored in the other modes. 0 disarms. */
  setTscDeadline(value: bigint): void {
    if (this.#mode !== "tsc-deadline") return;
    this.stop();
    this.#tscDeadline = value;
    if (value !== 0n) this.#armAt(this.#time.tscToNs(value));
  }

  /** The TSC was changed under an armed deadline. */
  tscMoved(): void {
    if (this.#mode === "tsc-deadline" && this.#tscDeadline !== 0n) {
      this.setTscDeadline(this.#tscDeadline);
    }
  }

  /** The current count register. */
  currentCount(): number {
    if (this.#armed === undefined || this.#mode === "tsc-deadline") return 0;
    const left = Math.max(0, this.#targetNs - this.#time.nowNs());
    return Math.floor(left / this.#countNs);
  }

  /**
   * Continues a count that was saved with `current` cycles left (KVM_SET_LAPIC). None left: a one-shot count
   * ends at once, as in KVM (clients that do not keep the current count get its interrupt too early rather than
   * never), and a periodic one begins anew. There are never more left than the initial count.
   */
  restore(initialCount: number, current: number): void {
    this.stop();
    this.#initialCount = initialCount;
    if (initialCount === 0 || this.#mode === "tsc-deadline" || this.#mode === "reserved") return;
    const isNew = current === 0 && this.#mode === "periodic";
    const left = isNew ? initialCount : Math.min(current, initialCount);
    this.#armAt(this.#time.nowNs() + left * this.#countNs);
  }

  get kept(): LapicTimerKept {
    return {
      ...{ mode: this.#mode, divider: this.#divider, initialCount: this.#initialCount },
      ...{ targetNs: this.#targetNs, tscDeadline: this.#tscDeadline },
      armed: this.#armed === undefined ? undefined : (this.#armed.order ?? 0),
    };
  }

  /** Puts back what {@link kept} gave. */
  keep(kept: LapicTimerKept, later: ArmLater): void {
    this.stop();
    this.#mode = kept.mode;
    this.#divider = kept.divider;
    this.#initialCount = kept.initialCount;
    this.#targetNs = kept.targetNs;
    this.#tscDeadline = kept.tscDeadline;
    if (kept.armed !== undefined) later(kept.armed, () => this.#armAt(kept.targetNs));
  }

  /** Disarms. */
  stop(): void {
    this.#armed?.cancel();
    this.#armed = undefined;
    this.#tscDeadline = 0n;
  }

  #armAt(ns: number): void {
    this.#armed?.cancel();
    this.#targetNs = ns;
    this.#armed = this.#time.timers.arm(ns, () => this.#expire());
  }

  #expire(): void {
    this.#armed = undefined;
    this.#tscDeadline = 0n;
    if (this.#mode === "periodic" && this.#initialCount !== 0) {
      const period = this.#initialCount * this.#countNs;
      const now = this.#time.nowNs();
      // Ticks that were missed while the VM did not run are dropped, the phase is kept.
      const missed = Math.max(0, Math.floor((now - this.#targetNs) / period));
      this.#armAt(this.#targetNs + (missed + 1) * period);
    }
    this.#fire();
  }
}
