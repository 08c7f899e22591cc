import { type KvmClockData, KvmClockFlag } from "../../abi/kvm/index.js";
import { Pvclock, type PvclockTime, pvclockScale } from "../../abi/xen/pvclock.js";
import type { Clock, Timers } from "../../ports/index.js";
import { refuse } from "../error.js";

/** Frequency of every guest TSC. */
export const TSC_HZ = 1_000_000_000n;

/** The same in kHz, as KVM_GET_TSC_KHZ says it. */
export const TSC_KHZ = Number(TSC_HZ / 1000n);

/** How far from the host's TSC a guest's may be said to be, in parts per million. */
const TSC_TOLERANCE_PPM = 250;

/** Whether a frequency passes for the host's. */
export const tscKhzFits = (khz: number): boolean =>
  Math.abs(khz - TSC_KHZ) * 1e6 <= TSC_KHZ * TSC_TOLERANCE_PPM;

const scale = pvclockScale(TSC_HZ);

/** `KVM_CLOCK_VALID_FLAGS`. */
const CLOCK_FLAGS = KvmClockFlag.TSC_STABLE | KvmClockFlag.REALTIME | KvmClockFlag.HOST_TSC;

/**
 * The time of a VM: kvmclock, which guests see through pvclock, and the host TSC, which is the clock
 * port in nanoseconds. Both run at the same rate, so that pvclock areas need no periodic update.
 */
export class VmClock {
  readonly clock: Clock;
  readonly timers: Timers;
  /** kvmclock minus clock port. */
  #offset: bigint;

  constructor(clock: Clock, timers: Timers) {
    this.clock = clock;
    this.timers = timers;
    this.#offset = -this.hostNs();
  }

  /** Nanoseconds of the clock port, whole. */
  nowNs(): number {
    return Math.floor(this.clock.monotonicNs());
  }

  /** As {@link nowNs}; also the host's TSC. */
  hostNs(): bigint {
    return BigInt(this.nowNs());
  }

  /** kvmclock, nanoseconds modulo 2^64. */
  kvmclockNs(): bigint {
    return BigInt.asUintN(64, this.hostNs() + this.#offset);
  }

  /** The moment of the clock port at which kvmclock has a value. */
  kvmclockToNs(value: bigint): number {
    return Number(value - this.#offset);
  }

  /** Real time at kvmclock zero, nanoseconds since 1970: what a wallclock shows. */
  wallEpochNs(): bigint {
    return BigInt(Math.floor(this.clock.realtimeNs())) - this.kvmclockNs();
  }

  /** KVM_GET_CLOCK. */
  get(): KvmClockData {
    return {
      clock: this.kvmclockNs(),
      flags: KvmClockFlag.TSC_STABLE | KvmClockFlag.REALTIME | KvmClockFlag.HOST_TSC,
      realtime: BigInt(Math.floor(this.clock.realtimeNs())),
      hostTsc: this.hostNs(),
    };
  }

  /**
   * KVM_SET_CLOCK. With KVM_CLOCK_REALTIME, real time that passed since is added.
   * @throws KvmError EINVAL for other flags.
   */
  set(data: KvmClockData): void {
    // Only REALTIME means something; what KVM_GET_CLOCK gave may be passed back.
    if ((data.flags & ~CLOCK_FLAGS) !== 0) refuse("EINVAL", "clock flags");
    let value = data.clock;
    if ((data.flags & KvmClockFlag.REALTIME) !== 0) {
      const passed = BigInt(Math.floor(this.clock.realtimeNs())) - data.realtime;
      if (passed > 0n) value += passed;
    }
    this.#offset = BigInt.asIntN(64, value - this.hostNs());
  }

  /** The contents of a pvclock area at this moment, for a vCPU with that TSC offset. */
  pvclock(tscOffset: bigint, stable: boolean): PvclockTime {
    const now = this.hostNs();
    return {
      tscTimestamp: BigInt.asUintN(64, now + tscOffset),
      systemTime: BigInt.asUintN(64, now + this.#offset),
      tscToSystemMul: scale.mul,
      tscShift: scale.shift,
      flags: stable ? Pvclock.FLAG_TSC_STABLE : 0,
    };
  }
}

/**
 * Writes a pvclock area: the version is odd while the contents change, and even again after. The
 * guest's GUEST_STOPPED flag stays.
 */
export function writePvclock(view: DataView, at: number, time: PvclockTime): void {
  const version = ((view.getUint32(at + Pvclock.VERSION, true) + 1) | 1) >>> 0;
  const kept = view.getUint8(at + Pvclock.FLAGS) & Pvclock.FLAG_GUEST_STOPPED;
  view.setUint32(at + Pvclock.VERSION, version, true);
  view.setUint32(at + Pvclock.PAD0, 0, true);
  view.setBigUint64(at + Pvclock.TSC_TIMESTAMP, time.tscTimestamp, true);
  view.setBigUint64(at + Pvclock.SYSTEM_TIME, time.systemTime, true);
  view.setUint32(at + Pvclock.TSC_TO_SYSTEM_MUL, time.tscToSystemMul, true);
  view.setInt8(at + Pvclock.TSC_SHIFT, time.tscShift);
  view.setUint8(at + Pvclock.FLAGS, time.flags | kept);
  view.setUint16(at + Pvclock.PAD1, 0, true);
  view.setUint32(at + Pvclock.VERSION, (version + 1) >>> 0, true);
}

/** Work that a nanosecond of real time is good for, at least: keeps timers from being late. */
const REAL_RATE = 0.3;

/** The shortest turn under a real clock. */
const REAL_FLOOR = 2000;

/**
 * How much work may be done before a timer is due, at most `max`; 0 when one is due now. Exact
 * under a virtual clock, an estimate under a real one.
 */
export function workUntilTimer(time: VmClock, max: number): number {
  const deadline = time.timers.nextDeadlineNs();
  if (deadline === undefined) return max;
  const left = deadline - time.clock.monotonicNs();
  if (left <= 0) return 0;
  if (time.clock.virtual !== undefined) return Math.min(max, Math.ceil(left));
  return Math.min(max, Math.max(REAL_FLOOR, Math.floor(left * REAL_RATE)));
}
