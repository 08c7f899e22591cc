import { bytes, struct, u32, ulong } from "../layout.js";

/** Sub-operations of xen_version (Xen's `public/version.h`, `XENVER_*`). */
export const Xenver = {
  version: 0,
  extraversion: 1,
  compile_info: 2,
  capabilities: 3,
  changeset: 4,
  platform_parameters: 5,
  get_features: 6,
  pagesize: 7,
  guest_handle: 8,
  commandline: 9,
  build_id: 10,
  extraversion2: 11,
  capabilities2: 12,
  changeset2: 13,
  commandline2: 14,
} as const;

/** `char` array sizes of the fixed-length answers, in bytes. */
export const XEN_EXTRAVERSION_LEN = 16;
export const XEN_CAPABILITIES_INFO_LEN = 1024;
export const XEN_CHANGESET_INFO_LEN = 64;
export const XEN_COMMANDLINE_LEN = 1024;
export const xen_compile_info = struct("xen_compile_info", {
  compiler: bytes(64),
  compile_by: bytes(16),
  compile_domain: bytes(32),
  compile_date: bytes(32),
});

export const xen_platform_parameters = struct("xen_platform_parameters", { virt_start: ulong });
export const xen_feature_info = struct("xen_feature_info", { submap_idx: u32, submap: u32 });
/** `struct xen_varbuf` (and xen_build_id): the length, followed by the bytes. */
export const xen_varbuf = struct("xen_varbuf", { len: u32 });
/** `ENOBUFS` of Xen's `public/errno.h`: the buffer of an XENVER_*2 call is too short. */
export const XEN_ENOBUFS = 105;
