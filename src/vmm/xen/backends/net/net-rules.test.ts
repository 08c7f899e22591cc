/** What public/io/netif.h and a network have a right to, at its limits. */

import { describe, expect, it } from "vitest";
import { Sring } from "../../../../abi/xen/ring.js";
import { evtchnPort } from "../../../../base/index.js";
import type { Frame } from "../../../../ports/index.js";
import { makeDomain } from "../../kvm.fixture.js";
import { frameOf } from "../guest.fixture.js";
import { ip, isChecked, LINUX, plain, RX_GFN, TX_GFN, withCard } from "./frontend.fixture.js";
import { checkMac, randomMac } from "./mac.js";

const TCP = 6;
const [MORE, EXTRA] = [4, 8] as const;
const frame = (bytes: Uint8Array, more: Partial<Frame> = {}): Frame => ({
  bytes,
  checksum: "unknown",
  ...more,
});
const connected = (
  offers: Parameters<typeof withCard>[0] = {},
  keys: Readonly<Record<string, string>> = LINUX,
) => {
  const all = withCard(offers);
  all.frontend.connect(4, keys);
  return all;
};

describe("what is offered and told", () => {
  it("features have the value 1", () => {
    const { frontend } = withCard();
    const names = ["rx-copy", "sg", "gso-tcpv4", "gso-tcpv6", "ipv6-csum-offload"];
    expect(names.map((name) => frontend.read(`feature-${name}`))).toEqual([
      "1",
      "1",
      "1",
      "1",
      "1",
    ]);
  });

  it("addresses are whole, with two digits for each byte", () => {
    for (const mac of ["x00:16:3e:01:02:03", "00:16:3e:01:02:03x"])
      expect(() => checkMac(mac)).toThrow(
        `${mac} is no Ethernet address of a card: 00:16:3e:12:34:56 is one`,
      );
    const entropy = { fill: (bytes: Uint8Array) => void bytes.set([0x81, 2, 0xf]) };
    expect(randomMac(entropy)).toBe("00:16:3e:01:02:0f");
  });

  it("rings whose indices make no sense are refused, and let go of", () => {
    for (const [name, gfn] of [
      ["tx-ring-ref", TX_GFN],
      ["rx-ring-ref", RX_GFN],
    ] as const) {
      const { frontend, domain } = withCard();
      frontend.connect(1);
      frontend.ring(gfn, Sring.req_prod, 257);
      frontend.write("state", "4");
      expect(frontend.error()).toBe(`22 the indices of the ring of ${name} make no sense`);
      expect(domain.grantTable.inUse).toBe(false);
      expect(domain.ports.send(evtchnPort(frontend.port0))).toBe(0);
    }
  });

  it("a card in another domain has no guest there, until one connects", () => {
    const { frontend, backend, network } = connected();
    frontend.post(4);
    network.resumed = 0;
    const next = makeDomain();
    backend.connect(next.domain);
    expect([backend.status().connected, network.resumed]).toEqual([false, 1]);
    expect(network.deliver([frame(plain(60))])).toBe(1);
    expect(frontend.received()).toEqual([]);
  });

  it("the network hears of a frontend that connects, and of room only when there was none", () => {
    const { frontend, network } = withCard();
    const before = network.resumed;
    frontend.connect();
    expect(network.resumed).toBe(before + 1);
    frontend.transmit(plain(60));
    frontend.post(4);
    network.deliver([frame(plain(60))]);
    frontend.post(4, { tell: true });
    expect(network.resumed).toBe(before + 1);
  });

  it("a frontend that connects while the machine is suspended moves nothing before it goes on", async () => {
    const { frontend, network, backend } = withCard();
    await backend.suspend();
    frontend.connect();
    frontend.transmit(plain(60));
    expect(network.sent).toEqual([]);
    backend.resume();
    expect(network.sent).toHaveLength(1);
  });
});

