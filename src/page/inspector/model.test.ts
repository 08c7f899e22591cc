import { describe, expect, it } from "vitest";
import { TraceBy } from "../../ports/index.js";
import { TraceReader, TraceRing } from "../../trace/index.js";
import { InspectorModel } from "./model.js";

function setUp(events = 64) {
  const clock = { now: 1_000, monotonicNs: () => clock.now };
  const ring = new TraceRing(clock, events);
  const reader = new TraceReader(ring);
  const model = new InspectorModel();
  return { clock, source: ring.source(), model, take: () => model.takeEvents(reader.take()) };
}

describe("what the inspector keeps of events", () => {
  it("marks upcalls and timers that fire at their time, each for its vCPU, and nothing else", () => {
    const { clock, source, model, take } = setUp();
    source.upcall(1, 243);
    clock.now += 500;
    source.timerArmed(0, TraceBy.KVM, 4, 99n);
    source.delivered(0, 4, 1);
    source.timerFired(0, TraceBy.KVM, 4, 0);
    source.exit(0, 5, 0, 0n);
    take();
    const marks = model.marks.map(({ kind, vcpu, time }) => [kind, vcpu, time]);
    expect(marks).toEqual([
      ["upcall", 1, 1_000],
      ["fire", 0, 1_500],
    ]);
    expect([...model.timers]).toEqual([["0:0", { armed: 1, fired: 1 }]]);
    model.clear();
    expect([model.marks, [...model.timers], model.dropped]).toEqual([[], [], 0]);
  });

  it("has the last 2,000 marks, and counts what came too fast", () => {
    const { clock, source, model, take } = setUp(1024);
    for (let i = 0; i < 3; i++) {
      for (let n = 0; n < 900; n++) {
        clock.now += 1;
        source.upcall(0, 243);
      }
      take();
    }
    expect([model.marks.length, model.marks[0]?.time, model.marks.at(-1)?.time]).toEqual([
      ...[2000, 1_701, 3_700],
    ]);
    for (let n = 0; n < 1100; n++) source.upcall(0, 243);
    take();
    expect(model.dropped).toBe(1100 - 1024);
  });
});
