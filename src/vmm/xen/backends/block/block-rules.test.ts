/** What public/io/blkif.h and a host have a right to, at its limits: order of bytes, work, room, ends. */
import { describe, expect, it } from "vitest";
import { BlkifOp } from "../../../../abi/xen/blkif.js";
import { makeDomain } from "../../kvm.fixture.js";
import { frameOf } from "../guest.fixture.js";
import { BlockBackend } from "./block-backend.js";
import { ManualDisk } from "./disk.fixture.js";
import { type Seg, withDisk } from "./frontend.fixture.js";
import { diskIndex, diskName, MAX_DISKS, vdevNumber } from "./vdev.js";

const { READ, WRITE, FLUSH_DISKCACHE } = BlkifOp;
const EIO = { code: "EIO", message: "the host's disk has an error" };
const connected = (options: Parameters<typeof withDisk>[0] = {}) => {
  const all = withDisk(options);
  all.frontend.connect();
  return all;
};

describe("segments", () => {
  const segments: Seg[] = [
    [16, 0, 0],
    [17, 6, 7],
    [18, 3, 3],
  ];
  /** The bytes of the segments, one after the other. */
  const places = segments.map(([ref, first, last]) => [
    frameOf(ref),
    first * 512,
    last * 512 + 512,
  ]);

  it.each([WRITE, FLUSH_DISKCACHE])("operation %i writes them in their order", (operation) => {
    const { disk, frontend } = connected();
    for (const [i, [gfn = 0, from = 0, to = 0]] of places.entries())
      frontend.writeMemory(gfn, from, new Uint8Array(to - from).fill(0xa0 + i));
    frontend.send(frontend.request(operation, 1n, 10n, segments));
    disk.settle();
    const sectors = [9, 10, 11, 12, 13, 14].map((sector) => disk.bytes[sector * 512]);
    expect(sectors).toEqual([10, 0xa0, 0xa1, 0xa1, 0xa2, 15]);
  });

  it("are read into in their order", () => {
    const { disk, frontend } = connected();
    frontend.send(frontend.request(READ, 1n, 10n, segments));
    disk.settle();
    const read = places.map(([gfn = 0, from = 0, to = 0]) => [
      ...new Set(frontend.readMemory(gfn, from, to - from)),
    ]);
    expect(read).toEqual([[11], [12, 13], [14]]);
    expect(frontend.readMemory(frameOf(17), 0, 6 * 512).every((byte) => byte === 0)).toBe(true);
  });

  it("of an indirect request are in their page from its beginning", () => {
    const { disk, frontend } = connected();
    const pages = [70, 71];
    frontend.send(frontend.indirect(READ, 1n, 10n, segments, { pages }));
    disk.settle();
    expect(frontend.readMemory(frameOf(18), 3 * 512, 1)[0]).toBe(14);
    expect([frontend.answers(), frontend.inUse()]).toEqual([["1:0:0"], []]);
  });

  it("eleven fit into a request, and the last sector into the disk", () => {
    const { disk, frontend } = connected();
    const eleven = Array.from({ length: 11 }, (_, i) => [16 + i, 0, 0] as const);
    frontend.send(frontend.request(READ, 1n, 53n, eleven), frontend.request(READ, 2n, 54n, eleven));
    disk.settle();
    expect(frontend.answers()).toEqual(["2:0:-1", "1:0:0"]);
  });
});

describe("work", () => {
  it.each([
    ["reading: the segments before and after", READ, 2, 300, 200],
    ["writing: the segments", WRITE, 2, 300, 0],
    ["flushing", FLUSH_DISKCACHE, 0, 100, 0],
    ["flushing with data", FLUSH_DISKCACHE, 1, 200, 0],
  ] as const)("is charged for %s", (_, operation, count, before, after) => {
    const { disk, frontend, domain } = connected();
    const segments = Array.from({ length: count }, (_, i) => [16 + i, 0, 0] as const);
    domain.takeWork();
    frontend.send(frontend.request(operation, 1n, 3n, segments));
    expect(domain.takeWork()).toBe(before);
    disk.settle();
    expect(domain.takeWork()).toBe(after);
  });
});

