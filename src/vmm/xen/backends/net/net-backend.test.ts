import { describe, expect, it } from "vitest";
import { Sring } from "../../../../abi/xen/ring.js";
import type { Frame } from "../../../../ports/index.js";
import { makeDomain } from "../../kvm.fixture.js";
import { frameOf } from "../guest.fixture.js";
import {
  ip,
  isChecked,
  LINUX,
  ManualNetwork,
  NetFrontend,
  plain,
  RX_GFN,
  TX_GFN,
  withCard,
} from "./frontend.fixture.js";
import { checkMac, randomMac } from "./mac.js";
import { NetBackend } from "./net-backend.js";

const TCP = 6;
const frame = (bytes: Uint8Array, more: Partial<Frame> = {}): Frame => ({
  bytes,
  checksum: "unknown",
  ...more,
});
const connected = (offers: Parameters<typeof withCard>[0] = {}, keys = LINUX) => {
  const all = withCard(offers);
  all.frontend.connect(4, keys);
  return all;
};

/** How often the guest's event channels are raised from now on. */
function countEvents({ ports }: ReturnType<typeof withCard>["domain"]): () => number {
  let count = 0;
  const notify = ports.notifyGuest.bind(ports);
  ports.notifyGuest = (port) => {
    count += 1;
    notify(port);
  };
  return () => count;
}

