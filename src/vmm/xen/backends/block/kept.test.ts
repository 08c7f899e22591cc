/** What a disk's part of an exact snapshot may say: a file may say anything. */
import { describe, expect, it } from "vitest";
import { blockLayer, type KeptRequest, requestOf, shortFailure } from "./kept.js";

const grant = { ref: 1, readonly: false, gfn: 2 };
const segment = (length = 4096, offset = 0) => ({ ref: 1, offset, length });
/** A read of a page at sector 8. */
const read: KeptRequest = {
  ...{ slot: new Uint8Array(112), id: 1n, operation: 0, kind: "read", what: "read" },
  ...{ sector: 8n, sectors: 8n, segments: [segment()], grants: [grant] },
  ...{ atNs: 5, order: 0, failure: undefined, buffer: new Uint8Array(4096) },
};
const write: KeptRequest = { ...read, kind: "write", what: "write", buffer: undefined };
const nothing = { segments: [], grants: [], buffer: undefined } as const;
const flush: KeptRequest = {
  ...read,
  kind: "flush",
  what: "flush",
  sector: 0n,
  sectors: 0n,
  ...nothing,
};
const discard: KeptRequest = { ...read, kind: "discard", what: "discard", ...nothing };

/** Whether a disk of 64 sectors can have a request. */
function isTaken(request: KeptRequest): boolean {
  try {
    requestOf(request, 64);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: "SNAPSHOT_DAMAGED" });
    expect(String(error)).toContain("(a request)");
    return false;
  }
}

describe("a request of an exact snapshot", () => {
  it("is what it was", () => {
    const { id, operation, kind, sector, segments } = read;
    expect(requestOf(read, 64)).toEqual({ id, operation, kind, sector, sectors: 8, segments });
    expect(requestOf(discard, 64)).toEqual({
      ...{ id, operation, sector, kind: "discard", sectors: 8n },
    });
    expect([write, flush].map(isTaken)).toEqual([true, true]);
  });

  it.each<[string, boolean, KeptRequest]>([
    ["ends with the disk", true, { ...read, sector: 56n }],
    ["ends behind it", false, { ...read, sector: 57n }],
    ["discards to the end", true, { ...discard, sector: 56n }],
    ["discards beyond it", false, { ...discard, sector: 57n }],
    ["flushes anywhere", true, { ...flush, sector: 1000n }],
    [
      "flushes and writes beyond the end",
      false,
      { ...flush, sector: 60n, sectors: 8n, segments: [segment()], grants: [grant] },
    ],
    ["has fewer grants than segments", false, { ...read, grants: [] }],
    ["has more grants than segments", false, { ...read, grants: [grant, grant] }],
    [
      "has a segment to the end of a page",
      true,
      { ...read, sectors: 1n, segments: [segment(512, 3584)], buffer: new Uint8Array(512) },
    ],
    [
      "has a segment beyond it",
      false,
      { ...read, sectors: 1n, segments: [segment(512, 3585)], buffer: new Uint8Array(512) },
    ],
    ["reads while it writes", false, { ...write, what: "read" }],
    ["writes while it reads", false, { ...read, what: "write" }],
    [
      "flushes first and writes then",
      true,
      {
        ...flush,
        sectors: 8n,
        segments: [segment()],
        grants: [grant],
        buffer: new Uint8Array(4096),
      },
    ],
    [
      "writes behind its flush",
      true,
      { ...flush, what: "write", sectors: 8n, segments: [segment()], grants: [grant] },
    ],
    ["writes nothing behind its flush", false, { ...flush, what: "write" }],
    [
      "reads behind its flush",
      false,
      { ...flush, what: "read", sectors: 8n, segments: [segment()], grants: [grant] },
    ],
    ["has fewer sectors than bytes", false, { ...read, sectors: 7n }],
    ["has more sectors than bytes", false, { ...read, sectors: 9n }],
    ["reads nothing", false, { ...read, sectors: 0n, ...nothing }],
    ["writes nothing", false, { ...write, sectors: 0n, ...nothing }],
    ["read without what was read", false, { ...read, buffer: undefined }],
    ["read with less", false, { ...read, buffer: new Uint8Array(4095) }],
    ["wrote with what is on the disk", false, { ...write, buffer: new Uint8Array(4096) }],
    ["discards with segments", false, { ...discard, segments: [segment()], grants: [grant] }],
    ["discards with bytes", false, { ...discard, buffer: new Uint8Array(1) }],
    [
      "has two segments",
      true,
      {
        ...read,
        sectors: 2n,
        segments: [segment(512), segment(512)],
        grants: [grant, grant],
        buffer: new Uint8Array(1024),
      },
    ],
  ])("that %s: %s", (_, expected, request) => {
    expect(isTaken(request)).toBe(expected);
  });
});

