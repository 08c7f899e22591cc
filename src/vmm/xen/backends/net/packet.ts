/**
 * What a backend has to know of the packets of guests: where their checksums are, and how TCP is cut into segments. A
 * guest writes what it likes: each length is checked against the bytes that there are.
 */
import { addWords, foldChecksum } from "../../../../base/index.js";
import type { Frame } from "../../../../ports/index.js";

/** Bytes of an Ethernet header. */
export const ETHERNET_HEADER = 14;

const EtherType = { IPV4: 0x0800, VLAN: 0x8100, IPV6: 0x86dd } as const;
const Protocol = { HOP_BY_HOP: 0, TCP: 6, UDP: 17, ROUTING: 43, DESTINATION: 60 } as const;
/** Where a header has its checksum. */
const CHECKSUM_AT: Readonly<Record<number, number>> = { [Protocol.TCP]: 16, [Protocol.UDP]: 6 };
const HEADER_OF: Readonly<Record<number, number>> = { [Protocol.TCP]: 20, [Protocol.UDP]: 8 };

/**
 * Extension headers of a packet.
 * @limit guest | IPv6 extension headers before TCP or UDP | headers | its checksum is not computed, and it is not sent
 */
const MAX_EXTENSION_HEADERS = 8;

/** Flags of TCP. */
const Tcp = { FIN: 0x01, PSH: 0x08, CWR: 0x80 } as const;

/** A TCP or UDP packet in a frame, as offsets into it. */
export interface Transport {
  readonly version: 4 | 6;
  readonly protocol: number;
  /** The IP header. */
  readonly ip: number;
  /** The header of TCP or UDP. */
  readonly start: number;
  /** Behind the last byte of the packet: a frame may be longer. */
  readonly end: number;
}

const u8 = (bytes: Uint8Array, at: number): number => bytes[at] ?? 0;
const u16 = (bytes: Uint8Array, at: number): number => (u8(bytes, at) << 8) | u8(bytes, at + 1);

function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** Finds TCP or UDP in a frame; undefined when there is none, or only a fragment of it. */
export function findTransport(bytes: Uint8Array): Transport | undefined {
  const isTagged = u16(bytes, 12) === EtherType.VLAN;
  const ip = isTagged ? ETHERNET_HEADER + 4 : ETHERNET_HEADER;
  const type = u16(bytes, ip - 2);
  const found =
    type === EtherType.IPV4
      ? inIpv4(bytes, ip)
      : type === EtherType.IPV6
        ? inIpv6(bytes, ip)
        : undefined;
  if (found === undefined || found.end > bytes.length) return undefined;
  const header = HEADER_OF[found.protocol];
  return header !== undefined && found.start + header <= found.end ? found : undefined;
}

function inIpv4(bytes: Uint8Array, ip: number): Transport | undefined {
  const header = (u8(bytes, ip) & 15) * 4;
  if (u8(bytes, ip) >> 4 !== 4 || header < 20) return undefined;
  // A fragment: an offset, or more to follow.
  if ((u16(bytes, ip + 6) & 0x3fff) !== 0) return undefined;
  const end = ip + u16(bytes, ip + 2);
  return { version: 4, protocol: u8(bytes, ip + 9), ip, start: ip + header, end };
}

function inIpv6(bytes: Uint8Array, ip: number): Transport | undefined {
  if (u8(bytes, ip) >> 4 !== 6) return undefined;
  const end = ip + 40 + u16(bytes, ip + 4);
  let protocol = u8(bytes, ip + 6);
  let start = ip + 40;
  for (let i = 0; i <= MAX_EXTENSION_HEADERS; i++) {
    if (protocol === Protocol.TCP || protocol === Protocol.UDP) {
      return { version: 6, protocol, ip, start, end };
    }
    const isExtension =
      protocol === Protocol.HOP_BY_HOP ||
      protocol === Protocol.ROUTING ||
      protocol === Protocol.DESTINATION;
    if (!isExtension) return undefined;
    protocol = u8(bytes, start);
    start += (u8(bytes, start + 1) + 1) * 8;
  }
  return undefined;
}

