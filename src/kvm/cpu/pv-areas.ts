import { Msr } from "../../abi/x86/index.js";
import { Pvclock, type PvclockTime } from "../../abi/xen/pvclock.js";
import type { GuestAccess } from "../memory/guest-access.js";
import { PfnCache } from "../memory/pfncache.js";
import { type VmClock, writePvclock } from "./clock.js";

/** `struct kvm_steal_time`: 64 bytes. */
const STEAL_SIZE = 64;

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
    // steal u64, version u32 (odd while changing), flags u32, preempted u8
    const version = ((view.getUint32(cache.hva + 8, true) + 1) | 1) >>> 0;
    view.setUint32(cache.hva + 8, version, true);
    view.setBigUint64(cache.hva, BigInt.asUintN(64, this.#stealNs), true);
    view.setUint8(cache.hva + 16, 0);
    view.setUint32(cache.hva + 8, (version + 1) >>> 0, true);
    cache.noteWrite(0, STEAL_SIZE);
    cache.markDirty();
  }

  #writeWallClock(address: bigint): void {
    if (address === 0n) return;
    const old = this.#access.read(Number(address), 4);
    if (old === undefined) return;
    const version = new DataView(old.buffer).getUint32(0, true);
    const epoch = this.#clock.wallEpochNs();
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, (((version + 1) | 1) + 1) >>> 0, true);
    view.setUint32(4, Number((epoch / 1_000_000_000n) & 0xffffffffn), true);
    view.setUint32(8, Number(epoch % 1_000_000_000n), true);
    this.#access.write(Number(address), bytes);
  }
}
