import {
  EvtchnStat,
  KvmXenHvmAttrType as Hvm,
  KVM_XEN_HVM_CONFIG,
  KVM_XEN_HVM_EVTCHN_SEND,
  KVM_XEN_HVM_GET_ATTR,
  KVM_XEN_HVM_SET_ATTR,
  KVM_XEN_VCPU_GET_ATTR,
  KVM_XEN_VCPU_SET_ATTR,
  type KvmXenEvtchnTarget,
  type KvmXenHvmAttr,
  type KvmXenVcpuAttr,
  kvm_irq_routing_xen_evtchn,
  kvm_xen_hvm_attr,
  kvm_xen_hvm_config,
  kvm_xen_vcpu_attr,
  KvmXenVcpuAttrType as PerVcpu,
  type VcpuXen,
  type VmXen,
} from "../kvm/index.js";
import { refuse } from "./argument.js";
import {
  type HvmUnion,
  type HvmUnionIn,
  runstateFromC,
  runstateToC,
  type VcpuUnion,
  type VcpuUnionIn,
} from "./convert-xen.js";
import { raw, reads, type Table } from "./table.js";
import type { VcpuContext } from "./vcpu-context.js";
import type { VmContext } from "./vm-context.js";

const PAGE = 4096;

/** Blobs and areas by client address; 0 means none. */
const toLinear = (context: VmContext, address: bigint, length: number): bigint =>
  address === 0n ? 0n : context.toLinear(address, length);

/**
 * Where events of an outbound port go. The descriptor counts only where Linux looks at it: when an
 * interdomain port without a target port is assigned. A closed one is left to the typed method,
 * which refuses it after what comes before.
 */
function evtchnTarget(context: VmContext, { evtchn }: HvmUnion): KvmXenEvtchnTarget {
  const { port, vcpu, priority } = evtchn.deliver.port;
  const target = { port, vcpu, priority };
  if (evtchn.flags !== 0 || evtchn.type !== EvtchnStat.INTERDOMAIN || port !== 0) return target;
  const file = context.process.eventfd(evtchn.deliver.eventfd.fd);
  if (file === "EBADF") return target;
  return file === "EINVAL" ? refuse("EINVAL", "not an eventfd") : { eventfd: file };
}

/** KVM_XEN_HVM_SET_ATTR. @throws KvmError ENOENT for an unknown type. */
function hvmAttr(context: VmContext, type: number, u: HvmUnion): KvmXenHvmAttr {
  switch (type) {
    case Hvm.LONG_MODE:
      return { type: "LONG_MODE", longMode: u.long_mode !== 0 };
    case Hvm.SHARED_INFO:
      return { type: "SHARED_INFO", gfn: u.shared_info.gfn };
    case Hvm.SHARED_INFO_HVA:
      return { type: "SHARED_INFO_HVA", hva: toLinear(context, u.shared_info.hva, PAGE) };
    case Hvm.UPCALL_VECTOR:
      return { type: "UPCALL_VECTOR", vector: u.vector };
    case Hvm.EVTCHN:
      return {
        type: "EVTCHN",
        sendPort: u.evtchn.send_port,
        evtchnType: u.evtchn.type,
        flags: u.evtchn.flags,
        deliver: evtchnTarget(context, u),
      };
    case Hvm.XEN_VERSION:
      return { type: "XEN_VERSION", xenVersion: u.xen_version };
    case Hvm.RUNSTATE_UPDATE_FLAG:
      return { type: "RUNSTATE_UPDATE_FLAG", runstateUpdateFlag: u.runstate_update_flag !== 0 };
    default:
      return refuse("ENOENT", "Xen attribute");
  }
}

/** The type of an attribute alone: reading all members of the union takes longer than the rest of the call. */
function typeOf(
  attr: typeof kvm_xen_hvm_attr | typeof kvm_xen_vcpu_attr,
  bytes: Uint8Array,
): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return attr.fields.type.read(view, attr.offset("type"));
}

