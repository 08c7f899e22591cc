/** Timers in an exact snapshot: armed again for the same times, in the order in which all were. */
import { describe, expect, it } from "vitest";
import { apicId } from "../../base/index.js";
import { FakeTime, FakeVcpu } from "./kvm.fixture.js";
import { VcpuTimers, Watchdogs } from "./timers.js";

/** Nanoseconds that Xen's system time is ahead of the host's clock here. */
const AHEAD = 700;

/** A clock of virtual time: its timers know their order. */
class OrderedTime extends FakeTime {
  #next = 1;

  override arm(deadline: number, callback: () => void) {
    return { ...super.arm(deadline, callback), order: this.#next++ };
  }
}

function setUp(time: FakeTime = new OrderedTime()) {
  let fired = 0;
  const vm = {
    getClock: () => ({ clock: BigInt(time.now + AHEAD), flags: 0, realtime: 0n, hostTsc: 0n }),
  };
  const source = { clock: time, timers: time };
  const timers = new VcpuTimers(vm, new FakeVcpu(apicId(4), []), source, () => fired++);
  const watchdogs = new Watchdogs(source, () => fired++);
  const goTo = (now: number): number => {
    time.now = now;
    time.runDue();
    return fired;
  };
  const armed = (): number[] => [...time.armed].map(({ deadline }) => deadline);
  const waiting: [number, () => void][] = [];
  const later = (order: number, arm: () => void) => void waiting.push([order, arm]);
  /** Arms what waits, and says in which order. */
  const arm = (): number[] =>
    waiting.splice(0).map(([order, run]) => {
      run();
      return order;
    });
  return { timers, watchdogs, goTo, armed, later, arm };
}

describe("a vCPU's timers in an exact snapshot", () => {
  it("are none at first", () => {
    const none = { oneShot: undefined, periodic: undefined, next: 0n, periodNs: 0n };
    expect(setUp().timers.kept).toEqual(none);
  });

  it("go on where they were, and not before all are known", () => {
    const { timers } = setUp();
    timers.setPeriodic(2000n);
    timers.setOneShot(5000n);
    const { kept } = timers;
    expect(kept).toEqual({
      oneShot: { atNs: 5000 - AHEAD, order: 2 },
      periodic: { atNs: 3000, order: 1 },
      ...{ next: 1000n + 2000n + BigInt(AHEAD), periodNs: 2000n },
    });
    const next = setUp();
    // What was armed there is not any more.
    next.timers.setPeriodic(1n);
    next.timers.setOneShot(9000n);
    next.timers.keep(kept, next.later);
    expect([next.armed(), next.timers.hasOneShot, next.timers.hasPeriodic]).toEqual([
      ...[[], false, false],
    ]);
    expect([next.arm(), next.armed()]).toEqual([
      [2, 1],
      [5000 - AHEAD, 3000],
    ]);
    expect(next.timers.kept).toMatchObject({ next: kept.next, periodNs: 2000n });
    expect(next.timers.kept.oneShot?.atNs).toBe(5000 - AHEAD);
    expect(next.timers.kept.periodic?.atNs).toBe(3000);
    expect([next.goTo(2999), next.goTo(3000), next.goTo(4300)]).toEqual([0, 1, 2]);
    expect([next.armed(), next.goTo(5000), next.armed()]).toEqual([[5000], 3, [7000]]);
  });

  it.each(["oneShot", "periodic"] as const)("may be one alone: %s", (which) => {
    const next = setUp();
    const timer = { atNs: 4000, order: 9 };
    const none = { oneShot: undefined, periodic: undefined, next: 4700n, periodNs: 1000n };
    next.timers.keep({ ...none, [which]: timer }, next.later);
    expect([next.arm(), next.armed()]).toEqual([[9], [4000]]);
    expect([next.timers.hasOneShot, next.timers.hasPeriodic]).toEqual([
      which === "oneShot",
      which === "periodic",
    ]);
  });

  it("have no order with a clock that gives none", () => {
    const { timers } = setUp(new FakeTime());
    timers.setOneShot(5000n);
    expect(timers.kept.oneShot).toEqual({ atNs: 4300, order: 0 });
  });
});

describe("watchdogs in an exact snapshot", () => {
  it("are the two that there were, for the same times", () => {
    const { watchdogs } = setUp();
    expect(watchdogs.kept).toEqual([undefined, undefined]);
    watchdogs.start(3);
    watchdogs.start(5);
    watchdogs.set(1, 0);
    expect(watchdogs.kept).toEqual([undefined, { atNs: 5e9 + 1000, order: 2 }]);
    const next = setUp();
    next.watchdogs.start(1);
    next.watchdogs.keep(watchdogs.kept, next.later);
    expect([next.armed(), next.arm(), next.armed()]).toEqual([[], [2], [5e9 + 1000]]);
    // The first one is free, the second is not.
    expect([next.watchdogs.set(1, 1), next.watchdogs.start(1), next.watchdogs.start(1)]).toEqual([
      ...[false, 1, undefined],
    ]);
    expect(next.watchdogs.kept.map((one) => one?.atNs)).toEqual([1e9 + 1000, 5e9 + 1000]);
    expect(next.goTo(5e9 + 1000)).toBe(2);
  });

  it("are no more than two", () => {
    const next = setUp();
    const timers = [1, 2, 3].map((order) => ({ atNs: order * 1000, order }));
    next.watchdogs.keep(timers, next.later);
    expect(next.arm()).toEqual([1, 2]);
  });
});