describe("sending", () => {
  it("a first part may have no bytes of its own, and one without bytes any grant", () => {
    const { frontend, network } = connected();
    frontend.transmit(plain(100), 0, undefined, [0, 50, 50]);
    frontend.writeMemory(frameOf(16), 0, plain(60));
    frontend.kick({ gref: 16, flags: MORE, size: 60 }, { gref: 200, size: 0 });
    expect(network.sent).toEqual([frame(plain(100)), frame(plain(60))]);
  });

  it.each([
    [13, -1],
    [14, 0],
  ])("%i bytes: %i", (size, status) => {
    const { frontend, network } = connected();
    frontend.transmit(plain(size));
    expect(frontend.answers()).toEqual([`100:${status}`]);
    expect(network.sent).toHaveLength(status + 1);
  });

  it("a page that the balloon took sends nothing", () => {
    const { frontend, network, domain } = connected();
    domain.physmap.release(frameOf(16));
    frontend.kick({ gref: 16, id: 3, size: 60 });
    expect([network.sent, frontend.answers(), frontend.inUse()]).toEqual([[], ["3:-1"], []]);
  });

  it.each([
    [47, -1],
    [48, 0],
  ])("segments of %i bytes, for a network that cuts them: %i", (size, status) => {
    const { frontend, network } = connected({ segmentation: true });
    frontend.transmit(ip(4, TCP, plain(1000)), 3, frontend.extra(size));
    expect(frontend.answers()).toEqual([`100:${status}`, "null"]);
    expect(network.sent.map(({ segmentSize }) => segmentSize)).toEqual(status === 0 ? [size] : []);
  });

  it("18 parts are one packet, with what it says of itself between", () => {
    const { frontend, network } = connected();
    const bytes = ip(4, TCP, plain(1000));
    const sizes = [...Array(17).fill(50), bytes.length - 850];
    frontend.transmit(bytes, EXTRA, frontend.extra(1448), sizes);
    expect(network.sent).toHaveLength(1);
    expect(frontend.answers()).toHaveLength(19);
  });
});

describe("receiving", () => {
  const large = (version: 4 | 6, segmentSize: number) =>
    frame(ip(version, TCP, plain(6000)), { checksum: "blank", segmentSize });

  it.each([
    [4, "feature-gso-tcpv4"],
    [6, "feature-gso-tcpv6"],
  ] as const)("of IPv%i, what is cut is said by %s alone", (version, key) => {
    const both = ["feature-gso-tcpv4", "feature-gso-tcpv6"];
    for (const name of both) {
      const { frontend, network } = connected({}, { ...LINUX, [name]: "0" });
      frontend.post(10);
      network.deliver([large(version, 1448)]);
      const got = frontend.received();
      expect(got).toHaveLength(name === key ? 5 : 3);
      if (name === key) expect(got.every(({ bytes }) => isChecked(bytes))).toBe(true);
    }
  });

  it("what is to be cut and is no TCP, or into nothing, is lost", () => {
    const { frontend, network } = connected({}, { ...LINUX, "feature-gso-tcpv4": "0" });
    frontend.post(10);
    expect(network.deliver([frame(plain(60), { segmentSize: 99 }), large(4, 10)])).toBe(2);
    expect(frontend.received()).toEqual([]);
  });

  it("segments of more than a page are lost where a frame has one page", () => {
    const { frontend, network } = connected({}, { ...LINUX, "feature-sg": "0" });
    frontend.post(10);
    network.deliver([large(4, 5000)]);
    expect(frontend.received().map(({ status }) => status)).toEqual([14 + 40 + 1000]);
  });

  it("a large packet needs a slot more than its pages", () => {
    const { frontend, network } = connected();
    frontend.post(2);
    network.deliver([large(4, 1448)]);
    expect(frontend.received()).toEqual([]);
    frontend.post(1);
    expect(frontend.received()).toHaveLength(3);
  });

  it("a frame that fills its pages has no further one", () => {
    const { frontend, network } = connected();
    frontend.post(2);
    network.deliver([frame(plain(8192))]);
    expect(frontend.received().map(({ status, flags }) => [status, flags])).toEqual([
      [4096, MORE],
      [4096, 0],
    ]);
  });

  it("a frontend that does not tell of its pages loses any number of bytes", () => {
    const { frontend, network } = connected({}, { ...LINUX, "feature-rx-notify": "0" });
    for (let i = 0; i < 6; i++) expect(network.deliver([frame(plain(60000))])).toBe(1);
    frontend.post(4);
    network.deliver([frame(plain(61))]);
    expect(frontend.received().map(({ status }) => status)).toEqual([61]);
  });
});
