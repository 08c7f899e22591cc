import { expect, it } from "vitest";
import { HeapTimers, VirtualClock } from "../../hosts/sim/index.js";
import { GenerationNotice } from "./generation.js";

/** A guest that takes the interrupt from a time on. */
function setUp(unmaskedNs: number) {
  const clock = new VirtualClock();
  const timers = new HeapTimers(clock);
  const lines: string[] = [];
  const setLine = (level: boolean) => {
    lines.push(`${clock.monotonicNs() / 1e6} ${level ? "up" : "down"}`);
    return clock.monotonicNs() < unmaskedNs ? -1 : 1;
  };
  const notice = new GenerationNotice({ clock, timers, setLine });
  const run = (untilNs: number) => {
    for (let next = timers.nextDeadlineNs(); next !== undefined && next <= untilNs; ) {
      clock.virtual.jump(next);
      timers.runDue();
      next = timers.nextDeadlineNs();
    }
  };
  return { notice, lines, run, timers };
}

it("tells a guest that listens once", () => {
  const { notice, lines } = setUp(0);
  notice.tell();
  expect(lines).toEqual(["0 up", "0 down"]);
  expect(notice.isPending).toBe(false);
});

it("tells a guest again until it listens", () => {
  const { notice, lines, run } = setUp(5e6);
  notice.tell();
  expect(notice.isPending).toBe(true);
  run(1e12);
  const raised = lines.filter((line) => line.endsWith("up"));
  expect(raised).toEqual(["0 up", "1 up", "3 up", "7 up"]);
  expect(notice.isPending).toBe(false);
});

it("gives up on a guest that never does, and at the end", () => {
  const { notice, lines, run, timers } = setUp(Number.POSITIVE_INFINITY);
  notice.tell();
  run(1e12);
  expect(lines.length).toBe(202);
  expect(notice.isPending).toBe(false);
  const other = setUp(Number.POSITIVE_INFINITY);
  other.notice.tell();
  other.notice.close();
  expect(other.timers.nextDeadlineNs()).toBeUndefined();
  expect(timers.nextDeadlineNs()).toBeUndefined();
});