/** The sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1). */
export function pseudoHeader(bytes: Uint8Array, at: Transport): number {
  const [from, to] = at.version === 4 ? [at.ip + 12, at.ip + 20] : [at.ip + 8, at.ip + 40];
  return addWords(at.protocol + at.end - at.start, bytes, from, to);
}

/** Where the checksum of a packet is. */
export const checksumOffset = (at: Transport): number =>
  at.start + (CHECKSUM_AT[at.protocol] as number);

/** Computes the checksum of a packet, whatever its field has. */
function fillChecksum(bytes: Uint8Array, at: Transport): void {
  const field = checksumOffset(at);
  putU16(bytes, field, 0);
  const sum = foldChecksum(addWords(pseudoHeader(bytes, at), bytes, at.start, at.end));
  // With UDP, zero says that there is none.
  putU16(bytes, field, sum === 0 && at.protocol === Protocol.UDP ? 0xffff : sum);
}

/** Computes the checksum of a TCP or UDP packet in its place; false when there is none. */
export function completeChecksum(bytes: Uint8Array): boolean {
  const at = findTransport(bytes);
  if (at !== undefined) fillChecksum(bytes, at);
  return at !== undefined;
}

/**
 * Data of a segment, at least: what Linux keeps to as well. A packet of 64 KiB would be that many packets.
 * @nolimit a smaller size is no size
 */
export const MIN_SEGMENT = 48;

/** Where a large TCP packet is to be cut; undefined for what is none. */
export function findSegments(frame: Frame): (Transport & { readonly data: number }) | undefined {
  const at = findTransport(frame.bytes);
  if (at === undefined || at.protocol !== Protocol.TCP) return undefined;
  const header = (u8(frame.bytes, at.start + 12) >> 4) * 4;
  const data = at.start + header;
  return header >= 20 && data <= at.end ? { ...at, data } : undefined;
}

/** Cuts a large TCP packet into segments with checksums; undefined when it is no TCP packet. */
export function segment(frame: Frame): Frame[] | undefined {
  const at = findSegments(frame);
  const { segmentSize: size = 0 } = frame;
  if (at === undefined || size < MIN_SEGMENT) return undefined;
  const frames: Frame[] = [];
  let from = at.data;
  do {
    const to = Math.min(from + size, at.end);
    frames.push(oneSegment(frame.bytes, at, { from, to, index: frames.length }));
    from = to;
  } while (from < at.end);
  return frames;
}

function oneSegment(
  whole: Uint8Array,
  at: Transport & { readonly data: number },
  part: { from: number; to: number; index: number },
): Frame {
  const length = part.to - part.from;
  const bytes = new Uint8Array(at.data + length);
  bytes.set(whole.subarray(0, at.data));
  bytes.set(whole.subarray(part.from, part.to), at.data);
  if (at.version === 4) {
    putU16(bytes, at.ip + 2, bytes.length - at.ip);
    putU16(bytes, at.ip + 4, u16(whole, at.ip + 4) + part.index);
    putU16(bytes, at.ip + 10, 0);
    putU16(bytes, at.ip + 10, foldChecksum(addWords(0, bytes, at.ip, at.start)));
  } else putU16(bytes, at.ip + 4, bytes.length - at.ip - 40);
  const view = new DataView(bytes.buffer);
  const sequence = view.getUint32(at.start + 4);
  view.setUint32(at.start + 4, sequence + (part.from - at.data));
  const flags = at.start + 13;
  if (part.to < at.end) bytes[flags] = u8(bytes, flags) & ~(Tcp.FIN | Tcp.PSH);
  if (part.index > 0) bytes[flags] = u8(bytes, flags) & ~Tcp.CWR;
  fillChecksum(bytes, { ...at, end: bytes.length });
  return { bytes, checksum: "valid" };
}
