import { describe, expect, it } from "vitest";
import { makeDomain } from "../kvm.fixture.js";
import { formatPermission } from "../xenstore/node.js";
import { toText } from "../xenstore/wire.js";
import { GuestSide } from "./guest.fixture.js";
import { XenbusDevice, type XenbusDriver } from "./xenbus-device.js";

/** What a device is in the store, and what is left of it (Xen's docs/misc/xenstore-paths.pandoc, public/io/xenbus.h). */
const FRONTEND = "/local/domain/1/device/vbd/51712";
const BACKEND = "/local/domain/0/backend/vbd/1/51712";
const ERROR = "/local/domain/1/error/device/vbd/51712/error";

function setUp(options: { state?: string; slow?: boolean } = {}) {
  const test = makeDomain();
  const guest = new GuestSide(test, "vbd/51712");
  let drained: () => void = () => undefined;
  let connections = 0;
  const driver: XenbusDriver = {
    ...{ class: "vbd", id: "51712", name: "xvda", connectsAt: new Set([3, 4]) },
    nodes: () => ({ frontend: { "device-type": "disk" }, backend: { sectors: "8" } }),
    connectTo: () => {
      connections += 1;
      return undefined;
    },
    disconnect: (onDrained) => {
      drained = onDrained;
      if (options.slow !== true) onDrained();
    },
  };
  const device = new XenbusDevice(test.domain, driver);
  device.announce(true);
  if (options.state !== undefined) guest.write("state", options.state);
  const { store } = test.domain;
  const watches = (): number => store.watches().filter(({ path }) => path.includes("51712")).length;
  const shown = (below: string) =>
    store
      .nodes(10_000)
      .filter(({ path }) => path === below || path.startsWith(`${below}/`))
      .map(({ path, value, permissions }) => [
        path.slice(below.length),
        `${toText(value)} ${permissions.map(formatPermission).join()}`,
      ]);
  return {
    ...{ test, guest, driver, device, store, watches, shown },
    drain: () => drained(),
    connections: () => connections,
  };
}

describe("a device in the store", () => {
  it("has a directory of the guest's, which domain 0 may read, and one of domain 0's, which the guest may", () => {
    const { shown } = setUp();
    expect(Object.fromEntries(shown(FRONTEND))).toEqual({
      "": " n1,r0",
      "/backend": `${BACKEND} n1,r0`,
      "/backend-id": "0 n1,r0",
      "/device-type": "disk n1,r0",
      "/state": "1 n1,r0",
    });
    expect(Object.fromEntries(shown(BACKEND))).toEqual({
      "": " n0,r1",
      "/frontend": `${FRONTEND} n0,r1`,
      "/frontend-id": "1 n0,r1",
      "/online": "1 n0,r1",
      "/sectors": "8 n0,r1",
      "/state": "2 n0,r1",
    });
    // Linux looks at a device as soon as it sees the state.
    expect(shown(FRONTEND).at(-1)?.[0]).toBe("/state");
  });

  it("keeps nothing of a device that was in its place, on either side", () => {
    const { driver, device, guest, store, test, shown, watches } = setUp({ state: "3" });
    guest.write("stale", "1");
    store.write(0, 0, `${BACKEND}/stale`, Uint8Array.of(0x31));
    const next = XenbusDevice.replace(test.domain, driver, device);
    expect([...shown(FRONTEND), ...shown(BACKEND)].flat().join()).not.toContain("stale");
    expect([next.state, next.connected, watches()]).toEqual([2, false, 2]);
    guest.write("state", "3");
    expect([next.state, next.connected, device.connected]).toEqual([4, true, false]);
    expect(guest.read("state")).toBe("4");
  });

  it("is there once: another one in the same place is a mistake", () => {
    const { test, driver } = setUp();
    expect(() => new XenbusDevice(test.domain, driver)).toThrow("there twice");
  });
});

describe("a device that is unplugged", () => {
  it.each([
    ["0", "at once"],
    ["1", "at once"],
    ["2", "on consent"],
    ["3", "on consent"],
    ["4", "on consent"],
    ["5", "on consent"],
    ["6", "at once"],
    ["7", "on consent"],
    ["8", "on consent"],
    ["x", "at once"],
    ["9", "at once"],
  ])("with a frontend in state %s goes %s", async (state, when) => {
    const { device, guest, shown, watches, store } = setUp({ state });
    const unplugged = device.unplug();
    if (when === "on consent") {
      expect([guest.read("online"), guest.read("state")]).toEqual(["0", "5"]);
      guest.write("state", "6");
    }
    expect([shown(FRONTEND), shown(BACKEND), watches()]).toEqual([[], [], 0]);
    await unplugged;
    await device.unplug();
    // Nothing of it comes back, whatever is still said.
    device.update({ sectors: "9" });
    device.fail("too late");
    store.write(1, 0, `${FRONTEND}/state`, Uint8Array.of(0x33));
    expect([shown(BACKEND), guest.error()]).toEqual([[], undefined]);
  });

  it("tells all who have asked for it", async () => {
    const { device, guest } = setUp({ state: "4" });
    const all = Promise.all([device.unplug(), device.unplug(), device.unplug()]);
    guest.write("state", "6");
    expect(await all).toHaveLength(3);
  });

  it("goes when a new kernel begins with 1, too: it never sees the device", async () => {
    const { device, guest, shown } = setUp({ state: "4" });
    const unplugged = device.unplug();
    guest.write("state", "1");
    await unplugged;
    expect([shown(FRONTEND), shown(BACKEND)]).toEqual([[], []]);
  });

  it("waits for what is under way", async () => {
    const { device, guest, shown, drain } = setUp({ state: "4", slow: true });
    const unplugged = device.unplug();
    guest.write("state", "6");
    expect([device.connected, guest.read("state")]).toEqual([false, "5"]);
    drain();
    await unplugged;
    expect(shown(BACKEND)).toEqual([]);
  });
});

