import type { EventLoop } from "../../base/index.js";
import { assert } from "../../base/index.js";
import type { Hold } from "../api/engine.js";
import type { SchedulerPosition } from "../api/kept.js";
import type { VmClock } from "../cpu/clock.js";

/** How a turn of a vCPU ended. */
export type Turn =
  /** Its budget is used up, or a timer is due. */
  | "budget"
  /** It lets others go first. */
  | "yielded"
  /** It waits for an event. */
  | "waiting"
  /** Its run() has resolved. */
  | "exited";

/** A vCPU as the scheduler sees it. */
export interface Runner {
  /** Order of creation, which is the order of turns. */
  readonly index: number;
  /** It can execute now, or has events to process. */
  canRun(): boolean;
  /** Does about `budget` units of work, less when a timer is due earlier. */
  turn(budget: number): Turn;
  /** Units of work done in turns since creation. */
  readonly work: number;
  /** It gets the thread after a new run(), a wait, or others. */
  onRunning(): void;
  /** It loses the thread to another one although it could go on. */
  onPreempted(): void;
}

/**
 * Units of work before the next vCPU has its turn, and before the host has its: input, signals,
 * time-outs, other VMs. Everything that a guest or client can do often or make long counts as work:
 *
 * - each instruction 1, each exception delivered 1, repeated string instructions by their elements
 *   (the engine counts: engine/core/run.ts);
 * - each entry into the guest at least {@link EXIT_COST}, each turn at least {@link TURN_COST};
 * - what KVM or its client does in an exit beside that, by {@link Scheduler.charge}.
 *
 * It is counted, not measured, so that the order of turns is the same in every run. A unit takes some
 * nanoseconds, and at most about one microsecond: a slice is over in far less than a second.
 */
export const SLICE = 200_000;

/** Work that an entry into the guest with its exit counts at least. */
export const EXIT_COST = 20;

/** What a turn counts at least. */
const TURN_COST = 200;

/** Above this the scheduler sleeps in the host; below it polls the clock. */
const SLEEP_FLOOR_NS = 1_500_000;

/**
 * Gives the vCPUs of a VM turns in its one thread, in order of creation. Timers fire only between
 * turns. Under a virtual clock every unit of work is a nanosecond, turns end exactly at
 * the next deadline, and when all vCPUs wait, time jumps there.
 */
export class Scheduler {
  readonly #clock: VmClock;
  readonly #loop: EventLoop;
  readonly #active: Runner[] = [];
  /** Those that must be told when they get the thread. */
  readonly #away = new Set<Runner>();
  #running = false;
  #current: Runner | undefined;
  /** Work left of the current one's slice. */
  #left = 0;
  #wake: (() => void) | undefined;
  /** The timer that the sleep ends for which {@link #wake} would end. */
  #sleepsUntilNs = 0;
  #closed = false;
  /** Work since the host had its turn. */
  #sinceYield = 0;
  /** The vCPU whose run() resolved last, until another one has a turn. */
  #offered: Runner | undefined;
  /** Ends the wait for that client. */
  #resume: (() => void) | undefined;
  /** The host has been asked for its turn. */
  #yielding = false;
  #hold: Hold | undefined;
  readonly #onCrash: (error: unknown) => void;

  /** `onCrash` hears of an error that ended all turns: a defect of this library. */
  constructor(clock: VmClock, loop: EventLoop, onCrash: (error: unknown) => void) {
    this.#clock = clock;
    this.#loop = loop;
    this.#onCrash = onCrash;
  }

  /** How many vCPUs are inside run(). */
  get activeCount(): number {
    return this.#active.length;
  }

  /** Whether a vCPU is inside run(). */
  has(runner: Runner): boolean {
    return this.#active.includes(runner);
  }

  /** Time and turns stand still for this, at the first turn's end that it can be; undefined: for nothing. */
  set hold(hold: Hold | undefined) {
    this.#hold = hold;
    if (hold !== undefined) this.wake();
  }

