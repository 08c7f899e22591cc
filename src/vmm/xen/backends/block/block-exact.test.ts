/** What a disk is in the middle of, in an exact snapshot: each kind of request, and what a file may not say of it. */
import { describe, expect, it } from "vitest";
import { BlkifOp } from "../../../../abi/xen/blkif.js";
import type { Disk } from "../../../../ports/index.js";
import { frameOf } from "../guest.fixture.js";
import { BlockBackend } from "./block-backend.js";
import { Buffers } from "./buffers.js";
import { ManualDisk } from "./disk.fixture.js";
import { withDisk } from "./frontend.fixture.js";

const { READ, WRITE, FLUSH_DISKCACHE } = BlkifOp;
const EIO = { code: "EIO", message: "the host's disk has an error" };

/** What a device keeps, open to changes. */
interface Kept {
  device: unknown;
  block: {
    connection: { requests: Record<string, unknown>[]; [name: string]: unknown };
    [name: string]: unknown;
  };
}

type Options = Parameters<typeof withDisk>[0];
const connected = (options: Options = {}) => {
  const all = withDisk(options);
  all.frontend.connect();
  return all;
};

/** Another device that goes on in the same domain, after the old one was forgotten and its grants with it. */
async function moved(
  all: ReturnType<typeof withDisk>,
  change: (kept: Kept) => void = () => {},
  options: Options = {},
) {
  const { backend, domain, frontend } = all;
  const kept = frontend.leave((await backend.kept()) as unknown as Kept, frontend.port0, change);
  const disk = new ManualDisk(64, options);
  const next = new BlockBackend("xvda", disk);
  return { kept, disk, next, keep: () => next.keep(domain, kept as never, () => undefined) };
}

type All = ReturnType<typeof withDisk>;
const kinds: [string, (all: All) => Uint8Array, string][] = [
  ["a read", ({ frontend }) => frontend.request(READ, 1n, 3n, [[16, 0, 1]]), "1:0:0"],
  ["a write", ({ frontend }) => frontend.request(WRITE, 1n, 3n, [[16, 0, 1]]), "1:1:0"],
  ["a flush", ({ frontend }) => frontend.request(FLUSH_DISKCACHE, 1n, 0n, []), "1:3:0"],
  [
    "a flush that writes",
    ({ frontend }) => frontend.request(FLUSH_DISKCACHE, 1n, 3n, [[16, 0, 0]]),
    "1:3:0",
  ],
  ["a discard", ({ frontend }) => frontend.discard(1n, 3n, 2n), "1:5:0"],
];

