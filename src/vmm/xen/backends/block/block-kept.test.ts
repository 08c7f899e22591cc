import { describe, expect, it } from "vitest";
import { BlkifOp } from "../../../../abi/xen/blkif.js";
import { frameOf } from "../guest.fixture.js";
import { BlockBackend } from "./block-backend.js";
import { ManualDisk } from "./disk.fixture.js";
import { RING_REF, withDisk } from "./frontend.fixture.js";

const { READ, WRITE, FLUSH_DISKCACHE } = BlkifOp;

/** What a device keeps, open to changes. */
interface Kept {
  device: { bus: { connected: boolean } };
  block: {
    connection: { requests: Record<string, unknown>[]; [name: string]: unknown } | null;
    [name: string]: unknown;
  };
}

/** Another device that goes on in the same domain, after the old one was forgotten and its grants with it. */
async function moved(all: ReturnType<typeof withDisk>, change: (kept: Kept) => void = () => {}) {
  const { backend, domain, frontend } = all;
  const kept = frontend.leave(await backend.kept(), frontend.port0, change);
  const flags = Array.from({ length: 80 }, (_, ref) => frontend.flags(ref));
  const disk = new ManualDisk(64);
  const next = new BlockBackend("xvda", disk);
  const keep = () => next.keep(domain, kept as never, () => undefined);
  return { kept, disk, next, keep, flags };
}

