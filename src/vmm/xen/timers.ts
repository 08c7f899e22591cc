/**
 * Timers of a vCPU by Xen's hypercalls. One-shot timers are KVM's once the guest has bound
 * VIRQ_TIMER; before that, and for periodic ones, they are kept here. Times are Xen system time,
 * which is kvmclock, in nanoseconds.
 */
import { KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL } from "../../abi/kvm/index.js";
import {
  type ArmLater,
  type Clock,
  type TimerHandle,
  type Timers,
  TraceBy,
  type TraceSink,
} from "../../ports/index.js";
import { attempt, type XenVcpu, type XenVm } from "./kvm-objects.js";

/** What set_timer_op takes for a bug of old kernels: 2^50 ns ahead or more, or negative. */
const LINUX_WORKAROUND_NS = 1n << 50n;
const WORKAROUND_DELAY_NS = 100_000_000n;

/** Where the time comes from. */
export interface TimeSource {
  readonly clock: Clock;
  readonly timers: Timers;
}

/** A timer that is armed: for when by the clock port, and in which order among all. */
export interface ArmedTimer {
  readonly atNs: number;
  readonly order: number;
}

/** Timers of a vCPU that are armed here. */
export interface VcpuTimersKept {
  readonly oneShot: ArmedTimer | undefined;
  readonly periodic: ArmedTimer | undefined;
  readonly next: bigint;
  readonly periodNs: bigint;
}

const armedAt = (atNs: number, timer: TimerHandle | undefined): ArmedTimer | undefined =>
  timer === undefined ? undefined : { atNs, order: timer.order ?? 0 };

export class VcpuTimers {
  readonly #vm: Pick<XenVm, "getClock">;
  readonly #vcpu: XenVcpu;
  readonly #clock: Clock;
  readonly #timers: Timers;
  /** Raises VIRQ_TIMER of the vCPU, if it is bound. */
  readonly #fire: () => void;
  readonly #watched: { readonly trace: TraceSink | undefined };
  #oneShot: TimerHandle | undefined;
  #periodic: TimerHandle | undefined;
  /** When they fire, by the clock port. */
  #oneShotNs = 0;
  #periodicNs = 0;
  /** System time of the next tick, and between two. */
  #next = 0n;
  #periodNs = 0n;

  /** `watched`: where those stand who watch. */
  constructor(
    vm: Pick<XenVm, "getClock">,
    vcpu: XenVcpu,
    time: TimeSource,
    fire: () => void,
    watched: { readonly trace: TraceSink | undefined } = { trace: undefined },
  ) {
    this.#watched = watched;
    this.#vm = vm;
    this.#vcpu = vcpu;
    this.#clock = time.clock;
    this.#timers = time.timers;
    this.#fire = fire;
  }

  /** A one-shot timer is armed here, not in KVM. */
  get hasOneShot(): boolean {
    return this.#oneShot !== undefined;
  }

  get hasPeriodic(): boolean {
    return this.#periodic !== undefined;
  }

  /** VCPUOP_set_singleshot_timer: a deadline that has passed fires at once. */
  setOneShot(deadlineNs: bigint): number {
    this.#oneShot?.cancel();
    this.#oneShot = undefined;
    const { port } = this.#vcpu.xen.getAttr("TIMER");
    const priority = KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL;
    if (port !== 0) {
      // 0 would mean "not armed".
      const expiresNs = deadlineNs === 0n ? 1n : deadlineNs;
      return attempt(() => this.#vcpu.xen.setAttr({ type: "TIMER", port, priority, expiresNs }));
    }
    this.#armOneShot(this.#at(deadlineNs));
    return 0;
  }

  /** VCPUOP_stop_singleshot_timer. */
  stopOneShot(): number {
    this.#oneShot?.cancel();
    this.#oneShot = undefined;
    const { port } = this.#vcpu.xen.getAttr("TIMER");
    const priority = KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL;
    if (port === 0) return 0;
    return attempt(() => this.#vcpu.xen.setAttr({ type: "TIMER", port, priority, expiresNs: 0n }));
  }

  /** set_timer_op: as the one-shot timer; 0 stops it. `deadlineNs` is a u64. */
  setTimerOp(deadlineNs: bigint): number {
    if (deadlineNs === 0n) return this.stopOneShot();
    const now = this.#vm.getClock().clock;
    const signed = BigInt.asIntN(64, deadlineNs);
    const odd = signed < 0n || signed - now >= LINUX_WORKAROUND_NS;
    return this.setOneShot(odd ? now + WORKAROUND_DELAY_NS : deadlineNs);
  }

  /** VCPUOP_set_periodic_timer. The period has been checked. */
  setPeriodic(periodNs: bigint): void {
    this.stopPeriodic();
    this.#periodNs = periodNs;
    this.#next = this.#vm.getClock().clock + periodNs;
    this.#armPeriodic(this.#at(this.#next));
  }

  #tick(): void {
    // Ticks that were missed are not made up for, as in Xen.
    const now = this.#vm.getClock().clock;
    const period = this.#periodNs;
    while (this.#next <= now) this.#next += period * ((now - this.#next) / period + 1n);
    this.#armPeriodic(this.#at(this.#next));
    this.#raise();
  }

  /** VCPUOP_stop_periodic_timer. */
  stopPeriodic(): void {
    this.#periodic?.cancel();
    this.#periodic = undefined;
  }

  /** Stops what is kept here. */
  close(): void {
    this.#oneShot?.cancel();
    this.#oneShot = undefined;
    this.stopPeriodic();
  }

  #raise(): void {
    const { trace } = this.#watched;
    if (trace !== undefined) trace.timerFired(this.#vcpu.id, TraceBy.MONITOR, 0, 1);
    this.#fire();
  }

  /** When a system time is, by the clock port. */
  #at(systemTimeNs: bigint): number {
    const { trace } = this.#watched;
    if (trace !== undefined) trace.timerArmed(this.#vcpu.id, TraceBy.MONITOR, 0, systemTimeNs);
    const delay = Number(systemTimeNs - this.#vm.getClock().clock);
    return this.#clock.monotonicNs() + Math.max(0, delay);
  }

  #armOneShot(atNs: number): void {
    this.#oneShotNs = atNs;
    this.#oneShot = this.#timers.arm(atNs, () => {
      this.#oneShot = undefined;
      this.#raise();
    });
  }

