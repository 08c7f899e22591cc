import { describe, expect, it } from "vitest";
import { KvmError, type KvmXenHvmAttr } from "../kvm/index.js";
import { TraceRing } from "../trace/index.js";
import {
  checkMessage,
  chunkFromBytes,
  chunkToBytes,
  type FromInspected,
  fromText,
  Inspection,
  type InspectTarget,
  toText,
} from "./index.js";

describe("messages", () => {
  it("cross as they are", () => {
    const message = { a: 1n << 63n, b: Uint8Array.of(0, 255), c: [undefined, "text"], d: -5n };
    expect(fromText(toText({ a: message.a, b: message.b, d: message.d }))).toEqual({
      ...{ a: message.a, b: message.b, d: message.d },
    });
    expect(() => fromText('{"$b":"0"}')).toThrow(SyntaxError);
  });

  it("of events cross as bytes", () => {
    const ring = new TraceRing({ monotonicNs: () => 7 }, 4);
    for (let i = 0; i < 6; i++) ring.source().woken(i);
    const chunk = ring.read(0);
    expect(chunkFromBytes(chunkToBytes(chunk).buffer)).toEqual(chunk);
    expect(chunk.dropped).toBe(2);
    expect(chunkFromBytes(new ArrayBuffer(17))).toBeUndefined();
  });

  it.each<unknown>([
    { kind: "seen" },
    { kind: "watch", events: true, parts: {} },
    { kind: "control", what: "pause" },
    { kind: "setHvm", id: 1, vm: 0, attr: { type: "LONG_MODE", longMode: true } },
    { kind: "setVcpu", id: 1, vm: 0, vcpu: 0, attr: { type: "RUNSTATE_CURRENT", state: 1n } },
  ])("may be %o", (message) => {
    expect(checkMessage(message)).toBe(message);
  });

  it.each<unknown>([
    null,
    [[]],
    "seen",
    {},
    { kind: "watch", events: 1, parts: {} },
    { kind: "control", what: "stop" },
    { kind: "setHvm", id: 1, vm: 0, attr: { type: "LONG_MODE", longMode: 1 } },
    {
      ...{ kind: "setHvm", id: 1, vm: 0 },
      attr: { type: "EVTCHN", sendPort: 1, evtchnType: 0, flags: 0 },
    },
    { kind: "setHvm", id: 1, vm: 0, attr: { type: "constructor" } },
    { kind: "setVcpu", id: 1, vm: 0, vcpu: -1, attr: { type: "VCPU_ID", vcpuId: 0 } },
    { kind: "setVcpu", id: 1, vm: 0, vcpu: 0, attr: { type: "VCPU_INFO", gpa: 1n << 64n } },
    { kind: "setVcpu", id: 1, vm: 0, vcpu: 0, attr: { type: "RUNSTATE_DATA", runstate: {} } },
  ])("may not be %o", (message) => {
    expect(checkMessage(message)).toBeUndefined();
  });
});

function setUp() {
  const rings: (TraceRing | undefined)[] = [];
  const sent: FromInspected[] = [];
  const chunks: number[] = [];
  let tick: () => void = () => undefined;
  const attrs: KvmXenHvmAttr[] = [];
  const target: InspectTarget = {
    inspected: "exec",
    clock: { monotonicNs: () => 1 },
    watch: (ring) => rings.push(ring),
    view: () => ({ state: "running", vms: [] }),
    setHvm(_vm, attr) {
      if (attr.type === "UPCALL_VECTOR") throw new KvmError(22, "upcall vector");
      attrs.push(attr);
    },
    setVcpu() {
      throw new RangeError("no vCPU 7");
    },
    control: () => undefined,
  };
  const output = {
    send: (message: FromInspected) => sent.push(message),
    sendEvents: (bytes: Uint8Array) => chunks.push(bytes.length),
  };
  const inspection = new Inspection(target, output, (_, callback) => {
    tick = callback;
    return () => {
      tick = () => undefined;
    };
  });
  return { inspection, rings, sent, chunks, attrs, tick: () => tick() };
}

describe("Inspection", () => {
  it("notes events only while they are wanted", () => {
    const { inspection, rings, chunks, tick } = setUp();
    expect(rings).toEqual([]);
    inspection.receive({ kind: "watch", events: true, parts: {} });
    expect(rings).toHaveLength(1);
    rings[0]?.source().woken(3);
    inspection.receive({ kind: "seen" });
    tick();
    expect(chunks).toHaveLength(1);
    inspection.receive({ kind: "watch", events: false, parts: {} });
    expect(rings.at(-1)).toBeUndefined();
    inspection.receive({ kind: "watch", events: true, parts: {} });
    inspection.close();
    expect(rings).toHaveLength(4);
    expect(rings.at(-1)).toBeUndefined();
  });

  it("sends a view in five turns while no panel is open", () => {
    const { inspection, sent, tick } = setUp();
    expect(sent).toHaveLength(1);
    const turns = (count: number) => {
      for (let i = 0; i < count; i++) {
        inspection.receive({ kind: "seen" });
        tick();
      }
      return sent.length;
    };
    expect(turns(4)).toBe(1);
    expect(turns(1)).toBe(2);
    expect(turns(10)).toBe(4);
    inspection.receive({ kind: "watch", events: true, parts: {} });
    expect(turns(5)).toBe(4 + 1 + 5);
  });

  it("sends nothing to a page that has not seen the last", () => {
    const { inspection, sent, tick } = setUp();
    inspection.receive({ kind: "watch", events: true, parts: {} });
    sent.length = 1;
    for (let i = 0; i < 5; i++) tick();
    expect(sent).toHaveLength(1);
    inspection.receive({ kind: "seen" });
    tick();
    tick();
    expect(sent).toHaveLength(2);
  });

  it("makes no view for each of many questions", () => {
    const { inspection, sent, tick } = setUp();
    const ask = () => inspection.receive({ kind: "watch", events: true, parts: { store: true } });
    for (let i = 0; i < 100; i++) ask();
    expect(sent).toHaveLength(1 + 2);
    tick();
    expect(sent).toHaveLength(4);
    ask();
    expect(sent).toHaveLength(5);
  });

  it("sets attributes, and says why not", () => {
    const { inspection, sent, attrs } = setUp();
    inspection.receive({
      kind: "setHvm",
      id: 1,
      vm: 0,
      attr: { type: "XEN_VERSION", xenVersion: 5 },
    });
    inspection.receive({
      kind: "setHvm",
      id: 2,
      vm: 0,
      attr: { type: "UPCALL_VECTOR", vector: 1 },
    });
    const attr = { type: "VCPU_ID", vcpuId: 0 } as const;
    inspection.receive({ kind: "setVcpu", id: 3, vm: 0, vcpu: 7, attr });
    expect(attrs).toEqual([{ type: "XEN_VERSION", xenVersion: 5 }]);
    expect(sent.slice(1)).toMatchObject([
      { kind: "set", id: 1, refused: undefined },
      { kind: "set", id: 2, refused: expect.stringContaining("upcall vector") },
      { kind: "set", id: 3, refused: "no vCPU 7" },
    ]);
  });
});