describe("what is under way", () => {
  it.each(
    kinds.flatMap(([name, request, answer]) => [
      [name, request, answer, 64 as const] as const,
      [name, request, answer, 32 as const] as const,
    ]),
  )("%s stays so, and says the same of itself", async (_, request, answer, width) => {
    const all = connected({ width });
    // Answers come out of order: one more was taken than is under way.
    all.frontend.send(all.frontend.request(READ, 9n, 0n, [[20, 0, 0]]), request(all));
    all.disk.asked[0]?.end();
    all.frontend.answers();
    const { kept, keep, next, disk } = await moved(all);
    expect(kept.block.connection).toMatchObject({ width, consumed: 2, produced: 1 });
    keep();
    expect(JSON.parse(JSON.stringify(await next.kept()))).toEqual(kept);
    disk.settle();
    expect(all.frontend.answers()).toEqual([answer]);
    // The guest goes on with it as before.
    all.frontend.send(all.frontend.request(READ, 2n, 5n, [[17, 0, 0]]));
    disk.settle();
    expect(all.frontend.answers()).toEqual(["2:0:0"]);
    expect(all.frontend.readMemory(frameOf(17), 0, 1)[0]).toBe(6);
  });

  it("is waited for when the frontend lets go: all of it, before it may come again", async () => {
    const all = connected();
    const { frontend } = all;
    frontend.send(frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    frontend.send(frontend.request(READ, 2n, 4n, [[17, 0, 0]]));
    const { keep, disk } = await moved(all);
    keep();
    for (const one of [all.disk, disk]) expect(one.asked).toHaveLength(2);
    frontend.write("state", "6");
    disk.asked[0]?.end();
    expect(frontend.read("state")).toBe("4");
    disk.asked[0]?.end();
    expect([frontend.read("state"), frontend.answers()]).toEqual(["6", []]);
  });

  it("counts for the 4 MiB that are read and written at a time", async () => {
    const all = connected({ sectors: 2048 });
    const mib = Array.from({ length: 256 }, (_, i) => [16 + (i % 32), 0, 7] as const);
    for (let i = 0; i < 3; i++) all.frontend.put(all.frontend.indirect(WRITE, BigInt(i), 0n, mib));
    all.frontend.send();
    const kept = all.frontend.leave(await all.backend.kept(), all.frontend.port0, () => {});
    const disk = new ManualDisk(2048);
    new BlockBackend("xvda", disk).keep(all.domain, kept as never, () => undefined);
    for (let i = 3; i < 6; i++) all.frontend.put(all.frontend.indirect(READ, BigInt(i), 0n, mib));
    all.frontend.send();
    expect(disk.asked.map(({ what }) => what)).toEqual(["kept", "kept", "kept", "read"]);
    disk.asked[0]?.end();
    expect(disk.asked.map(({ what }) => what)).toEqual(["kept", "kept", "read", "read"]);
  });

  it("stays broken, and what was told is not told again", async () => {
    const all = connected();
    const { frontend, test } = all;
    frontend.send(frontend.request(WRITE, 1n, 3n, [[16, 0, 0]]));
    all.disk.asked[0]?.end(EIO);
    frontend.send(
      frontend.request(FLUSH_DISKCACHE, 2n, 0n, []),
      frontend.request(WRITE, 3n, 0n, [[17, 0, 0]]),
    );
    all.disk.asked[0]?.end(EIO);
    expect([frontend.answers(), test.lines.length]).toEqual([["1:1:-1", "2:3:-1"], 2]);
    const { keep, kept, disk } = await moved(all);
    expect(kept.block["told"]).toEqual(["write EIO", "flush EIO"]);
    keep();
    frontend.send(frontend.request(READ, 4n, 3n, [[18, 0, 0]]));
    disk.asked[0]?.end(EIO);
    expect([frontend.answers(), test.lines.length]).toEqual([["4:0:-1", "3:1:-1"], 2]);
  });
});

describe("a disk that cannot be saved exactly", () => {
  const impossible = { code: "SNAPSHOT_IMPOSSIBLE", message: expect.stringContaining("xvda") };
  it("is none of virtual time, suspended, in no domain, or lets go of its frontend", async () => {
    const all = connected();
    expect(await all.backend.kept()).toMatchObject({ block: { connection: { requests: [] } } });
    await all.backend.suspend();
    await expect(all.backend.kept()).rejects.toMatchObject(impossible);
    all.backend.resume();
    all.frontend.send(all.frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    all.frontend.write("state", "6");
    await expect(all.backend.kept()).rejects.toMatchObject(impossible);
    const alone = new BlockBackend("xvda", new ManualDisk(8));
    await expect(alone.kept()).rejects.toMatchObject(impossible);
    expect(alone.isMoving).toBe(false);
    const host = connected();
    Object.assign(host.disk, { kept: undefined });
    await expect(host.backend.kept()).rejects.toMatchObject(impossible);
  });

  it("has a request that its disk knows nothing of", async () => {
    const all = connected();
    all.frontend.send(all.frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    all.disk.asked.length = 0;
    await expect(all.backend.kept()).rejects.toThrow("not under way");
  });

  it("goes on with no disk of another kind", async () => {
    const all = connected();
    const { kept } = await moved(all);
    const disk = Object.assign(new ManualDisk(64), { keep: undefined }) as unknown as Disk;
    const keep = () =>
      new BlockBackend("xvda", disk).keep(all.domain, kept as never, () => undefined);
    expect(keep).toThrow(expect.objectContaining({ code: "STATE_DAMAGED" }));
  });
});

describe("what a file may say", () => {
  const part = (values: Record<string, unknown>) => (kept: Kept) =>
    void Object.assign(kept.block.connection, values);
  const first = (values: Record<string, unknown>) => (kept: Kept) =>
    void Object.assign(kept.block.connection.requests[0] ?? {}, values);
  const READ_ONE: [number, number, number] = [16, 0, 0];
  const grant = { ref: 16, readonly: false, gfn: frameOf(16) };

  it.each<[string, string, string, (kept: Kept) => void]>([
    ["a position before the first", "a read", "a ring", part({ consumed: 0, produced: 1 })],
    ["more than was asked", "a read", "a ring", part({ consumed: 2 })],
    ["a frontend of another width", "a read", "a ring", part({ width: 48 })],
    ["a ring that is nowhere", "a read", "a ring", part({ page: { ...grant, ref: 1 << 20 } })],
    ["a port of nobody", "a read", "an event channel", part({ port: 4000 })],
    [
      "a page that is nowhere",
      "a read",
      "a request",
      first({ grants: [{ ...grant, ref: 1 << 20 }] }),
    ],
    ["a read that writes", "a read", "a request", first({ what: "write", buffer: null })],
    [
      "nothing to discard, behind the end",
      "a discard",
      "a request",
      first({ sector: "65", sectors: "0" }),
    ],
    [
      "a discard with a page",
      ...(["a discard", "a request"] as const),
      first({ grants: [grant], segments: [{ ref: 16, offset: 0, length: 1 }] }),
    ],
    ["a discard with bytes", "a discard", "a request", first({ buffer: "00" })],
  ])("is not %s of %s", async (_, kind, what, change) => {
    const all = connected();
    const request = kinds.find(([name]) => name === kind)?.[1];
    // One sector for the one page of a read.
    all.frontend.send(
      kind === "a read"
        ? all.frontend.request(READ, 1n, 3n, [READ_ONE])
        : (request as NonNullable<typeof request>)(all),
    );
    const { keep, disk } = await moved(all, change);
    expect(keep).toThrow(
      expect.objectContaining({ code: "SNAPSHOT_DAMAGED", message: expect.stringContaining(what) }),
    );
    expect(disk.asked).toEqual([]);
  });

  it.each(kinds)("of a disk that is only read by now: %s", async (name, request) => {
    const all = connected();
    all.frontend.send(request(all));
    const { keep } = await moved(all, () => {}, { readonly: true });
    const isRead = name === "a read" || name === "a flush";
    if (isRead) keep();
    else expect(keep).toThrow(expect.objectContaining({ code: "SNAPSHOT_DAMAGED" }));
  });
});

describe("what a request gets that changes nothing", () => {
  it.each<[string, Options, (all: All) => Uint8Array, string, string[]]>([
    [
      "a flush of a disk for reading",
      { readonly: true },
      kinds[2]?.[1] as never,
      "1:3:0",
      ["flush"],
    ],
    ["a flush that writes to it", { readonly: true }, kinds[3]?.[1] as never, "1:3:-1", []],
    ["a discard on it", { readonly: true }, kinds[4]?.[1] as never, "1:5:-1", []],
    ["a write to it", { readonly: true }, kinds[1]?.[1] as never, "1:1:-1", []],
    [
      "a read of a disk without discard",
      { canDiscard: false },
      kinds[0]?.[1] as never,
      "1:0:0",
      ["read"],
    ],
    ["a discard there", { canDiscard: false }, kinds[4]?.[1] as never, "1:5:-2", []],
    ["nothing to discard", {}, ({ frontend }) => frontend.discard(1n, 64n, 0n), "1:5:0", []],
    ["that, behind the end", {}, ({ frontend }) => frontend.discard(1n, 65n, 0n), "1:5:-1", []],
    [
      "an empty flush, whose sector means nothing",
      {},
      ({ frontend }) => frontend.request(FLUSH_DISKCACHE, 1n, 1n << 60n, []),
      "1:3:0",
      ["flush"],
    ],
    [
      "257 segments",
      {},
      ({ frontend }) => frontend.indirect(READ, 1n, 0n, Array(257).fill([16, 0, 0])),
      "1:0:-1",
      [],
    ],
  ])("%s", (_, options, request, answer, asked) => {
    const all = connected(options);
    all.frontend.send(request(all));
    expect(all.disk.asked.map(({ what }) => what)).toEqual(asked);
    all.disk.settle();
    expect(all.frontend.answers()).toEqual([answer]);
  });

  it("a flush that failed writes nothing of what it was to write", () => {
    const { frontend, disk } = connected();
    frontend.send(frontend.request(FLUSH_DISKCACHE, 1n, 3n, [[16, 0, 0]]));
    disk.asked[0]?.end(EIO);
    expect([disk.asked, frontend.answers()]).toEqual([[], ["1:3:-1"]]);
  });

  it("the page of an indirect request need only be read", () => {
    const { frontend, disk } = connected();
    frontend.grant(79, frameOf(79), { flags: 5 });
    frontend.send(frontend.indirect(READ, 1n, 3n, [[16, 0, 0]]));
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0"]);
  });
});

describe("a disk that has nothing at hand", () => {
  it("is asked, and answers when it has ended", () => {
    const { frontend, disk } = connected();
    Object.assign(disk, { readNow: undefined, writeNow: undefined });
    frontend.send(
      frontend.request(READ, 1n, 3n, [[16, 0, 0]]),
      frontend.request(WRITE, 2n, 4n, [[17, 0, 0]]),
    );
    expect([disk.asked.length, frontend.answers()]).toEqual([2, []]);
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0", "2:1:0"]);
  });

  it("answers nobody who has let go while it was suspended", async () => {
    const { frontend, disk, backend } = connected();
    frontend.send(frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    await backend.suspend();
    disk.settle();
    frontend.write("state", "6");
    backend.resume();
    expect([frontend.answers(), frontend.inUse()]).toEqual([[], []]);
    expect(frontend.readMemory(frameOf(16), 0, 1)[0]).toBe(0);
  });
});

describe("buffers", () => {
  it("of one size are used again, all of them", () => {
    const buffers = new Buffers(3 * 4096);
    const given = [new Uint8Array(4096), new Uint8Array(4096)];
    for (const one of given) buffers.give(one);
    const taken = new Set([buffers.take(4096).buffer, buffers.take(1000).buffer]);
    expect(taken).toEqual(new Set(given.map(({ buffer }) => buffer)));
  });

  it("of other sizes are not kept, and take no room from others", () => {
    const buffers = new Buffers(4096);
    for (const length of [512, 4095]) buffers.give(new Uint8Array(length));
    const one = new Uint8Array(4096);
    buffers.give(one);
    expect(buffers.take(4096).buffer).toBe(one.buffer);
  });
});
