import * as ioctls from "../../abi/kvm/ioctl.js";
import { KvmIrqRoutingType } from "../../abi/kvm/irq.js";
import * as k from "../../abi/kvm/structs.js";
import { KvmXenEvtchnFlag, KvmXenHvmAttrType, KvmXenVcpuAttrType } from "../../abi/kvm/xen.js";
import { type CType, u32, u64, type ValueOf } from "../../abi/layout.js";
import { capName, cpuidFlags, memFlags, xenHvmAttrName, xenVcpuAttrName } from "./names.js";

/** Reads memory of the program; undefined where there is none. */
export interface ProgramMemory {
  read(address: bigint, length: number): Uint8Array | undefined;
}

/**
 * Elements behind a head that are read at most: more than any call accepts.
 * @limit client | elements of a list that the trace of a call looks at | elements | the rest is not shown
 */
const MAX_ELEMENTS = 4096;

type Value = Readonly<Record<string, unknown>>;

/** A structure with a count, and that many elements behind it. */
interface List {
  readonly count: string;
  readonly field: string;
  readonly element: CType<unknown, never>;
  readonly show?: (element: never) => unknown;
}

const msrList: List = { count: "nmsrs", field: "indices", element: u32 };
const msrs: List = { count: "nmsrs", field: "entries", element: k.kvm_msr_entry };
const cpuid2: List = {
  count: "nent",
  field: "entries",
  element: k.kvm_cpuid_entry2,
  show: ({ flags, ...entry }: ValueOf<typeof k.kvm_cpuid_entry2>): Value => {
    const { function: fn, index, eax, ebx, ecx, edx } = entry;
    return { function: fn, index, flags: cpuidFlags(flags), eax, ebx, ecx, edx };
  },
};

const lists = new Map<number, List>([
  [ioctls.KVM_GET_MSR_INDEX_LIST, msrList],
  [ioctls.KVM_GET_MSR_FEATURE_INDEX_LIST, msrList],
  [ioctls.KVM_GET_MSRS, msrs],
  [ioctls.KVM_SET_MSRS, msrs],
  [ioctls.KVM_SET_CPUID, { count: "nent", field: "entries", element: k.kvm_cpuid_entry }],
  [ioctls.KVM_SET_CPUID2, cpuid2],
  [ioctls.KVM_GET_CPUID2, cpuid2],
  [ioctls.KVM_GET_SUPPORTED_CPUID, cpuid2],
  [ioctls.KVM_GET_EMULATED_CPUID, cpuid2],
  [ioctls.KVM_GET_SUPPORTED_HV_CPUID, cpuid2],
  [ioctls.KVM_GET_REG_LIST, { count: "n", field: "reg", element: u64 }],
  [
    ioctls.KVM_SET_GSI_ROUTING,
    { count: "nr", field: "entries", element: k.kvm_irq_routing_entry, show: showRoute },
  ],
]);

type Route = ValueOf<typeof k.kvm_irq_routing_entry>;

/** An entry with the member of its union that `type` names. */
function showRoute({ gsi, type, flags, u }: Route): Value {
  const head = { gsi, flags };
  if (type === KvmIrqRoutingType.IRQCHIP) {
    return { ...head, type: "KVM_IRQ_ROUTING_IRQCHIP", irqchip: u.irqchip };
  }
  if (type === KvmIrqRoutingType.MSI) return { ...head, type: "KVM_IRQ_ROUTING_MSI", msi: u.msi };
  if (type === KvmIrqRoutingType.XEN_EVTCHN) {
    return { ...head, type: "KVM_IRQ_ROUTING_XEN_EVTCHN", xen_evtchn: u.xen_evtchn };
  }
  return { ...head, type, pad: u.pad };
}

type HvmAttr = ValueOf<typeof k.kvm_xen_hvm_attr>;

function showEvtchn({ send_port, type, flags, deliver }: HvmAttr["u"]["evtchn"]): Value {
  const head = { send_port, type, flags };
  if (flags === KvmXenEvtchnFlag.DEASSIGN || flags === KvmXenEvtchnFlag.RESET) return head;
  // A port of 0 says that it is the eventfd.
  return deliver.port.port === 0
    ? { ...head, eventfd: deliver.eventfd }
    : { ...head, port: deliver.port };
}

function showHvmAttr({ type, u }: HvmAttr): Value {
  const head = { type: xenHvmAttrName(type) };
  switch (type) {
    case KvmXenHvmAttrType.LONG_MODE:
      return { ...head, long_mode: u.long_mode };
    case KvmXenHvmAttrType.SHARED_INFO:
      return { ...head, gfn: u.shared_info.gfn };
    case KvmXenHvmAttrType.SHARED_INFO_HVA:
      return { ...head, hva: u.shared_info.hva };
    case KvmXenHvmAttrType.UPCALL_VECTOR:
      return { ...head, vector: u.vector };
    case KvmXenHvmAttrType.EVTCHN:
      return { ...head, evtchn: showEvtchn(u.evtchn) };
    case KvmXenHvmAttrType.XEN_VERSION:
      return { ...head, xen_version: u.xen_version };
    case KvmXenHvmAttrType.RUNSTATE_UPDATE_FLAG:
      return { ...head, runstate_update_flag: u.runstate_update_flag };
    default:
      return { ...head, pad: u.pad };
  }
}

