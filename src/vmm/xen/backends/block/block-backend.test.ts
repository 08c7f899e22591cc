import { describe, expect, it, vi } from "vitest";
import { BlkifOp } from "../../../../abi/xen/blkif.js";
import { Sring } from "../../../../abi/xen/ring.js";
import { evtchnPort } from "../../../../base/index.js";
import { LinearMemory } from "../../../../memory/index.js";
import { makeDomain } from "../../kvm.fixture.js";
import { frameOf } from "../guest.fixture.js";
import { BlockBackend } from "./block-backend.js";
import { ManualDisk } from "./disk.fixture.js";
import { BlockFrontend, RING_REF, withDisk } from "./frontend.fixture.js";

const { READ, WRITE, FLUSH_DISKCACHE, WRITE_BARRIER, DISCARD } = BlkifOp;
const ENOSPC = { code: "ENOSPC", message: "the host's disk is full" };
const EIO = { code: "EIO", message: "the host's disk has an error" };

describe("what the backend says of a disk", () => {
  it("is all there before the guest runs", () => {
    const { frontend, backend } = withDisk();
    const own = ["dev", "mode", "info", "sectors", "sector-size", "physical-sector-size"];
    expect(own.map((name) => frontend.read(name))).toEqual([
      ...["xvda", "w", "0", "64", "512", "4096"],
    ]);
    expect(backend.id).toBe("51712");
    expect(frontend.read("feature-flush-cache")).toBe("1");
    expect(frontend.read("discard-granularity")).toBe("4096");
    expect(frontend.read("feature-max-indirect-segments")).toBe("256");
    expect(frontend.peek(`${frontend.frontend}/device-type`)).toBe("disk");
  });

  it("offers nothing that costs a guest more than it brings", () => {
    const { frontend, domain } = withDisk();
    const names = domain.store.directory(0, 0, frontend.backend);
    if (typeof names === "string") throw new Error(names);
    for (const name of [
      "feature-persistent",
      "feature-barrier",
      "feature-large-sector-size",
      "multi-queue-max-queues",
      "max-ring-page-order",
      "max-ring-pages",
      "discard-secure",
    ]) {
      expect(names.names).not.toContain(name);
    }
  });

  it("says that nothing can be written", () => {
    const { frontend } = withDisk({ readonly: true, canDiscard: false });
    expect([frontend.read("mode"), frontend.read("info")]).toEqual(["r", "4"]);
    expect(frontend.read("feature-discard")).toBeUndefined();
  });

  it("has Xen's numbers, and refuses other names", () => {
    const ids = ["xvda", "xvdb", "xvdp", "xvdq", "xvdz"].map(
      (name) => new BlockBackend(name, new ManualDisk(1)).id,
    );
    expect(ids).toEqual(["51712", "51728", "51952", "268439552", "268441856"]);
    for (const name of ["", "xvd", "xvda1", "xvdaa", "xvdA", "sda", "hda"]) {
      expect(() => new BlockBackend(name, new ManualDisk(1))).toThrow("is no name of a disk");
    }
  });
});

