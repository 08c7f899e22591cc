import { describe, expect, it } from "vitest";
import { HeapTimers, VirtualClock } from "./index.js";

describe("VirtualClock", () => {
  it("moves only when it is moved", () => {
    const clock = new VirtualClock(1_000);
    clock.virtual.advance(5);
    clock.virtual.jump(9);
    expect([clock.monotonicNs(), clock.realtimeNs()]).toEqual([9, 1_009]);
    expect(() => clock.virtual.jump(8)).toThrow("back in time");
  });
});

describe("HeapTimers", () => {
  it("fires in the order of deadlines, then of arming", () => {
    const clock = new VirtualClock();
    const timers = new HeapTimers(clock);
    const fired: string[] = [];
    timers.arm(30, () => fired.push("c"));
    timers.arm(10, () => fired.push("a1"));
    timers.arm(20, () => fired.push("b"));
    timers.arm(10, () => fired.push("a2"));
    const gone = timers.arm(5, () => fired.push("gone"));
    gone.cancel();
    gone.cancel();
    expect(timers.nextDeadlineNs()).toBe(10);
    expect(timers.runDue()).toBe(0);
    clock.virtual.advance(20);
    expect(timers.runDue()).toBe(3);
    expect(fired).toEqual(["a1", "a2", "b"]);
    expect(timers.nextDeadlineNs()).toBe(30);
  });

  it("lets timers that callbacks arm wait for the next call", () => {
    const timers = new HeapTimers(new VirtualClock());
    let count = 0;
    const again = (): void => {
      count++;
      timers.arm(0, again);
    };
    timers.arm(0, again);
    timers.runDue();
    expect(count).toBe(1);
    expect(timers.nextDeadlineNs()).toBe(0);
    timers.runDue();
    expect(count).toBe(2);
  });

  it("keeps the heap in order through random arming and cancelling", () => {
    const clock = new VirtualClock();
    const timers = new HeapTimers(clock);
    let seed = 1;
    const random = (n: number): number => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return seed % n;
    };
    const fired: number[] = [];
    const handles = Array.from({ length: 500 }, () => {
      const at = random(1000);
      return timers.arm(at, () => fired.push(at));
    });
    for (let i = 0; i < 200; i++) handles[random(500)]?.cancel();
    clock.virtual.advance(1000);
    timers.runDue();
    expect(fired).toEqual([...fired].sort((a, b) => a - b));
    expect(timers.nextDeadlineNs()).toBeUndefined();
  });
});
