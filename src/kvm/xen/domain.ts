import { KvmXenHvmConfig } from "../../abi/kvm/index.js";
import { type SharedInfoLayout, sharedInfoLayout } from "../../abi/xen/shared-info.js";
import type { ApicId } from "../../base/index.js";
import type { XenVmHost } from "../hooks.js";
import { PfnCache } from "../memory/pfncache.js";
import { EvtchnTable } from "./evtchn-table.js";
import type { XenSwitch } from "./switch.js";
import type { VcpuDomain } from "./vcpu-domain.js";

/** Xen state of a VM, shared by the files of this folder. */
export class Domain {
  readonly host: XenVmHost;
  readonly sharedInfo: PfnCache;
  readonly evtchns = new EvtchnTable();
  readonly vcpus: VcpuDomain[] = [];
  longMode = false;
  /** HVM-wide upcall vector, 0 for none. */
  upcallVector = 0;
  xenVersion = 0;
  runstateUpdateFlag = false;
  flags = 0;
  /** Hypercall page MSR; 0 switches Xen support off. */
  msr = 0;
  blobs = { addr32: 0n, size32: 0, addr64: 0n, size64: 0 };

  readonly #switch: XenSwitch;

  constructor(host: XenVmHost, xenSwitch: XenSwitch) {
    this.host = host;
    this.#switch = xenSwitch;
    this.sharedInfo = new PfnCache(host.slots);
  }

  /** This VM has a hypercall page MSR: runstates are accounted (the kernel's kvm_xen_msr_enabled). */
  get hasMsr(): boolean {
    return this.msr !== 0;
  }
  /** Upcalls are injected and deferred events delivered (kvm_xen_enabled). */
  get enabled(): boolean {
    return this.msr !== 0 || this.#switch.isOn(this.host.clock.nowNs());
  }
  /** Takes another MSR. */
  setMsr(msr: number): void {
    const now = this.host.clock.nowNs();
    if (this.msr === 0 && msr !== 0) this.#switch.count(1, now);
    if (this.msr !== 0 && msr === 0) this.#switch.count(-1, now);
    this.msr = msr;
  }
  /** Hypercalls are intercepted. */
  get hypercallsEnabled(): boolean {
    return (this.flags & KvmXenHvmConfig.INTERCEPT_HCALL) !== 0 && this.enabled;
  }
  /** Layout of shared_info in the current mode. */
  get layout(): SharedInfoLayout {
    return sharedInfoLayout(this.longMode);
  }
  /** All bytes of linear memory, for typed access; borrowed. */
  get view(): DataView {
    return this.host.slots.linear.view;
  }

  /** The vCPU with that KVM vcpu_id. */
  vcpuById(id: ApicId): VcpuDomain | undefined {
    const guess = this.vcpus[id];
    if (guess?.host.id === id) return guess;
    return this.vcpus.find((vcpu) => vcpu.host.id === id);
  }
}
