/** KVM_XEN_*, as a program calls them. */
import { Errno } from "../../base/index.js";
import {
  KvmXenHvmAttrType as Hvm,
  type HvmAttrOf,
  KVM_XEN_HVM_CONFIG,
  KVM_XEN_HVM_EVTCHN_SEND,
  KVM_XEN_HVM_GET_ATTR,
  KVM_XEN_HVM_SET_ATTR,
  KVM_XEN_VCPU_GET_ATTR,
  KVM_XEN_VCPU_SET_ATTR,
  KvmError,
  type KvmXenEvtchn,
  type KvmXenHvmAttr,
  type KvmXenHvmAttrName,
  type KvmXenHvmConfigArgs,
  type KvmXenVcpuAttr,
  type KvmXenVcpuAttrName,
  kvm_irq_routing_xen_evtchn,
  kvm_xen_hvm_attr,
  kvm_xen_hvm_config,
  kvm_xen_vcpu_attr,
  KvmXenVcpuAttrType as PerVcpu,
  type VcpuAttrOf,
  type VcpuXen,
  type VmXen,
} from "../../kvm/index.js";
import {
  type HvmUnion,
  type HvmUnionIn,
  runstateFromC,
  runstateToC,
  type VcpuUnion,
  type VcpuUnionIn,
} from "../convert-xen.js";
import type { Descriptor } from "./door.js";
import type { Addresses } from "./memory.js";

function hvmToC(attr: KvmXenHvmAttr, memory: Addresses): HvmUnionIn {
  switch (attr.type) {
    case "LONG_MODE":
      return { long_mode: attr.longMode ? 1 : 0 };
    case "SHARED_INFO":
      return { shared_info: { gfn: attr.gfn } };
    case "SHARED_INFO_HVA":
      return { shared_info: { hva: memory.addressOf(attr.hva) } };
    case "UPCALL_VECTOR":
      return { vector: attr.vector };
    case "EVTCHN": {
      const { sendPort: send_port, evtchnType: type, flags, deliver } = attr;
      // A descriptor is what the kernel would be told, and an eventfd of this program has none.
      if (deliver !== undefined && "eventfd" in deliver) {
        throw new KvmError(Errno.EBADF, "an eventfd without a descriptor");
      }
      const port = deliver ?? { port: 0, vcpu: 0, priority: 0 };
      return { evtchn: { send_port, type, flags, deliver: { port } } };
    }
    case "XEN_VERSION":
      return { xen_version: attr.xenVersion };
    case "RUNSTATE_UPDATE_FLAG":
      return { runstate_update_flag: attr.runstateUpdateFlag ? 1 : 0 };
  }
}

function hvmFromC(type: KvmXenHvmAttrName, u: HvmUnion, memory: Addresses): KvmXenHvmAttr {
  switch (type) {
    case "LONG_MODE":
      return { type, longMode: u.long_mode !== 0 };
    case "SHARED_INFO":
      return { type, gfn: u.shared_info.gfn };
    case "SHARED_INFO_HVA":
      return { type, hva: memory.offsetOf(u.shared_info.hva) };
    case "UPCALL_VECTOR":
      return { type, vector: u.vector };
    case "EVTCHN":
      throw new KvmError(Errno.ENOENT, "an attribute that cannot be read");
    case "XEN_VERSION":
      return { type, xenVersion: u.xen_version };
    case "RUNSTATE_UPDATE_FLAG":
      return { type, runstateUpdateFlag: u.runstate_update_flag !== 0 };
  }
}

function vcpuToC(attr: KvmXenVcpuAttr, memory: Addresses): VcpuUnionIn {
  switch (attr.type) {
    case "VCPU_INFO":
    case "VCPU_TIME_INFO":
    case "RUNSTATE_ADDR":
      return { gpa: attr.gpa };
    case "VCPU_INFO_HVA":
      return { hva: memory.addressOf(attr.hva) };
    case "RUNSTATE_CURRENT":
      return { runstate: { state: attr.state } };
    case "RUNSTATE_DATA":
    case "RUNSTATE_ADJUST":
      return { runstate: runstateToC(attr.runstate) };
    case "VCPU_ID":
      return { vcpu_id: attr.vcpuId };
    case "TIMER":
      return { timer: { port: attr.port, priority: attr.priority, expires_ns: attr.expiresNs } };
    case "UPCALL_VECTOR":
      return { vector: attr.vector };
  }
}

