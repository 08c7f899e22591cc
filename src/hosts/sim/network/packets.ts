/** Packets of IPv4, as a scripted peer reads and writes them. */
import { addWords, foldChecksum } from "../../../base/index.js";

export const Protocol = { ICMP: 1, TCP: 6, UDP: 17 } as const;
export const EtherType = { IPV4: 0x0800, ARP: 0x0806 } as const;

/** An IPv4 packet. */
export interface Packet {
  /** Ethernet addresses of the other side, and IP addresses as numbers. */
  readonly mac: Uint8Array;
  readonly source: number;
  readonly destination: number;
  readonly protocol: number;
  readonly payload: Uint8Array;
}

export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Puts arrays one behind the other. */
export function join(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function ethernet(to: Uint8Array, from: Uint8Array, type: number, payload: Uint8Array) {
  return join(to, from, Uint8Array.of(type >> 8, type & 0xff), payload);
}

/** Reads an IPv4 packet that is whole and whose header is right; undefined for anything else. */
export function readIpv4(frame: Uint8Array): Packet | undefined {
  const ip = frame.subarray(14);
  if (ip.length < 20) return undefined;
  const view = viewOf(ip);
  const header = (view.getUint8(0) & 15) * 4;
  const length = view.getUint16(2);
  const isFragment = (view.getUint16(6) & 0x3fff) !== 0;
  const isWhole = header >= 20 && header <= length && length <= ip.length;
  if (view.getUint8(0) >> 4 !== 4 || !isWhole || isFragment) return undefined;
  if (foldChecksum(addWords(0, ip, 0, header)) !== 0) return undefined;
  return {
    mac: frame.subarray(6, 12),
    source: view.getUint32(12),
    destination: view.getUint32(16),
    protocol: view.getUint8(9),
    payload: ip.subarray(header, length),
  };
}

/** Writes an IPv4 packet behind its Ethernet header. */
export function writeIpv4(packet: Packet, from: Uint8Array, id: number): Uint8Array {
  const header = new Uint8Array(20);
  const view = viewOf(header);
  view.setUint16(0, 0x4500);
  view.setUint16(2, 20 + packet.payload.length);
  view.setUint16(4, id);
  view.setUint16(6, 0x4000);
  view.setUint8(8, 64);
  view.setUint8(9, packet.protocol);
  view.setUint32(12, packet.source);
  view.setUint32(16, packet.destination);
  view.setUint16(10, foldChecksum(addWords(0, header, 0, 20)));
  return ethernet(packet.mac, from, EtherType.IPV4, join(header, packet.payload));
}

/** The checksum of TCP or UDP over a packet; 0 when the one in it is right. */
export function transportChecksum({ source, destination, protocol, payload }: Packet): number {
  const pseudo = new Uint8Array(8);
  viewOf(pseudo).setUint32(0, source);
  viewOf(pseudo).setUint32(4, destination);
  const sum = addWords(protocol + payload.length, pseudo, 0, 8);
  return foldChecksum(addWords(sum, payload, 0, payload.length));
}
