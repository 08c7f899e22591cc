/** What Xen's `public/{platform,sysctl,domctl,hvm/dm_op}.h` have in common, as of Xen 4.17. */
import { array, bytes, pointer, struct, u16, u32, ulong } from "../layout.js";

export const XENPF_INTERFACE_VERSION = 0x03000001;
export const XEN_SYSCTL_INTERFACE_VERSION = 0x15;
export const XEN_DOMCTL_INTERFACE_VERSION = 0x15;

/** `struct xen_platform_op` and `struct xen_sysctl`, whose union is not looked into. */
export const xen_control_op = struct("xen_sysctl", {
  cmd: u32,
  interface_version: u32,
  u: bytes(128),
});
export const xen_domctl = struct("xen_domctl", {
  cmd: u32,
  interface_version: u32,
  domain: u16,
  _pad: array(u16, 3),
  u: bytes(128),
});
/** Operations that name no domain, or not at this place (`XEN_DOMCTL_*`). */
export const XEN_DOMCTL_createdomain = 1;
export const XEN_DOMCTL_gdbsx_guestmemio = 1000;

/** `struct xen_dm_op_buf`: one of the buffers of a dm_op. */
export const xen_dm_op_buf = struct("xen_dm_op_buf", { h: pointer, size: ulong });
/**
 * Buffers of a dm_op at most.
 * @limit guest | buffers of a dm_op | buffers | E2BIG
 */
export const DM_OP_MAX_BUFFERS = 2;
