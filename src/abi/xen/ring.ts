import { bytes, flexible, struct, u8, u32 } from "../layout.js";

/** A shared request ring without its slots (Xen's `public/io/ring.h`, `DEFINE_RING_TYPES`). */
export const sring = struct("blkif_sring", {
  req_prod: u32,
  req_event: u32,
  rsp_prod: u32,
  rsp_event: u32,
  pvt: bytes(4),
  __pad: bytes(44),
  ring: flexible(u8),
});

/** Its head by offsets. */
export const Sring = {
  req_prod: sring.offset("req_prod"),
  req_event: sring.offset("req_event"),
  rsp_prod: sring.offset("rsp_prod"),
  rsp_event: sring.offset("rsp_event"),
  /** Bytes before the first slot. */
  HEADER_SIZE: sring.offset("ring"),
} as const;
