import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seed } from "../../../base/seed.fixture.js";
import type { Frame } from "../../../ports/index.js";
import { FrameRing } from "./frame-ring.js";

const frame = (length: number, more: Partial<Frame> = {}): Frame => ({
  bytes: Uint8Array.from({ length }, (_, i) => i * 3 + length),
  checksum: "unknown",
  ...more,
});

describe("a ring of frames", () => {
  it("gives back what was put in, in order, with what is known of it", () => {
    const ring = FrameRing.create(1 << 12);
    const other = new FrameRing(ring.shared);
    const frames = [
      frame(14),
      frame(1500, { checksum: "valid" }),
      frame(900, { checksum: "blank", segmentSize: 1448 }),
    ];
    for (const one of frames) expect(ring.push(one)).toBe(true);
    expect([other.pop(), other.pop(), other.pop(), other.pop()]).toEqual([...frames, undefined]);
  });

  it("keeps order and bytes at every place of the end, over the end of its counts, too", () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.array(fc.oneof(fc.integer({ min: 14, max: 600 }), fc.constant(0)), { maxLength: 60 }),
        (start, steps) => {
          const ring = FrameRing.create(1 << 11);
          new Int32Array(ring.shared).fill(start & ~7, 0, 2);
          const inside: Frame[] = [];
          // 0 takes one out, another number puts one in.
          for (const length of steps) {
            if (length === 0) expect(ring.pop()).toEqual(inside.shift());
            else if (ring.push(frame(length))) inside.push(frame(length));
            else expect(ring.used + 8 + length).toBeGreaterThan((1 << 11) - 8);
          }
          for (const one of inside) expect(ring.pop()).toEqual(one);
          expect(ring.used).toBe(0);
        },
      ),
      { seed },
    );
  });

  it("has the consumer woken once for each sleep, and lets it sleep only when there is nothing", () => {
    const ring = FrameRing.create(1 << 12);
    expect(ring.takeSleeper()).toBe(false);
    expect(ring.sleep()).toBe(true);
    ring.push(frame(14));
    expect([ring.takeSleeper(), ring.takeSleeper()]).toEqual([true, false]);
    expect(ring.sleep()).toBe(false);
    expect(ring.takeSleeper()).toBe(false);
    ring.pop();
    ring.sleep();
    ring.awake();
    expect(ring.takeSleeper()).toBe(false);
  });

  it("has the producer told once for each wait, and lets it wait only while there is no room", () => {
    const ring = FrameRing.create(1 << 12);
    expect(ring.waitForRoom(1000)).toBe(false);
    while (ring.push(frame(1000)));
    expect(ring.takeWaiter()).toBe(false);
    expect(ring.waitForRoom(1000)).toBe(true);
    ring.pop();
    expect([ring.takeWaiter(), ring.takeWaiter()]).toEqual([true, false]);
    expect(ring.waitBelow(2000)).toBe(true);
    ring.pop();
    ring.pop();
    expect(ring.takeWaiter()).toBe(true);
    expect(ring.waitBelow(2000)).toBe(false);
  });
});
