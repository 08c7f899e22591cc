import { pointer, struct, u16, u32, ulong } from "../layout.js";

/** Sub-operations of memory_op (Xen's `public/memory.h`, `XENMEM_*`). */
export const Xenmem = {
  increase_reservation: 0,
  decrease_reservation: 1,
  maximum_ram_page: 2,
  current_reservation: 3,
  maximum_reservation: 4,
  populate_physmap: 6,
  add_to_physmap: 7,
  memory_map: 9,
  exchange: 11,
  maximum_gpfn: 14,
  remove_from_physmap: 15,
  add_to_physmap_batch: 23,
  acquire_resource: 28,
} as const;

/** Bits of `cmd` that say which operation; those above say where a reservation change goes on. */
export const MEMOP_EXTENT_SHIFT = 6;

/** `struct xen_memory_reservation`: extents of 2^extent_order pages. */
export const xen_memory_reservation = struct("xen_memory_reservation", {
  extent_start: pointer,
  nr_extents: ulong,
  extent_order: u32,
  mem_flags: u32,
  domid: u16,
});
/** Flags of `mem_flags` (`XENMEMF_*`). */
export const Xenmemf = {
  populate_on_demand: 1 << 16,
  exact_node_request: 1 << 17,
} as const;
/** Bits of `mem_flags` that limit how many address bits the pages' machine addresses have. */
export const XENMEMF_ADDRESS_BITS = 0xff;

export const xen_memory_exchange = struct("xen_memory_exchange", {
  in: xen_memory_reservation,
  out: xen_memory_reservation,
  nr_exchanged: ulong,
});

/** Sources of add_to_physmap (`XENMAPSPACE_*`). */
export const Xenmapspace = {
  shared_info: 0,
  grant_table: 1,
  gmfn: 2,
  gmfn_range: 3,
  gmfn_foreign: 4,
  dev_mmio: 5,
} as const;

/** Bit of `idx` that asks for a status frame of a version 2 grant table. */
export const XENMAPIDX_grant_table_status = 0x80000000;

export const xen_add_to_physmap = struct("xen_add_to_physmap", {
  domid: u16,
  size: u16,
  space: u32,
  idx: ulong,
  gpfn: ulong,
});

export const xen_add_to_physmap_batch = struct("xen_add_to_physmap_batch", {
  domid: u16,
  space: u16,
  size: u16,
  u: u16,
  idxs: pointer,
  gpfns: pointer,
  errs: pointer,
});

export const xen_remove_from_physmap = struct("xen_remove_from_physmap", {
  domid: u16,
  gpfn: ulong,
});

export const xen_memory_map = struct("xen_memory_map", { nr_entries: u32, buffer: pointer });

/** The `domid_t` that current_reservation and maximum_reservation point to. */
export const xen_domid = struct("domid_t", { domid: u16 });
