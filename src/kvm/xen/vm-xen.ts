import {
  KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL,
  KVM_XEN_INVALID,
  type KvmXenEvtchn,
  KvmXenHvmConfig,
} from "../../abi/kvm/index.js";
import { apicId, Errno, evtchnPort, PAGE_SIZE } from "../../base/index.js";
import type { ArmLater } from "../../ports/index.js";
import { KvmError } from "../api/error.js";
import type {
  HvmAttrOf,
  KvmXenHvmAttr,
  KvmXenHvmAttrName,
  KvmXenHvmConfigArgs,
  VmXen,
} from "../api/xen.js";
import type { XenKept } from "../api/xen-kept.js";
import type { XenVmView } from "../api/xen-view.js";
import { refuse } from "../error.js";
import type { XenVcpuHooks, XenVcpuHost, XenVmHooks, XenVmHost } from "../hooks.js";
import type { CacheError } from "../memory/pfncache.js";
import { Delivery, deliver } from "./delivery.js";
import { Domain } from "./domain.js";
import { writeHypercallPage } from "./hypercall-page.js";
import { readXen, writeXen } from "./kept.js";
import { checkUpcallVector, USER_SPACE_END } from "./limits.js";
import type { XenSwitch } from "./switch.js";
import { stopTimer } from "./timer.js";
import { VcpuDomain } from "./vcpu-domain.js";
import { VcpuXenSupport } from "./vcpu-xen.js";
import { viewOf } from "./view.js";
import { writeWallclock } from "./wallclock.js";

const CONFIG_FLAGS =
  KvmXenHvmConfig.INTERCEPT_HCALL |
  KvmXenHvmConfig.EVTCHN_SEND |
  KvmXenHvmConfig.PVCLOCK_TSC_UNSTABLE;

/** `KVM_XEN_MSR_MIN_INDEX` and `KVM_XEN_MSR_MAX_INDEX`. */
const FIRST_MSR = 0x40000000;
const LAST_MSR = 0x4fffffff;

/** Work of filling a hypercall page. */
const PAGE_COST = 100;

/** Xen support of a VM. */
export class VmXenSupport implements XenVmHooks, VmXen {
  readonly #domain: Domain;

  constructor(host: XenVmHost, xenSwitch: XenSwitch) {
    this.#domain = new Domain(host, xenSwitch);
  }

  get api(): VmXen {
    return this;
  }
  get enabled(): boolean {
    return this.#domain.hasMsr;
  }

  get hypercallMsr(): number {
    return this.#domain.msr;
  }

  get interceptsHypercalls(): boolean {
    return this.#domain.hypercallsEnabled;
  }

