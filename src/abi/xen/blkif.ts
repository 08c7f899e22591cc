/** The block interface (Xen's `public/io/blkif.h`). */
import { layout } from "./layout.js";

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
export const blkif_request_segment = layout("blkif_request_segment", {
  gref: "u32",
  first_sect: "u8",
  last_sect: "u8",
});
/** `struct blkif_request` before its segments. */
export const blkif_request = layout("blkif_request", {
  operation: "u8",
  nr_segments: "u8",
  handle: "u16",
  id: "u64",
  sector_number: "u64",
});
/** Bytes of a request, which are those of a slot of the ring; and where its segments are. */
export const BLKIF_REQUEST_SIZE = { 32: 108, 64: 112 } as const;
export const BLKIF_REQUEST_SEGMENTS = { 32: 20, 64: 24 } as const;
/** `struct blkif_request_discard`. */
export const blkif_request_discard = layout("blkif_request_discard", {
  operation: "u8",
  flag: "u8",
  handle: "u16",
  id: "u64",
  sector_number: "u64",
  nr_sectors: "u64",
});
/** `struct blkif_request_indirect` before its list of grants. */
export const blkif_request_indirect = layout("blkif_request_indirect", {
  operation: "u8",
  indirect_op: "u8",
  nr_segments: "u16",
  id: "u64",
  sector_number: "u64",
  handle: "u16",
});
/** Where an indirect request has the references of its pages of segments. */
export const BLKIF_REQUEST_INDIRECT_GREFS = { 32: 24, 64: 28 } as const;
/** `struct blkif_response`. */
export const blkif_response = layout("blkif_response", {
  id: "u64",
  operation: "u8",
  status: "s16",
});
