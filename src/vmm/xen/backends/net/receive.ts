/** Frames for a guest, written into the pages that it posts on the receive ring. */
import {
  NetifRsp,
  Netrxf,
  netif_extra_info,
  netif_rx_request,
  netif_rx_response,
  XenNetifExtraType,
  XenNetifGsoType,
} from "../../../../abi/xen/netif.js";
import { grantRef, PAGE_SIZE } from "../../../../base/index.js";
import type { Frame } from "../../../../ports/index.js";
import type { Grants } from "../../interfaces.js";
import type { RequestRing } from "../request-ring.js";
import { completeChecksum, findSegments, findTransport, segment } from "./packet.js";

export const RX_SLOT_SIZE = netif_rx_request.size;

/** What a frontend takes. */
export interface RxFeatures {
  /** A frame in several pages. */
  readonly sg: boolean;
  /** TCP packets that are not segmented, by version of IP. */
  readonly gso4: boolean;
  readonly gso6: boolean;
  /** Blank checksums, by version of IP. */
  readonly checksum4: boolean;
  readonly checksum6: boolean;
  /** It tells of the pages that it posts. Without that, nobody can wait for them. */
  readonly notifies: boolean;
}

/** Makes of a frame what the frontend takes: none when it takes nothing like it. */
export function framesFor(frame: Frame, takes: RxFeatures): readonly Frame[] {
  if (frame.segmentSize !== undefined) {
    const version = findSegments(frame)?.version;
    const isTaken = takes.sg && (version === 4 ? takes.gso4 : takes.gso6);
    if (version === undefined) return [];
    if (!isTaken) return (segment(frame) ?? []).filter(({ bytes }) => fits(bytes, takes));
  }
  if (!fits(frame.bytes, takes)) return [];
  if (frame.checksum !== "blank") return [frame];
  // Linux drops what is blank and neither TCP nor UDP.
  const version = findTransport(frame.bytes)?.version;
  if (version === undefined) return [];
  if (version === 6 ? takes.checksum6 : takes.checksum4) return [frame];
  const bytes = frame.bytes.slice();
  completeChecksum(bytes);
  return [{ ...frame, bytes, checksum: "valid" }];
}

const fits = (bytes: Uint8Array, { sg }: RxFeatures): boolean => sg || bytes.length <= PAGE_SIZE;

/** Slots of the ring that a frame takes. */
export const slotsFor = ({ bytes, segmentSize }: Frame): number =>
  Math.ceil(bytes.length / PAGE_SIZE) + (segmentSize === undefined ? 0 : 1);

/**
 * Puts a frame into the next slots, of which there have to be enough. The response of a request is in its slot. A part
 * whose page cannot be used is an error in its own slot: the guest drops the frame, and has its page back.
 */
export function putFrame(ring: RequestRing, frame: Frame, grants: Grants): void {
  const { bytes, segmentSize } = frame;
  for (let at = 0; at < bytes.length; at += PAGE_SIZE) {
    const part = bytes.subarray(at, at + PAGE_SIZE);
    const isFirst = at === 0;
    const hasExtra = isFirst && segmentSize !== undefined;
    const more = at + PAGE_SIZE < bytes.length ? Netrxf.more_data : 0;
    const flags = more | (isFirst ? flagsOf(frame) : 0) | (hasExtra ? Netrxf.extra_info : 0);
    putPart(ring, part, flags, grants);
    if (hasExtra) putSegmentation(ring, frame, segmentSize);
  }
}

function flagsOf({ checksum }: Frame): number {
  if (checksum === "blank") return Netrxf.csum_blank | Netrxf.data_validated;
  return checksum === "valid" ? Netrxf.data_validated : 0;
}

function putPart(ring: RequestRing, part: Uint8Array, flags: number, grants: Grants): void {
  const slot = ring.take();
  if (slot === undefined) return;
  const { id, gref } = netif_rx_request.decode(slot);
  const mapping = grants.map(grantRef(gref), false);
  const page = typeof mapping === "number" ? undefined : mapping.page;
  page?.write(0, part);
  if (typeof mapping !== "number") mapping.unmap();
  const status = page === undefined ? NetifRsp.ERROR : part.length;
  ring.respond(netif_rx_response.encode({ id, offset: 0, flags, status }));
}

/** The second slot says how the packet is to be segmented; its page comes back unused. */
function putSegmentation(ring: RequestRing, frame: Frame, size: number): void {
  if (ring.take() === undefined) return;
  const isIpv6 = findSegments(frame)?.version === 6;
  const type = isIpv6 ? XenNetifGsoType.TCPV6 : XenNetifGsoType.TCPV4;
  const extra = { type: XenNetifExtraType.GSO, u: { gso: { size, type } } };
  ring.respond(netif_extra_info.encode(extra));
}
