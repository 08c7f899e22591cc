/** Attributes of KVM's Xen support: what KVM_XEN_*_GET_ATTR would answer, as texts, and texts as what is to be set. */
import type {
  KvmXenHvmAttr,
  KvmXenHvmAttrName,
  KvmXenRunstate,
  KvmXenVcpuAttr,
  KvmXenVcpuAttrName,
  SharedAreaView,
  XenVcpuView,
  XenVmView,
} from "../kvm/index.js";
import { KVM_XEN_INVALID } from "../kvm/index.js";

/** What GET_ATTR would answer: a value, or the name of an error. */
export type AttrAnswer<T> = T | { readonly type: string; readonly refused: "ENOENT" | "EINVAL" };

/** The attributes of a VM, in the order of their numbers. */
export function hvmAttributes(view: XenVmView): AttrAnswer<KvmXenHvmAttr>[] {
  const { sharedInfo } = view;
  return [
    { type: "LONG_MODE", longMode: view.longMode },
    {
      type: "SHARED_INFO",
      gfn: sharedInfo?.gpa === undefined ? KVM_XEN_INVALID : sharedInfo.gpa >> 12n,
    },
    { type: "UPCALL_VECTOR", vector: view.upcallVector },
    { type: "EVTCHN", refused: "ENOENT" },
    { type: "XEN_VERSION", xenVersion: view.xenVersion },
    { type: "RUNSTATE_UPDATE_FLAG", runstateUpdateFlag: view.runstateUpdateFlag },
    { type: "SHARED_INFO_HVA", hva: BigInt(sharedInfo?.hva ?? 0) },
  ];
}

/** The attributes of a vCPU, in the order of their numbers. Nothing is delivered, as GET_ATTR of TIMER may. */
export function vcpuAttributes(vcpu: XenVcpuView): AttrAnswer<KvmXenVcpuAttr>[] {
  const { runstate, timer } = vcpu;
  const [timeRunning, timeRunnable, timeBlocked, timeOffline] = runstate.times;
  const state = BigInt(runstate.state);
  const times = { timeRunning, timeRunnable, timeBlocked, timeOffline };
  const gpa = (area: SharedAreaView | undefined): bigint => area?.gpa ?? KVM_XEN_INVALID;
  const runstateGpa = vcpu.runstateArea?.gpa;
  return [
    { type: "VCPU_INFO", gpa: gpa(vcpu.vcpuInfo) },
    { type: "VCPU_TIME_INFO", gpa: gpa(vcpu.timeInfo) },
    runstateGpa === undefined
      ? { type: "RUNSTATE_ADDR", refused: "ENOENT" }
      : { type: "RUNSTATE_ADDR", gpa: runstateGpa },
    { type: "RUNSTATE_CURRENT", state },
    { type: "RUNSTATE_DATA", runstate: { state, stateEntryTime: runstate.entryTime, ...times } },
    { type: "RUNSTATE_ADJUST", refused: "EINVAL" },
    { type: "VCPU_ID", vcpuId: vcpu.xenId },
    { type: "TIMER", port: timer.port, priority: PRIORITY, expiresNs: timer.expires },
    { type: "UPCALL_VECTOR", vector: vcpu.upcallVector },
    { type: "VCPU_INFO_HVA", hva: BigInt(vcpu.vcpuInfo?.hva ?? 0) },
  ];
}

/** KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL: the only priority that there is. */
const PRIORITY = 0xffffffff;

const STATE_NAMES = [
  ...(["state", "stateEntryTime", "timeRunning", "timeRunnable", "timeBlocked"] as const),
  "timeOffline" as const,
];

