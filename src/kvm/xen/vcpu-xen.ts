import {
  KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL,
  KVM_XEN_INVALID,
  KvmLimit,
  KvmXenHvmConfig,
} from "../../abi/kvm/index.js";
import { Pvclock, type PvclockTime } from "../../abi/xen/pvclock.js";
import { Runstate } from "../../abi/xen/runstate.js";
import { VcpuInfo } from "../../abi/xen/vcpu-info.js";
import { evtchnPort, xenVcpuId } from "../../base/index.js";
import type { KvmXenVcpuAttr, KvmXenVcpuAttrName, VcpuAttrOf, VcpuXen } from "../api/xen.js";
import { writePvclock } from "../cpu/clock.js";
import { refuse } from "../error.js";
import type { HypercallOutcome, XenVcpuHooks } from "../hooks.js";
import type { PfnCache } from "../memory/pfncache.js";
import { deliverShadow, upcallPending } from "./delivery.js";
import type { Domain } from "./domain.js";
import { hypercall } from "./hypercall.js";
import { checkUpcallVector, USER_SPACE_END } from "./limits.js";
import { adjust, enterState, setAddress, setCurrent, setData } from "./runstate.js";
import { deliverPendingTimer, readTimer, startTimer, stopTimer } from "./timer.js";
import { setTscLeaves } from "./tsc-leaves.js";
import type { VcpuDomain } from "./vcpu-domain.js";

/** Xen support of a vCPU. */
export class VcpuXenSupport implements XenVcpuHooks, VcpuXen {
  readonly #domain: Domain;
  readonly #vcpu: VcpuDomain;

  constructor(domain: Domain, vcpu: VcpuDomain) {
    this.#domain = domain;
    this.#vcpu = vcpu;
  }

  get api(): VcpuXen {
    return this;
  }

  setAttr(attr: KvmXenVcpuAttr): void {
    const domain = this.#domain;
    const vcpu = this.#vcpu;
    switch (attr.type) {
      case "VCPU_INFO":
        if (attr.gpa !== KVM_XEN_INVALID) this.#checkAlignment(attr.gpa);
        this.#setArea(vcpu.vcpuInfo, attr.gpa, VcpuInfo.SIZE);
        return;
      case "VCPU_INFO_HVA":
        this.#setVcpuInfoHva(attr.hva);
        return;
      case "VCPU_TIME_INFO":
        this.#setArea(vcpu.timeInfo, attr.gpa, Pvclock.SIZE);
        return;
      case "RUNSTATE_ADDR":
        setAddress(domain, vcpu, attr.gpa);
        return;
      case "RUNSTATE_CURRENT":
        setCurrent(domain, vcpu, attr.state);
        return;
      case "RUNSTATE_DATA":
        setData(domain, vcpu, attr.runstate);
        return;
      case "RUNSTATE_ADJUST":
        adjust(domain, vcpu, attr.runstate);
        return;
      case "VCPU_ID":
        if (attr.vcpuId >= KvmLimit.MAX_VCPUS) refuse("EINVAL", "Xen vCPU id");
        vcpu.xenId = xenVcpuId(attr.vcpuId);
        return;
      case "TIMER":
        this.#setTimer(attr);
        return;
      case "UPCALL_VECTOR":
        checkUpcallVector(attr.vector);
        vcpu.upcallVector = attr.vector;
        return;
    }
  }

  getAttr<T extends KvmXenVcpuAttrName>(type: T): VcpuAttrOf<T> {
    return this.#read(type) as VcpuAttrOf<T>;
  }