  createVcpu(host: XenVcpuHost): XenVcpuHooks {
    const vcpu = new VcpuDomain(host, this.#domain.host.slots);
    this.#domain.vcpus.push(vcpu);
    return new VcpuXenSupport(this.#domain, vcpu);
  }

  hvmConfig(config: KvmXenHvmConfigArgs): void {
    const domain = this.#domain;
    if ((config.flags & ~CONFIG_FLAGS) !== 0) refuse("EINVAL", "Xen configuration flags");
    if (domain.host.linux.limitsHypercallMsr && config.msr !== 0) {
      const isXen = config.msr >= FIRST_MSR && config.msr <= LAST_MSR;
      if (!isXen) refuse("EINVAL", "hypercall page MSR");
    }
    const blobs = {
      addr32: config.blobAddr32 ?? 0n,
      size32: config.blobSize32 ?? 0,
      addr64: config.blobAddr64 ?? 0n,
      size64: config.blobSize64 ?? 0,
    };
    const given =
      blobs.addr32 !== 0n || blobs.addr64 !== 0n || blobs.size32 !== 0 || blobs.size64 !== 0;
    if ((config.flags & KvmXenHvmConfig.INTERCEPT_HCALL) !== 0 && given) {
      refuse("EINVAL", "hypercall blobs and interception exclude each other");
    }
    const changed = domain.flags ^ config.flags;
    domain.flags = config.flags;
    domain.setMsr(config.msr >>> 0);
    domain.blobs = blobs;
    if ((changed & KvmXenHvmConfig.PVCLOCK_TSC_UNSTABLE) !== 0) domain.host.requestClockUpdate();
  }

  setAttr(attr: KvmXenHvmAttr): void {
    const domain = this.#domain;
    switch (attr.type) {
      case "LONG_MODE": {
        domain.longMode = attr.longMode;
        if (!domain.sharedInfo.active) return;
        const failed = writeWallclock(domain);
        if (failed !== undefined) refuse(failed, "shared_info");
        return;
      }
      case "SHARED_INFO":
        this.#setSharedInfo(attr.gfn);
        return;
      case "SHARED_INFO_HVA":
        this.#setSharedInfoHva(attr.hva);
        return;
      case "UPCALL_VECTOR":
        checkUpcallVector(attr.vector);
        domain.upcallVector = attr.vector;
        return;
      case "EVTCHN":
        domain.evtchns.set(attr, domain.layout.ports);
        return;
      case "XEN_VERSION":
        domain.xenVersion = attr.xenVersion >>> 0;
        return;
      case "RUNSTATE_UPDATE_FLAG":
        domain.runstateUpdateFlag = attr.runstateUpdateFlag;
        return;
    }
  }

  getAttr<T extends KvmXenHvmAttrName>(type: T): HvmAttrOf<T> {
    return this.#read(type) as HvmAttrOf<T>;
  }

  evtchnSend(event: KvmXenEvtchn): void {
    const { port, vcpu, priority } = event;
    // deliver() refuses those beyond the last.
    if (port === 0) refuse("EINVAL", "event channel port");
    if (priority !== KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL) refuse("EINVAL", "priority");
    const result = deliver(this.#domain, evtchnPort(port), apicId(vcpu));
    if (result < 0 && result !== Delivery.MASKED) throw new KvmError(-result, "event channel");
  }

  writeMsr(
    host: XenVcpuHost,
    index: number,
    value: bigint,
    fromHost: boolean,
  ): boolean | undefined {
    const domain = this.#domain;
    if (domain.msr === 0 || index !== domain.msr) return undefined;
    if (fromHost && !domain.host.linux.clientWritesHypercallPage) return undefined;
    const vcpu = domain.vcpus[host.index];
    if (vcpu === undefined) return undefined;
    if (!fromHost) host.charge(PAGE_COST);
    return writeHypercallPage(domain, vcpu, value);
  }

  checkRoute(event: KvmXenEvtchn): void {
    if (event.priority !== KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL) refuse("EINVAL", "priority");
  }

  deliverRoute(event: KvmXenEvtchn): number {
    return Math.max(-1, deliver(this.#domain, evtchnPort(event.port), apicId(event.vcpu)));
  }

  invalidate(start: number, length: number): void {
    this.#domain.sharedInfo.invalidate(start, length);
    for (const vcpu of this.#domain.vcpus) {
      vcpu.vcpuInfo.invalidate(start, length);
      vcpu.timeInfo.invalidate(start, length);
      vcpu.runstate1.invalidate(start, length);
      vcpu.runstate2.invalidate(start, length);
    }
  }

  view(mpStates: readonly number[]): XenVmView {
    return viewOf(this.#domain, mpStates);
  }

  kept(): XenKept {
    return readXen(this.#domain);
  }

  keep(kept: XenKept, later: ArmLater): void {
    writeXen(this.#domain, kept, later);
  }

  close(): void {
    for (const vcpu of this.#domain.vcpus) stopTimer(this.#domain, vcpu);
    this.#domain.setMsr(0);
  }

  #setSharedInfo(gfn: bigint): void {
    const cache = this.#domain.sharedInfo;
    if (gfn === KVM_XEN_INVALID) {
      cache.deactivate();
      return;
    }
    // The kernel's shift loses the high bits.
    this.#activated(cache.activate(BigInt.asUintN(64, gfn << 12n), PAGE_SIZE));
  }

  #setSharedInfoHva(hva: bigint): void {
    const cache = this.#domain.sharedInfo;
    if ((hva & 0xfffn) !== 0n) refuse("EINVAL", "shared_info address is not a multiple of 4096");
    if (hva === 0n) {
      cache.deactivate();
      return;
    }
    if (hva + BigInt(PAGE_SIZE) > USER_SPACE_END) refuse("EINVAL", "shared_info address");
    this.#activated(cache.activateHva(hva, PAGE_SIZE));
  }

  #activated(failed: CacheError): void {
    const error = failed ?? writeWallclock(this.#domain);
    if (error !== undefined) throw new KvmError(Errno[error], "shared_info");
  }

  #read(type: KvmXenHvmAttrName): KvmXenHvmAttr {
    const domain = this.#domain;
    switch (type) {
      case "LONG_MODE":
        return { type, longMode: domain.longMode };
      case "SHARED_INFO": {
        const gpa = domain.sharedInfo.gpa;
        return { type, gfn: gpa === undefined ? KVM_XEN_INVALID : gpa >> 12n };
      }
      case "SHARED_INFO_HVA":
        return { type, hva: BigInt(domain.sharedInfo.givenHva) };
      case "UPCALL_VECTOR":
        return { type, vector: domain.upcallVector };
      case "XEN_VERSION":
        return { type, xenVersion: domain.xenVersion };
      case "RUNSTATE_UPDATE_FLAG":
        return { type, runstateUpdateFlag: domain.runstateUpdateFlag };
      case "EVTCHN":
        return refuse("ENOENT", "the event channel table cannot be read");
    }
  }
}