describe("a frontend that breaks the rules", () => {
  it("is told 22, which is EINVAL, and why; has Closing at once, and may come again", () => {
    const { device, guest, test, connections } = setUp({ state: "4" });
    device.fail("it is late");
    expect([guest.error(), guest.read("state")]).toEqual(["22 it is late", "5"]);
    expect([device.connected, test.lines]).toEqual([false, ["xvda: it is late"]]);
    guest.write("state", "6");
    expect(guest.read("state")).toBe("6");
    guest.write("state", "1");
    guest.write("state", "3");
    expect([guest.read("state"), connections()]).toEqual(["4", 2]);
  });
});

describe("a frontend's own words", () => {
  it("are shown up to 200 characters, and none where it has none", () => {
    const { store, test } = setUp();
    store.write(1, 0, ERROR, new Uint8Array(0));
    expect(test.lines).toEqual([]);
    store.write(1, 0, ERROR, new Uint8Array(300).fill(0x78));
    expect(test.lines).toEqual([`xvda: the guest says: ${"x".repeat(200)}`]);
    store.rm(1, 0, ERROR);
    expect(test.lines).toHaveLength(1);
    store.write(1, 0, ERROR, Uint8Array.of(0x20, 0x7e, 0x7f, 0x1f));
    expect(test.lines.at(-1)).toBe("xvda: the guest says:  ~??");
  });

  it("are shown eight times for a device", () => {
    const { store, test } = setUp();
    for (let i = 0; i < 12; i++) store.write(1, 0, ERROR, Uint8Array.of(0x61 + i));
    expect(test.lines.map((line) => line.at(-1))).toEqual([..."abcdefgh"]);
  });
});

describe("what a device was, in saved data", () => {
  const good = { state: 4, online: true, connected: true };
  it.each([0, 1, 2, 3, 4, 5, 6])("may be in state %i", (state) => {
    const { device } = setUp();
    device.restore({ ...good, state });
    expect(device.save()).toEqual({ ...good, state });
    device.restore({ state, online: false, connected: false });
    expect(device.save()).toEqual({ state, online: false, connected: false });
  });

  it.each([
    null,
    5,
    {},
    ...[-1, 7, 1.5, "4", null].map((state) => ({ ...good, state })),
    ...[0, 1, "true", null].map((online) => ({ ...good, online })),
    ...[0, 1, "true", null].map((connected) => ({ ...good, connected })),
  ])("is refused as %j", (saved) => {
    const { device } = setUp();
    expect(() => device.restore(saved)).toThrow(expect.objectContaining({ code: "STATE_DAMAGED" }));
  });
});

describe("a device in an exact snapshot", () => {
  it("is as it was: what it showed, and how many messages it has had", () => {
    const { device, store, test } = setUp({ state: "4" });
    for (let i = 0; i < 3; i++) store.write(1, 0, ERROR, Uint8Array.of(0x61 + i));
    const bus = { state: 4, online: true, connected: true };
    expect(device.kept).toEqual({ bus, complaints: 3 });
    const other = setUp();
    other.device.keep({ bus, complaints: 6 });
    expect([other.device.kept, other.guest.read("state")]).toEqual([{ bus, complaints: 6 }, "2"]);
    for (let i = 0; i < 4; i++) other.store.write(1, 0, ERROR, Uint8Array.of(0x61 + i));
    expect([test.lines.length, other.test.lines.length]).toEqual([3, 2]);
    other.device.keep({ bus, complaints: "6" });
    expect(other.device.kept).toEqual({ bus, complaints: 0 });
    for (const damaged of [null, {}, { bus: null, complaints: 1 }])
      expect(() => other.device.keep(damaged)).toThrow("damaged");
  });

  it("is nothing that can be kept while it comes or goes", async () => {
    const slow = setUp({ state: "4", slow: true });
    slow.guest.write("state", "6");
    expect([slow.device.kept, slow.device.isDraining]).toEqual([undefined, true]);
    slow.drain();
    expect([slow.device.kept, slow.device.isDraining]).toEqual([
      { bus: { state: 6, online: true, connected: false }, complaints: 0 },
      false,
    ]);
    const left = setUp();
    left.device.abandon(() => undefined);
    expect(left.device.kept).toBeUndefined();
    const gone = setUp();
    await gone.device.unplug();
    expect(gone.device.kept).toBeUndefined();
    const next = setUp();
    next.device.announce(false);
    expect(next.device.kept).toBeUndefined();
    next.device.ready();
    expect(next.device.kept).toMatchObject({ bus: { state: 2 } });
  });
});
