import { vcpu_runstate_info } from "./vcpu.js";

/** `RUNSTATE_*` of Xen's `public/vcpu.h`. */
export const Runstate = { RUNNING: 0, RUNNABLE: 1, BLOCKED: 2, OFFLINE: 3 } as const;

/** `struct vcpu_runstate_info` in one of its layouts. Offsets in bytes. */
export interface RunstateLayout {
  readonly size: number;
  /** u32. */
  readonly state: number;
  /** u64, bit 63 is XEN_RUNSTATE_UPDATE. */
  readonly stateEntryTime: number;
  /** Four u64: running, runnable, blocked, offline. */
  readonly time: number;
}

function layoutOf(struct: typeof vcpu_runstate_info): RunstateLayout {
  return {
    size: struct.size,
    state: struct.offset("state"),
    stateEntryTime: struct.offset("state_entry_time"),
    time: struct.offset("time"),
  };
}

/** Layout of a 64-bit guest. */
export const RUNSTATE_64 = layoutOf(vcpu_runstate_info);
/** Layout of a 32-bit guest: without the padding. */
export const RUNSTATE_COMPAT = layoutOf(vcpu_runstate_info.of(32));

/** Set in state_entry_time while the rest changes (`XEN_RUNSTATE_UPDATE`). */
export const XEN_RUNSTATE_UPDATE = 1n << 63n;