  #armPeriodic(atNs: number): void {
    this.#periodicNs = atNs;
    this.#periodic = this.#timers.arm(atNs, () => this.#tick());
  }

  /** What is armed here, for exact snapshots. */
  get kept(): VcpuTimersKept {
    const oneShot = armedAt(this.#oneShotNs, this.#oneShot);
    const periodic = armedAt(this.#periodicNs, this.#periodic);
    return { oneShot, periodic, next: this.#next, periodNs: this.#periodNs };
  }

  /** Arms what {@link kept} gave. */
  keep({ oneShot, periodic, next, periodNs }: VcpuTimersKept, later: ArmLater): void {
    this.close();
    this.#next = next;
    this.#periodNs = periodNs;
    if (oneShot !== undefined) later(oneShot.order, () => this.#armOneShot(oneShot.atNs));
    if (periodic !== undefined) later(periodic.order, () => this.#armPeriodic(periodic.atNs));
  }
}

/** The two watchdogs of a domain (SCHEDOP_watchdog). */
export class Watchdogs {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #expire: () => void;
  readonly #armed: (TimerHandle | undefined)[] = [undefined, undefined];
  readonly #atNs = [0, 0];

  constructor(time: TimeSource, expire: () => void) {
    this.#clock = time.clock;
    this.#timers = time.timers;
    this.#expire = expire;
  }

  /** Starts a free one; answers its id, 1 or 2, or undefined when none is free. */
  start(timeoutSeconds: number): number | undefined {
    const slot = this.#armed.indexOf(undefined);
    if (slot < 0) return undefined;
    this.#arm(slot, timeoutSeconds);
    return slot + 1;
  }

  /** Sets one anew, or stops it with 0. False when it does not run. */
  set(id: number, timeoutSeconds: number): boolean {
    const running = this.#armed[id - 1];
    if (running === undefined) return false;
    running.cancel();
    this.#armed[id - 1] = undefined;
    if (timeoutSeconds !== 0) this.#arm(id - 1, timeoutSeconds);
    return true;
  }

  /** Stops both. */
  close(): void {
    for (const timer of this.#armed) timer?.cancel();
    this.#armed.fill(undefined);
  }

  #arm(slot: number, seconds: number): void {
    this.#armAt(slot, this.#clock.monotonicNs() + seconds * 1e9);
  }

  #armAt(slot: number, atNs: number): void {
    this.#atNs[slot] = atNs;
    this.#armed[slot] = this.#timers.arm(atNs, this.#expire);
  }

  /** Both, for exact snapshots. */
  get kept(): readonly (ArmedTimer | undefined)[] {
    return this.#armed.map((timer, slot) => armedAt(this.#atNs[slot] ?? 0, timer));
  }

  /** Arms what {@link kept} gave. */
  keep(kept: readonly (ArmedTimer | undefined)[], later: ArmLater): void {
    this.close();
    for (const [slot, timer] of kept.slice(0, 2).entries()) {
      if (timer !== undefined) later(timer.order, () => this.#armAt(slot, timer.atNs));
    }
  }
}
