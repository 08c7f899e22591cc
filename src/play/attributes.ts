import {
  KVM_XEN_HVM_GET_ATTR,
  KVM_XEN_HVM_SET_ATTR,
  KVM_XEN_VCPU_GET_ATTR,
  KVM_XEN_VCPU_SET_ATTR,
  KvmXenHvmAttrType,
  KvmXenVcpuAttrType,
  kvm_xen_hvm_attr,
  kvm_xen_vcpu_attr,
} from "../kvm/index.js";
import { argument, type Client } from "./client.js";
import { address, answer } from "./format.js";
import { hex, strtoul, unhex } from "./numbers.js";

const UNION_BYTES = 64;
const UNION_AT = kvm_xen_hvm_attr.offset("u");

/** Attributes of a VM, or of a vCPU. */
export interface AttributeKind {
  readonly set: number;
  readonly get: number;
  /** Type numbers by name. */
  readonly types: ReadonlyMap<string, number>;
  /** The type whose value is a client address. */
  readonly hvaType: number;
  /** The type that says the same by guest-physical address or frame. */
  readonly gpaType: number;
}

/** Attributes of a VM. */
export const hvmAttributes: AttributeKind = {
  set: KVM_XEN_HVM_SET_ATTR,
  get: KVM_XEN_HVM_GET_ATTR,
  types: new Map(Object.entries(KvmXenHvmAttrType)),
  hvaType: KvmXenHvmAttrType.SHARED_INFO_HVA,
  gpaType: KvmXenHvmAttrType.SHARED_INFO,
};

/** Attributes of a vCPU. */
export const vcpuAttributes: AttributeKind = {
  set: KVM_XEN_VCPU_SET_ATTR,
  get: KVM_XEN_VCPU_GET_ATTR,
  types: new Map(Object.entries(KvmXenVcpuAttrType)),
  hvaType: KvmXenVcpuAttrType.VCPU_INFO_HVA,
  gpaType: KvmXenVcpuAttrType.VCPU_INFO,
};

function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(kvm_xen_hvm_attr.size);
  new DataView(bytes.buffer).setUint16(kvm_xen_hvm_attr.offset("type"), type & 0xffff, true);
  bytes.set(value, UNION_AT);
  return bytes;
}

/** The first eight bytes of an attribute's value. */
function quad(value: Uint8Array): bigint {
  return new DataView(value.buffer, value.byteOffset).getBigUint64(0, true);
}

/** `@GPA` is the client address that backs GPA; anything else is the start of the value in hex. */
function given(client: Client, text: string | undefined): Uint8Array {
  if (!text?.startsWith("@")) return unhex(text ?? "", UNION_BYTES);
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, client.addressOf(strtoul(text.slice(1))), true);
  return bytes;
}

/** Client addresses differ from run to run, so the guest-physical address is printed instead. */
function printed(client: Client, value: Uint8Array, isAddress: boolean): string {
  const at = isAddress ? quad(value) : 0n;
  const gpa = client.gpaOf(at);
  if (isAddress && gpa !== undefined) return `@${address(gpa)}`;
  return at === 0n ? hex(value) : "@?";
}

/** `set TYPE VALUE` and `get TYPE`: `words[at]` is the type. */
export function attributeStep(
  client: Client,
  fd: number,
  kind: AttributeKind,
  set: boolean,
  words: readonly string[],
  at: number,
): string {
  const name = argument(client, words, at);
  const type = kind.types.get(name) ?? Number(BigInt.asUintN(16, strtoul(name)));
  const bytes = attribute(type, given(client, words[at + 1]));
  const result = client.callWith(fd, set ? kind.set : kind.get, bytes);
  if (set || result !== 0) return answer(result);
  const value = bytes.subarray(UNION_AT, UNION_AT + UNION_BYTES);
  return `${answer(result)} ${printed(client, value, type === kind.hvaType)}`;
}

/** An event channel whose target is an eventfd. */
export interface EvtchnFd {
  readonly sendPort: number;
  readonly type: number;
  readonly flags: number;
  readonly fd: number;
}

/** Sets the EVTCHN attribute: 0 or -errno. */
export function evtchnFdAttribute(client: Client, evtchn: EvtchnFd): number {
  const bytes = kvm_xen_hvm_attr.encode({
    type: KvmXenHvmAttrType.EVTCHN,
    u: {
      evtchn: {
        send_port: evtchn.sendPort,
        type: evtchn.type,
        flags: evtchn.flags,
        deliver: { eventfd: { port: 0, fd: evtchn.fd } },
      },
    },
  });
  return client.callWith(client.vm, KVM_XEN_HVM_SET_ATTR, bytes);
}

/** `runstate`: RUNSTATE_DATA without the times, which differ from run to run. */
export function runstateStep(client: Client, fd: number): string {
  const bytes = attribute(KvmXenVcpuAttrType.RUNSTATE_DATA, new Uint8Array());
  const result = client.callWith(fd, KVM_XEN_VCPU_GET_ATTR, bytes);
  if (result !== 0) return answer(result);
  const { runstate } = kvm_xen_vcpu_attr.decode(bytes).u;
  const { time_running, time_runnable, time_blocked, time_offline } = runstate;
  const sum = BigInt.asUintN(64, time_running + time_runnable + time_blocked + time_offline);
  const sign = (time: bigint) => (time === 0n ? "0" : "+");
  const matches = sum === runstate.state_entry_time ? 1 : 0;
  const times = `blocked=${sign(time_blocked)} offline=${sign(time_offline)}`;
  return `${answer(0)} state=${runstate.state} sum_is_entry=${matches} ${times}`;
}