  pendingVector(): number {
    const { upcallVector } = this.#domain;
    if (upcallVector === 0 || !this.#domain.enabled || !this.#vcpu.vcpuInfo.active) return 0;
    return upcallPending(this.#domain, this.#vcpu) ? upcallVector : 0;
  }

  get pendingByte(): number {
    return this.#vcpu.vcpuInfo.hva + VcpuInfo.EVTCHN_UPCALL_PENDING;
  }

  get mayDefer(): boolean {
    const { timerPending, shadowLow, shadowHigh } = this.#vcpu;
    return timerPending || (shadowLow | shadowHigh) !== 0;
  }

  get deferredEvents(): boolean {
    const { shadowLow, shadowHigh } = this.#vcpu;
    return (shadowLow | shadowHigh) !== 0 && this.#domain.enabled;
  }

  get deferredTimer(): boolean {
    const vcpu = this.#vcpu;
    return vcpu.timerPending && vcpu.timerPort !== 0 && this.#domain.hypercallsEnabled;
  }

  isUpcall(vector: number): boolean {
    return vector === this.#domain.upcallVector || vector === this.#vcpu.upcallVector;
  }

  processDeferred(): void {
    if (this.deferredEvents) deliverShadow(this.#domain, this.#vcpu);
    if (this.deferredTimer) deliverPendingTimer(this.#domain, this.#vcpu);
  }

  lapicEnabled(): void {
    const vcpu = this.#vcpu;
    if (!this.#domain.enabled || !vcpu.vcpuInfo.active || vcpu.upcallVector === 0) return;
    if (upcallPending(this.#domain, vcpu)) vcpu.host.sendToLapic(vcpu.upcallVector);
  }

  hypercall(): HypercallOutcome {
    if (!this.#domain.hypercallsEnabled) return "not-xen";
    return hypercall(this.#domain, this.#vcpu);
  }

  running(): void {
    enterState(this.#domain, this.#vcpu, Runstate.RUNNING);
  }

  preempted(): void {
    enterState(this.#domain, this.#vcpu, Runstate.RUNNABLE);
  }

  updateClock(time: PvclockTime): void {
    setTscLeaves(this.#vcpu, time);
    const unstable = (this.#domain.flags & KvmXenHvmConfig.PVCLOCK_TSC_UNSTABLE) !== 0;
    const shown = unstable ? { ...time, flags: time.flags & ~Pvclock.FLAG_TSC_STABLE } : time;
    this.#writeClock(this.#vcpu.vcpuInfo, VcpuInfo.TIME, shown);
    this.#writeClock(this.#vcpu.timeInfo, 0, shown);
  }

  #writeClock(cache: PfnCache, offset: number, time: PvclockTime): void {
    if (!cache.active) return;
    const size = offset + Pvclock.SIZE;
    if (!cache.check(size) && cache.refresh(size) !== undefined) return;
    writePvclock(this.#domain.view, cache.hva + offset, time);
    cache.noteWrite(offset, Pvclock.SIZE);
    cache.markDirty();
  }

  /** 32-bit guests may have it at any multiple of 4. */
  #checkAlignment(address: bigint): void {
    const checks = this.#domain.host.linux.alignsVcpuInfo;
    if (checks && (address & 3n) !== 0n) refuse("ENXIO", "vcpu_info is not aligned");
  }

  #setArea(cache: PfnCache, gpa: bigint, size: number): void {
    if (gpa === KVM_XEN_INVALID) {
      cache.deactivate();
      return;
    }
    const failed = cache.activate(gpa, size);
    if (failed !== undefined) refuse(failed, "guest area");
    this.#vcpu.host.requestClockUpdate();
  }

  #setVcpuInfoHva(hva: bigint): void {
    const cache = this.#vcpu.vcpuInfo;
    if (hva === 0n) {
      cache.deactivate();
      return;
    }
    this.#checkAlignment(hva);
    if (hva + BigInt(VcpuInfo.SIZE) > USER_SPACE_END) refuse("EINVAL", "vcpu_info address");
    const failed = cache.activateHva(hva, VcpuInfo.SIZE);
    if (failed !== undefined) refuse(failed, "vcpu_info");
    this.#vcpu.host.requestClockUpdate();
  }

  #setTimer(attr: VcpuAttrOf<"TIMER">): void {
    const vcpu = this.#vcpu;
    if (attr.port !== 0 && attr.priority !== KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL) {
      refuse("EINVAL", "priority");
    }
    stopTimer(this.#domain, vcpu);
    vcpu.timerPort = evtchnPort(attr.port);
    if (attr.port !== 0 && attr.expiresNs !== 0n) {
      startTimer(this.#domain, vcpu, attr.expiresNs, false);
    }
  }

  #read(type: KvmXenVcpuAttrName): KvmXenVcpuAttr {
    const vcpu = this.#vcpu;
    const { runstate } = vcpu;
    switch (type) {
      case "VCPU_INFO":
        return { type, gpa: vcpu.vcpuInfo.gpa ?? KVM_XEN_INVALID };
      case "VCPU_INFO_HVA":
        return { type, hva: BigInt(vcpu.vcpuInfo.givenHva) };
      case "VCPU_TIME_INFO":
        return { type, gpa: vcpu.timeInfo.gpa ?? KVM_XEN_INVALID };
      case "RUNSTATE_ADDR":
        return { type, gpa: vcpu.runstate1.gpa ?? refuse("ENOENT", "no runstate area") };
      case "RUNSTATE_CURRENT":
        return { type, state: BigInt(runstate.current) };
      case "RUNSTATE_DATA":
        return {
          type,
          runstate: {
            state: BigInt(runstate.current),
            stateEntryTime: runstate.entryTime,
            timeRunning: runstate.times[Runstate.RUNNING],
            timeRunnable: runstate.times[Runstate.RUNNABLE],
            timeBlocked: runstate.times[Runstate.BLOCKED],
            timeOffline: runstate.times[Runstate.OFFLINE],
          },
        };
      case "RUNSTATE_ADJUST":
        return refuse("EINVAL", "RUNSTATE_ADJUST can only be set");
      case "VCPU_ID":
        return { type, vcpuId: vcpu.xenId };
      case "TIMER":
        return {
          type,
          port: vcpu.timerPort,
          priority: KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL,
          expiresNs: readTimer(this.#domain, vcpu),
        };
      case "UPCALL_VECTOR":
        return { type, vector: vcpu.upcallVector };
    }
  }
}
