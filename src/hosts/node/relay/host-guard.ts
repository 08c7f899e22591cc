/** Which frames of a page's guest may leave: none to this host itself. */
import { networkInterfaces } from "node:os";

/** Milliseconds for which the host's addresses are not asked for again. */
const FRESH_MS = 1000;
const EtherType = { IPV4: 0x0800, ARP: 0x0806, IPV6: 0x86dd } as const;
const Protocol = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58 } as const;
/** Ports of servers (RFC 1035, RFC 2131, RFC 8415). */
const DNS = 53;
const DHCP = 67;
const DHCPV6 = 547;
const ETHERNET = 14;

/**
 * Says which frames may leave for libslirp. A guest in a page must not reach what listens on this host: neither its loopback
 * interface, nor any of its own addresses, nor what only this host reaches at link-local addresses (such as the metadata
 * service of a cloud). libslirp's gateway stays reachable, which does not lead to the loopback interface, and of its name
 * server, which stands for this host's, port 53.
 */
export class HostGuard {
  readonly #prefix: string;
  readonly #interfaces: typeof networkInterfaces;
  readonly #now: () => number;
  #asked = Number.NEGATIVE_INFINITY;
  #own = new Set<string>();

  /** `subnet`: N in 10.0.N.0/24. */
  constructor(subnet: number, interfaces = networkInterfaces, now: () => number = Date.now) {
    this.#prefix = `10.0.${subnet}.`;
    this.#interfaces = interfaces;
    this.#now = now;
  }

  /** Whether a frame may leave. */
  allows(frame: Uint8Array): boolean {
    if (frame.length < ETHERNET) return false;
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    switch (view.getUint16(12)) {
      case EtherType.ARP:
        return true;
      case EtherType.IPV4:
        return frame.length >= ETHERNET + 20 && this.#allowsIpv4(view);
      case EtherType.IPV6:
        return frame.length >= ETHERNET + 40 && this.#allowsIpv6(view);
      default:
        return false;
    }
  }

  #allowsIpv4(view: DataView): boolean {
    const bytes = [0, 1, 2, 3].map((i) => view.getUint8(ETHERNET + 16 + i));
    const address = bytes.join(".");
    // libslirp's own: the gateway, which is not the host's loopback interface here, and the name server.
    if (address === `${this.#prefix}2`) return true;
    const protocol = view.getUint8(ETHERNET + 9);
    // Only the first fragment has a port; without that one, libslirp puts no packet together.
    const at = ETHERNET + (view.getUint8(ETHERNET) & 0x0f) * 4;
    const isFirst = (view.getUint16(ETHERNET + 6) & 0x1fff) === 0;
    const port = isFirst ? portOf(view, protocol, at) : undefined;
    if (address === `${this.#prefix}3`) return protocol === Protocol.ICMP || port === DNS;
    if (address === "255.255.255.255") return protocol === Protocol.UDP && port === DHCP;
    const [first = 0, second = 0] = bytes;
    // "This host", loopback, link-local, and multicast and what is reserved.
    if (first === 0 || first === 127 || first >= 224) return false;
    return !(first === 169 && second === 254) && !this.#isOwn(address);
  }

  #allowsIpv6(view: DataView): boolean {
    const words = Array.from({ length: 8 }, (_, i) => view.getUint16(ETHERNET + 24 + 2 * i));
    const [first = 0] = words;
    const protocol = view.getUint8(ETHERNET + 6);
    const port = portOf(view, protocol, ETHERNET + 40);
    // Neighbours and ping: libslirp sends no ICMPv6 to the host.
    if (protocol === Protocol.ICMPV6 && (first >= 0xff00 || (first & 0xff80) === 0xfe80))
      return true;
    if (first >= 0xff00) return protocol === Protocol.UDP && port === DHCPV6;
    // Site-local is libslirp's own network: its name server.
    if ((first & 0xffc0) === 0xfec0) return port === DNS;
    if ((first & 0xffc0) === 0xfe80) return false;
    // Unspecified, loopback, and IPv4 in IPv6's clothes.
    return first !== 0 && !this.#isOwn(words.map((word) => word.toString(16)).join(":"));
  }

  #isOwn(address: string): boolean {
    const now = this.#now();
    if (now - this.#asked >= FRESH_MS) {
      this.#asked = now;
      const all = Object.values(this.#interfaces()).flatMap((list) => list ?? []);
      this.#own = new Set(all.map((one) => plain(one.address)));
    }
    return this.#own.has(address);
  }
}

/** The destination port of TCP and UDP. */
function portOf(view: DataView, protocol: number, at: number): number | undefined {
  const hasPort = protocol === Protocol.TCP || protocol === Protocol.UDP;
  return hasPort && view.byteLength >= at + 4 ? view.getUint16(at + 2) : undefined;
}

/** An address, each of IPv6's words written. */
function plain(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const words = (text: string) => (text === "" ? [] : text.split(":"));
  const first = words(head);
  const last = words(tail ?? "");
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  return [...first, ...Array<string>(zeros).fill("0"), ...last]
    .map((word) => Number.parseInt(word, 16).toString(16))
    .join(":");
}
