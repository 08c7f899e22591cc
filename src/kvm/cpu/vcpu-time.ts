import { Pvclock } from "../../abi/xen/pvclock.js";
import type { VcpuState } from "../vcpu-state.js";
import { TSC_KHZ, tscKhzFits } from "./clock.js";
import { PvAreas } from "./pv-areas.js";

/** A vCPU's TSC, and the areas in guest memory that tell the guest the time. */
export class VcpuTime {
  readonly #vcpu: VcpuState;
  /** KVM's own, beside Xen's. */
  readonly areas: PvAreas;
  /** KVM_GET_TSC_KHZ. */
  tscKhz: number;
  /** {@link TscSync.generation} of its TSC, as it was set last from outside. */
  tscGeneration = 0;
  /** KVM_KVMCLOCK_CTRL: the next clock update tells the guest that it was stopped. */
  clockStopped = false;
  /** KVM_REQ_CLOCK_UPDATE. */
  clockUpdate = true;
  /** KVM_REQ_MASTERCLOCK_UPDATE, with {@link clockUpdate}: the entry gives all vCPUs a clock update. */
  masterclockUpdate = false;

  constructor(vcpu: VcpuState) {
    const { access, clock, settings } = vcpu.env;
    this.#vcpu = vcpu;
    this.areas = new PvAreas(access, clock);
    const khz = settings.defaultTscKhz;
    this.tscKhz = tscKhzFits(khz) ? khz : TSC_KHZ;
  }

  /** Guest TSC now. */
  readTsc(): bigint {
    const { env, engine } = this.#vcpu;
    return BigInt.asUintN(64, env.clock.hostNs() + engine.tscOffset);
  }

  /** The TSC has another offset from now on. */
  moveTsc(offset: bigint): void {
    const { engine, lapic } = this.#vcpu;
    engine.tscOffset = BigInt.asIntN(64, offset);
    lapic?.tscMoved();
  }

  /** The TSC was set from outside, or is new. */
  noteTsc(): void {
    const { env } = this.#vcpu;
    this.tscGeneration = env.tsc.generation;
    if (!env.wantsMasterclockUpdate()) return;
    this.clockUpdate = true;
    this.masterclockUpdate = true;
  }

  /** KVM_VCPU_TSC_OFFSET is set. */
  setTscOffset(offset: bigint): void {
    this.#vcpu.env.tsc.setOffset(offset);
    this.moveTsc(offset);
    this.noteTsc();
  }

  /** Rewrites the pvclock areas if that was asked for. */
  processClockUpdate(): void {
    if (!this.clockUpdate) return;
    const { env, engine, xen } = this.#vcpu;
    if (this.masterclockUpdate) {
      this.masterclockUpdate = false;
      env.updateMasterclock();
    }
    this.clockUpdate = false;
    const time = env.clock.pvclock(engine.tscOffset, env.masterclock);
    this.areas.updateClock(
      this.clockStopped ? { ...time, flags: time.flags | Pvclock.FLAG_GUEST_STOPPED } : time,
    );
    this.clockStopped = false;
    xen.updateClock(time);
  }
}
