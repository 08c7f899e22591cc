/** Requests of the block interface, read from a private copy of their slot: checked here, and nowhere else. */

import type { Width } from "../../../../abi/layout.js";
import {
  BLKIF_MAX_SEGMENTS_PER_REQUEST,
  BLKIF_REQUEST_INDIRECT_GREFS,
  BLKIF_REQUEST_SEGMENTS,
  BlkifOp,
  BlkifRsp,
  blkif_request_discard,
  blkif_request_head,
  blkif_request_indirect_head,
  blkif_request_segment,
  blkif_response,
  SECTOR_SIZE,
} from "../../../../abi/xen/blkif.js";
import { type GrantRef, grantRef, PAGE_SIZE } from "../../../../base/index.js";
import type { Grants } from "../../interfaces.js";

/**
 * Segments of an indirect request: with whole pages 1 MiB, as Linux's own backend offers.
 * @limit guest | segments of a request to a disk | segments | the request fails
 */
export const MAX_INDIRECT_SEGMENTS = 256;

const SECTORS_PER_PAGE = PAGE_SIZE / SECTOR_SIZE;
/** Bytes of a segment in both kinds of lists, padding included. */
const SEGMENT_SIZE = blkif_request_segment.size;
const SEGMENT = {
  gref: blkif_request_segment.offset("gref"),
  first: blkif_request_segment.offset("first_sect"),
  last: blkif_request_segment.offset("last_sect"),
} as const;

/** A part of a granted page. */
export interface Segment {
  readonly ref: GrantRef;
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
}

/** What every request has, and its response repeats. */
export interface RequestHead {
  readonly id: bigint;
  /** What the response has to say: of an indirect request the operation inside. */
  readonly operation: number;
}

/** A request to carry out. Sectors have 512 bytes. */
export type BlockRequest = RequestHead &
  (
    | {
        readonly kind: "read" | "write" | "flush";
        readonly sector: bigint;
        readonly sectors: number;
        readonly segments: readonly Segment[];
      }
    | { readonly kind: "discard"; readonly sector: bigint; readonly sectors: bigint }
    | { readonly kind: "refused"; readonly status: number }
  );

/** One that is not refused before anything else is looked at. */
export type AskedRequest = Exclude<BlockRequest, { readonly kind: "refused" }>;

/** Reads a request from the copy of its slot. Pages of segments are copied, too. */
export function readRequest(slot: Uint8Array, width: Width, grants: Grants): BlockRequest {
  const operation = slot[0] as number;
  if (operation === BlkifOp.INDIRECT) return readIndirect(slot, width, grants);
  const { id, nr_segments, sector_number } = blkif_request_head.of(width).decode(slot);
  switch (operation) {
    case BlkifOp.READ:
    case BlkifOp.WRITE:
    case BlkifOp.FLUSH_DISKCACHE: {
      const isFlush = operation === BlkifOp.FLUSH_DISKCACHE;
      const isFew = nr_segments > 0 || isFlush;
      if (!isFew || nr_segments > BLKIF_MAX_SEGMENTS_PER_REQUEST) return refuse(id, operation);
      const start = BLKIF_REQUEST_SEGMENTS[width];
      const list = readSegments(slot.subarray(start), nr_segments);
      const kind = isFlush ? "flush" : operation === BlkifOp.READ ? "read" : "write";
      return transfer({ id, operation }, kind, sector_number, list);
    }
    case BlkifOp.DISCARD: {
      const { flag, nr_sectors } = blkif_request_discard.of(width).decode(slot);
      // Secure discard is not offered.
      if ((flag & 1) !== 0) return refuse(id, operation, BlkifRsp.EOPNOTSUPP);
      return { kind: "discard", id, operation, sector: sector_number, sectors: nr_sectors };
    }
    default:
      return refuse(id, operation, BlkifRsp.EOPNOTSUPP);
  }
}

function refuse(id: bigint, operation: number, status: number = BlkifRsp.ERROR): BlockRequest {
  return { kind: "refused", id, operation, status };
}

function transfer(
  head: RequestHead,
  kind: "read" | "write" | "flush",
  sector: bigint,
  segments: readonly Segment[] | undefined,
): BlockRequest {
  if (segments === undefined) return refuse(head.id, head.operation);
  const bytes = segments.reduce((sum, { length }) => sum + length, 0);
  return { ...head, kind, sector, sectors: bytes / SECTOR_SIZE, segments };
}

function readIndirect(slot: Uint8Array, width: Width, grants: Grants): BlockRequest {
  const request = blkif_request_indirect_head.of(width).decode(slot);
  const { id, indirect_op: operation, nr_segments: count, sector_number } = request;
  const isTransfer = operation === BlkifOp.READ || operation === BlkifOp.WRITE;
  if (!isTransfer || count < 1 || count > MAX_INDIRECT_SEGMENTS) return refuse(id, operation);
  const refs = new DataView(slot.buffer, slot.byteOffset + BLKIF_REQUEST_INDIRECT_GREFS[width]);
  // All are in the first page: 512 would be.
  const bytes = copyGranted(grants, grantRef(refs.getUint32(0, true)), count * SEGMENT_SIZE);
  const segments = bytes && readSegments(bytes, count);
  const kind = operation === BlkifOp.READ ? "read" : "write";
  return transfer({ id, operation }, kind, sector_number, segments);
}

/** A copy of the beginning of a granted page. */
function copyGranted(grants: Grants, ref: GrantRef, length: number): Uint8Array | undefined {
  const mapping = grants.map(ref, true);
  if (typeof mapping === "number") return undefined;
  const bytes = mapping.page?.read(0, length);
  mapping.unmap();
  return bytes;
}

/** Undefined when one of them is not within its page. */
function readSegments(bytes: Uint8Array, count: number): Segment[] | undefined {
  const segments: Segment[] = [];
  // Field by field: this is done for each page that a guest reads or writes.
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < count; i++) {
    const at = i * SEGMENT_SIZE;
    const gref = view.getUint32(at + SEGMENT.gref, true);
    const first = view.getUint8(at + SEGMENT.first);
    const last = view.getUint8(at + SEGMENT.last);
    if (first > last || last >= SECTORS_PER_PAGE) return undefined;
    const length = (last - first + 1) * SECTOR_SIZE;
    segments.push({ ref: grantRef(gref), offset: first * SECTOR_SIZE, length });
  }
  return segments;
}

/** A response, its padding zero. */
export function writeResponse(head: RequestHead, status: number, width: Width): Uint8Array {
  return blkif_response.of(width).encode({ id: head.id, operation: head.operation, status });
}