describe("what the backend says of a card", () => {
  it("is all there before the guest runs, and nothing else is offered", () => {
    const { frontend, domain, backend } = withCard();
    const names = domain.store.directory(0, 0, frontend.backend);
    if (typeof names === "string") throw new Error(names);
    // No queues, no event channel for each ring, no multicast control, no control ring, no flipping, no XDP.
    expect(names.names.toSorted()).toEqual([
      "feature-gso-tcpv4",
      "feature-gso-tcpv6",
      "feature-ipv6-csum-offload",
      "feature-rx-copy",
      "feature-sg",
      "frontend",
      "frontend-id",
      "handle",
      "mac",
      "online",
      "state",
    ]);
    expect(frontend.read("state")).toBe("2");
    expect(frontend.peek(`${frontend.frontend}/mac`)).toBe("00:16:3e:01:02:03");
    expect(frontend.peek(`${frontend.frontend}/handle`)).toBe("0");
    expect([backend.id, backend.name]).toEqual(["0", "vif0"]);
  });

  it("has addresses of single cards, and refuses others", () => {
    expect(checkMac("AA:16:3E:00:00:0f")).toBe("aa:16:3e:00:00:0f");
    const wrong = [
      "",
      "01:16:3e:0:0:0",
      "00:16:3e:01:02",
      "00-16-3e-01-02-03",
      "01:16:3e:01:02:03",
    ];
    for (const mac of [...wrong, "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "00:16:3e:01:02:0g"]) {
      expect(() => checkMac(mac)).toThrow(expect.objectContaining({ code: "MAC_ADDRESS" }));
    }
    const entropy = { fill: (bytes: Uint8Array) => void bytes.fill(0xff) };
    expect(checkMac(randomMac(entropy))).toBe("00:16:3e:7f:ff:ff");
    for (const index of [-1, 16, 0.5]) {
      const make = () => new NetBackend(index, "00:16:3e:01:02:03", new ManualNetwork());
      expect(make).toThrow(expect.objectContaining({ code: "NET_CARDS" }));
    }
  });
});

describe("the handshake", () => {
  it("connects when the frontend is Connected, and not before", () => {
    const { frontend } = withCard();
    frontend.connect(3);
    expect(frontend.read("state")).toBe("2");
    frontend.write("state", "4");
    expect(frontend.read("state")).toBe("4");
    frontend.write("state", "5");
    expect(frontend.read("state")).toBe("5");
    frontend.write("state", "6");
    expect(frontend.read("state")).toBe("6");
    frontend.write("state", "1");
    expect(frontend.read("state")).toBe("2");
  });

  it("sends what was in the ring before", () => {
    const { frontend, network } = withCard();
    frontend.connect(1);
    frontend.transmit(plain(60));
    expect(network.sent).toEqual([]);
    frontend.write("state", "4");
    expect(network.sent).toEqual([frame(plain(60))]);
  });

  it("serves two cards, each for itself", () => {
    const networks = [new ManualNetwork(), new ManualNetwork()];
    const cards = networks.map((network, i) => new NetBackend(i, `00:16:3e:00:00:0${i}`, network));
    const test = makeDomain(cards);
    // Both are in the same pages, one after the other: the rings are read only when it is told.
    const [one, two] = ["0", "1"].map((id) => new NetFrontend(test, id)) as [
      NetFrontend,
      NetFrontend,
    ];
    one.connect();
    one.transmit(plain(60));
    two.connect();
    two.transmit(plain(61));
    expect(networks.map(({ sent }) => sent.map(({ bytes }) => bytes.length))).toEqual([[60], [61]]);
  });

  it("goes on after a soft reset, and ends with the machine", async () => {
    const { frontend, network, domain, backend } = connected();
    domain.softReset();
    expect(frontend.read("state")).toBe("2");
    expect(domain.grantTable.inUse).toBe(false);
    frontend.connect();
    frontend.transmit(plain(60));
    expect(network.sent).toHaveLength(1);
    await backend.close();
    expect(network.closed).toBe(1);
  });

  it("ends when it is unplugged and the guest lets go", async () => {
    const { frontend, backend } = connected();
    const unplugged = backend.unplug();
    expect(frontend.read("state")).toBe("5");
    frontend.write("state", "6");
    await unplugged;
    expect(frontend.peek(frontend.frontend)).toBeUndefined();
  });
});

describe("sending", () => {
  it("takes a packet in one part, or in several", () => {
    const { frontend, network } = connected();
    frontend.transmit(plain(60));
    frontend.transmit(plain(9000));
    frontend.transmit(plain(100), 0, undefined, [1, 1, 50, 0, 48]);
    expect(network.sent).toEqual([60, 9000, 100].map((length) => frame(plain(length))));
    expect(frontend.answers()).toEqual([
      ...["100:0", "100:0", "101:0", "102:0"],
      ...["100:0", "101:0", "102:0", "103:0", "104:0"],
    ]);
    expect(frontend.inUse()).toEqual([]);
  });

  it("tells once for all, and only when the guest wants to know", () => {
    const { frontend, domain, network } = connected();
    const told = countEvents(domain);
    frontend.kick({ size: 60 }, { size: 60 }, { size: 60 });
    expect(told()).toBe(1);
    frontend.kick({ size: 60 });
    expect(told()).toBe(1);
    expect(frontend.ring(TX_GFN, Sring.req_event)).toBe(5);
    frontend.post(4);
    expect(network.deliver([frame(plain(60)), frame(plain(60))])).toBe(2);
    expect(told()).toBe(2);
  });

  it.each([
    ["IPv4", ip(4, TCP, plain(2000))],
    ["IPv6", ip(6, TCP, plain(2000))],
  ])("completes a blank checksum of %s, unless the network does", (_, bytes) => {
    const { frontend, network } = connected();
    frontend.transmit(bytes, 3);
    expect(network.sent[0]?.checksum).toBe("valid");
    expect(isChecked(network.sent[0]?.bytes as Uint8Array)).toBe(true);
    const other = connected({ checksum: true });
    other.frontend.transmit(bytes, 3);
    expect(other.network.sent).toEqual([{ bytes, checksum: "blank" }]);
  });

  it("passes on that a checksum was checked", () => {
    const { frontend, network } = connected();
    frontend.transmit(plain(60), 2);
    expect(network.sent).toEqual([frame(plain(60), { checksum: "valid" })]);
  });

  it.each([
    [4, 1],
    [6, 2],
  ] as const)("cuts large packets of IPv%i, unless the network does", (version, type) => {
    const bytes = ip(version, TCP, plain(6000));
    const { frontend, network } = connected();
    frontend.transmit(bytes, 3, frontend.extra(1448, type));
    expect(network.sent).toHaveLength(5);
    expect(network.sent.every((one) => isChecked(one.bytes))).toBe(true);
    expect(network.sent.every((one) => one.segmentSize === undefined)).toBe(true);
    expect(frontend.answers()).toEqual(["100:0", "null", "101:0"]);
    const other = connected({ segmentation: true });
    other.frontend.transmit(bytes, 3, frontend.extra(1448, type));
    expect(other.network.sent).toMatchObject([{ checksum: "valid", segmentSize: 1448 }]);
    expect(isChecked(other.network.sent[0]?.bytes as Uint8Array)).toBe(true);
    const both = connected({ segmentation: true, checksum: true });
    both.frontend.transmit(bytes, 3, frontend.extra(1448, type));
    expect(both.network.sent).toEqual([{ bytes, checksum: "blank", segmentSize: 1448 }]);
  });

  it("lets packets wait in the ring while the network is full", () => {
    const { frontend, network } = connected();
    network.isFull = true;
    frontend.transmit(plain(60));
    frontend.transmit(plain(61));
    expect([network.sent, frontend.answers()]).toEqual([[], []]);
    network.isFull = false;
    network.room();
    expect(network.sent).toHaveLength(2);
    expect(frontend.answers()).toHaveLength(2);
  });

  it("takes a change of multicast addresses without sending anything: all of them are received", () => {
    const { frontend, network } = connected();
    frontend.transmit(plain(60), 0, frontend.extra(0, 0, 2));
    frontend.transmit(plain(60), 0, frontend.extra(0, 0, 3));
    expect(frontend.answers()).toEqual(["100:0", "null", "100:0", "null"]);
    expect(network.sent).toEqual([]);
  });
});

describe("receiving", () => {
  it("fills pages in their order, each with its own length", () => {
    const { frontend, network } = connected();
    frontend.post(10);
    expect(network.deliver([frame(plain(60)), frame(plain(9000), { checksum: "valid" })])).toBe(2);
    const got = frontend.received();
    expect(got.map(({ id, slot, status, flags }) => [id, slot, status, flags])).toEqual([
      [0, 0, 60, 0],
      [1, 1, 4096, 5],
      [2, 2, 4096, 4],
      [3, 3, 808, 0],
    ]);
    expect(got[0]?.bytes).toEqual(plain(60));
    const joined = got.slice(1).flatMap(({ bytes }) => [...bytes]);
    expect(Uint8Array.from(joined)).toEqual(plain(9000));
    expect(frontend.inUse()).toEqual([]);
  });

  it("says in the second slot how a large packet is to be cut", () => {
    const { frontend, network } = connected();
    frontend.post(10);
    const large = (version: 4 | 6) =>
      frame(ip(version, TCP, plain(6000)), { checksum: "blank", segmentSize: 1448 });
    network.deliver([large(4), large(6)]);
    const got = frontend.received();
    expect(got.map(({ flags }) => flags).filter((_, i) => i % 3 !== 1)).toEqual([15, 0, 15, 0]);
    expect([...(got[1]?.bytes ?? [])]).toEqual([1, 0, 1448 & 255, 1448 >> 8, 1, 0, 0, 0]);
    expect([...(got[4]?.bytes ?? [])]).toEqual([1, 0, 1448 & 255, 1448 >> 8, 2, 0, 0, 0]);
  });

  it.each([
    ["no segmentation", { "feature-gso-tcpv4": "0" }, 5],
    ["no parts", { "feature-sg": "0" }, 5],
  ])("a frontend that takes %s gets what it takes", (_, keys, count) => {
    const { frontend, network } = connected({}, { ...LINUX, ...keys });
    frontend.post(10);
    const bytes = ip(4, TCP, plain(6000));
    network.deliver([frame(bytes, { checksum: "blank", segmentSize: 1448 })]);
    const got = frontend.received();
    expect(got).toHaveLength(count);
    expect(got.every(({ bytes, flags }) => isChecked(bytes) && flags === 1)).toBe(true);
  });

  it("a frontend that takes no parts gets no large frame", () => {
    const { frontend, network } = connected({}, { ...LINUX, "feature-sg": "0" });
    frontend.post(10);
    expect(network.deliver([frame(plain(4097)), frame(plain(4096))])).toBe(2);
    expect(frontend.received().map(({ status }) => status)).toEqual([4096]);
  });

  it.each([
    ["IPv4", 4, { "feature-no-csum-offload": "1" }],
    ["IPv6", 6, { "feature-ipv6-csum-offload": "0" }],
  ] as const)("a frontend that takes no blank checksums of %s gets whole ones", (_, version, keys) => {
    const blank = frame(ip(version, 17, plain(50)), { checksum: "blank" });
    const { frontend, network } = connected({}, { ...LINUX, ...keys });
    frontend.post(10);
    network.deliver([blank]);
    const [got] = frontend.received();
    expect([got?.flags, isChecked(got?.bytes as Uint8Array)]).toEqual([1, true]);
    expect(isChecked(blank.bytes)).toBe(false);
    const other = connected();
    other.frontend.post(10);
    other.network.deliver([blank]);
    expect(other.frontend.received()).toMatchObject([{ flags: 3, bytes: blank.bytes }]);
  });

  it("drops what has a blank checksum and none that could be", () => {
    const { frontend, network } = connected();
    frontend.post(10);
    expect(network.deliver([frame(plain(60), { checksum: "blank" })])).toBe(1);
    expect(network.deliver([frame(plain(60), { checksum: "blank", segmentSize: 99 })])).toBe(1);
    expect(frontend.received()).toEqual([]);
  });

  it("waits for as many pages as a frame needs before it takes the first (XSA-392)", () => {
    const { frontend, network } = connected();
    frontend.post(2);
    network.deliver([frame(plain(9000))]);
    expect(frontend.received()).toEqual([]);
    frontend.post(1);
    expect(frontend.received().map(({ status }) => status)).toEqual([4096, 4096, 808]);
  });

  it("takes 256 KiB for a guest without pages, keeps the order, and hears when it posts them", () => {
    const { frontend, network } = connected();
    const many = Array.from({ length: 300 }, (_, i) => frame(plain(1000 + i)));
    const taken = network.deliver(many);
    expect(taken).toBe(235);
    expect(network.deliver(many)).toBe(0);
    network.resumed = 0;
    frontend.post(64);
    expect(network.resumed).toBe(1);
    expect(frontend.received().map(({ status }) => status)).toEqual(
      Array.from({ length: 64 }, (_, i) => 1000 + i),
    );
    // As many as the 64 that are gone, in bytes.
    expect(network.deliver(many.slice(taken))).toBe(53);
  });

  it("keeps nothing for a frontend that does not tell of its pages", () => {
    const { frontend, network } = connected({}, { ...LINUX, "feature-rx-notify": "0" });
    expect(network.deliver([frame(plain(60))])).toBe(1);
    frontend.post(4, { tell: true });
    expect(frontend.received()).toEqual([]);
    network.deliver([frame(plain(61))]);
    expect(frontend.received().map(({ status }) => status)).toEqual([61]);
  });

  it("loses what comes without a frontend", () => {
    const { frontend, network } = withCard();
    expect(network.deliver([frame(plain(60))])).toBe(1);
    frontend.connect();
    frontend.post(4);
    expect(frontend.received()).toEqual([]);
    expect(frontend.ring(RX_GFN, Sring.rsp_prod)).toBe(0);
  });
});

describe("suspended", () => {
  it("takes nothing either way, and goes on", async () => {
    const { frontend, network, backend } = connected();
    frontend.post(4);
    await backend.suspend();
    frontend.transmit(plain(60));
    expect(network.deliver([frame(plain(60))])).toBe(0);
    expect([network.sent, frontend.answers(), frontend.received()]).toEqual([[], [], []]);
    network.resumed = 0;
    backend.resume();
    expect(network.sent).toHaveLength(1);
    expect(network.resumed).toBeGreaterThan(0);
    network.deliver([frame(plain(60))]);
    expect(frontend.received()).toHaveLength(1);
  });

  it("is saved, and goes on in another process where it was", async () => {
    const { frontend, network, backend, domain } = connected();
    frontend.post(9);
    frontend.transmit(plain(60));
    network.deliver([frame(plain(60))]);
    await backend.suspend();
    const saved = JSON.parse(JSON.stringify(backend.save()));
    backend.disconnect(() => undefined);
    const other = new ManualNetwork();
    const next = new NetBackend(0, "00:16:3e:01:02:03", other);
    // The store's watches of the old one are still there, as in no real case.
    for (const path of [`${frontend.frontend}/state`, "/local/domain/1/error/device/vif/0/error"]) {
      domain.store.unwatch(0, path, path);
    }
    next.restore(domain, saved);
    frontend.transmit(plain(61));
    expect(other.sent.map(({ bytes }) => bytes.length)).toEqual([61]);
    other.deliver([frame(plain(62))]);
    expect(frontend.received().map(({ status, slot }) => [status, slot])).toEqual([
      [60, 0],
      [62, 1],
    ]);
    expect(frontend.answers()).toEqual(["100:0", "100:0"]);
    expect(frameOf(16)).toBe(0x110);
  });

  it.each([
    ["nothing", null],
    ["no device", { device: null, connection: null }],
    [
      "a connection without a device that has one",
      { device: { state: 2, online: true, connected: false }, connection: 0 },
    ],
    ["rings that are halfway", "halfway"],
  ])("refuses %s", async (_, change) => {
    const { backend, domain, frontend } = connected();
    await backend.suspend();
    const saved = JSON.parse(JSON.stringify(backend.save()));
    if (change === "halfway") saved.connection.position.tx.consumed = 1;
    for (const path of [`${frontend.frontend}/state`, "/local/domain/1/error/device/vif/0/error"]) {
      domain.store.unwatch(0, path, path);
    }
    const next = new NetBackend(0, "00:16:3e:01:02:03", new ManualNetwork());
    const data = change === "halfway" ? saved : change;
    if (_ === "a connection without a device that has one") data.connection = saved.connection;
    expect(() => next.restore(domain, data)).toThrow(
      expect.objectContaining({ code: "STATE_DAMAGED" }),
    );
  });
});