describe("a disk in an exact snapshot", () => {
  it("answers a read elsewhere with what was read here, and nobody is told before", async () => {
    const all = withDisk();
    all.frontend.connect();
    all.frontend.send(all.frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    const [asked] = all.disk.asked;
    // The host has read; the guest is to hear of it later.
    const { buffer } = { buffer: Buffer.alloc(512, 0x77).toString("hex") };
    expect(asked?.what).toBe("read");
    const { disk, keep } = await moved(all, ({ block }) => {
      Object.assign(block.connection?.requests[0] ?? {}, { buffer });
    });
    const states = all.frontend.watchStates();
    keep();
    expect([states, all.frontend.answers(), disk.asked.map(({ what }) => what)]).toEqual([
      ...[[], []],
      ["kept"],
    ]);
    disk.settle();
    expect(all.frontend.answers()).toEqual(["1:0:0"]);
    expect(all.frontend.readMemory(frameOf(16), 0, 2)).toEqual(Uint8Array.of(0x77, 0x77));
  });

  it("writes after a flush what the guest had given before it, and not what is there by then", async () => {
    const all = withDisk();
    all.frontend.connect();
    all.frontend.writeMemory(frameOf(16), 0, new Uint8Array(512).fill(0x51));
    all.frontend.send(all.frontend.request(FLUSH_DISKCACHE, 4n, 9n, [[16, 0, 0]]));
    const { disk, keep } = await moved(all);
    all.frontend.writeMemory(frameOf(16), 0, new Uint8Array(512).fill(0x52));
    keep();
    disk.asked[0]?.end();
    expect(disk.asked.map(({ what, offset }) => [what, offset])).toEqual([["write", 9 * 512]]);
    disk.settle();
    expect(disk.bytes[9 * 512]).toBe(0x51);
    expect(all.frontend.answers()).toEqual(["4:3:0"]);
  });

  it("has each grant in use as before, whatever the guest has made of its entry", async () => {
    const all = withDisk();
    all.frontend.connect();
    all.frontend.send(all.frontend.request(WRITE, 1n, 3n, [[16, 0, 0]]));
    all.frontend.grant(16, 0x999, { flags: 0 });
    all.frontend.grant(RING_REF, 0x999, { flags: 0 });
    const { disk, keep, flags } = await moved(all);
    keep();
    const now = Array.from({ length: 80 }, (_, ref) => all.frontend.flags(ref));
    expect(now).toEqual(flags);
    disk.settle();
    expect(all.frontend.answers()).toEqual(["1:1:0"]);
  });

  it("goes on after a request that failed, and says so", async () => {
    const all = withDisk();
    all.frontend.connect();
    all.frontend.send(all.frontend.request(WRITE, 1n, 3n, [[16, 0, 0]]));
    const failure = { code: "EIO", message: "the host's disk has an error" };
    const { disk, keep } = await moved(all, ({ block }) => {
      Object.assign(block.connection?.requests[0] ?? {}, { failure });
    });
    keep();
    disk.settle();
    expect(all.frontend.answers()).toEqual(["1:1:-1"]);
    expect(all.test.lines.join()).toContain("the host's disk has an error");
  });

  it("without a driver is as it was", async () => {
    const all = withDisk();
    const { next, keep } = await moved(all);
    keep();
    expect(next.status().connected).toBe(false);
    all.frontend.connect();
    expect(next.status().connected).toBe(true);
  });

  it("is waited for while it lets go of its guest", () => {
    const all = withDisk();
    all.frontend.connect();
    all.frontend.send(all.frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    expect(all.backend.isMoving).toBe(false);
    all.frontend.write("state", "6");
    expect(all.backend.isMoving).toBe(true);
    all.disk.settle();
    expect(all.backend.isMoving).toBe(false);
  });

  const first = ({ block }: Kept): Record<string, unknown> => block.connection?.requests[0] ?? {};
  it.each<[string, (kept: Kept) => void]>([
    ["no connection of a connected device", (kept) => (kept.block.connection = null)],
    [
      "a ring that is not granted",
      ({ block }) =>
        Object.assign(block.connection ?? {}, { page: { ref: 1, readonly: false, gfn: 1 } }),
    ],
    [
      "another number of requests than the ring has",
      ({ block }) => Object.assign(block.connection ?? {}, { consumed: 9 }),
    ],
    ["a port of nobody", ({ block }) => Object.assign(block.connection ?? {}, { port: 4000 })],
    ["sectors behind the end", (kept) => Object.assign(first(kept), { sector: "64" })],
    [
      "a write of another length than its segments",
      (kept) => Object.assign(first(kept), { sectors: "2" }),
    ],
    ["bytes of another length", (kept) => Object.assign(first(kept), { buffer: "00" })],
    ["a grant too few", (kept) => Object.assign(first(kept), { grants: [] })],
    [
      "a reference that no table has",
      (kept) => Object.assign(first(kept), { grants: [{ ref: 1 << 20, readonly: false, gfn: 1 }] }),
    ],
    [
      "a segment over the end of its page",
      (kept) => Object.assign(first(kept), { segments: [{ ref: 16, offset: 4000, length: 512 }] }),
    ],
    [
      "something else under way than what was asked",
      (kept) => Object.assign(first(kept), { what: "write" }),
    ],
    ["a time that is none", (kept) => Object.assign(first(kept), { atNs: "1" })],
  ])("refuses %s", async (_what, change) => {
    const all = withDisk();
    all.frontend.connect();
    all.frontend.send(all.frontend.request(FLUSH_DISKCACHE, 1n, 3n, [[16, 0, 0]]));
    const unchanged = await moved(all);
    const { keep, disk } = await moved(all, change);
    expect(unchanged.kept.block.connection?.requests).toHaveLength(1);
    expect(keep).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^(STATE|SNAPSHOT)_DAMAGED$/) }),
    );
    expect(disk.asked).toEqual([]);
  });

  it("does not write to a disk that is only read by now", async () => {
    const all = withDisk();
    all.frontend.connect();
    all.frontend.send(all.frontend.request(FLUSH_DISKCACHE, 1n, 3n, [[16, 0, 0]]));
    const { kept } = await moved(all);
    const next = new BlockBackend("xvda", new ManualDisk(64, { readonly: true }));
    const keep = () => next.keep(all.domain, kept as never, () => undefined);
    expect(keep).toThrow(expect.objectContaining({ code: "SNAPSHOT_DAMAGED" }));
  });
});
