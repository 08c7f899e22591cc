import { array, perWidth, struct, u32, ulong } from "../layout.js";
import { vcpu_info } from "./vcpu-info.js";

/** Where the parts of `struct shared_info` lie, in one of the two layouts. Offsets in bytes. */
export interface SharedInfoLayout {
  /** `evtchn_pending`, one bit per port, little endian. */
  readonly evtchnPending: number;
  /** `evtchn_mask`, as evtchn_pending. */
  readonly evtchnMask: number;
  /** `wc_version`, `wc_sec` and `wc_nsec`, u32 each. */
  readonly wcVersion: number;
  readonly wcSec: number;
  readonly wcNsec: number;
  /** `wc_sec_hi`, u32. */
  readonly wcSecHi: number;
  /** Ports of a domain with this layout; a valid port is below. */
  readonly ports: number;
  /** Bits of a selector word: `port / selectorBits` is the bit in evtchn_pending_sel. */
  readonly selectorBits: 32 | 64;
}

/**
 * vCPUs that have a `vcpu_info` inside shared_info (`MAX_VIRT_CPUS`, `XEN_LEGACY_MAX_VCPUS`).
 * @limit guest | vCPUs with a vcpu_info inside shared_info | vCPUs | the others have to register theirs
 */
export const MAX_VIRT_CPUS = 32;

/** A bit for each port. */
const ports = perWidth(array(ulong, 64), array(ulong, 32));
const common = {
  vcpu_info: array(vcpu_info, MAX_VIRT_CPUS),
  evtchn_pending: ports,
  evtchn_mask: ports,
  wc_version: u32,
  wc_sec: u32,
  wc_nsec: u32,
} as const;
const arch = {
  max_pfn: ulong,
  pfn_to_mfn_frame_list_list: ulong,
  nmi_reason: ulong,
  p2m_cr3: ulong,
  p2m_vaddr: ulong,
  p2m_generation: ulong,
} as const;
/** Of 64-bit code. */
export const shared_info = struct("shared_info", {
  ...common,
  wc_sec_hi: u32,
  arch: struct("arch_shared_info", arch),
});
/** Of 32-bit code, which has `wc_sec_hi` elsewhere. */
export const compat_shared_info = struct("shared_info", {
  ...common,
  arch: struct("arch_shared_info", { ...arch, wc_sec_hi: u32 }),
}).of(32);

/** `struct shared_info` of a 64-bit guest (Xen `public/xen.h`). */
export const SHARED_INFO_64: SharedInfoLayout = {
  evtchnPending: shared_info.offset("evtchn_pending"),
  evtchnMask: shared_info.offset("evtchn_mask"),
  wcVersion: shared_info.offset("wc_version"),
  wcSec: shared_info.offset("wc_sec"),
  wcNsec: shared_info.offset("wc_nsec"),
  wcSecHi: shared_info.offset("wc_sec_hi"),
  /** @limit guest | event channel ports of a 64-bit guest | ports | ENOSPC, as Xen */
  ports: 4096,
  selectorBits: 64,
};

/** `struct compat_shared_info`: that of a 32-bit guest. */
export const SHARED_INFO_COMPAT: SharedInfoLayout = {
  evtchnPending: compat_shared_info.offset("evtchn_pending"),
  evtchnMask: compat_shared_info.offset("evtchn_mask"),
  wcVersion: compat_shared_info.offset("wc_version"),
  wcSec: compat_shared_info.offset("wc_sec"),
  wcNsec: compat_shared_info.offset("wc_nsec"),
  wcSecHi: compat_shared_info.offset("arch.wc_sec_hi"),
  /** @limit guest | event channel ports of a 32-bit guest | ports | ENOSPC, as Xen */
  ports: 1024,
  selectorBits: 32,
};

/** The layout in use for a domain. */
export const sharedInfoLayout = (longMode: boolean): SharedInfoLayout =>
  longMode ? SHARED_INFO_64 : SHARED_INFO_COMPAT;
