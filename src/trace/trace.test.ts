import { describe, expect, it } from "vitest";
import { TraceBy, TraceTarget } from "../ports/index.js";
import {
  asJson,
  asText,
  eventsOf,
  parseEventFilter,
  type TraceEvent,
  TraceReader,
  TraceRing,
  TraceSummary,
  TraceWriter,
  usualEvents,
} from "./index.js";

/** Registers of a caller of hypercalls. */
function registers(values: Readonly<Record<number, bigint>>, cpl = 0, rip = 0xffffffff81000000n) {
  const gpr = (index: number): bigint => values[index] ?? 0n;
  return {
    gprLow: (index: number) => Number(gpr(index) & 0xffffffffn),
    gprHigh: (index: number) => Number(gpr(index) >> 32n),
    ...{ rip, cpl },
  };
}

/** As KVM takes them: RDI, RSI, RDX, R10, R8, R9. */
const LONG = [7, 6, 2, 10, 8, 9];

function setUp(events = 8) {
  const clock = { now: 1_000, monotonicNs: () => clock.now };
  const ring = new TraceRing(clock, events);
  return { clock, ring, source: ring.source(), reader: new TraceReader(ring) };
}

const RAX = 0;
const schedOp = { [RAX]: 29n, 7: 3n, 6: 0xffffc90000003e50n };

describe("TraceRing", () => {
  it("decodes what was noted", () => {
    const { clock, ring, source, reader } = setUp(64);
    source.hypercall(3, registers(schedOp), LONG, true);
    clock.now += 500;
    source.answered(3, TraceBy.KVM, 0xfffffff2, 0xffffffff);
    source.sent(0, TraceBy.KVM, 5, TraceTarget.PORT, 6, 1);
    source.sent(0, TraceBy.MONITOR, 2, TraceTarget.BACKEND, 0, 0);
    source.delivered(1, 6, 1);
    source.delivered(1, 6, -107);
    source.unmasked(1, 6);
    source.upcall(1, 243);
    source.runstate(1, 0, 2);
    source.timerArmed(0, TraceBy.KVM, 4, 0x1_2345_6789n);
    source.timerFired(0, TraceBy.KVM, 4, 0);
    source.timerStopped(0, TraceBy.MONITOR, 0);
    source.exit(0, 5, 0x1_fee0_0300, 0xfff0n);
    ring.source(2).woken(0);
    expect(eventsOf(reader.take()).map(asText)).toEqual([
      "   0.000001000 vCPU 3 hypercall sched_op(poll, 0xffffc90000003e50) = -EFAULT by KVM, at 0xffffffff81000000",
      "   0.000001500 vCPU 0 send port 5 to port 6 of vCPU 1 by KVM",
      "   0.000001500 vCPU 0 send port 2 to a backend by the monitor",
      "   0.000001500 vCPU 1 deliver port 6: delivered",
      "   0.000001500 vCPU 1 deliver port 6: masked",
      "   0.000001500 vCPU 1 unmask port 6",
      "   0.000001500 vCPU 1 upcall vector 243",
      "   0.000001500 vCPU 1 runstate running to blocked",
      "   0.000001500 vCPU 0 arm timer of port 4 for 4886718345 ns",
      "   0.000001500 vCPU 0 fire timer of port 4: pending already",
      "   0.000001500 vCPU 0 stop timer",
      "   0.000001500 vCPU 0 exit MMIO 0x1fee00300, at 0xfff0".replace("MMIO", "IRQ_WINDOW"),
      "   0.000001500 VM 2 vCPU 0 wake",
    ]);
  });

  it("keeps the last events, and counts those that nobody read", () => {
    const { source, reader } = setUp(8);
    for (let port = 1; port <= 20; port++) source.unmasked(0, port);
    const ports = eventsOf(reader.take()).map((event) => ("port" in event ? event.port : 0));
    expect(ports).toEqual([13, 14, 15, 16, 17, 18, 19, 20]);
    expect(reader.dropped).toBe(12);
    source.unmasked(0, 21);
    expect(eventsOf(reader.take())).toHaveLength(1);
    expect(reader.dropped).toBe(12);
  });

  it("loses nothing when somebody reads as soon as it is half full", () => {
    const { ring, source, reader } = setUp(8);
    const seen: number[] = [];
    const take = (isLast: boolean) =>
      seen.push(...eventsOf(reader.take(isLast)).map(({ vcpu }) => vcpu));
    ring.onHalfFull(() => take(false));
    for (let i = 0; i < 1000; i++) source.runstate(i, 0, 1);
    take(true);
    expect(seen).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(reader.dropped).toBe(0);
  });

  it("gives an answer to the hypercall that it belongs to, while that is there", () => {
    const { source, reader } = setUp(8);
    source.hypercall(0, registers(schedOp), LONG, true);
    source.hypercall(1, registers({ [RAX]: 17n }), LONG, true);
    source.answered(1, TraceBy.MONITOR, 7, 0);
    source.answered(1, TraceBy.KVM, 8, 0);
    for (let i = 0; i < 7; i++) source.woken(0);
    source.answered(0, TraceBy.KVM, 9, 0);
    const [first] = eventsOf(reader.take(true));
    expect(first).toMatchObject({ kind: "hypercall", vcpu: 1, result: 7n, by: "monitor" });
  });
});

describe("TraceReader", () => {
  it("waits once for an answer", () => {
    const { source, reader } = setUp();
    source.woken(0);
    source.hypercall(0, registers(schedOp), LONG, true);
    source.woken(1);
    const kinds = () => eventsOf(reader.take()).map(({ kind }) => kind);
    expect(kinds()).toEqual(["wake"]);
    source.answered(0, TraceBy.KVM, 0, 0);
    expect(kinds()).toEqual(["hypercall", "wake"]);
    source.hypercall(0, registers(schedOp), LONG, true);
    expect(kinds()).toEqual([]);
    expect(eventsOf(reader.take())).toMatchObject([{ kind: "hypercall", by: undefined }]);
  });
});