/** The members of an attribute, as one writes them. */
export function attributeText(answer: AttrAnswer<KvmXenHvmAttr | KvmXenVcpuAttr>): string {
  if ("refused" in answer) return answer.refused;
  switch (answer.type) {
    case "LONG_MODE":
      return answer.longMode ? "1" : "0";
    case "RUNSTATE_UPDATE_FLAG":
      return answer.runstateUpdateFlag ? "1" : "0";
    case "SHARED_INFO":
      return hex(answer.gfn);
    case "SHARED_INFO_HVA":
    case "VCPU_INFO_HVA":
      return hex(answer.hva);
    case "VCPU_INFO":
    case "VCPU_TIME_INFO":
    case "RUNSTATE_ADDR":
      return hex(answer.gpa);
    case "UPCALL_VECTOR":
      return String(answer.vector);
    case "XEN_VERSION":
      return hex(BigInt(answer.xenVersion));
    case "RUNSTATE_CURRENT":
      return String(answer.state);
    case "RUNSTATE_DATA":
    case "RUNSTATE_ADJUST":
      return STATE_NAMES.map((name) => answer.runstate[name]).join(" ");
    case "VCPU_ID":
      return String(answer.vcpuId);
    case "TIMER":
      return `${answer.port} ${answer.expiresNs}`;
    case "EVTCHN":
      return "";
  }
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** What is to be written for an attribute. */
export const attributeHints: Readonly<
  Partial<Record<KvmXenHvmAttrName | KvmXenVcpuAttrName, string>>
> = {
  LONG_MODE: "0 or 1",
  SHARED_INFO: "gfn",
  SHARED_INFO_HVA: "offset",
  UPCALL_VECTOR: "vector",
  XEN_VERSION: "major << 16 | minor",
  RUNSTATE_UPDATE_FLAG: "0 or 1",
  VCPU_INFO: "gpa",
  VCPU_INFO_HVA: "offset",
  VCPU_TIME_INFO: "gpa",
  RUNSTATE_ADDR: "gpa",
  RUNSTATE_CURRENT: "state",
  RUNSTATE_DATA: "state, entry time, four times",
  RUNSTATE_ADJUST: "state, entry time, four times",
  VCPU_ID: "id",
  TIMER: "port, ns of kvmclock",
};

/** An attribute of a VM from what was written. @throws RangeError with what is wrong. */
export function parseHvmAttr(type: string, text: string): KvmXenHvmAttr {
  const [value, ...more] = numbers(text);
  switch (type) {
    case "LONG_MODE":
      return { type, longMode: flag(one(value, more)) };
    case "RUNSTATE_UPDATE_FLAG":
      return { type, runstateUpdateFlag: flag(one(value, more)) };
    case "SHARED_INFO":
      return { type, gfn: one(value, more) };
    case "SHARED_INFO_HVA":
      return { type, hva: one(value, more) };
    case "UPCALL_VECTOR":
      return { type, vector: u32(one(value, more)) };
    case "XEN_VERSION":
      return { type, xenVersion: u32(one(value, more)) };
    default:
      throw new RangeError(`${type} cannot be set here`);
  }
}

/** An attribute of a vCPU from what was written. @throws RangeError with what is wrong. */
export function parseVcpuAttr(type: string, text: string): KvmXenVcpuAttr {
  const values = numbers(text);
  const [value, ...more] = values;
  switch (type) {
    case "VCPU_INFO":
    case "VCPU_TIME_INFO":
    case "RUNSTATE_ADDR":
      return { type, gpa: one(value, more) };
    case "VCPU_INFO_HVA":
      return { type, hva: one(value, more) };
    case "RUNSTATE_CURRENT":
      return { type, state: one(value, more) };
    case "RUNSTATE_DATA":
    case "RUNSTATE_ADJUST":
      return { type, runstate: runstateOf(values) };
    case "VCPU_ID":
      return { type, vcpuId: u32(one(value, more)) };
    case "TIMER": {
      const [port, expires, ...rest] = values;
      const expiresNs = one(expires, rest);
      return { type, port: u32(one(port, [])), priority: PRIORITY, expiresNs };
    }
    case "UPCALL_VECTOR":
      return { type, vector: u32(one(value, more)) };
    default:
      throw new RangeError(`${type} cannot be set here`);
  }
}

function runstateOf(values: readonly bigint[]): KvmXenRunstate {
  if (values.length !== STATE_NAMES.length) throw new RangeError("write six numbers");
  const entries = STATE_NAMES.map((name, at) => [name, values[at]]);
  return Object.fromEntries(entries) as unknown as KvmXenRunstate;
}

/** Numbers with spaces or commas between: decimal, or hex behind 0x; negative ones as two's complement. */
function numbers(text: string): bigint[] {
  const words = text.split(/[\s,]+/).filter((word) => word !== "");
  return words.map((word) => {
    if (!/^-?\d{1,20}$|^0x[0-9a-f]{1,16}$/i.test(word)) {
      throw new RangeError(`'${word}' is no number of 64 bits`);
    }
    return BigInt.asUintN(64, BigInt(word));
  });
}

function one(value: bigint | undefined, more: readonly bigint[]): bigint {
  if (value === undefined) throw new RangeError("a number is missing");
  if (more.length > 0) throw new RangeError("there is a number too many");
  return value;
}

function u32(value: bigint): number {
  if (value > 0xffffffffn) throw new RangeError(`${value} has more than 32 bits`);
  return Number(value);
}

function flag(value: bigint): boolean {
  if (value > 1n) throw new RangeError("write 0 or 1");
  return value === 1n;
}
