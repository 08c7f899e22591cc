/** `struct pvclock_vcpu_time_info`: offsets in bytes (`asm/pvclock-abi.h`, Xen `public/xen.h`). */
export const Pvclock = {
  SIZE: 32,
  /** u32, odd while an update is under way. */
  VERSION: 0,
  TSC_TIMESTAMP: 8,
  SYSTEM_TIME: 16,
  TSC_TO_SYSTEM_MUL: 24,
  TSC_SHIFT: 28,
  FLAGS: 29,
  FLAG_TSC_STABLE: 1,
  FLAG_GUEST_STOPPED: 2,
} as const;

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