/** What KVM_XEN_HVM_GET_ATTR changes in the union. @throws KvmError ENOENT. */
function readHvmAttr(context: VmContext, xen: VmXen, type: number): HvmUnionIn {
  switch (type) {
    case Hvm.LONG_MODE:
      return { long_mode: xen.getAttr("LONG_MODE").longMode ? 1 : 0 };
    case Hvm.SHARED_INFO:
      return { shared_info: { gfn: xen.getAttr("SHARED_INFO").gfn } };
    case Hvm.SHARED_INFO_HVA:
      return { shared_info: { hva: context.toClient(xen.getAttr("SHARED_INFO_HVA").hva) } };
    case Hvm.UPCALL_VECTOR:
      return { vector: xen.getAttr("UPCALL_VECTOR").vector };
    case Hvm.XEN_VERSION:
      return { xen_version: xen.getAttr("XEN_VERSION").xenVersion };
    case Hvm.RUNSTATE_UPDATE_FLAG:
      return {
        runstate_update_flag: xen.getAttr("RUNSTATE_UPDATE_FLAG").runstateUpdateFlag ? 1 : 0,
      };
    default:
      return refuse("ENOENT", "Xen attribute");
  }
}

/** KVM_XEN_VCPU_SET_ATTR. @throws KvmError ENOENT for an unknown type. */
function vcpuAttr(context: VmContext, type: number, u: VcpuUnion): KvmXenVcpuAttr {
  switch (type) {
    case PerVcpu.VCPU_INFO:
      return { type: "VCPU_INFO", gpa: u.gpa };
    case PerVcpu.VCPU_INFO_HVA:
      return { type: "VCPU_INFO_HVA", hva: toLinear(context, u.hva, 64) };
    case PerVcpu.VCPU_TIME_INFO:
      return { type: "VCPU_TIME_INFO", gpa: u.gpa };
    case PerVcpu.RUNSTATE_ADDR:
      return { type: "RUNSTATE_ADDR", gpa: u.gpa };
    case PerVcpu.RUNSTATE_CURRENT:
      return { type: "RUNSTATE_CURRENT", state: u.runstate.state };
    case PerVcpu.RUNSTATE_DATA:
      return { type: "RUNSTATE_DATA", runstate: runstateFromC(u.runstate) };
    case PerVcpu.RUNSTATE_ADJUST:
      return { type: "RUNSTATE_ADJUST", runstate: runstateFromC(u.runstate) };
    case PerVcpu.VCPU_ID:
      return { type: "VCPU_ID", vcpuId: u.vcpu_id };
    case PerVcpu.TIMER:
      return {
        type: "TIMER",
        port: u.timer.port,
        priority: u.timer.priority,
        expiresNs: u.timer.expires_ns,
      };
    case PerVcpu.UPCALL_VECTOR:
      return { type: "UPCALL_VECTOR", vector: u.vector };
    default:
      return refuse("ENOENT", "Xen vCPU attribute");
  }
}

/** What KVM_XEN_VCPU_GET_ATTR changes in the union. @throws KvmError ENOENT, EINVAL. */
function readVcpuAttr(context: VmContext, xen: VcpuXen, type: number): VcpuUnionIn {
  switch (type) {
    case PerVcpu.VCPU_INFO:
      return { gpa: xen.getAttr("VCPU_INFO").gpa };
    case PerVcpu.VCPU_INFO_HVA:
      return { hva: context.toClient(xen.getAttr("VCPU_INFO_HVA").hva) };
    case PerVcpu.VCPU_TIME_INFO:
      return { gpa: xen.getAttr("VCPU_TIME_INFO").gpa };
    case PerVcpu.RUNSTATE_ADDR:
      return { gpa: xen.getAttr("RUNSTATE_ADDR").gpa };
    case PerVcpu.RUNSTATE_CURRENT:
      return { runstate: { state: xen.getAttr("RUNSTATE_CURRENT").state } };
    case PerVcpu.RUNSTATE_DATA:
      return { runstate: runstateToC(xen.getAttr("RUNSTATE_DATA").runstate) };
    case PerVcpu.RUNSTATE_ADJUST:
      xen.getAttr("RUNSTATE_ADJUST");
      return {};
    case PerVcpu.VCPU_ID:
      return { vcpu_id: xen.getAttr("VCPU_ID").vcpuId };
    case PerVcpu.TIMER: {
      const { port, priority, expiresNs } = xen.getAttr("TIMER");
      return { timer: { port, priority, expires_ns: expiresNs } };
    }
    case PerVcpu.UPCALL_VECTOR:
      return { vector: xen.getAttr("UPCALL_VECTOR").vector };
    default:
      return refuse("ENOENT", "Xen vCPU attribute");
  }
}