describe.each([64, 32] as const)("requests of a %i-bit frontend", (width) => {
  it("reads and writes parts of pages", () => {
    const { disk, frontend } = withDisk({ width });
    frontend.connect();
    expect(frontend.read("state")).toBe("4");
    frontend.writeMemory(frameOf(17), 1024, new Uint8Array(1024).fill(0xaa));
    const id = 2n ** BigInt(width) - 3n;
    frontend.send(
      frontend.request(READ, id, 5n, [
        [16, 0, 7],
        [18, 3, 3],
      ]),
      frontend.request(WRITE, 7n, 40n, [[17, 2, 3]]),
    );
    expect(disk.asked).toMatchObject([
      { what: "read", offset: 5 * 512, length: 9 * 512 },
      { what: "write", offset: 40 * 512, length: 1024 },
    ]);
    expect(frontend.flags(16)).toBe(0x19);
    expect(frontend.flags(17)).toBe(9);
    expect(frontend.answers()).toEqual([]);
    disk.asked[1]?.end();
    expect(frontend.answers()).toEqual(["7:1:0"]);
    disk.settle();
    expect(frontend.answers()).toEqual([`${id}:0:0`]);
    expect(frontend.inUse()).toEqual([]);
    expect(frontend.readMemory(frameOf(16), 4095, 1)[0]).toBe(13);
    expect([...frontend.readMemory(frameOf(18), 3 * 512 - 1, 514)].filter(Boolean)).toEqual(
      new Array(512).fill(14),
    );
    expect([...disk.bytes.subarray(40 * 512, 42 * 512)]).toEqual(new Array(1024).fill(0xaa));
  });

  it("has an answer at once where the disk has the bytes at hand, or takes them", () => {
    const { disk, frontend } = withDisk({ width });
    disk.atHand = 8;
    frontend.connect();
    frontend.writeMemory(frameOf(18), 0, new Uint8Array(1024).fill(0xaa));
    frontend.send(
      frontend.request(READ, 1n, 7n, [[16, 2, 2]]),
      frontend.request(READ, 2n, 7n, [[17, 0, 1]]),
      frontend.request(WRITE, 3n, 6n, [[18, 0, 0]]),
      frontend.request(WRITE, 4n, 7n, [[18, 0, 1]]),
      frontend.request(FLUSH_DISKCACHE, 5n, 0n, [[19, 0, 0]]),
      frontend.request(FLUSH_DISKCACHE, 6n, 0n, []),
      frontend.discard(7n, 0n, 1n),
    );
    expect(disk.asked.map(({ what, offset }) => `${what} ${offset / 512}`)).toEqual([
      ...["read 7", "write 7", "flush 0", "flush 0", "discard 0"],
    ]);
    expect(frontend.answers()).toEqual(["1:0:0", "3:1:0"]);
    expect(disk.bytes[6 * 512]).toBe(0xaa);
    expect(frontend.inUse()).toEqual([17, 18, 19]);
    expect([...frontend.readMemory(frameOf(16), 1023, 514)]).toEqual([
      ...[0, ...new Array(512).fill(8), 0],
    ]);
    disk.asked[0]?.end();
    expect(frontend.answers()).toEqual(["2:0:0"]);
    disk.settle();
    expect(frontend.answers()).toEqual(["4:1:0", "6:3:0", "7:5:0", "5:3:0"]);
  });

  it("moves bytes that are at hand from page to page, and notes what is written to a guest's memory", () => {
    const { disk, frontend } = withDisk({ width });
    disk.atHand = 40;
    frontend.connect();
    const segments = [
      ...([
        [20, 4, 7],
        [21, 0, 7],
        [22, 0, 1],
      ] as const),
      ...([
        [30, 0, 7],
        [29, 0, 0],
      ] as const),
    ];
    const notes: [number, number][] = [];
    const note = vi.spyOn(LinearMemory.prototype, "noteWrite");
    note.mockImplementation((at, length) => void notes.push([at, length]));
    const indirect = (operation: number, id: bigint, sector: bigint) =>
      frontend.indirect(operation, id, sector, segments);
    frontend.send(indirect(READ, 1n, 2n));
    expect(frontend.answers()).toEqual(["1:0:0"]);
    const bytes = segments.map(([ref, first, last]) =>
      frontend.readMemory(frameOf(ref), first * 512, (last + 1 - first) * 512),
    );
    expect(bytes.flatMap((piece) => [...piece])).toEqual([
      ...disk.bytes.subarray(2 * 512, 25 * 512),
    ]);
    const base = notes.find(([, length]) => length === 4 * 512)?.[0] ?? 0;
    const places = segments.map(([ref, first]) => base + (ref - 20) * 4096 + (first - 4) * 512);
    const lengths = segments.map(([, first, last]) => (last + 1 - first) * 512);
    expect(notes).toEqual(expect.arrayContaining(places.map((place, i) => [place, lengths[i]])));
    // Pages that have been filled although the rest is not at hand are written all the same.
    notes.length = 0;
    frontend.send(indirect(READ, 2n, 20n));
    expect(notes).toEqual(expect.arrayContaining([[base, 4 * 512]]));
    disk.settle();
    expect(frontend.answers()).toEqual(["2:0:0"]);
    notes.length = 0;
    frontend.send(indirect(WRITE, 3n, 10n));
    expect(frontend.answers()).toEqual(["3:1:0"]);
    note.mockRestore();
    expect([...disk.bytes.subarray(10 * 512, 33 * 512)]).toEqual([
      ...segments.flatMap(([ref, first, last]) => [
        ...frontend.readMemory(frameOf(ref), first * 512, (last + 1 - first) * 512),
      ]),
    ]);
  });

  it("has data of one request only in its buffers", () => {
    const { disk, frontend } = withDisk({ width });
    frontend.connect();
    frontend.writeMemory(frameOf(16), 0, new Uint8Array(4096).fill(0xaa));
    frontend.send(frontend.request(WRITE, 1n, 8n, [[16, 0, 7]]));
    disk.settle();
    frontend.writeMemory(frameOf(16), 0, new Uint8Array(4096).fill(0xbb));
    frontend.send(
      frontend.request(WRITE, 2n, 16n, [[16, 0, 7]]),
      frontend.request(READ, 3n, 8n, [[17, 0, 3]]),
    );
    disk.settle();
    expect(frontend.answers()).toEqual(["1:1:0", "2:1:0", "3:0:0"]);
    expect([disk.bytes[8 * 512], disk.bytes[24 * 512 - 1]]).toEqual([0xaa, 0xbb]);
    expect(frontend.readMemory(frameOf(17), 2047, 2)).toEqual(Uint8Array.of(0xaa, 0));
  });

  it("does not use a buffer again that the host may still have", () => {
    const { disk, frontend } = withDisk({ width });
    const buffers: unknown[] = [];
    const write = disk.write.bind(disk);
    disk.write = (offset, bytes, done) => {
      buffers.push(bytes.buffer);
      write(offset, bytes, done);
    };
    frontend.connect();
    for (const failure of [EIO, undefined, undefined]) {
      frontend.send(frontend.request(WRITE, 1n, 8n, [[16, 0, 7]]));
      disk.asked[0]?.end(failure);
    }
    expect(frontend.answers()).toEqual(["1:1:-1", "1:1:0", "1:1:0"]);
    expect(buffers[1]).not.toBe(buffers[0]);
    expect(buffers[2]).toBe(buffers[1]);
  });

  it("takes 256 segments by indirect requests, and says the inner operation", () => {
    const { disk, frontend } = withDisk({ width, sectors: 4096 });
    frontend.connect();
    const segments = Array.from({ length: 256 }, (_, i) => [16 + (i % 32), 0, 7] as const);
    frontend.send(
      frontend.indirect(READ, 1n, 8n, segments),
      frontend.indirect(WRITE, 2n, 2048n, [[20, 1, 1]], { pages: [78] }),
    );
    expect(disk.asked).toMatchObject([
      { what: "read", offset: 4096, length: 1 << 20 },
      { what: "write", offset: 1 << 20, length: 512 },
    ]);
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0", "2:1:0"]);
    expect(frontend.inUse()).toEqual([]);
  });

  it("flushes, with and without data, and discards", () => {
    const { disk, frontend } = withDisk({ width });
    frontend.connect();
    // The sector of an empty flush means nothing: Linux leaves it unset.
    frontend.send(frontend.request(FLUSH_DISKCACHE, 1n, 2n ** 64n - 1n, []));
    frontend.send(frontend.request(FLUSH_DISKCACHE, 2n, 3n, [[16, 0, 0]]));
    frontend.send(frontend.discard(3n, 8n, 8n));
    frontend.send(frontend.discard(4n, 8n, 0n));
    expect(frontend.answers()).toEqual(["4:5:0"]);
    disk.asked[1]?.end();
    expect(disk.asked.map(({ what }) => what)).toEqual(["flush", "discard", "write"]);
    disk.settle();
    expect(frontend.answers()).toEqual(["1:3:0", "3:5:0", "2:3:0"]);
    expect(disk.bytes[8 * 512]).toBe(0);
  });
});

