import { array, s8, struct, u8, u32, u64 } from "../layout.js";

/** `struct vcpu_time_info` of Xen's `public/xen.h`, which Linux calls `pvclock_vcpu_time_info` (`asm/pvclock-abi.h`). */
export const vcpu_time_info = struct("vcpu_time_info", {
  /** Odd while an update is under way. */
  version: u32,
  pad0: u32,
  tsc_timestamp: u64,
  system_time: u64,
  tsc_to_system_mul: u32,
  tsc_shift: s8,
  flags: u8,
  pad1: array(u8, 2),
});

/** The same by offsets in bytes, which both kinds of guests share. */
export const Pvclock = {
  SIZE: vcpu_time_info.size,
  VERSION: vcpu_time_info.offset("version"),
  PAD0: vcpu_time_info.offset("pad0"),
  TSC_TIMESTAMP: vcpu_time_info.offset("tsc_timestamp"),
  SYSTEM_TIME: vcpu_time_info.offset("system_time"),
  TSC_TO_SYSTEM_MUL: vcpu_time_info.offset("tsc_to_system_mul"),
  TSC_SHIFT: vcpu_time_info.offset("tsc_shift"),
  FLAGS: vcpu_time_info.offset("flags"),
  PAD1: vcpu_time_info.offset("pad1"),
  FLAG_TSC_STABLE: 1,
  FLAG_GUEST_STOPPED: 2,
} as const;

/** What MSR_KVM_WALL_CLOCK names (`asm/pvclock-abi.h`). */
export const pvclock_wall_clock = struct("pvclock_wall_clock", {
  version: u32,
  sec: u32,
  nsec: u32,
});

/** The contents of a pvclock area, without its version. */
export interface PvclockTime {
  /** Guest TSC at the moment of `systemTime`. */
  readonly tscTimestamp: bigint;
  /** kvmclock nanoseconds. */
  readonly systemTime: bigint;
  /** u32 multiplier: ns = ((tsc delta shifted by tscShift) * mul) >> 32. */
  readonly tscToSystemMul: number;
  /** Left shift when positive, right shift when negative. */
  readonly tscShift: number;
  readonly flags: number;
}

/**
 * Scale of a TSC of `tscHz` to nanoseconds: the multiplier and shift of a pvclock area. The TSC is
 * brought into the interval (1 GHz, 2 GHz], so that the multiplier keeps 31 significant bits.
 */
export function pvclockScale(tscHz: bigint): { mul: number; shift: number } {
  let shift = 0;
  let target = 1_000_000_000n;
  let ticks = tscHz;
  while (ticks > target * 2n || ticks >> 32n !== 0n) {
    ticks >>= 1n;
    shift -= 1;
  }
  while (ticks <= target || target >> 32n !== 0n) {
    if (target >> 32n !== 0n || ticks & 0x80000000n) target >>= 1n;
    else ticks <<= 1n;
    shift += 1;
  }
  return { mul: Number((target << 32n) / ticks), shift };
}
