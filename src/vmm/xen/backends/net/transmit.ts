/** Packets that a guest sends, read from the requests of the transmit ring: checked here, and nowhere else. */
import {
  NetifRsp,
  Nettxf,
  netif_extra_info,
  netif_tx_request,
  netif_tx_response,
  XEN_NETIF_NR_SLOTS_MIN,
  XenNetifExtraFlag,
  XenNetifExtraType,
  XenNetifGsoType,
} from "../../../../abi/xen/netif.js";
import { grantRef, PAGE_SIZE } from "../../../../base/index.js";
import type { Frame } from "../../../../ports/index.js";
import type { Grants } from "../../interfaces.js";
import type { RequestRing } from "../request-ring.js";
import { ETHERNET_HEADER, findSegments, findTransport, MIN_SEGMENT } from "./packet.js";

export const TX_SLOT_SIZE = netif_tx_request.size;

/**
 * Slots of one packet.
 * @limit guest | parts of a packet to send | parts | it is not sent
 */
const MAX_PACKET_SLOTS = XEN_NETIF_NR_SLOTS_MIN;
/**
 * Slots beyond which a frontend is broken, as for Linux's backend.
 * @limit guest | parts of a packet to send, until the device fails | parts | the device fails
 */
const MAX_BROKEN_SLOTS = 20;

/** A part of a packet. */
interface Part {
  readonly id: number;
  readonly gref: number;
  readonly offset: number;
  readonly size: number;
}

/** What a packet says about its segmentation. */
interface Segmentation {
  readonly version: 4 | 6;
  readonly size: number;
}

/** A packet with its slots, as they were in the ring. */
interface TxPacket {
  /** `undefined` for the slots of what it says about itself. */
  readonly slots: readonly (Part | undefined)[];
  readonly flags: number;
  readonly segmentation: Segmentation | undefined;
  /** It only changes a list of multicast addresses: there is nothing to send. */
  readonly isDummy: boolean;
}

/** Takes the slots of the next packet; a text when the frontend is broken, undefined when none waits. */
export function takePacket(ring: RequestRing): TxPacket | string | undefined {
  const head = ring.take();
  if (head === undefined) return undefined;
  const first = netif_tx_request.decode(head);
  const slots: (Part | undefined)[] = [first];
  let segmentation: Segmentation | undefined;
  let isDummy = false;
  for (let hasExtra = (first.flags & Nettxf.extra_info) !== 0; hasExtra; ) {
    const slot = ring.take();
    if (slot === undefined) return "what a packet says about itself is missing";
    const extra = netif_extra_info.decode(slot);
    slots.push(undefined);
    if (extra.type === XenNetifExtraType.NONE || extra.type >= XenNetifExtraType.MAX) {
      return `a packet says something of kind ${extra.type} about itself`;
    }
    if (extra.type === XenNetifExtraType.GSO) {
      const { type, size } = extra.u.gso;
      const version = VERSION_OF[type];
      if (version === undefined) return `segmentation of kind ${type}`;
      if (size === 0) return "segments of 0 bytes";
      segmentation = { version, size };
    }
    isDummy ||= extra.type === XenNetifExtraType.MCAST_ADD;
    isDummy ||= extra.type === XenNetifExtraType.MCAST_DEL;
    hasExtra = (extra.flags & XenNetifExtraFlag.MORE) !== 0;
  }
  for (let { flags } = first, parts = 1; (flags & Nettxf.more_data) !== 0; parts++) {
    if (parts >= MAX_BROKEN_SLOTS) return `a packet of more than ${MAX_BROKEN_SLOTS} parts`;
    const slot = ring.take();
    if (slot === undefined) return "a part of a packet is missing";
    const part = netif_tx_request.decode(slot);
    if (part.offset + part.size > PAGE_SIZE) return "a part of a packet is not within its page";
    slots.push(part);
    ({ flags } = part);
  }
  return { slots, flags: first.flags, segmentation, isDummy };
}

const VERSION_OF: Readonly<Record<number, 4 | 6>> = {
  [XenNetifGsoType.TCPV4]: 4,
  [XenNetifGsoType.TCPV6]: 6,
};

/** The frame that a packet is; a text when the frontend is broken, undefined when it cannot be sent. */
export function readFrame(packet: TxPacket, grants: Grants): Frame | string | undefined {
  const [first, ...rest] = packet.slots.filter((slot) => slot !== undefined);
  if (first === undefined) return undefined;
  // Of the first part, the size is that of the whole.
  const own = first.size - rest.reduce((sum, { size }) => sum + size, 0);
  if (own < 0) return undefined;
  if (first.offset + own > PAGE_SIZE) return "a part of a packet is not within its page";
  if (rest.length + 1 > MAX_PACKET_SLOTS) return undefined;
  // 16 bits are no longer than a frame may be.
  if (first.size < ETHERNET_HEADER) return undefined;
  const bytes = new Uint8Array(first.size);
  let at = 0;
  for (const part of [{ ...first, size: own }, ...rest]) {
    if (!copyPart(part, grants, bytes, at)) return undefined;
    at += part.size;
  }
  return describe(bytes, packet);
}

/** A part of a granted page into a frame. */
function copyPart(part: Part, grants: Grants, into: Uint8Array, at: number): boolean {
  if (part.size === 0) return true;
  const mapping = grants.map(grantRef(part.gref), true);
  if (typeof mapping === "number") return false;
  const bytes = mapping.page?.read(part.offset, part.size);
  mapping.unmap();
  if (bytes === undefined) return false;
  into.set(bytes, at);
  return true;
}

/** What the flags mean for this frame; undefined when it is not what they say. */
function describe(bytes: Uint8Array, { flags, segmentation }: TxPacket): Frame | undefined {
  const isBlank = (flags & Nettxf.csum_blank) !== 0;
  if (segmentation !== undefined) {
    const frame: Frame = { bytes, checksum: "blank", segmentSize: segmentation.size };
    const isTcp = findSegments(frame)?.version === segmentation.version;
    return isTcp && segmentation.size >= MIN_SEGMENT ? frame : undefined;
  }
  if (isBlank) return findTransport(bytes) && { bytes, checksum: "blank" };
  return { bytes, checksum: (flags & Nettxf.data_validated) !== 0 ? "valid" : "unknown" };
}

/** Answers all slots of a packet. */
export function answerPacket(ring: RequestRing, { slots }: TxPacket, status: number): void {
  for (const slot of slots) {
    const answer = slot ? { id: slot.id, status } : { id: 0, status: NetifRsp.NULL };
    ring.respond(netif_tx_response.encode(answer));
  }
}