describe("a frontend", () => {
  it("is served in state 3, as GRUB needs it, and starts again with another protocol", () => {
    const { disk, frontend, test } = withDisk({ width: 32 });
    frontend.connect();
    frontend.send(frontend.request(READ, 1n, 0n, [[16, 0, 7]]));
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0"]);
    frontend.write("state", "6");
    expect([frontend.read("state"), frontend.flags(RING_REF)]).toEqual(["6", 1]);
    for (const name of ["ring-ref", "event-channel"]) frontend.write(name, "");
    frontend.write("state", "1");
    const linux = new BlockFrontend(test, 64);
    linux.connect();
    linux.write("state", "4");
    linux.send(linux.request(READ, 2n, 0n, [[16, 0, 7]]));
    disk.settle();
    expect(linux.answers()).toEqual(["2:0:0"]);
  });

  it("without a protocol is of the 32-bit kind", () => {
    const { disk, frontend, domain } = withDisk({ width: 32 });
    frontend.connect(1);
    domain.store.rm(1, 0, `${frontend.frontend}/protocol`);
    frontend.write("state", "3");
    frontend.send(frontend.request(READ, 9n, 0n, [[16, 0, 0]]));
    disk.settle();
    expect(frontend.answers()).toEqual(["9:0:0"]);
  });

  it("finds what it asked for before the connection", () => {
    const { disk, frontend } = withDisk();
    frontend.connect(2);
    frontend.put(frontend.request(READ, 1n, 0n, [[16, 0, 0]]));
    frontend.ring(Sring.req_prod, 1);
    frontend.write("state", "3");
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0"]);
  });

  it("is told once for several answers, and not without need", () => {
    const { disk, frontend, test } = withDisk({ readonly: true });
    frontend.connect();
    test.domain.mapSharedInfo(0x10, true);
    test.take();
    const refused = (id: bigint) => frontend.request(WRITE, id, 0n, [[16, 0, 0]]);
    frontend.send(refused(1n), refused(2n), refused(3n));
    expect(test.take().filter((note) => note.startsWith("send"))).toHaveLength(1);
    expect(frontend.answers()).toHaveLength(3);
    frontend.ring(Sring.rsp_event, 20);
    frontend.send(refused(4n));
    frontend.notify(frontend.port0);
    expect(test.take()).toEqual([]);
    expect(frontend.ring(Sring.req_event)).toBe(5);
    disk.settle();
  });

  it("waits in the ring when enough is under way", () => {
    const { disk, frontend } = withDisk({ sectors: 2048 });
    frontend.connect();
    const segments = Array.from({ length: 256 }, (_, i) => [16 + (i % 32), 0, 7] as const);
    for (let i = 0; i < 8; i++) frontend.put(frontend.indirect(READ, BigInt(i), 0n, segments));
    frontend.send();
    expect(disk.asked).toHaveLength(4);
    disk.asked[0]?.end();
    expect(disk.asked).toHaveLength(4);
    disk.settle();
    expect(frontend.answers()).toHaveLength(8);
  });
});

