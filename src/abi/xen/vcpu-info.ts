import { array, perWidth, struct, u8, ulong } from "../layout.js";
import { vcpu_time_info } from "./pvclock.js";

/** `struct vcpu_info` of Xen's `public/xen.h`. */
export const vcpu_info = struct("vcpu_info", {
  evtchn_upcall_pending: u8,
  evtchn_upcall_mask: u8,
  evtchn_pending_sel: ulong,
  arch: struct("arch_vcpu_info", { cr2: ulong, pad: perWidth(array(ulong, 1), array(ulong, 5)) }),
  time: vcpu_time_info,
});

/** The same by offsets in bytes; size and most offsets are the same in both layouts. */
export const VcpuInfo = {
  SIZE: vcpu_info.size,
  EVTCHN_UPCALL_PENDING: vcpu_info.offset("evtchn_upcall_pending"),
  EVTCHN_UPCALL_MASK: vcpu_info.offset("evtchn_upcall_mask"),
  /** u64 of a 64-bit guest. */
  EVTCHN_PENDING_SEL_64: vcpu_info.offset("evtchn_pending_sel"),
  /** u32 of a 32-bit guest. */
  EVTCHN_PENDING_SEL_COMPAT: vcpu_info.of(32).offset("evtchn_pending_sel"),
  /** `struct pvclock_vcpu_time_info`. */
  TIME: vcpu_info.offset("time"),
} as const;
