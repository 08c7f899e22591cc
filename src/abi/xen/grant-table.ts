import { pointer, s16, struct, u16, u32, u64, ulong, union } from "../layout.js";

/** Sub-operations of grant_table_op (Xen's `public/grant_table.h`, `GNTTABOP_*`). */
export const Gnttabop = {
  map_grant_ref: 0,
  unmap_grant_ref: 1,
  setup_table: 2,
  dump_table: 3,
  transfer: 4,
  copy: 5,
  query_size: 6,
  unmap_and_replace: 7,
  set_version: 8,
  get_status_frames: 9,
  get_version: 10,
  swap_grant_ref: 11,
  cache_flush: 12,
} as const;

/** `status` of the operations (`GNTST_*`). */
export const Gntst = {
  okay: 0,
  general_error: -1,
  bad_domain: -2,
  bad_gntref: -3,
  bad_handle: -4,
  bad_virt_addr: -5,
  bad_dev_addr: -6,
  no_device_space: -7,
  permission_denied: -8,
  bad_page: -9,
  bad_copy_arg: -10,
  address_too_big: -11,
  eagain: -12,
  no_space: -13,
} as const;

/** `flags` of `struct grant_entry_v1` (`GTF_*`). */
export const Gtf = {
  type_mask: 3,
  permit_access: 1,
  accept_transfer: 2,
  readonly: 4,
  reading: 8,
  writing: 0x10,
} as const;

/** `struct grant_entry_v1`: who may use which frame. */
export const grant_entry_v1 = struct("grant_entry_v1", {
  flags: u16,
  domid: u16,
  frame: u32,
});
/** Entries of version 1 in one frame of the table. */
export const GRANT_ENTRIES_PER_FRAME_V1 = 512;
/** References that the toolstack fills (`GNTTAB_RESERVED_*`). */
export const GNTTAB_RESERVED_CONSOLE = 0;
export const GNTTAB_RESERVED_XENSTORE = 1;

/** Flags of map_grant_ref (`GNTMAP_*`). */
export const Gntmap = {
  device_map: 1,
  host_map: 2,
  readonly: 4,
  application_map: 8,
  contains_pte: 16,
} as const;

export const gnttab_map_grant_ref = struct("gnttab_map_grant_ref", {
  host_addr: u64,
  flags: u32,
  ref: u32,
  dom: u16,
  status: s16,
  handle: u32,
  dev_bus_addr: u64,
});
export const gnttab_unmap_grant_ref = struct("gnttab_unmap_grant_ref", {
  host_addr: u64,
  dev_bus_addr: u64,
  handle: u32,
  status: s16,
});
export const gnttab_setup_table = struct("gnttab_setup_table", {
  dom: u16,
  nr_frames: u32,
  status: s16,
  frame_list: pointer,
});
/** Flags of copy: the source or the destination is a grant reference, not a frame. */
export const GNTCOPY_source_gref = 1;
export const GNTCOPY_dest_gref = 2;
/** One end of a copy: a frame or grant reference, whose it is, and where in it. */
const gnttab_copy_ptr = struct("gnttab_copy_ptr", {
  u: union({ ref: u32, gmfn: ulong }),
  domid: u16,
  offset: u16,
});
export const gnttab_copy = struct("gnttab_copy", {
  source: gnttab_copy_ptr,
  dest: gnttab_copy_ptr,
  len: u16,
  flags: u16,
  status: s16,
});
export const gnttab_query_size = struct("gnttab_query_size", {
  dom: u16,
  nr_frames: u32,
  max_nr_frames: u32,
  status: s16,
});
export const gnttab_set_version = struct("gnttab_set_version", { version: u32 });
export const gnttab_get_version = struct("gnttab_get_version", {
  dom: u16,
  pad: u16,
  version: u32,
});
export const gnttab_swap_grant_ref = struct("gnttab_swap_grant_ref", {
  ref_a: u32,
  ref_b: u32,
  status: s16,
});