describe("trouble on the host", () => {
  it("is an I/O error of that request, and one line", () => {
    const { disk, frontend, test } = withDisk();
    frontend.connect();
    for (let i = 0; i < 3; i++) {
      frontend.send(frontend.request(WRITE, BigInt(i), 0n, [[16, 0, 0]]));
      disk.asked[0]?.end(ENOSPC);
    }
    frontend.send(frontend.request(READ, 9n, 0n, [[16, 0, 0]]));
    disk.settle();
    expect(frontend.answers()).toEqual(["0:1:-1", "1:1:-1", "2:1:-1", "9:0:0"]);
    expect(test.lines).toEqual(["xvda: the host's disk is full; the guest gets an I/O error"]);
    expect(frontend.read("state")).toBe("4");
  });

  it("in a flush makes all fail from then on, for other kernels too", () => {
    const { disk, frontend, test, domain } = withDisk();
    frontend.connect();
    frontend.send(
      frontend.request(READ, 1n, 0n, [[16, 0, 0]]),
      frontend.request(FLUSH_DISKCACHE, 2n, 0n, []),
    );
    disk.asked[1]?.end(EIO);
    disk.settle();
    frontend.send(frontend.request(WRITE, 3n, 0n, [[16, 0, 0]]));
    frontend.send(frontend.request(FLUSH_DISKCACHE, 4n, 0n, []));
    expect(disk.asked).toEqual([]);
    expect(frontend.answers()).toEqual(["2:3:-1", "1:0:-1", "3:1:-1", "4:3:-1"]);
    expect(test.lines).toEqual(["xvda: the host's disk has an error; the disk fails from now on"]);
    domain.softReset();
    frontend.connect();
    frontend.send(frontend.request(READ, 5n, 0n, [[16, 0, 0]]));
    expect(frontend.answers()).toEqual(["5:0:-1"]);
  });
});

