import type { networkInterfaces } from "node:os";
import { describe, expect, it } from "vitest";
import { HostGuard } from "./host-guard.js";

const interfaceOf = (address: string) =>
  ({ address, netmask: "", mac: "", internal: false, cidr: null }) as const;
const own = {
  eth0: [
    { ...interfaceOf("192.0.2.7"), family: "IPv4" as const },
    { ...interfaceOf("2001:db8::7"), family: "IPv6" as const, scopeid: 0 },
    { ...interfaceOf("2001:db8:1:2:3:4:5:60"), family: "IPv6" as const, scopeid: 0 },
  ],
} satisfies ReturnType<typeof networkInterfaces>;
let asked = 0;
let now = 0;
const guard = new HostGuard(
  2,
  () => {
    asked++;
    return own;
  },
  () => now,
);

const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;

/** A frame with a packet to an address and a port; `options`: words of IPv4's header behind its 20 bytes. */
function frameTo(address: string, protocol = TCP, port = 80, options = 0): Uint8Array {
  const isIpv6 = address.includes(":");
  const header = isIpv6 ? 40 : 20 + 4 * options;
  const frame = new Uint8Array(14 + header + 8);
  const view = new DataView(frame.buffer);
  view.setUint16(12, isIpv6 ? 0x86dd : 0x0800);
  if (isIpv6) {
    frame[14 + 6] = protocol;
    const [head = "", tail = ""] = address.split("::");
    const last = tail.split(":").filter((word) => word !== "");
    const first = head.split(":").filter((word) => word !== "");
    first.forEach((word, i) => {
      view.setUint16(38 + 2 * i, Number.parseInt(word, 16));
    });
    last.forEach((word, i) => {
      view.setUint16(54 - 2 * (last.length - i), Number.parseInt(word, 16));
    });
  } else {
    frame[14] = 0x40 | (5 + options);
    frame[14 + 9] = protocol;
    frame.set(address.split(".").map(Number), 14 + 16);
  }
  view.setUint16(14 + header + 2, port);
  return frame;
}

/** The same as a fragment that is not its packet's first one. */
function fragment(frame: Uint8Array): Uint8Array {
  new DataView(frame.buffer).setUint16(14 + 6, 100);
  return frame;
}

describe("a guest in a page", () => {
  it.each([
    ["the gateway", frameTo("10.0.2.2")],
    ["the name server", frameTo("10.0.2.3", UDP, 53)],
    ["the name server by TCP", frameTo("10.0.2.3", TCP, 53)],
    ["the name server by ping", frameTo("10.0.2.3", 1)],
    ["the name server of IPv6", frameTo("fec0::3", UDP, 53)],
    ["the gateway of IPv6 by ping", frameTo("fec0::2", ICMPV6)],
    ["somebody else", frameTo("192.0.2.8")],
    ["somebody else by IPv6", frameTo("2001:db8::8")],
    ["somebody else's port 67", frameTo("192.0.2.8", UDP, 67)],
    ["DHCP", frameTo("255.255.255.255", UDP, 67)],
    ["DHCP behind options", frameTo("255.255.255.255", UDP, 67, 1)],
    ["DHCPv6", frameTo("ff02::1:2", UDP, 547)],
    ["its neighbours by IPv6", frameTo("ff02::1:ff00:2", ICMPV6)],
    ["a neighbour by IPv6", frameTo("fe80::2", ICMPV6)],
  ])("reaches %s", (_, frame) => {
    expect(guard.allows(frame)).toBe(true);
  });

  it("asks who has an address", () => {
    const frame = new Uint8Array(42);
    new DataView(frame.buffer).setUint16(12, 0x0806);
    expect(guard.allows(frame)).toBe(true);
  });

  it.each([
    ["this host's address", frameTo("192.0.2.7")],
    ["another port of the name server's", frameTo("10.0.2.3", TCP, 80)],
    ["that with options before it", frameTo("10.0.2.3", TCP, 80, 2)],
    ["a later fragment for the name server", fragment(frameTo("10.0.2.3", UDP, 53))],
    ["another port of the name server's of IPv6", frameTo("fec0::3", TCP, 80)],
    ["the gateway of IPv6 by TCP", frameTo("fec0::2", TCP, 80)],
    ["DHCPv6's port by TCP", frameTo("ff02::1:2", TCP, 547)],
    ["this host by ping", frameTo("192.0.2.7", 1)],
    ["this host's address of IPv6", frameTo("2001:db8::7")],
    ["another one", frameTo("2001:db8:1:2:3:4:5:60", UDP, 53)],
    ["the loopback interface", frameTo("127.0.0.1")],
    ["all of that network", frameTo("127.255.0.9", UDP, 53)],
    ["0.0.0.0, which Linux takes for it", frameTo("0.0.0.0")],
    ["the loopback interface of IPv6", frameTo("::1")],
    ["the unspecified address of IPv6", frameTo("::")],
    ["IPv4 in an address of IPv6", frameTo("::ffff:7f00:1")],
    ["a link-local address, such as a cloud's metadata", frameTo("169.254.169.254")],
    ["a link-local address of IPv6", frameTo("fe80::2")],
    ["a multicast group", frameTo("224.0.0.251", UDP, 5353)],
    ["a multicast group of IPv6", frameTo("ff02::fb", UDP, 5353)],
    ["a reserved address", frameTo("240.0.0.1")],
    ["a service that hears broadcasts", frameTo("255.255.255.255", UDP, 137)],
    ["DHCP's port by TCP", frameTo("255.255.255.255", TCP, 67)],
    ["a packet that is cut off", frameTo("192.0.2.8").subarray(0, 33)],
    ["a packet of IPv6 that is cut off", frameTo("2001:db8::8").subarray(0, 53)],
    ["a frame that is none", new Uint8Array(13)],
    ["other protocols", new Uint8Array(60)],
  ])("does not reach %s", (_, frame) => {
    expect(guard.allows(frame)).toBe(false);
  });

  it("does not reach addresses that this host gets later", () => {
    const later = frameTo("192.0.2.9");
    expect(guard.allows(later)).toBe(true);
    own.eth0.push({ ...interfaceOf("192.0.2.9"), family: "IPv4" });
    const before = asked;
    now += 999;
    expect(guard.allows(later)).toBe(true);
    expect(asked).toBe(before);
    now += 1;
    expect(guard.allows(later)).toBe(false);
    own.eth0.pop();
  });
});