describe("a failure", () => {
  it("is kept in a thousand characters each", () => {
    const long = { code: "E".repeat(1001), message: "m".repeat(2000) };
    expect(shortFailure(long)).toEqual({ code: "E".repeat(1000), message: "m".repeat(1000) });
    expect(shortFailure({ code: "EIO", message: "no" })).toEqual({ code: "EIO", message: "no" });
  });
});

describe("a disk in a file", () => {
  const value = {
    connection: {
      ...{ width: 64, ref: 3, port: 4, page: grant, consumed: 5, produced: 6 },
      requests: [{ ...read, failure: { code: "EIO", message: "no" } }, write, discard],
    },
    ...{ broken: true, told: ["read EIO"], freeNs: 7.5 },
  };
  const written = () => JSON.parse(JSON.stringify(blockLayer.write(value)));
  const isRead = (change: (data: ReturnType<typeof written>) => void): boolean => {
    const data = written();
    change(data);
    try {
      blockLayer.read(data, "disk");
      return true;
    } catch {
      return false;
    }
  };

  it("is read as it was written", () => {
    expect(blockLayer.read(written(), "disk")).toEqual(value);
    expect(isRead(() => undefined)).toBe(true);
  });

  it("has all its values", () => {
    const names = (of: object) => Object.keys(of);
    for (const name of names(value))
      expect([name, isRead((d) => delete d[name])]).toEqual([name, false]);
    for (const name of names(value.connection))
      expect([name, isRead((d) => delete d.connection[name])]).toEqual([name, false]);
    for (const name of names(read))
      expect([name, isRead((d) => delete d.connection.requests[0][name])]).toEqual([name, false]);
    for (const part of ["segments", "grants"] as const)
      for (const name of names(read[part][0] as object))
        expect([name, isRead((d) => delete d.connection.requests[0][part][0][name])]).toEqual([
          ...[name, false],
        ]);
  });

  it.each<[string, boolean, (request: Record<string, unknown>) => void]>([
    ["a slot of a byte", true, (r) => Object.assign(r, { slot: "00" })],
    ["no slot", false, (r) => Object.assign(r, { slot: "" })],
    ["a slot of 112 bytes", true, (r) => Object.assign(r, { slot: "00".repeat(112) })],
    ["a longer slot", false, (r) => Object.assign(r, { slot: "00".repeat(113) })],
    [
      "the last offset",
      true,
      (r) => Object.assign(r, { segments: [{ ref: 1, offset: 4095, length: 1 }] }),
    ],
    [
      "an offset beyond",
      false,
      (r) => Object.assign(r, { segments: [{ ref: 1, offset: 4096, length: 1 }] }),
    ],
    [
      "a segment of nothing",
      false,
      (r) => Object.assign(r, { segments: [{ ref: 1, offset: 0, length: 0 }] }),
    ],
    [
      "a longer segment",
      false,
      (r) => Object.assign(r, { segments: [{ ref: 1, offset: 0, length: 4097 }] }),
    ],
    ["256 segments", true, (r) => Object.assign(r, { segments: Array(256).fill(segment()) })],
    ["more segments", false, (r) => Object.assign(r, { segments: Array(257).fill(segment()) })],
    ["more grants", false, (r) => Object.assign(r, { grants: Array(257).fill(grant) })],
    ["a kind that is none", false, (r) => Object.assign(r, { kind: "" })],
    ["work that is none", false, (r) => Object.assign(r, { what: "" })],
    ["an order before all", false, (r) => Object.assign(r, { order: -1 })],
    ["an operation of 8 bits", true, (r) => Object.assign(r, { operation: 255 })],
    ["a longer one", false, (r) => Object.assign(r, { operation: 256 })],
    ["an empty buffer", false, (r) => Object.assign(r, { buffer: "" })],
    [
      "a longer code",
      false,
      (r) => Object.assign(r, { failure: { code: "x".repeat(1001), message: "" } }),
    ],
    [
      "a longer message",
      false,
      (r) => Object.assign(r, { failure: { code: "", message: "x".repeat(1001) } }),
    ],
    ["a failure without a code", false, (r) => Object.assign(r, { failure: { message: "x" } })],
  ])("%s: %s", (_, expected, change) => {
    expect(isRead((data) => change(data.connection.requests[0]))).toBe(expected);
  });

  it.each<[string, boolean, object]>([
    ["31 bits", false, { width: 31 }],
    ["65 bits", false, { width: 65 }],
    ["32 requests", true, { requests: Array(32).fill(null) }],
    ["33 requests", false, { requests: Array(33).fill(null) }],
  ])("a connection with %s: %s", (_, expected, changes) => {
    const is = isRead(({ connection }) => {
      const [first] = connection.requests;
      Object.assign(connection, changes);
      connection.requests = connection.requests.map((each: object | null) => each ?? first);
    });
    expect(is).toBe(expected);
  });

  it("that was told 256 things", () => {
    const told = (count: number) =>
      isRead((data) => Object.assign(data, { told: Array(count).fill("x") }));
    expect([told(256), told(257)]).toEqual([true, false]);
  });
});
