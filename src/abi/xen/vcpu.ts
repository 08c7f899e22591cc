import { array, s32, struct, u32, u64 } from "../layout.js";

/** Sub-operations of vcpu_op (Xen's `public/vcpu.h`, `VCPUOP_*`). */
export const Vcpuop = {
  initialise: 0,
  up: 1,
  down: 2,
  is_up: 3,
  get_runstate_info: 4,
  register_runstate_memory_area: 5,
  set_periodic_timer: 6,
  stop_periodic_timer: 7,
  set_singleshot_timer: 8,
  stop_singleshot_timer: 9,
  register_vcpu_info: 10,
  send_nmi: 11,
  get_physid: 12,
  register_vcpu_time_memory_area: 13,
  register_runstate_phys_area: 14,
  register_vcpu_time_phys_area: 15,
} as const;

/** `struct vcpu_register_runstate_memory_area` and vcpu_register_time_memory_area: a union of 8 bytes. */
export const vcpu_register_memory_area = struct("vcpu_register_memory_area", { p: u64 });

export const vcpu_set_periodic_timer = struct("vcpu_set_periodic_timer", { period_ns: u64 });

export const vcpu_set_singleshot_timer = struct("vcpu_set_singleshot_timer", {
  timeout_abs_ns: u64,
  flags: u32,
});

export const vcpu_register_vcpu_info = struct("vcpu_register_vcpu_info", {
  mfn: u64,
  offset: u32,
  rsvd: u32,
});

/** `struct vcpu_runstate_info`; `time` by {@link Runstate}. */
export const vcpu_runstate_info = struct("vcpu_runstate_info", {
  state: s32,
  state_entry_time: u64,
  time: array(u64, 4),
});

/** Shortest period of set_periodic_timer, and the longest (Xen's STIME_DELTA_MAX), in ns. */
export const PERIODIC_TIMER_MIN_NS = 1_000_000n;
/** @limit guest | period of a periodic timer | ns | EINVAL, as Xen */
export const PERIODIC_TIMER_MAX_NS = (1n << 62n) - 1n;
