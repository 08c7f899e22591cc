import { describe, expect, it } from "vitest";
import { BlkifOp } from "../../../../abi/xen/blkif.js";
import { frameOf } from "../guest.fixture.js";
import { BlockBackend } from "./block-backend.js";
import { ManualDisk } from "./disk.fixture.js";
import { RING_REF, withDisk } from "./frontend.fixture.js";

const { READ, WRITE, FLUSH_DISKCACHE } = BlkifOp;
const EIO = { code: "EIO", message: "the host's disk has an error" };

/** A disk in another process: what it was told of the old one is what `save` gave. */
interface Saved {
  device: { state: number; online: boolean; connected: boolean };
  connection: Record<string, unknown> | null;
  broken: unknown;
}

/** Saves a disk, and gives one that may take its place, in the same domain. */
async function moved(all: ReturnType<typeof withDisk>, change: (saved: Saved) => void = () => {}) {
  const { backend, frontend, domain } = all;
  await backend.suspend();
  const saved = frontend.leave(backend.save(), frontend.port0, change);
  const disk = new ManualDisk(64);
  const next = new BlockBackend("xvda", disk);
  return { saved, disk, next, restore: () => next.restore(domain, saved as never) };
}

describe("a disk in another process", () => {
  it("takes what the guest asked for meanwhile", async () => {
    const all = withDisk();
    all.frontend.connect();
    const { disk, restore } = await moved(all);
    all.frontend.put(all.frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    all.frontend.send();
    restore();
    disk.settle();
    expect(all.frontend.answers()).toEqual(["1:0:0"]);
    expect(all.frontend.readMemory(frameOf(16), 0, 1)[0]).toBe(4);
  });

  it("carries nothing out while it is suspended, and answers nothing", async () => {
    const all = withDisk();
    all.frontend.connect();
    const { disk, next, restore } = await moved(all);
    await next.suspend();
    restore();
    all.frontend.send(all.frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    expect([disk.asked, all.frontend.answers()]).toEqual([[], []]);
    next.resume();
    disk.settle();
    expect(all.frontend.answers()).toEqual(["1:0:0"]);
  });

  it("answers nothing before it goes on, though the bytes are at hand", async () => {
    const all = withDisk();
    all.frontend.connect();
    all.frontend.send(
      all.frontend.request(READ, 1n, 3n, [[16, 0, 0]]),
      all.frontend.request(WRITE, 2n, 4n, [[17, 0, 0]]),
    );
    const { disk, next, restore } = await moved(all);
    disk.atHand = 64;
    await next.suspend();
    restore();
    disk.settle();
    expect(all.frontend.answers()).toEqual([]);
    expect(next.save()).toMatchObject({ connection: { consumed: 2, produced: 0 } });
    next.resume();
    expect(all.frontend.answers()).toEqual(["1:0:0", "2:1:0"]);
  });

  it("without a driver is as it was, and serves one that comes", async () => {
    const all = withDisk();
    const { disk, next, restore } = await moved(all);
    restore();
    expect([all.frontend.read("state"), next.status().connected]).toEqual(["2", false]);
    all.frontend.connect();
    all.frontend.send(all.frontend.request(WRITE, 1n, 3n, [[16, 0, 0]]));
    disk.settle();
    expect([all.frontend.answers(), next.status().connected]).toEqual([["1:1:0"], true]);
  });

  it("sees that its guest let go meanwhile", async () => {
    const all = withDisk();
    all.frontend.connect();
    const { next, restore } = await moved(all);
    all.frontend.write("state", "6");
    restore();
    expect([all.frontend.read("state"), next.status().connected]).toEqual(["6", false]);
  });

  it("starts anew after a soft reset of the domain, and of none before it has one", async () => {
    const all = withDisk();
    all.frontend.connect();
    const { disk, next, restore } = await moved(all);
    next.reset();
    next.resume();
    restore();
    next.reset();
    expect(all.frontend.read("state")).toBe("2");
    all.frontend.connect();
    all.frontend.send(all.frontend.request(READ, 9n, 0n, [[16, 0, 0]]));
    disk.settle();
    expect(all.frontend.answers()).toEqual(["9:0:0"]);
  });

  it.each([
    ["stays broken", true, -1],
    ["is whole where it was", false, 0],
  ])("%s", async (_, isBroken, status) => {
    const all = withDisk();
    all.frontend.connect();
    all.frontend.send(all.frontend.request(FLUSH_DISKCACHE, 1n, 0n, []));
    all.disk.asked[0]?.end(isBroken ? EIO : undefined);
    all.frontend.answers();
    const { disk, saved, restore } = await moved(all);
    expect(saved.broken).toBe(isBroken);
    restore();
    all.frontend.send(all.frontend.request(READ, 2n, 3n, [[16, 0, 0]]));
    disk.settle();
    expect(all.frontend.answers()).toEqual([`2:0:${status}`]);
  });

  const connection = (part: Record<string, unknown>) => (saved: Saved) =>
    void Object.assign(saved.connection ?? {}, part);
  const numbers = ["ref", "port", "consumed", "produced"].flatMap((name) =>
    [undefined, null, "1", -1, 1.5, 2 ** 32].map(
      (value) => [`${name} ${value}`, connection({ [name]: value })] as const,
    ),
  );
  it.each<readonly [string, (saved: Saved) => void]>([
    ...numbers,
    ["a width that is none", connection({ width: 16 })],
    ["a grant that is none", connection({ ref: 99 })],
    ["a port that there is not", connection({ port: 4000 })],
    ["fewer requests than it owes", connection({ requests: [] })],
    ["more requests than it owes", connection({ consumed: 0 })],
    ["requests that are no list", connection({ requests: 1 })],
    ["a request that is too short", connection({ requests: [[1]] })],
    ["requests of the other width", connection({ width: 32 })],
    ["no connection", (saved) => void Object.assign(saved, { connection: null })],
    ["a connection that is a list", (saved) => void Object.assign(saved, { connection: [] })],
    [
      "a connection that the device does not know",
      (saved) => void Object.assign(saved.device, { connected: false }),
    ],
    ["no device", (saved) => void Object.assign(saved, { device: null })],
  ])("refuses %s", async (_, damage) => {
    const all = withDisk();
    all.frontend.connect();
    all.frontend.send(all.frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    const { restore } = await moved(all, damage);
    expect(restore).toThrow(expect.objectContaining({ code: "STATE_DAMAGED" }));
  });
});

describe("a disk that is in no domain", () => {
  it("has a size, no guest, and lets all be done with it", async () => {
    const disk = new ManualDisk(64);
    const backend = new BlockBackend("xvda", disk);
    const own = { name: "xvda", class: "vbd", bytes: 64 * 512 };
    expect(backend.status()).toEqual({ ...own, connected: false });
    expect(backend.save()).toEqual({ device: null, connection: null, broken: false });
    backend.reset();
    await backend.suspend();
    backend.resume();
    await backend.resize(1024);
    await backend.unplug();
    expect(backend.status().bytes).toBe(1024);
  });

  it.each([[undefined], ["7"]])("is recognised by its content: %s", async (generation) => {
    const disk = Object.assign(new ManualDisk(1), { generation: async () => generation });
    expect(await new BlockBackend("xvda", disk).identity()).toEqual({ generation });
    expect(await new BlockBackend("xvda", new ManualDisk(1)).identity()).toEqual({
      generation: undefined,
    });
  });
});

describe("the nodes of a disk", () => {
  const common = {
    ...{ dev: "xvda", removable: "0", sectors: "64", "sector-size": "512" },
    ...{ "physical-sector-size": "4096", "feature-flush-cache": "1" },
    "feature-max-indirect-segments": "256",
  };
  // public/io/blkif.h: VDISK_READONLY is 4, and no alignment is the beginning.
  const discard = {
    ...{ "feature-discard": "1", "discard-granularity": "4096", "discard-alignment": "0" },
  };
  it.each([
    ["that may be written", {}, { ...common, mode: "w", info: "0", ...discard }],
    ["for reading", { readonly: true }, { ...common, mode: "r", info: "4", ...discard }],
    ["without discard", { canDiscard: false }, { ...common, mode: "w", info: "0" }],
  ])("%s are those of public/io/blkif.h, and no more", (_, options, expected) => {
    const { frontend, domain } = withDisk(options);
    const found = domain.store.directory(0, 0, frontend.backend);
    if (typeof found === "string") throw new Error(found);
    const ofXenbus = ["frontend", "frontend-id", "online", "state"];
    const names = found.names.filter((name) => !ofXenbus.includes(name));
    expect(Object.fromEntries(names.map((name) => [name, frontend.read(name)]))).toEqual(expected);
    expect(frontend.peek(`${frontend.frontend}/virtual-device`)).toBe("51712");
    expect(frontend.peek(`${frontend.frontend}/device-type`)).toBe("disk");
  });

  it("round a size down to whole sectors", async () => {
    const { backend, frontend } = withDisk();
    frontend.connect();
    await backend.resize(1023);
    expect(frontend.read("sectors")).toBe("1");
  });
});

describe("a disk that is gone", () => {
  it("is not told of another size, and does not come back by itself", async () => {
    const { backend, frontend, disk, domain } = withDisk();
    frontend.connect();
    const unplugged = backend.unplug();
    frontend.write("state", "6");
    await unplugged;
    await backend.resize(512);
    await backend.unplug();
    expect([frontend.peek(frontend.backend), disk.size]).toEqual([undefined, 512]);
    expect([domain.grantTable.inUse, frontend.flags(RING_REF)]).toEqual([false, 1]);
    expect(backend.save()).toEqual({ device: null, connection: null, broken: false });
  });
});

describe("a frontend without the nodes that it needs", () => {
  it.each(["ring-ref", "event-channel"])("%s: is told which one", (name) => {
    const { frontend } = withDisk();
    frontend.connect(1);
    frontend.test.domain.store.rm(0, 0, `${frontend.frontend}/${name}`);
    frontend.write("state", "3");
    expect(frontend.error()).toBe(`22 ${name} is no number`);
  });

  it.each([
    ["x86_32-abi", 32],
    ["x86_64-abi", 64],
  ] as const)("with the protocol %s is of %i bits", (_, width) => {
    const { frontend, disk } = withDisk({ width });
    frontend.connect();
    frontend.send(frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0"]);
  });
});
