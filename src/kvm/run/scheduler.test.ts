import { describe, expect, it } from "vitest";
import { HeapTimers, VirtualClock } from "../../hosts/sim/index.js";
import type { Clock } from "../../ports/index.js";
import { VmClock } from "../cpu/clock.js";
import { type Runner, Scheduler, SLICE, type Turn } from "./scheduler.js";

/** A vCPU that exits after every `step` instructions, and its client. */
class Client implements Runner {
  readonly index: number;
  work = 0;
  exits = 0;
  /** Order of all turns, shared. */
  readonly #log: string[];
  readonly #scheduler: Scheduler;
  readonly #step: number;
  #resolve: (() => void) | undefined;

  constructor(index: number, scheduler: Scheduler, log: string[], step = 10) {
    this.index = index;
    this.#scheduler = scheduler;
    this.#log = log;
    this.#step = step;
  }
  canRun(): boolean {
    return true;
  }
  onRunning(): void {}
  onPreempted(): void {}
  turn(budget: number): Turn {
    this.#log.push(`${this.index}`);
    const retired = Math.min(budget, this.#step);
    this.work += retired;
    if (retired < this.#step) return "budget";
    this.exits++;
    this.#scheduler.remove(this);
    this.#resolve?.();
    return "exited";
  }
  /** As Vcpu.run(); true when it went on at once. */
  run(): Promise<boolean> {
    this.#resolve = undefined;
    const turn = this.#scheduler.again(this);
    if (turn === "exited") return Promise.resolve(true);
    return new Promise((resolve) => {
      this.#resolve = () => resolve(false);
      if (turn === undefined) this.#scheduler.add(this);
    });
  }
}

/** A vCPU that waits for an event, and has one turn after it. */
class Waiter implements Runner {
  readonly index: number;
  readonly work = 0;
  awake = false;
  readonly #log: string[];

  constructor(index: number, log: string[]) {
    this.index = index;
    this.#log = log;
  }
  canRun(): boolean {
    return this.awake;
  }
  onRunning(): void {}
  onPreempted(): void {}
  turn(): Turn {
    this.#log.push(`${this.index}`);
    this.awake = false;
    return "waiting";
  }
}

/** A vCPU that lets others go first, so many times. */
class Spinner implements Runner {
  readonly index: number;
  work = 0;
  left: number;
  readonly #scheduler: Scheduler;

  constructor(index: number, scheduler: Scheduler, turns: number) {
    this.index = index;
    this.#scheduler = scheduler;
    this.left = turns;
  }
  canRun(): boolean {
    return true;
  }
  onRunning(): void {}
  onPreempted(): void {}
  turn(): Turn {
    this.work += 10;
    this.left--;
    if (this.left > 0) return "yielded";
    this.#scheduler.remove(this);
    return "exited";
  }
}

/** A clock as the host's, which the test sets. */
class ManualClock implements Clock {
  ns = 0;
  monotonicNs(): number {
    return this.ns;
  }
  realtimeNs(): number {
    return this.ns;
  }
}

function setUp(clock: Clock = new VirtualClock()) {
  const counter = { yields: 0 };
  const loop = {
    yieldNow: () => {
      counter.yields++;
      return new Promise<void>((resolve) => setImmediate(resolve));
    },
    after: () => () => undefined,
  };
  const timers = new HeapTimers(clock);
  const scheduler = new Scheduler(new VmClock(clock, timers), loop, (error) => {
    throw error;
  });
  return { scheduler, counter, timers };
}

describe("a vCPU that lets others go first", () => {
  const over = async (spinners: readonly Spinner[]) => {
    while (spinners.some(({ left }) => left > 0)) await new Promise((then) => setImmediate(then));
  };

  it("lets the host have its turn when no other one can run, each time", async () => {
    const { scheduler, counter } = setUp();
    const spinner = new Spinner(0, scheduler, 50);
    scheduler.add(spinner);
    scheduler.add(new Waiter(1, []));
    await over([spinner]);
    expect(counter.yields).toBeGreaterThanOrEqual(49);
  });

  it("has the host wait for a slice when another one can", async () => {
    const { scheduler, counter } = setUp();
    const spinners = [0, 1].map((index) => new Spinner(index, scheduler, 50));
    for (const spinner of spinners) scheduler.add(spinner);
    await over(spinners);
    expect(counter.yields).toBeLessThan(10);
  });
});

describe("a vCPU that its client runs again", () => {
  it("goes on at once, and lets the host have its turn after a slice", async () => {
    const { scheduler, counter } = setUp();
    const client = new Client(0, scheduler, []);
    let direct = 0;
    for (let i = 0; i < 5000; i++) if (await client.run()) direct++;
    expect(client.exits).toBe(5000);
    expect(direct).toBeGreaterThan(4900);
    // An exit counts 200 instructions at least: a slice has 1000 of them.
    expect(counter.yields).toBeGreaterThanOrEqual(5);
    expect(counter.yields).toBeLessThan(20);
  });

  it("keeps its slice while promises are served, however many, and no longer", async () => {
    const { scheduler } = setUp();
    const log: string[] = [];
    const first = new Client(0, scheduler, log);
    void new Client(1, scheduler, log, SLICE * 10).run();
    await first.run();
    for (let i = 0; i < 100; i++) await undefined;
    await first.run();
    expect(log).toEqual(["0", "0"]);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(log.slice(2)).toContain("1");
    scheduler.close();
  });

  it("gives others their turn when its slice is over", async () => {
    const { scheduler } = setUp();
    const log: string[] = [];
    const clients = [new Client(0, scheduler, log), new Client(1, scheduler, log)];
    await Promise.all(
      clients.map(async (client) => {
        for (let i = 0; i < 3000; i++) await client.run();
      }),
    );
    const changes = log.filter((index, i) => i > 0 && index !== log[i - 1]).length;
    expect(changes).toBeGreaterThanOrEqual(4);
    expect(changes).toBeLessThan(20);
  });

  it("has its turn when those before it come back sooner than it would be found", async () => {
    const { scheduler } = setUp();
    const hostTurn = () => new Promise((resolve) => setImmediate(resolve));
    const clients = [0, 1, 2, 3].map((index) => new Client(index, scheduler, []));
    let stopped = false;
    const all = clients.map(async (client) => {
      while (!stopped) {
        await client.run();
        // Longer than a promise, as for a client in another process.
        await hostTurn();
      }
    });
    for (let i = 0; i < 400; i++) await hostTurn();
    stopped = true;
    await Promise.all(all);
    const exits = clients.map((client) => client.exits);
    expect(Math.min(...exits)).toBeGreaterThan(Math.max(...exits) / 2);
  });

  it("goes on at once after the scheduler had nothing left to do, however late", async () => {
    const { scheduler } = setUp();
    const client = new Client(0, scheduler, []);
    const atOnce: boolean[] = [];
    for (let i = 0; i < 3; i++) {
      atOnce.push(await client.run());
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    }
    expect(atOnce).toEqual([false, true, true]);
    expect(client.exits).toBe(3);
  });

  it("waits for its turn when another one had one meanwhile", async () => {
    const { scheduler } = setUp();
    const client = new Client(0, scheduler, []);
    const other = new Client(1, scheduler, []);
    await client.run();
    await other.run();
    expect(await client.run()).toBe(false);
    expect(await other.run()).toBe(false);
  });

  it("starts the scheduler anew when its turn ends without an exit", async () => {
    const { scheduler } = setUp();
    const log: string[] = [];
    const client = new Client(0, scheduler, log, SLICE - 10);
    await client.run();
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    // Ten instructions are left of its slice: too few for the next exit.
    await client.run();
    expect(client.exits).toBe(2);
    expect(log).toEqual(["0", "0", "0"]);
  });

  it("wakes a scheduler whose other vCPUs wait when it arms an earlier timer", async () => {
    const clock = new ManualClock();
    const { scheduler, timers } = setUp(clock);
    const log: string[] = [];
    const waiter = new Waiter(1, log);
    scheduler.add(waiter);
    const client = new Client(0, scheduler, log);
    await client.run();
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    clock.ns = 1;
    timers.arm(1, () => {
      waiter.awake = true;
    });
    expect(await client.run()).toBe(true);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(log.at(-1)).toBe("1");
    scheduler.close();
  });
});
