/**
 * Segments of TCP that follow each other, put together again before a guest sees them, as a network card does (generic receive
 * offload): the guest's work is by the packet, not by the byte. The inverse of `segment` in packet.ts.
 */
import { addWords, foldChecksum } from "../../../../base/index.js";
import type { Frame } from "../../../../ports/index.js";
import { checksumOffset, findSegments, MIN_SEGMENT, pseudoHeader } from "./packet.js";
import type { RxFeatures } from "./receive.js";

const Tcp = { PSH: 0x08, ACK: 0x10 } as const;
/** Offsets into a TCP header. */
const SEQUENCE = 4;
const ACKNOWLEDGED = 8;
const FLAGS = 13;
const WINDOW = 14;
const CHECKSUM = 16;
/** Offsets into an IPv4 header: what may differ, and what comes behind. */
const IPV4 = { LENGTH: 2, ID: 4, FRAGMENT: 6, CHECKSUM: 10, ADDRESSES: 12 } as const;
const IPV6 = { LENGTH: 4, NEXT: 6, HEADER: 40 } as const;
/** Bytes that the length of an IP packet can say. */
const IP_ROOM = 65535;

/** A segment whose checksum is right, and that may be part of a larger one. */
interface Part {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly version: 4 | 6;
  readonly ip: number;
  readonly start: number;
  readonly data: number;
  readonly isLast: boolean;
}

function partOf(frame: Frame, takes: RxFeatures): Part | undefined {
  // What may have been damaged on its way is the guest's to look at.
  if (frame.checksum !== "valid" || frame.segmentSize !== undefined) return undefined;
  const at = findSegments(frame);
  const { bytes } = frame;
  if (at === undefined || at.end !== bytes.length || at.data === at.end) return undefined;
  if (!(at.version === 4 ? takes.gso4 : takes.gso6)) return undefined;
  const flags = bytes[at.start + FLAGS];
  if (flags !== Tcp.ACK && flags !== (Tcp.ACK | Tcp.PSH)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { version, ip, start, data } = at;
  return { bytes, view, version, ip, start, data, isLast: (flags & Tcp.PSH) !== 0 };
}

/** Whether headers are the same but for lengths, numbers in a row and checksums. */
function isAlike(a: Part, b: Part): boolean {
  const same = (from: number, to: number): boolean => {
    for (let at = from; at < to; at++) if (a.bytes[at] !== b.bytes[at]) return false;
    return true;
  };
  const { ip, start, data } = a;
  // Where the headers are, their bytes say: they are the same, too.
  if (!same(0, ip)) return false;
  const isSameIp =
    a.version === 4
      ? same(ip, ip + IPV4.LENGTH) &&
        same(ip + IPV4.FRAGMENT, ip + IPV4.CHECKSUM) &&
        same(ip + IPV4.ADDRESSES, start)
      : same(ip, ip + IPV6.LENGTH) && same(ip + IPV6.NEXT, start);
  return (
    isSameIp &&
    same(start, start + SEQUENCE) &&
    same(start + ACKNOWLEDGED, start + FLAGS) &&
    same(start + WINDOW, start + CHECKSUM) &&
    same(start + CHECKSUM + 2, data)
  );
}

/** As many frames as are one packet for the guest, from the first one of `frames` at `from` on. */
export function mergeSegments(
  frames: readonly Frame[],
  from: number,
  takes: RxFeatures,
): { readonly frame: Frame; readonly count: number } {
  const only = { frame: frames[from] as Frame, count: 1 };
  if (!takes.sg) return only;
  const first = partOf(only.frame, takes);
  if (first === undefined) return only;
  const { start, data, ip } = first;
  const size = first.bytes.length - data;
  if (size < MIN_SEGMENT) return only;
  const parts = [first];
  let length = first.bytes.length;
  let sequence = first.view.getUint32(start + SEQUENCE);
  for (let at = from + 1; at < frames.length && !parts.at(-1)?.isLast; at++) {
    const next = partOf(frames[at] as Frame, takes);
    if (next === undefined || !isAlike(first, next)) break;
    const added = next.bytes.length - data;
    sequence = (sequence + size) >>> 0;
    if (next.view.getUint32(start + SEQUENCE) !== sequence || added > size) break;
    // MAX_FRAME is this and the longest Ethernet header.
    if (length + added - ip > IP_ROOM) break;
    parts.push(next);
    length += added;
    // A shorter one ends it: all others have the size that it says.
    if (added < size) break;
  }
  return parts.length === 1 ? only : { frame: whole(parts, length, size), count: parts.length };
}

function whole(parts: readonly Part[], length: number, segmentSize: number): Frame {
  const [first, last] = [parts[0] as Part, parts.at(-1) as Part];
  const { ip, start, data, version } = first;
  const bytes = new Uint8Array(length);
  bytes.set(first.bytes);
  let end = first.bytes.length;
  for (const part of parts.slice(1)) {
    bytes.set(part.bytes.subarray(data), end);
    end += part.bytes.length - data;
  }
  const view = new DataView(bytes.buffer);
  bytes[start + FLAGS] = last.bytes[last.start + FLAGS] as number;
  if (version === 4) {
    view.setUint16(ip + IPV4.LENGTH, length - ip);
    view.setUint16(ip + IPV4.CHECKSUM, 0);
    view.setUint16(ip + IPV4.CHECKSUM, foldChecksum(addWords(0, bytes, ip, start)));
  } else view.setUint16(ip + IPV6.LENGTH, length - ip - IPV6.HEADER);
  const frame: Frame = { bytes, checksum: "blank", segmentSize };
  const at = findSegments(frame);
  // What a card computes goes on from the pseudo header's sum, if the guest sends the packet on.
  if (at) view.setUint16(checksumOffset(at), ~foldChecksum(pseudoHeader(bytes, at)) & 0xffff);
  return frame;
}
