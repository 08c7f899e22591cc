/** The block interface (Xen's `public/io/blkif.h`). */
import { array, bytes, perWidth, s16, struct, u8, u16, u32, u64 } from "../layout.js";

/** Operations (`BLKIF_OP_*`). */
export const BlkifOp = {
  READ: 0,
  WRITE: 1,
  WRITE_BARRIER: 2,
  FLUSH_DISKCACHE: 3,
  DISCARD: 5,
  INDIRECT: 6,
} as const;

/** Status of a response (`BLKIF_RSP_*`). */
export const BlkifRsp = { OKAY: 0, ERROR: -1, EOPNOTSUPP: -2 } as const;

/** Bits of the backend's node `info` (`VDISK_*`). */
export const Vdisk = { CDROM: 1, REMOVABLE: 2, READONLY: 4 } as const;

/**
 * Segments that a request holds itself.
 * @nolimit a number of the interface
 */
export const BLKIF_MAX_SEGMENTS_PER_REQUEST = 11;
/**
 * Pages of segments that an indirect request can name.
 * @nolimit a number of the interface
 */
export const BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST = 8;
/** The unit of sector numbers and of the places in a page, whatever the disk has. */
export const SECTOR_SIZE = 512;

/** `struct blkif_request_segment`: sectors `first_sect` to `last_sect` of a granted page. */
export const blkif_request_segment = struct("blkif_request_segment", {
  gref: u32,
  first_sect: u8,
  last_sect: u8,
});
const requestHead = {
  operation: u8,
  nr_segments: u8,
  handle: u16,
  id: u64,
  sector_number: u64,
} as const;
/** `struct blkif_request`, whose bytes are those of a slot of the ring. */
export const blkif_request = struct("blkif_request", {
  ...requestHead,
  seg: array(blkif_request_segment, BLKIF_MAX_SEGMENTS_PER_REQUEST),
});
/** The same before its segments, which are read one by one. */
export const blkif_request_head = struct("blkif_request", requestHead);
/** Bytes of a slot, and where its segments are. */
export const BLKIF_REQUEST_SIZE = {
  32: blkif_request.of(32).size,
  64: blkif_request.size,
} as const;
export const BLKIF_REQUEST_SEGMENTS = {
  32: blkif_request.of(32).offset("seg"),
  64: blkif_request.offset("seg"),
} as const;
/** `struct blkif_request_discard`. */
export const blkif_request_discard = struct("blkif_request_discard", {
  operation: u8,
  flag: u8,
  handle: u16,
  id: u64,
  sector_number: u64,
  nr_sectors: u64,
});
const indirectHead = {
  operation: u8,
  indirect_op: u8,
  nr_segments: u16,
  id: u64,
  sector_number: u64,
  handle: u16,
} as const;
/** `struct blkif_request_indirect`. */
export const blkif_request_indirect = struct("blkif_request_indirect", {
  ...indirectHead,
  indirect_grefs: array(u32, BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST),
  // Padding that only 32-bit code has.
  $pad: perWidth(bytes(0), bytes(8)),
});
/** The same before its list of grants, which are read one by one. */
export const blkif_request_indirect_head = struct("blkif_request_indirect", indirectHead);
/** Where an indirect request has the references of its pages of segments. */
export const BLKIF_REQUEST_INDIRECT_GREFS = {
  32: blkif_request_indirect.of(32).offset("indirect_grefs"),
  64: blkif_request_indirect.offset("indirect_grefs"),
} as const;
/** `struct blkif_response`. */
export const blkif_response = struct("blkif_response", {
  id: u64,
  operation: u8,
  status: s16,
});
