/** Timers by Xen's hypercalls: what a guest sees of them, and who watches. */
import { describe, expect, it } from "vitest";
import { apicId } from "../../base/index.js";
import { TraceBy, type TraceSink } from "../../ports/index.js";
import { FakeTime, FakeVcpu } from "./kvm.fixture.js";
import { VcpuTimers, Watchdogs } from "./timers.js";

/** Nanoseconds that Xen's system time is ahead of the host's clock here. */
const AHEAD = 700;

function setUp() {
  const time = new FakeTime();
  const vcpu = new FakeVcpu(apicId(4), []);
  const seen: unknown[][] = [];
  const trace = {
    timerArmed: (...args) => seen.push(["armed", ...args]),
    timerFired: (...args) => seen.push(["fired", ...args]),
  } as Partial<TraceSink> as TraceSink;
  const watched: { trace: TraceSink | undefined } = { trace: undefined };
  let fired = 0;
  const vm = {
    getClock: () => ({ clock: BigInt(time.now + AHEAD), flags: 0, realtime: 0n, hostTsc: 0n }),
  };
  const timers = new VcpuTimers(vm, vcpu, { clock: time, timers: time }, () => fired++, watched);
  const goTo = (now: number): number => {
    time.now = now;
    time.runDue();
    return fired;
  };
  /** Deadlines on the host's clock. */
  const armed = (): number[] => [...time.armed].map(({ deadline }) => deadline);
  const bind = (port: number): void =>
    vcpu.xen.setAttr({ type: "TIMER", port, priority: 0xffffffff, expiresNs: 0n });
  const inKvm = (): unknown => vcpu.attributes.values.get("TIMER");
  return { time, timers, goTo, armed, bind, inKvm, watched, trace, seen };
}

describe("a one-shot timer", () => {
  it("fires once at its system time, and not before", () => {
    const { timers, goTo, armed } = setUp();
    expect(timers.hasOneShot).toBe(false);
    expect(timers.setOneShot(5000n + BigInt(AHEAD))).toBe(0);
    expect([timers.hasOneShot, armed()]).toEqual([true, [5000]]);
    expect([goTo(4999), goTo(5000), goTo(9000)]).toEqual([0, 1, 1]);
    expect([timers.hasOneShot, armed()]).toEqual([false, []]);
  });

  it("that has passed fires at once", () => {
    const { timers, goTo, armed, time } = setUp();
    expect(timers.setOneShot(1n)).toBe(0);
    expect(armed()).toEqual([time.now]);
    expect(goTo(time.now)).toBe(1);
  });

  it("is one: set anew or stopped, the former does not fire", () => {
    const { timers, goTo, armed } = setUp();
    timers.setOneShot(5000n);
    timers.setOneShot(9000n);
    expect(armed()).toEqual([9000 - AHEAD]);
    expect(timers.stopOneShot()).toBe(0);
    expect([timers.hasOneShot, armed(), goTo(20_000)]).toEqual([false, [], 0]);
    expect(timers.stopOneShot()).toBe(0);
  });

  it("goes over to KVM when VIRQ_TIMER has a port", () => {
    const { timers, bind, inKvm, armed, goTo } = setUp();
    timers.setOneShot(5000n);
    bind(9);
    expect(timers.setOneShot(6000n)).toBe(0);
    expect(inKvm()).toEqual({ type: "TIMER", port: 9, priority: 0xffffffff, expiresNs: 6000n });
    expect([timers.hasOneShot, armed()]).toEqual([false, []]);
    expect(timers.stopOneShot()).toBe(0);
    expect(inKvm()).toEqual({ type: "TIMER", port: 9, priority: 0xffffffff, expiresNs: 0n });
    expect(goTo(9000)).toBe(0);
  });

  it("that waits when the port comes is stopped here, too", () => {
    const { timers, bind, armed, goTo } = setUp();
    timers.setOneShot(5000n);
    bind(9);
    timers.stopOneShot();
    expect([timers.hasOneShot, armed(), goTo(9000)]).toEqual([false, [], 0]);
  });
});

