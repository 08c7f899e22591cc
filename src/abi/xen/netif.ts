/** The network interface (Xen's `public/io/netif.h`). */
import { s16, struct, u8, u16, u32, union } from "../layout.js";

/**
 * Slots of the transmit ring that a frontend may use for a packet without asking.
 * @nolimit a number of the interface
 */
export const XEN_NETIF_NR_SLOTS_MIN = 18;

/** Flags of a request to transmit (`NETTXF_*`). */
export const Nettxf = { csum_blank: 1, data_validated: 2, more_data: 4, extra_info: 8 } as const;

/** Flags of a received part of a packet (`NETRXF_*`). */
export const Netrxf = {
  data_validated: 1,
  csum_blank: 2,
  more_data: 4,
  extra_info: 8,
  gso_prefix: 16,
} as const;

/** Kinds of what a packet says about itself in slots of its own (`XEN_NETIF_EXTRA_TYPE_*`). */
export const XenNetifExtraType = {
  NONE: 0,
  GSO: 1,
  MCAST_ADD: 2,
  MCAST_DEL: 3,
  HASH: 4,
  MAX: 5,
} as const;

/** Flags of such a slot (`XEN_NETIF_EXTRA_FLAG_*`). */
export const XenNetifExtraFlag = { MORE: 1 } as const;

/** Kinds of packets to be segmented (`XEN_NETIF_GSO_TYPE_*`). */
export const XenNetifGsoType = { NONE: 0, TCPV4: 1, TCPV6: 2 } as const;

/** Status of a response (`NETIF_RSP_*`). */
export const NetifRsp = { DROPPED: -2, ERROR: -1, OKAY: 0, NULL: 1 } as const;

/** `struct netif_tx_request`: a part of a packet; of the first part `size` is that of the whole packet. */
export const netif_tx_request = struct("netif_tx_request", {
  gref: u32,
  offset: u16,
  flags: u16,
  id: u16,
  size: u16,
});
/** `struct netif_tx_response`. */
export const netif_tx_response = struct("netif_tx_response", { id: u16, status: s16 });
/** `struct netif_rx_request`: a page for a part of a packet. */
export const netif_rx_request = struct("netif_rx_request", {
  id: u16,
  pad: u16,
  gref: u32,
});
/** `struct netif_rx_response`: `status` is an error, or the bytes of this part. */
export const netif_rx_response = struct("netif_rx_response", {
  id: u16,
  offset: u16,
  flags: u16,
  status: s16,
});
/** `struct netif_extra_info`; what it has of other kinds is not needed. */
export const netif_extra_info = struct("netif_extra_info", {
  type: u8,
  flags: u8,
  u: union({ gso: struct("", { size: u16, type: u8, pad: u8, features: u16 }) }),
});
