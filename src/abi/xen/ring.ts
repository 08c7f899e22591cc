/** The head of a shared request ring (Xen's `public/io/ring.h`, `DEFINE_RING_TYPES`): u32 each. */
export const Sring = {
  req_prod: 0,
  req_event: 4,
  rsp_prod: 8,
  rsp_event: 12,
  /** Bytes before the first slot. */
  HEADER_SIZE: 64,
} as const;
