import { layout } from "./layout.js";

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
  remove_from_physmap: 15,
  add_to_physmap_batch: 23,
  acquire_resource: 28,
} as const;

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

export const xen_add_to_physmap = layout("xen_add_to_physmap", {
  domid: "u16",
  size: "u16",
  space: "u32",
  idx: "ulong",
  gpfn: "ulong",
});

export const xen_add_to_physmap_batch = layout("xen_add_to_physmap_batch", {
  domid: "u16",
  space: "u16",
  size: "u16",
  u: "u16",
  idxs: "handle",
  gpfns: "handle",
  errs: "handle",
});

export const xen_remove_from_physmap = layout("xen_remove_from_physmap", {
  domid: "u16",
  gpfn: "ulong",
});

export const xen_memory_map = layout("xen_memory_map", { nr_entries: "u32", buffer: "handle" });

/** The `domid_t` that current_reservation and maximum_reservation point to. */
export const xen_domid = layout("domid_t", { domid: "u16" });

/** Bytes of an entry of the e820 table that memory_map fills: u64 addr, u64 size, u32 type. */
export const E820_ENTRY_SIZE = 20;
