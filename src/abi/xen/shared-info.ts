/** Where the parts of `struct shared_info` lie, in one of the two layouts. Offsets in bytes. */
export interface SharedInfoLayout {
  /** `evtchn_pending`, one bit per port, little endian. */
  readonly evtchnPending: number;
  /** `evtchn_mask`, as evtchn_pending. */
  readonly evtchnMask: number;
  /** `wc_version`, followed by `wc_sec` and `wc_nsec`, u32 each. */
  readonly wcVersion: number;
  /** `wc_sec_hi`, u32. */
  readonly wcSecHi: number;
  /** Ports of a domain with this layout; a valid port is below. */
  readonly ports: number;
  /** Bits of a selector word: `port / selectorBits` is the bit in evtchn_pending_sel. */
  readonly selectorBits: 32 | 64;
}

/** `struct shared_info` of a 64-bit guest (Xen `public/xen.h`). */
export const SHARED_INFO_64: SharedInfoLayout = {
  evtchnPending: 0x800,
  evtchnMask: 0xa00,
  wcVersion: 0xc00,
  wcSecHi: 0xc0c,
  /** @limit guest | event channel ports of a 64-bit guest | ports | ENOSPC, as Xen */
  ports: 4096,
  selectorBits: 64,
};

/** `struct compat_shared_info`: that of a 32-bit guest. */
export const SHARED_INFO_COMPAT: SharedInfoLayout = {
  evtchnPending: 0x800,
  evtchnMask: 0x880,
  wcVersion: 0x900,
  wcSecHi: 0x924,
  /** @limit guest | event channel ports of a 32-bit guest | ports | ENOSPC, as Xen */
  ports: 1024,
  selectorBits: 32,
};

/** The layout in use for a domain. */
export const sharedInfoLayout = (longMode: boolean): SharedInfoLayout =>
  longMode ? SHARED_INFO_64 : SHARED_INFO_COMPAT;

/**
 * vCPUs that have a `vcpu_info` inside shared_info (`MAX_VIRT_CPUS`, `XEN_LEGACY_MAX_VCPUS`).
 * @limit guest | vCPUs with a vcpu_info inside shared_info | vCPUs | the others have to register theirs
 */
export const MAX_VIRT_CPUS = 32;
