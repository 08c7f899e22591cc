/** `struct vcpu_info` of Xen's `public/xen.h`: offsets in bytes, the same size in both layouts. */
export const VcpuInfo = {
  SIZE: 64,
  EVTCHN_UPCALL_PENDING: 0,
  EVTCHN_UPCALL_MASK: 1,
  /** u64 of a 64-bit guest. */
  EVTCHN_PENDING_SEL_64: 8,
  /** u32 of a 32-bit guest. */
  EVTCHN_PENDING_SEL_COMPAT: 4,
  /** `struct pvclock_vcpu_time_info`. */
  TIME: 32,
} as const;