function vcpuFromC(type: KvmXenVcpuAttrName, u: VcpuUnion, memory: Addresses): KvmXenVcpuAttr {
  switch (type) {
    case "VCPU_INFO":
    case "VCPU_TIME_INFO":
    case "RUNSTATE_ADDR":
      return { type, gpa: u.gpa };
    case "VCPU_INFO_HVA":
      return { type, hva: memory.offsetOf(u.hva) };
    case "RUNSTATE_CURRENT":
      return { type, state: u.runstate.state };
    case "RUNSTATE_DATA":
    case "RUNSTATE_ADJUST":
      return { type, runstate: runstateFromC(u.runstate) };
    case "VCPU_ID":
      return { type, vcpuId: u.vcpu_id };
    case "TIMER": {
      const { port, priority, expires_ns } = u.timer;
      return { type, port, priority, expiresNs: expires_ns };
    }
    case "UPCALL_VECTOR":
      return { type, vector: u.vector };
  }
}

/** Xen support of a VM. */
export class IoctlVmXen implements VmXen {
  readonly #fd: Descriptor;
  readonly #memory: Addresses;

  constructor(fd: Descriptor, memory: Addresses) {
    this.#fd = fd;
    this.#memory = memory;
  }

  hvmConfig(config: KvmXenHvmConfigArgs): void {
    this.#fd.give(KVM_XEN_HVM_CONFIG, kvm_xen_hvm_config, {
      flags: config.flags,
      msr: config.msr,
      blob_addr_32: this.#memory.addressOf(config.blobAddr32 ?? 0n),
      blob_addr_64: this.#memory.addressOf(config.blobAddr64 ?? 0n),
      blob_size_32: config.blobSize32 ?? 0,
      blob_size_64: config.blobSize64 ?? 0,
    });
  }

  setAttr(attr: KvmXenHvmAttr): void {
    const u = hvmToC(attr, this.#memory);
    this.#fd.give(KVM_XEN_HVM_SET_ATTR, kvm_xen_hvm_attr, { type: Hvm[attr.type], u });
  }

  getAttr<T extends KvmXenHvmAttrName>(type: T): HvmAttrOf<T> {
    const { u } = this.#fd.take(KVM_XEN_HVM_GET_ATTR, kvm_xen_hvm_attr, { type: Hvm[type] });
    return hvmFromC(type, u, this.#memory) as HvmAttrOf<T>;
  }

  evtchnSend(event: KvmXenEvtchn): void {
    this.#fd.give(KVM_XEN_HVM_EVTCHN_SEND, kvm_irq_routing_xen_evtchn, event);
  }
}

/** Xen support of a vCPU. */
export class IoctlVcpuXen implements VcpuXen {
  readonly #fd: Descriptor;
  readonly #memory: Addresses;

  constructor(fd: Descriptor, memory: Addresses) {
    this.#fd = fd;
    this.#memory = memory;
  }

  setAttr(attr: KvmXenVcpuAttr): void {
    const u = vcpuToC(attr, this.#memory);
    this.#fd.give(KVM_XEN_VCPU_SET_ATTR, kvm_xen_vcpu_attr, { type: PerVcpu[attr.type], u });
  }

  getAttr<T extends KvmXenVcpuAttrName>(type: T): VcpuAttrOf<T> {
    const { u } = this.#fd.take(KVM_XEN_VCPU_GET_ATTR, kvm_xen_vcpu_attr, { type: PerVcpu[type] });
    return vcpuFromC(type, u, this.#memory) as VcpuAttrOf<T>;
  }
}
