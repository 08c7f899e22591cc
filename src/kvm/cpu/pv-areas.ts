import { kvm_steal_time } from "../../abi/kvm/index.js";
import { Msr } from "../../abi/x86/index.js";
import { Pvclock, type PvclockTime, pvclock_wall_clock } from "../../abi/xen/pvclock.js";
import type { GuestAccess } from "../memory/guest-access.js";
import { PfnCache } from "../memory/pfncache.js";
import { type VmClock, writePvclock } from "./clock.js";

const STEAL_SIZE = kvm_steal_time.size;
const Steal = {
  steal: kvm_steal_time.offset("steal"),
  version: kvm_steal_time.offset("version"),
  preempted: kvm_steal_time.offset("preempted"),
} as const;

/**
 * KVM's own paravirtual areas of a vCPU (`asm/kvm_para.h`): system time, wall clock, steal time.
 * Guests under Xen do not use them.
 */
export class PvAreas {
  readonly #access: GuestAccess;
  readonly #clock: VmClock;
  readonly #time: PfnCache;
  readonly #steal: PfnCache;
  #stealNs = 0n;
  #lastDelay = 0n;

  constructor(access: GuestAccess, clock: VmClock) {
    this.#access = access;
    this.#clock = clock;
    this.#time = new PfnCache(access.slots);
    this.#steal = new PfnCache(access.slots);
  }

  /** A system time area is in use. */
  get hasClock(): boolean {
    return this.#time.active;
  }

  /** An area is in use. */
  get isUsed(): boolean {
    return this.#time.active || this.#steal.active;
  }

  /**
   * An MSR that names an area was written. @returns whether the clock areas must be rewritten.
   */
  written(index: number, value: bigint, runDelayNs: () => bigint): boolean {
    switch (index) {
      case Msr.KVM_WALL_CLOCK:
      case Msr.KVM_WALL_CLOCK_NEW:
        this.#writeWallClock(value);
        return false;
      case Msr.KVM_SYSTEM_TIME:
      case Msr.KVM_SYSTEM_TIME_NEW:
        this.#time.deactivate();
        if ((value & 1n) !== 0n) this.#time.activate(value & ~1n, Pvclock.SIZE);
        return true;
      default:
        this.#steal.deactivate();
        if ((value & 1n) !== 0n) this.#steal.activate(value & ~0x3fn, STEAL_SIZE);
        this.#lastDelay = runDelayNs();
        return false;
    }
  }

  /** Rewrites the system time area. */
  updateClock(time: PvclockTime): void {
    const cache = this.#time;
    if (!cache.active) return;
    if (!cache.check(Pvclock.SIZE) && cache.refresh(Pvclock.SIZE) !== undefined) return;
    writePvclock(this.#access.slots.linear.view, cache.hva, time);
    cache.noteWrite(0, Pvclock.SIZE);
    cache.markDirty();
  }

  /** The vCPU gets the thread: accounts what it waited since the last time. */
  recordSteal(runDelayNs: () => bigint): void {
    const cache = this.#steal;
    if (!cache.active) return;
    if (!cache.check(STEAL_SIZE) && cache.refresh(STEAL_SIZE) !== undefined) return;
    const delay = runDelayNs();
    this.#stealNs += delay - this.#lastDelay;
    this.#lastDelay = delay;
    const view = this.#access.slots.linear.view;
    const at = cache.hva;
    const version = ((view.getUint32(at + Steal.version, true) + 1) | 1) >>> 0;
    view.setUint32(at + Steal.version, version, true);
    view.setBigUint64(at + Steal.steal, BigInt.asUintN(64, this.#stealNs), true);
    view.setUint8(at + Steal.preempted, 0);
    view.setUint32(at + Steal.version, (version + 1) >>> 0, true);
    cache.noteWrite(0, STEAL_SIZE);
    cache.markDirty();
  }

  #writeWallClock(address: bigint): void {
    if (address === 0n) return;
    const old = this.#access.read(Number(address), 4);
    if (old === undefined) return;
    const version = new DataView(old.buffer).getUint32(0, true);
    const epoch = this.#clock.wallEpochNs();
    const time = {
      version: (((version + 1) | 1) + 1) >>> 0,
      sec: Number((epoch / 1_000_000_000n) & 0xffffffffn),
      nsec: Number(epoch % 1_000_000_000n),
    };
    this.#access.write(Number(address), pvclock_wall_clock.encode(time));
  }
}
