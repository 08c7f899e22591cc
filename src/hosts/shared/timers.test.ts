import { expect, it } from "vitest";
import { NodeClock } from "../node/clock.js";
import { RealTimers } from "./timers.js";

it("fires by deadline when asked, and forgets what was cancelled", () => {
  let now = 0;
  const timers = new RealTimers({ monotonicNs: () => now });
  const fired: string[] = [];
  timers.arm(20, () => fired.push("b"));
  const first = timers.arm(10, () => fired.push("a"));
  timers.arm(20, () => fired.push("c"));
  first.cancel();
  expect(timers.nextDeadlineNs()).toBe(20);
  now = 25;
  expect(timers.runDue()).toBe(2);
  expect(fired).toEqual(["b", "c"]);
  expect(timers.nextDeadlineNs()).toBeUndefined();
});

it("keeps nothing of a timer that is armed anew again and again", () => {
  const timers = new RealTimers({ monotonicNs: () => 0 });
  timers.arm(5, () => undefined);
  for (let i = 0; i < 1000; i++) timers.arm(1e18 + i, () => undefined).cancel();
  expect(timers.armed).toBe(1);
});

it("does not fire a timer that a callback of the same moment cancelled", () => {
  const timers = new RealTimers({ monotonicNs: () => 100 });
  const fired: string[] = [];
  timers.arm(1, () => {
    fired.push("first");
    second.cancel();
  });
  const second = timers.arm(2, () => fired.push("second"));
  timers.runDue();
  expect(fired).toEqual(["first"]);
});

it("has a clock that goes on and knows the time of day", () => {
  const clock = new NodeClock();
  const start = clock.monotonicNs();
  while (clock.monotonicNs() === start);
  expect(clock.monotonicNs()).toBeGreaterThan(start);
  expect(Math.abs(clock.realtimeNs() / 1e6 - Date.now())).toBeLessThan(1000);
});