describe("room", () => {
  it("is 4 MiB under way; what ends makes room, and waits for no event", () => {
    const { disk, frontend } = connected({ sectors: 2048 });
    const mib = Array.from({ length: 256 }, (_, i) => [16 + (i % 32), 0, 7] as const);
    const less = mib.slice(0, 255);
    for (let i = 0; i < 3; i++) frontend.put(frontend.indirect(READ, BigInt(i), 0n, mib));
    // 4 KiB less than 4 MiB: there is room for one more, of whatever size.
    frontend.put(frontend.indirect(READ, 3n, 0n, less, { pages: [78] }));
    frontend.put(frontend.request(WRITE, 4n, 0n, [[16, 0, 7]]));
    frontend.send(frontend.request(WRITE, 5n, 0n, [[16, 0, 0]]));
    expect(disk.asked).toHaveLength(5);
    // A flush has no bytes, and waits its turn.
    disk.asked[4]?.end();
    expect(disk.asked).toHaveLength(5);
    expect(disk.asked[4]?.length).toBe(512);
    disk.settle();
    expect(frontend.answers()).toHaveLength(6);
    expect(frontend.inUse()).toEqual([]);
  });
});

describe("the end of a connection", () => {
  it("leaves the port unbound: the next one may use it", () => {
    const { disk, frontend } = connected();
    const port = frontend.port0;
    frontend.write("state", "6");
    frontend.write("state", "1");
    frontend.write("event-channel", `${port}`);
    frontend.write("state", "3");
    expect(frontend.read("state")).toBe("4");
    frontend.port0 = port;
    frontend.send(frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0"]);
  });

  it("with reads under way takes no page back twice, and writes into none", () => {
    const { disk, frontend } = connected();
    frontend.send(frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    const [asked] = disk.asked;
    frontend.write("state", "6");
    expect([frontend.inUse(), frontend.read("state")]).toEqual([[], "4"]);
    asked?.end();
    expect(frontend.read("state")).toBe("6");
    expect(frontend.answers()).toEqual([]);
    expect(frontend.readMemory(frameOf(16), 0, 1)[0]).toBe(0);
  });

  it("a disk in another domain has no guest there, until one connects", () => {
    const { frontend, backend } = connected();
    backend.connect(makeDomain().domain);
    expect(backend.status().connected).toBe(false);
    expect(backend.save()).toMatchObject({ connection: null });
    expect(frontend.read("state")).toBe("4");
  });

  it("a disk whose saved state was refused is as new after a reset", () => {
    const { backend, domain, frontend } = connected();
    const saved = JSON.parse(JSON.stringify(backend.save()));
    domain.store.forget(0);
    const next = new BlockBackend("xvda", new ManualDisk(64));
    const damaged = { ...saved, connection: { ...saved.connection, width: 16 } };
    expect(() => next.restore(domain, damaged)).toThrow("the saved state is damaged");
    next.reset();
    expect([frontend.read("state"), next.status().connected]).toEqual(["2", false]);
  });
});

describe("trouble on the host", () => {
  it("with what a flush writes is trouble with writing: told once, and the disk stays whole", () => {
    const { disk, frontend, test } = connected();
    frontend.send(frontend.request(WRITE, 1n, 0n, [[16, 0, 0]]));
    disk.asked[0]?.end(EIO);
    frontend.send(frontend.request(FLUSH_DISKCACHE, 2n, 0n, [[16, 0, 0]]));
    disk.asked[0]?.end();
    disk.asked[0]?.end(EIO);
    frontend.send(frontend.request(READ, 3n, 0n, [[16, 0, 0]]));
    disk.settle();
    expect(frontend.answers()).toEqual(["1:1:-1", "2:3:-1", "3:0:0"]);
    expect(test.lines).toEqual(["xvda: the host's disk has an error; the guest gets an I/O error"]);
  });
});

describe("names of disks", () => {
  it("are xvda to xvdz, with the numbers of Xen's xen-vbd-interface", () => {
    const names = Array.from({ length: MAX_DISKS }, (_, i) => diskName(i));
    expect([names[0], names.at(-1)]).toEqual(["xvda", "xvdz"]);
    expect(names.map(diskIndex)).toEqual(names.map((_, i) => i));
    // 202 << 8 | disk << 4 below 16, 1 << 28 | disk << 8 from there on.
    expect([0, 15, 16, 25].map(vdevNumber)).toEqual([51712, 51952, 268439552, 268441856]);
    for (const name of ["axvda", "xvdab", "xvd`", "xvd{"])
      expect(() => diskIndex(name)).toThrow(expect.objectContaining({ code: "DISK_NAME" }));
  });
});
