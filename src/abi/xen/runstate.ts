/** `RUNSTATE_*` of Xen's `public/vcpu.h`. */
export const Runstate = { RUNNING: 0, RUNNABLE: 1, BLOCKED: 2, OFFLINE: 3 } as const;

/** `struct vcpu_runstate_info` in one of its layouts. Offsets in bytes. */
export interface RunstateLayout {
  readonly size: 48 | 44;
  /** u32. */
  readonly state: number;
  /** u64, bit 63 is XEN_RUNSTATE_UPDATE. */
  readonly stateEntryTime: number;
  /** Four u64: running, runnable, blocked, offline. */
  readonly time: number;
}

/** Layout of a 64-bit guest. */
export const RUNSTATE_64: RunstateLayout = { size: 48, state: 0, stateEntryTime: 8, time: 16 };
/** Layout of a 32-bit guest: packed. */
export const RUNSTATE_COMPAT: RunstateLayout = { size: 44, state: 0, stateEntryTime: 4, time: 12 };

/** Set in state_entry_time while the rest changes (`XEN_RUNSTATE_UPDATE`). */
export const XEN_RUNSTATE_UPDATE = 1n << 63n;