/** Puts fields into a copy of the whole structure, so that the others come back as given. */
function patch(
  bytes: Uint8Array,
  offset: number,
  union: { write(view: DataView, at: number, value: never): void },
  value: unknown,
): Uint8Array {
  union.write(new DataView(bytes.buffer, bytes.byteOffset), offset, value as never);
  return bytes;
}

/** Xen ioctls of a VM. */
export const vmXenRows: Table<VmContext> = new Map([
  reads(KVM_XEN_HVM_CONFIG, "KVM_XEN_HVM_CONFIG", kvm_xen_hvm_config, (context: VmContext, c) => {
    context.vm.xen.hvmConfig({
      flags: c.flags,
      msr: c.msr,
      blobAddr32: toLinear(context, c.blob_addr_32, c.blob_size_32 * PAGE),
      blobSize32: c.blob_size_32,
      blobAddr64: toLinear(context, c.blob_addr_64, c.blob_size_64 * PAGE),
      blobSize64: c.blob_size_64,
    });
  }),
  reads(KVM_XEN_HVM_SET_ATTR, "KVM_XEN_HVM_SET_ATTR", kvm_xen_hvm_attr, (context, { type, u }) => {
    context.vm.xen.setAttr(hvmAttr(context, type, u));
  }),
  raw(KVM_XEN_HVM_GET_ATTR, "KVM_XEN_HVM_GET_ATTR", (context, arg) => {
    const bytes = arg.read(kvm_xen_hvm_attr.size);
    const type = typeOf(kvm_xen_hvm_attr, bytes);
    const value = readHvmAttr(context, context.vm.xen, type);
    arg.write(patch(bytes, kvm_xen_hvm_attr.offset("u"), kvm_xen_hvm_attr.fields.u, value));
  }),
  reads(
    KVM_XEN_HVM_EVTCHN_SEND,
    "KVM_XEN_HVM_EVTCHN_SEND",
    kvm_irq_routing_xen_evtchn,
    ({ vm }, event) => vm.xen.evtchnSend(event),
  ),
]);

/** Xen ioctls of a vCPU. */
export const vcpuXenRows: Table<VcpuContext> = new Map([
  reads(
    KVM_XEN_VCPU_SET_ATTR,
    "KVM_XEN_VCPU_SET_ATTR",
    kvm_xen_vcpu_attr,
    ({ vm, vcpu }: VcpuContext, { type, u }) => vcpu.xen.setAttr(vcpuAttr(vm, type, u)),
  ),
  raw(KVM_XEN_VCPU_GET_ATTR, "KVM_XEN_VCPU_GET_ATTR", ({ vm, vcpu }, arg) => {
    const bytes = arg.read(kvm_xen_vcpu_attr.size);
    const type = typeOf(kvm_xen_vcpu_attr, bytes);
    const value = readVcpuAttr(vm, vcpu.xen, type);
    arg.write(patch(bytes, kvm_xen_vcpu_attr.offset("u"), kvm_xen_vcpu_attr.fields.u, value));
  }),
]);
