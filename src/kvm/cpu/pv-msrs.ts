import { KvmFeature, Msr } from "../../abi/x86/index.js";

/** What KVM's own MSRs reach outside of themselves. */
export interface PvMsrHost {
  /** Whether the guest has a paravirtual feature (`KvmFeature` bit), as far as that is enforced. */
  hasFeature(feature: number): boolean;
  readonly lapicInKernel: boolean;
  /** Whether guest memory stands behind a guest-physical address. */
  hasMemory(address: bigint): boolean;
  /** The wall clock register, which the vCPUs of a VM share. */
  wallClock: bigint;
  /** A clock or steal time area was named. */
  areaWritten(index: number, value: bigint): void;
}

/** The feature that each MSR belongs to. */
const FEATURES = new Map<number, number>([
  [Msr.KVM_WALL_CLOCK, KvmFeature.CLOCKSOURCE],
  [Msr.KVM_WALL_CLOCK_NEW, KvmFeature.CLOCKSOURCE2],
  [Msr.KVM_SYSTEM_TIME, KvmFeature.CLOCKSOURCE],
  [Msr.KVM_SYSTEM_TIME_NEW, KvmFeature.CLOCKSOURCE2],
  [Msr.KVM_ASYNC_PF_EN, KvmFeature.ASYNC_PF],
  [Msr.KVM_ASYNC_PF_INT, KvmFeature.ASYNC_PF_INT],
  [Msr.KVM_ASYNC_PF_ACK, KvmFeature.ASYNC_PF_INT],
  [Msr.KVM_STEAL_TIME, KvmFeature.STEAL_TIME],
  [Msr.KVM_PV_EOI_EN, KvmFeature.PV_EOI],
  [Msr.KVM_POLL_CONTROL, KvmFeature.POLL_CONTROL],
]);

/** KVM_STEAL_RESERVED_MASK. */
const STEAL_RESERVED = 0x3en;

/** Bits of KVM_ASYNC_PF_EN: enabled, as page fault to a nested hypervisor, by interrupt; reserved. */
const ASYNC_PF_VMEXIT = 4n;
const ASYNC_PF_INT = 8n;
const ASYNC_PF_ON = 1n | ASYNC_PF_INT;
const ASYNC_PF_RESERVED = 0x30n;

/**
 * The MSRs of `asm/kvm_para.h`. Asynchronous page faults and EOI by memory are accepted and never
 * happen: no page of a guest is ever away, and the host may always ask for a real EOI.
 */
export class PvMsrs {
  readonly #host: PvMsrHost;
  #time = 0n;
  #asyncPf = 0n;
  #asyncPfVector = 0n;
  #steal = 0n;
  #eoi = 0n;
  #poll = 1n;

  constructor(host: PvMsrHost) {
    this.#host = host;
  }

  /** Whether an MSR is one of them, and the guest may know it. */
  claims(index: number): boolean {
    const feature = FEATURES.get(index);
    return feature !== undefined && this.#host.hasFeature(feature);
  }

  /** Reads a register that {@link claims} named. */
  read(index: number): bigint {
    switch (index) {
      case Msr.KVM_WALL_CLOCK:
      case Msr.KVM_WALL_CLOCK_NEW:
        return this.#host.wallClock;
      case Msr.KVM_SYSTEM_TIME:
      case Msr.KVM_SYSTEM_TIME_NEW:
        return this.#time;
      case Msr.KVM_ASYNC_PF_EN:
        return this.#asyncPf;
      case Msr.KVM_ASYNC_PF_INT:
        return this.#asyncPfVector;
      case Msr.KVM_STEAL_TIME:
        return this.#steal;
      case Msr.KVM_PV_EOI_EN:
        return this.#eoi;
      case Msr.KVM_POLL_CONTROL:
        return this.#poll;
      default:
        return 0n;
    }
  }

  /** Writes one; false for #GP. */
  write(index: number, value: bigint): boolean {
    const host = this.#host;
    switch (index) {
      case Msr.KVM_WALL_CLOCK:
      case Msr.KVM_WALL_CLOCK_NEW:
        host.wallClock = value;
        break;
      case Msr.KVM_SYSTEM_TIME:
      case Msr.KVM_SYSTEM_TIME_NEW:
        this.#time = value;
        break;
      case Msr.KVM_STEAL_TIME:
        if ((value & STEAL_RESERVED) !== 0n) return false;
        this.#steal = value;
        break;
      case Msr.KVM_ASYNC_PF_EN:
        return this.#writeAsyncPf(value);
      case Msr.KVM_ASYNC_PF_INT:
        if (value >> 8n !== 0n || !host.lapicInKernel) return false;
        this.#asyncPfVector = value;
        return true;
      case Msr.KVM_PV_EOI_EN:
        if ((value & 2n) !== 0n) return false;
        if ((value & 1n) !== 0n && !host.hasMemory(value & ~1n)) return false;
        this.#eoi = value;
        return true;
      case Msr.KVM_POLL_CONTROL:
        if (value > 1n) return false;
        this.#poll = value;
        return true;
      default:
        return true;
    }
    host.areaWritten(index, value);
    return true;
  }

  #writeAsyncPf(value: bigint): boolean {
    const host = this.#host;
    if ((value & ASYNC_PF_RESERVED) !== 0n) return false;
    if ((value & ASYNC_PF_VMEXIT) !== 0n && !host.hasFeature(KvmFeature.ASYNC_PF_VMEXIT)) {
      return false;
    }
    if ((value & ASYNC_PF_INT) !== 0n && !host.hasFeature(KvmFeature.ASYNC_PF_INT)) return false;
    if (!host.lapicInKernel) return value === 0n;
    const on = (value & ASYNC_PF_ON) === ASYNC_PF_ON;
    if (on && !host.hasMemory(value & ~0x3fn)) {
      // As in the kernel, which stores first.
      this.#asyncPf = value;
      return false;
    }
    this.#asyncPf = value;
    return true;
  }
}