function showVcpuAttr({ type, u }: ValueOf<typeof k.kvm_xen_vcpu_attr>): Value {
  const head = { type: xenVcpuAttrName(type) };
  switch (type) {
    case KvmXenVcpuAttrType.VCPU_INFO:
    case KvmXenVcpuAttrType.VCPU_TIME_INFO:
    case KvmXenVcpuAttrType.RUNSTATE_ADDR:
      return { ...head, gpa: u.gpa };
    case KvmXenVcpuAttrType.VCPU_INFO_HVA:
      return { ...head, hva: u.hva };
    case KvmXenVcpuAttrType.RUNSTATE_CURRENT:
      return { ...head, state: u.runstate.state };
    case KvmXenVcpuAttrType.RUNSTATE_DATA:
    case KvmXenVcpuAttrType.RUNSTATE_ADJUST:
      return { ...head, runstate: u.runstate };
    case KvmXenVcpuAttrType.VCPU_ID:
      return { ...head, vcpu_id: u.vcpu_id };
    case KvmXenVcpuAttrType.TIMER:
      return { ...head, timer: u.timer };
    case KvmXenVcpuAttrType.UPCALL_VECTOR:
      return { ...head, vector: u.vector };
    default:
      return { ...head, pad: u.pad };
  }
}

/** `KVM_IRQCHIP_IOAPIC`. */
const IOAPIC = 2;

function showIrqchip({ chip_id, chip }: ValueOf<typeof k.kvm_irqchip>): Value {
  return chip_id === IOAPIC ? { chip_id, ioapic: chip.ioapic } : { chip_id, pic: chip.pic };
}

function showRegion(region: Readonly<Record<"flags", number>>): Value {
  return { ...region, flags: memFlags(region.flags) };
}

/** Arguments that point to a number: shown in brackets, as strace shows what a pointer points to. */
const pointed = new Set<number>([
  ioctls.KVM_SET_IDENTITY_MAP_ADDR,
  ioctls.KVM_X86_GET_MCE_CAP_SUPPORTED,
  ioctls.KVM_X86_SETUP_MCE,
]);

function showPointed(memory: ProgramMemory, address: bigint): unknown {
  const bytes = memory.read(address, u64.size);
  if (bytes === undefined) return address;
  return [u64.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0)];
}

/** How a structure is shown whose fields alone do not tell what they mean. */
const shown = new Map<unknown, (value: never) => Value>([
  [k.kvm_xen_hvm_attr, showHvmAttr],
  [k.kvm_xen_vcpu_attr, showVcpuAttr],
  [k.kvm_irqchip, showIrqchip],
  [k.kvm_userspace_memory_region, showRegion],
  [k.kvm_userspace_memory_region2, showRegion],
  [
    k.kvm_enable_cap,
    ({ cap, flags, args }: ValueOf<typeof k.kvm_enable_cap>) => ({
      cap: capName(cap),
      flags,
      args,
    }),
  ],
  [
    k.kvm_xcrs,
    ({ nr_xcrs, flags, xcrs }: ValueOf<typeof k.kvm_xcrs>) => ({
      nr_xcrs,
      flags,
      xcrs: xcrs.slice(0, nr_xcrs),
    }),
  ],
]);

interface Decodable {
  readonly size: number;
  decode?(bytes: Uint8Array): Value;
}

function readList(memory: ProgramMemory, address: bigint, list: List, head: Value, at: number) {
  const count = Math.min(Number(head[list.count]), MAX_ELEMENTS);
  const { size } = list.element;
  const bytes = memory.read(address + BigInt(at), count * size);
  if (bytes === undefined) return head;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const elements = Array.from({ length: count }, (_, i) => {
    const element = list.element.read(view, i * size);
    return list.show === undefined ? element : list.show(element as never);
  });
  return { ...head, [list.field]: elements };
}

/** The error with which the kernel writes the count of a list and nothing else. */
const E2BIG = 7;

/**
 * What the argument of an ioctl says: for a structure its fields, with the member of a union that applies and
 * the elements that follow it; a name or number for a value; the address when nothing is there.
 * @param result of the call, when the kernel has written to the argument by now
 */
export function argumentOf(
  memory: ProgramMemory,
  request: number,
  argument: bigint,
  result = 0,
): unknown {
  if (request === ioctls.KVM_CHECK_EXTENSION) return capName(Number(BigInt.asUintN(32, argument)));
  if (pointed.has(request)) return showPointed(memory, argument);
  const type: Decodable | undefined = ioctls.ioctlArgument(request);
  if (type?.decode === undefined) return argument;
  const bytes = memory.read(argument, type.size);
  if (bytes === undefined) return argument;
  const value = type.decode(bytes);
  const list = lists.get(request);
  if (list !== undefined && result === -E2BIG) return value;
  if (list !== undefined) return readList(memory, argument, list, value, type.size);
  return shown.get(type)?.(value as never) ?? value;
}