describe("the life of a connection", () => {
  it("ends with a soft reset: late data goes nowhere, and the next one waits for it", () => {
    const { disk, frontend, domain } = withDisk();
    frontend.connect();
    frontend.write("state", "4");
    frontend.send(frontend.request(READ, 1n, 0n, [[16, 0, 7]]));
    const before = frontend.readMemory(frameOf(16), 0, 4096);
    domain.softReset();
    expect(domain.grantTable.inUse).toBe(false);
    expect([frontend.read("state"), frontend.peek(`${frontend.frontend}/state`)]).toEqual([
      ...["1", "1"],
    ]);
    expect(frontend.peek(`${frontend.frontend}/ring-ref`)).toBeUndefined();
    frontend.connect();
    expect(frontend.read("state")).toBe("1");
    disk.settle();
    expect(frontend.read("state")).toBe("4");
    expect(frontend.readMemory(frameOf(16), 0, 4096)).toEqual(before);
    expect(frontend.answers()).toEqual([]);
    frontend.send(frontend.request(READ, 2n, 0n, [[16, 0, 7]]));
    disk.settle();
    expect(frontend.answers()).toEqual(["2:0:0"]);
  });

  it("survives two soft resets in a row", () => {
    const { disk, frontend, domain } = withDisk();
    frontend.connect();
    frontend.send(frontend.request(READ, 1n, 0n, [[16, 0, 7]]));
    domain.softReset();
    domain.softReset();
    frontend.connect();
    expect(frontend.read("state")).toBe("1");
    disk.settle();
    expect(frontend.read("state")).toBe("4");
  });

  it("ends without answers when the guest closes it, and shows 6 when nothing is under way", () => {
    const { disk, frontend } = withDisk();
    frontend.connect();
    frontend.send(frontend.request(READ, 1n, 0n, [[16, 0, 7]]));
    frontend.write("state", "5");
    expect(frontend.read("state")).toBe("5");
    frontend.write("state", "6");
    expect([frontend.read("state"), frontend.inUse(), frontend.flags(RING_REF)]).toEqual([
      ...["5", [], 1],
    ]);
    disk.settle();
    expect([frontend.read("state"), frontend.answers()]).toEqual(["6", []]);
  });

  it("stands still while it is suspended", async () => {
    const { disk, backend, frontend } = withDisk();
    frontend.connect();
    frontend.send(frontend.request(READ, 1n, 0n, [[16, 0, 7]]));
    await backend.suspend();
    disk.settle();
    frontend.send(frontend.request(READ, 2n, 0n, [[16, 0, 7]]));
    expect([frontend.answers(), disk.asked]).toEqual([[], []]);
    backend.resume();
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0", "2:0:0"]);
  });

  it("begins while it is suspended, and serves nothing before it goes on", async () => {
    const { disk, backend, frontend } = withDisk();
    await backend.suspend();
    frontend.connect();
    frontend.send(frontend.request(READ, 1n, 0n, [[16, 0, 7]]));
    expect([frontend.read("state"), disk.asked]).toEqual(["4", []]);
    backend.resume();
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0"]);
  });

  it("is saved with what it owes, and restored in another machine", async () => {
    const { disk, backend, frontend, test } = withDisk();
    frontend.connect();
    frontend.write("state", "4");
    frontend.writeMemory(frameOf(17), 0, new Uint8Array(512).fill(0xcc));
    frontend.send(
      frontend.request(READ, 1n, 3n, [[16, 0, 0]]),
      frontend.indirect(WRITE, 2n, 9n, [[17, 0, 0]]),
      frontend.request(FLUSH_DISKCACHE, 3n, 0n, []),
    );
    disk.asked[0]?.end();
    expect(frontend.answers()).toEqual(["1:0:0"]);
    await backend.suspend();
    disk.asked[0]?.end();
    const saved = JSON.parse(JSON.stringify(backend.save()));
    // The same domain stands for one with the same memory, store and grants, whose ports are unbound.
    const copy = new ManualDisk(64);
    const other = new BlockBackend("xvda", copy);
    test.domain.store.forget(0);
    test.domain.ports.close(evtchnPort(frontend.port0));
    expect(frontend.port()).toBe(frontend.port0);
    other.restore(test.domain, saved);
    expect(copy.asked.map(({ what }) => what)).toEqual(["write", "flush"]);
    copy.settle();
    expect(frontend.answers()).toEqual(["2:1:0", "3:3:0"]);
    expect(copy.bytes[9 * 512]).toBe(0xcc);
    frontend.send(frontend.request(READ, 4n, 0n, [[16, 0, 0]]));
    copy.settle();
    expect(frontend.answers()).toEqual(["4:0:0"]);
    frontend.write("state", "6");
    expect(frontend.read("state")).toBe("6");
  });

  it("refuses damaged data", async () => {
    const { backend, frontend } = withDisk();
    frontend.connect();
    frontend.send(frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    await backend.suspend();
    const saved = JSON.parse(JSON.stringify(backend.save()));
    const { connection } = saved;
    for (const damaged of [
      null,
      {},
      { ...saved, connection: null },
      ...[{ width: 16 }, { ref: -1 }, { port: 0.5 }, { consumed: 7 }, { requests: [[1]] }].map(
        (part) => ({ ...saved, connection: { ...connection, ...part } }),
      ),
    ]) {
      const other = new BlockBackend("xvda", new ManualDisk(64));
      expect(() => other.restore(makeDomain().domain, damaged)).toThrow("damaged");
    }
  });

  it("is over with the machine", async () => {
    const { backend, disk, frontend } = withDisk();
    frontend.connect();
    await backend.suspend();
    await backend.close();
    expect(disk.closed).toBe(true);
  });

  it("tells the guest of another size, and of the wish to take the disk away", async () => {
    const { backend, frontend } = withDisk();
    frontend.connect();
    const seen = frontend.watchStates();
    await backend.resize(32 * 512);
    expect(backend.status()).toEqual({ name: "xvda", class: "vbd", connected: true, bytes: 16384 });
    expect([frontend.read("sectors"), seen]).toEqual(["32", ["4"]]);
    frontend.send(frontend.request(READ, 1n, 32n, [[16, 0, 0]]));
    expect(frontend.answers()).toEqual(["1:0:-1"]);
    const gone = backend.unplug();
    frontend.write("state", "6");
    await gone;
    expect(frontend.read("state")).toBeUndefined();
    expect(backend.status().connected).toBe(false);
  });
});

it("operations that are not offered", () => {
  const { frontend } = withDisk({ canDiscard: false });
  frontend.connect();
  frontend.send(
    frontend.request(WRITE_BARRIER, 1n, 0n, [[16, 0, 0]]),
    frontend.request(4, 2n, 0n, [[16, 0, 0]]),
    frontend.request(0xff, 3n, 0n, [[16, 0, 0]]),
    frontend.discard(4n, 0n, 8n),
  );
  expect(frontend.answers()).toEqual(["1:2:-2", "2:4:-2", "3:255:-2", `4:${DISCARD}:-2`]);
});