describe("set_timer_op", () => {
  const NOW = 1000n + BigInt(AHEAD);
  const SOON = NOW + 100_000_000n;
  // Old kernels ask for what is beyond all time when they mean soon (do_set_timer_op of Xen's common/schedule.c).
  it.each([
    ["a time that has passed", 5n, 5n],
    ["now", NOW, NOW],
    ["less than 2^50 ns ahead", NOW + 2n ** 50n - 1n, NOW + 2n ** 50n - 1n],
    ["2^50 ns ahead", NOW + 2n ** 50n, SOON],
    ["more", NOW + 2n ** 50n + 1n, SOON],
    ["the last positive time", 2n ** 63n - 1n, SOON],
    ["the first negative time", 2n ** 63n, SOON],
    ["-1", 2n ** 64n - 1n, SOON],
  ])("%s", (_, asked, expected) => {
    const { timers, bind, inKvm } = setUp();
    bind(3);
    expect(timers.setTimerOp(asked)).toBe(0);
    expect(inKvm()).toMatchObject({ port: 3, expiresNs: expected });
  });

  it("0 stops the timer", () => {
    const { timers, armed, goTo } = setUp();
    timers.setTimerOp(5000n);
    expect(timers.setTimerOp(0n)).toBe(0);
    expect([timers.hasOneShot, armed(), goTo(9000)]).toEqual([false, [], 0]);
  });
});

describe("a periodic timer", () => {
  it("fires every period after it was set, and leaves ticks out that were missed", () => {
    const { timers, goTo, armed } = setUp();
    timers.setPeriodic(1000n);
    expect([timers.hasPeriodic, armed()]).toEqual([true, [2000]]);
    expect([goTo(1999), goTo(2000), armed()]).toEqual([0, 1, [3000]]);
    expect([goTo(3400), armed()]).toEqual([2, [4000]]);
    // Exactly at a tick that would be the third one, the next is a whole period away.
    expect([goTo(6000), armed()]).toEqual([3, [7000]]);
    expect([goTo(9999), armed()]).toEqual([4, [10_000]]);
  });

  it("is one, beside the one-shot timer", () => {
    const { timers, goTo, armed } = setUp();
    timers.setPeriodic(1000n);
    timers.setPeriodic(5000n);
    expect(armed()).toEqual([6000]);
    timers.setOneShot(3000n + BigInt(AHEAD));
    expect(armed()).toEqual([6000, 3000]);
    timers.stopPeriodic();
    expect([timers.hasPeriodic, timers.hasOneShot, armed()]).toEqual([false, true, [3000]]);
    expect(goTo(9000)).toBe(1);
  });

  it("ends with the other when the domain does", () => {
    const { timers, goTo, armed } = setUp();
    timers.setPeriodic(1000n);
    timers.setOneShot(3000n);
    timers.close();
    expect([timers.hasPeriodic, timers.hasOneShot, armed()]).toEqual([false, false, []]);
    expect(goTo(9000)).toBe(0);
  });
});

it("who watches is told what is armed here, for when, and what fires", () => {
  const { timers, goTo, watched, trace, seen } = setUp();
  timers.setOneShot(2000n);
  goTo(2000);
  expect(seen).toEqual([]);
  watched.trace = trace;
  timers.setOneShot(5000n);
  expect(seen).toEqual([["armed", 4, TraceBy.MONITOR, 0, 5000n]]);
  goTo(5000);
  expect(seen.slice(1)).toEqual([["fired", 4, TraceBy.MONITOR, 0, 1]]);
});

describe("watchdogs", () => {
  function two() {
    const time = new FakeTime();
    let bitten = 0;
    const dogs = new Watchdogs({ clock: time, timers: time }, () => bitten++);
    const elapse = (seconds: number): number => {
      time.now += seconds * 1e9;
      time.runDue();
      return bitten;
    };
    return { dogs, elapse };
  }

  it("are two, counted in seconds", () => {
    const { dogs, elapse } = two();
    expect([dogs.start(10), dogs.start(20), dogs.start(5)]).toEqual([1, 2, undefined]);
    expect([elapse(9.9), elapse(0.2), elapse(9.8), elapse(0.2)]).toEqual([0, 1, 1, 2]);
  });

  it("are wound again or stopped by their number, and only while they run", () => {
    const { dogs, elapse } = two();
    expect([dogs.set(1, 10), dogs.set(2, 10)]).toEqual([false, false]);
    dogs.start(10);
    dogs.start(10);
    expect([elapse(9), dogs.set(1, 10), dogs.set(2, 0), dogs.set(2, 10)]).toEqual([
      ...[0, true, true, false],
    ]);
    expect([elapse(9.9), elapse(0.2)]).toEqual([0, 1]);
    expect(dogs.start(5)).toBe(2);
  });

  it("stop with the domain, and are free again", () => {
    const { dogs, elapse } = two();
    dogs.start(10);
    dogs.start(10);
    dogs.close();
    expect(elapse(100)).toBe(0);
    expect([dogs.start(1), dogs.start(1)]).toEqual([1, 2]);
  });
});
