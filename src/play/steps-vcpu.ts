import {
  KVM_GET_MP_STATE,
  KVM_GET_MSRS,
  KVM_GET_REGS,
  KVM_GET_SREGS,
  KVM_SET_CPUID2,
  KVM_SET_MP_STATE,
  KVM_SET_MSRS,
  KVM_SET_REGS,
  KVM_SET_SREGS,
  kvm_cpuid_entry2,
  kvm_cpuid2,
  kvm_mp_state,
  kvm_msr_entry,
  kvm_msrs,
  kvm_regs,
  kvm_run,
  kvm_sregs,
} from "../kvm/index.js";
import { attributeStep, runstateStep, vcpuAttributes } from "./attributes.js";
import { argument, type Client, segfault, type VcpuPlace } from "./client.js";
import { answer, either } from "./format.js";
import { modeStep } from "./mode.js";
import { scanFields, strtou32, strtoul } from "./numbers.js";
import { runStep } from "./run.js";
import { type Step, wordsOf } from "./scenario.js";

/** `KVM_CPUID_FLAG_SIGNIFCANT_INDEX`, as the header spells it. */
const CPUID_FLAG_SIGNIFICANT_INDEX = 1;
/** Where the client puts the result of a Xen hypercall. */
const XEN_RESULT = kvm_run.offset("xen.u.hcall.result");

/** A step about a vCPU: its words, the first two being the vCPU and the name, to what is printed. */
export type VcpuStep = (client: Client, vcpu: VcpuPlace, step: Step) => string | Promise<string>;

const attribute =
  (set: boolean): VcpuStep =>
  (client, vcpu, { words }) =>
    attributeStep(client, vcpu.fd, vcpuAttributes, set, words, 2);

const regs: VcpuStep = (client, vcpu, { text }) => {
  const bytes = new Uint8Array(kvm_regs.size);
  let result = client.callWith(vcpu.fd, KVM_GET_REGS, bytes);
  const view = new DataView(bytes.buffer);
  let printed = "";
  let changed = false;
  for (const word of wordsOf(text.slice(text.indexOf("regs") + 4), Number.POSITIVE_INFINITY)) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    if (!Object.hasOwn(kvm_regs.fields, name)) continue;
    const at = kvm_regs.offset(name);
    if (equals < 0) printed += ` ${name}:${view.getBigUint64(at, true).toString(16)}`;
    else {
      view.setBigUint64(at, strtoul(word.slice(equals + 1)), true);
      changed = true;
    }
  }
  if (changed) result = either(result, client.callWith(vcpu.fd, KVM_SET_REGS, bytes));
  return printed + answer(result);
};

const idt: VcpuStep = (client, vcpu, { words }) => {
  const bytes = new Uint8Array(kvm_sregs.size);
  const got = client.callWith(vcpu.fd, KVM_GET_SREGS, bytes);
  const base = strtoul(argument(client, words, 2));
  const limit = strtou32(argument(client, words, 3)) & 0xffff;
  const sregs = { ...kvm_sregs.decode(bytes), idt: { base, limit } };
  return answer(either(got, client.callWith(vcpu.fd, KVM_SET_SREGS, kvm_sregs.encode(sregs))));
};

const result: VcpuStep = (client, vcpu, { words }) => {
  const value = strtoul(argument(client, words, 2));
  // Without kvm_run pages the structure would be at address 0.
  const run = vcpu.run ?? client.process.read(0n, 4096) ?? segfault();
  new DataView(run.buffer, run.byteOffset).setBigUint64(XEN_RESULT, value, true);
  return answer(0);
};

const msr: VcpuStep = (client, vcpu, { words }) => {
  const head = kvm_msrs.encode({ nmsrs: 1 });
  const bytes = new Uint8Array(head.length + kvm_msr_entry.size);
  const value = words[3];
  const index = strtou32(argument(client, words, 2));
  const entry = kvm_msr_entry.encode({ index, data: value === undefined ? 0n : strtoul(value) });
  bytes.set(head);
  bytes.set(entry, head.length);
  if (value !== undefined) return answer(client.callWith(vcpu.fd, KVM_SET_MSRS, bytes));
  const count = client.callWith(vcpu.fd, KVM_GET_MSRS, bytes);
  const { data } = kvm_msr_entry.decode(bytes.subarray(head.length));
  return answer(count) + (count === 1 ? ` ${data.toString(16)}` : "");
};

const cpuid: VcpuStep = (client, vcpu, { words }) => {
  const entries = words.slice(2);
  const head = kvm_cpuid2.encode({ nent: entries.length });
  const bytes = new Uint8Array(head.length + entries.length * kvm_cpuid_entry2.size);
  bytes.set(head);
  for (const [i, text] of entries.entries()) {
    const [leaf, index, eax, ebx, ecx, edx] = scanFields(text, 16, 6);
    const flags = CPUID_FLAG_SIGNIFICANT_INDEX;
    const entry = kvm_cpuid_entry2.encode({ function: leaf, index, flags, eax, ebx, ecx, edx });
    bytes.set(entry, head.length + i * entry.length);
  }
  return answer(client.callWith(vcpu.fd, KVM_SET_CPUID2, bytes));
};

const mpstate: VcpuStep = (client, vcpu, { words }) => {
  const wanted = words[2];
  const bytes = kvm_mp_state.encode({ mp_state: wanted === undefined ? 0 : strtou32(wanted) });
  if (wanted !== undefined) return answer(client.callWith(vcpu.fd, KVM_SET_MP_STATE, bytes));
  const got = client.callWith(vcpu.fd, KVM_GET_MP_STATE, bytes);
  return answer(got) + (got === 0 ? ` ${kvm_mp_state.decode(bytes).mp_state}` : "");
};

/** Steps about a vCPU, by name. */
export const vcpuSteps: ReadonlyMap<string, VcpuStep> = new Map<string, VcpuStep>([
  ["set", attribute(true)],
  ["get", attribute(false)],
  ["runstate", (client, vcpu) => runstateStep(client, vcpu.fd)],
  ["mode64", (client, vcpu, { words }) => modeStep(client, vcpu, 64, words[2] ? 3 : 0)],
  ["mode32", (client, vcpu) => modeStep(client, vcpu, 32, 0)],
  ["regs", regs],
  ["idt", idt],
  ["run", (client, vcpu, { words }) => runStep(client, vcpu, words[2])],
  ["result", result],
  ["msr", msr],
  ["cpuid", cpuid],
  ["mpstate", mpstate],
]);