  /** To be looked at during a hold, and set when all are inside run() and none had a turn. */
  get position(): SchedulerPosition {
    return {
      current: this.#current?.index,
      left: this.#left,
      sinceYield: this.#sinceYield,
      away: [...this.#away].map(({ index }) => index),
    };
  }

  /** `runners`: all that there are, inside run() or not. */
  goOnAt(position: SchedulerPosition, runners: readonly Runner[]): void {
    this.#current = position.current === undefined ? undefined : runners[position.current];
    this.#left = position.left;
    this.#sinceYield = position.sinceYield;
    this.#away.clear();
    for (const index of position.away) {
      const runner = runners[index];
      if (runner !== undefined) this.#away.add(runner);
    }
  }

  /** A vCPU enters run(). */
  add(runner: Runner): void {
    assert(!this.#closed, "Scheduler.add: the VM was stopped");
    this.#insert(runner);
    this.#proceed();
  }

  /** Turns go on: from a wait, or anew. */
  #proceed(): void {
    this.wake();
    this.#resume?.();
    if (this.#running) return;
    this.#running = true;
    this.#run().catch((error: unknown) => this.#crash(error));
  }

  /**
   * A vCPU enters run() again: when no other one had a turn since its last exit and its slice is not
   * over, it goes on here and now, which saves the way through the event loop.
   * @returns how its turn ended, after {@link add} has become superfluous; undefined when it got none.
   */
  again(runner: Runner): Turn | undefined {
    if (this.#offered !== runner || this.#closed) return undefined;
    if (this.#left <= 0 || this.#sinceYield >= SLICE) return undefined;
    this.#insert(runner);
    try {
      const turn = runner.canRun() ? this.#turn(runner) : "waiting";
      if (turn !== "exited" || this.#sleepsTooLong()) this.#proceed();
      return turn;
    } catch (error) {
      this.#crash(error);
      throw error;
    }
  }

  /** Every other vCPU waits, and a timer is armed that comes before the end of that. */
  #sleepsTooLong(): boolean {
    if (this.#wake === undefined) return false;
    const next = this.#clock.timers.nextDeadlineNs();
    return next !== undefined && next < this.#sleepsUntilNs;
  }

  /** Counts work that was done for a vCPU outside of its turns. */
  charge(runner: Runner, work: number): void {
    this.#sinceYield += work;
    if (this.#current === runner) this.#left -= work;
  }

  #insert(runner: Runner): void {
    const active = this.#active;
    assert(!active.includes(runner), "Scheduler.add: vCPU runs already");
    const at = active.length === 0 ? -1 : active.findIndex((other) => other.index > runner.index);
    if (at < 0) active.push(runner);
    else active.splice(at, 0, runner);
    this.#away.add(runner);
  }

  #crash(error: unknown): void {
    this.close();
    this.#onCrash(error);
  }

  /** A vCPU leaves run(). */
  remove(runner: Runner): void {
    const active = this.#active;
    if (active.at(-1) === runner) {
      active.pop();
      return;
    }
    const at = active.indexOf(runner);
    if (at >= 0) active.splice(at, 1);
  }

  /** Something happened that may end a wait. */
  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** No turn follows. */
  close(): void {
    this.#closed = true;
    this.#active.length = 0;
    this.wake();
    this.#resume?.();
  }

  async #run(): Promise<void> {
    try {
      // Lets the other vCPUs of the same moment call run() too.
      await this.#loop.yieldNow();
      while (this.#active.length > 0 && !this.#closed) {
        const held = this.#startHold();
        if (held !== undefined) {
          await held;
          continue;
        }
        const blocked = this.#clock.timers.blocked?.();
        if (blocked !== undefined) {
          await blocked;
          // Whoever is on its way into run() is there now, whether the host was late or not.
          await this.#loop.yieldNow();
          continue;
        }
        this.#clock.timers.runDue();
        const runner = this.#next();
        if (runner === undefined) await this.#idle();
        else if (this.#turn(runner) === "exited") await this.#resubmission(runner);
        if (this.#sinceYield >= SLICE) {
          this.#sinceYield = 0;
          await this.#loop.yieldNow();
        }
      }
    } finally {
      this.#running = false;
    }
  }

  #startHold(): Promise<void> | undefined {
    const hold = this.#hold;
    if (hold === undefined || this.#clock.nowNs() < hold.atNs) return undefined;
    const held = hold.start();
    if (held !== undefined && this.#hold === hold) this.#hold = undefined;
    return held;
  }

  /** The current vCPU while it has budget, else the next one that can run. */
  #next(): Runner | undefined {
    const current = this.#current;
    const at = current === undefined ? -1 : this.#active.indexOf(current);
    if (current !== undefined && at >= 0 && this.#left > 0 && current.canRun()) return current;
    const count = this.#active.length;
    const first = at >= 0 || current === undefined ? at + 1 : this.#after(current);
    for (let i = 0; i < count; i++) {
      const runner = this.#active[(first + i) % count] as Runner;
      if (runner.canRun()) return runner;
    }
    return undefined;
  }

  /**
   * Where the one behind a vCPU is that has left run(): from the first one on, the last ones would have no
   * turn as long as the first come back soon.
   */
  #after(gone: Runner): number {
    const at = this.#active.findIndex((other) => other.index > gone.index);
    return at < 0 ? 0 : at;
  }

  #turn(runner: Runner): Turn {
    const before = this.#current;
    if (this.#offered !== runner) this.#offered = undefined;
    if (before !== runner || this.#left <= 0) this.#left = SLICE;
    if (before !== runner) {
      this.#current = runner;
      if (before !== undefined && this.#active.includes(before) && !this.#away.has(before)) {
        this.#away.add(before);
        before.onPreempted();
      }
    }
    if (this.#away.delete(runner)) runner.onRunning();
    const start = runner.work;
    const turn = runner.turn(this.#left);
    const cost = Math.max(TURN_COST, runner.work - start);
    this.#sinceYield += cost;
    this.#left -= cost;
    if (turn === "waiting") this.#away.add(runner);
    if (turn === "waiting" || turn === "yielded") this.#left = 0;
    // Who spins with nobody to go first waits for the host, as GRUB for its disk: it has its turn now.
    if (turn === "yielded" && !this.#active.some((other) => other !== runner && other.canRun()))
      this.#sinceYield = Math.max(this.#sinceYield, SLICE);
    return turn;
  }

  /**
   * Lets the client handle an exit and call run() again. The host's turn comes when no promise is
   * left to be served, so it is over only for clients that wait for something outside.
   */
  #resubmission(runner: Runner): Promise<void> {
    return new Promise((resolve) => {
      this.#offered = runner;
      this.#resume = () => {
        this.#resume = undefined;
        resolve();
      };
      if (this.#yielding) return;
      this.#yielding = true;
      this.#loop.yieldNow().then(() => {
        this.#yielding = false;
        this.#resume?.();
      });
    });
  }

  /** Every vCPU waits: until the next timer, or until something wakes one. */
  async #idle(): Promise<void> {
    this.#sinceYield = 0;
    const deadline = this.#clock.timers.nextDeadlineNs();
    const virtual = this.#clock.clock.virtual;
    if (virtual !== undefined && deadline !== undefined) {
      await this.#loop.yieldNow();
      // Input may have woken a vCPU or armed an earlier timer meanwhile.
      const next = this.#clock.timers.nextDeadlineNs();
      if (next !== undefined && this.#next() === undefined && this.#active.length > 0) {
        virtual.jump(Math.max(next, this.#clock.nowNs()));
      }
      return;
    }
    this.#sleepsUntilNs = deadline ?? Number.POSITIVE_INFINITY;
    const left = deadline === undefined ? undefined : deadline - this.#clock.nowNs();
    if (left !== undefined && left < SLEEP_FLOOR_NS) {
      await this.#loop.yieldNow();
      return;
    }
    await this.#sleep(left === undefined ? undefined : (left - 1_000_000) / 1e6);
  }

  #sleep(ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      let cancel: (() => void) | undefined;
      this.#wake = () => {
        cancel?.();
        resolve();
      };
      // A host forgets a program that waits for nothing: without a deadline, look again now and then.
      cancel = this.#loop.after(Math.min(ms ?? 60_000, 60_000), () => this.wake());
    });
  }
}