const event = (over: Partial<TraceEvent> & Pick<TraceEvent, "kind">): TraceEvent =>
  ({ seq: 0, time: 0, vm: 0, vcpu: 0, ...over }) as TraceEvent;
const poll = event({
  ...{ kind: "hypercall", nr: 29, longMode: true, cpl: 0, rip: 5n, by: "kvm", result: 0n },
  ...{ args: [3n, 0n, 0n, 0n, 0n, 0n], duration: 10 },
});

describe("parseEventFilter", () => {
  it.each([
    ["sched_op", [true, false, false, false]],
    ["sched_op.poll", [true, false, false, false]],
    ["sched_op.yield", [false, false, false, false]],
    ["s*", [true, false, false, false]],
    ["deliver,sched_op", [true, true, false, false]],
    ["deliver,port=6", [false, false, false, false]],
    ["deliver,port=5,port=6", [false, true, false, false]],
    ["port=5", [false, true, false, false]],
    ["vcpu=1", [false, false, true, false]],
    ["*,vcpu=1", [false, false, true, true]],
    ["!deliver", [true, false, true, true]],
    ["*", [true, true, true, true]],
  ])("%s", (text, expected) => {
    const events = [
      poll,
      event({ kind: "deliver", port: 5, result: 1 }),
      event({ kind: "upcall", vcpu: 1, vector: 9 }),
      event({ kind: "wake", vcpu: 1 }),
    ];
    expect(events.map(parseEventFilter(text))).toEqual(expected);
    expect(events.map(usualEvents)).toEqual([true, true, true, false]);
  });

  it.each(["", "nothing", "port=x", "cpu=1", "vcpu=-1"])("refuses %j", (text) => {
    expect(() => parseEventFilter(text)).toThrow(expect.objectContaining({ code: "TRACE_FILTER" }));
  });
});

describe("TraceWriter", () => {
  function written(format: "text" | "json" | "perfetto" | undefined, summary = false) {
    const { clock, ring, source } = setUp(64);
    let text = "";
    const writer = new TraceWriter(ring, (more) => (text += more), { format, summary });
    source.hypercall(0, registers(schedOp), LONG, true);
    clock.now += 250;
    source.answered(0, TraceBy.KVM, 0, 0);
    source.runstate(0, 3, 0);
    clock.now += 1000;
    source.runstate(0, 0, 2);
    source.delivered(1, 6, 1);
    clock.now += 500;
    source.exit(0, 1, 0, 0n);
    source.upcall(0, 243);
    const ended = writer.end();
    return { text, ended };
  }

  it("writes rows that Perfetto reads", () => {
    const rows = JSON.parse(written("perfetto").text);
    const complete = rows.filter(({ ph }: { ph: string }) => "XBE".includes(ph));
    expect(complete).toEqual([
      {
        ...{ name: "sched_op poll", ph: "X", dur: 0.25, cat: "hypercall", ts: 1, pid: 1, tid: 1 },
        args: {
          args: "poll, 0xffffc90000003e50",
          result: "0",
          by: "kvm",
          rip: "0xffffffff81000000",
        },
      },
      ...[
        { name: "offline", ph: "B", ts: 1 },
        { name: "offline", ph: "E", ts: 1.25 },
        { name: "running", ph: "B", ts: 1.25 },
        { name: "running", ph: "E", ts: 2.25 },
        { name: "blocked", ph: "B", ts: 2.25 },
        { name: "blocked", ph: "E", ts: 2.75 },
      ].map((row) => ({ ...row, cat: "runstate", pid: 1, tid: 2 })),
    ]);
    for (const row of rows) {
      expect(row).toMatchObject({ name: expect.any(String), pid: 1, tid: expect.any(Number) });
      expect(["X", "B", "E", "i", "M"]).toContain(row.ph);
      if (row.ph !== "M") expect(row.ts).toEqual(expect.any(Number));
    }
  });

  it("writes lines of JSON", () => {
    const lines = written("json").text.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      {
        ...{ kind: "hypercall", time: 1000, vcpu: 0, name: "sched_op", op: "poll", result: 0 },
        ...{ by: "kvm", rip: "0xffffffff81000000", duration: 250 },
        args: ["0x3", "0xffffc90000003e50", "0x0", "0x0", "0x0", "0x0"],
      },
      { kind: "runstate", from: "offline", to: "running" },
      { kind: "runstate", from: "running", to: "blocked" },
      { kind: "deliver", port: 6, result: 1 },
      { kind: "upcall", vector: 243 },
    ]);
    expect(asJson(event({ kind: "arm", port: 1, expires: 1n << 62n }))).toContain(
      '"0x4000000000000000"',
    );
  });

  it("counts, and writes no event that was not asked for", () => {
    const { text, ended } = written(undefined, true);
    expect(text).toBe("");
    expect(ended.dropped).toBe(0);
    expect(ended.summary?.split("\n")[0]).toMatch(
      /^event +count +per s +by KVM +monitor +µs each$/,
    );
    expect(ended.summary).toMatch(/^sched_op poll +1 +571429 +1 +0.250$/m);
    expect(new TraceSummary().toString()).toMatch(/^event/);
  });

  it("writes an array even when nothing happened", () => {
    const { ring } = setUp();
    let text = "";
    new TraceWriter(ring, (more) => (text += more), { format: "perfetto" }).end();
    expect(JSON.parse(text)).toEqual([]);
  });
});
