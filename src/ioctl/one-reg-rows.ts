/** KVM_GET_ONE_REG and what belongs to it, and what else only newer releases have on vCPUs. */
import {
  KVM_GET_ONE_REG,
  KVM_GET_REG_LIST,
  KVM_MEMORY_ENCRYPT_OP,
  KVM_SET_ONE_REG,
  kvm_one_reg,
  kvm_reg_list,
} from "../kvm/index.js";
import { type Argument, refuse } from "./argument.js";
import { raw, type Table } from "./table.js";
import type { VcpuContext } from "./vcpu-context.js";

/**
 * Parts of an id: KVM_REG_X86 in bits 63 to 56, the size in 55 to 52 (KVM_REG_SIZE_U64), the type in 39 to 32
 * (KVM_X86_REG_TYPE_MSR), the MSR's index below. What is between is reserved.
 */
const REG_X86_U64_MSR = 0x2030_0002n;

/**
 * The MSR that an id names. A register of the type KVM_X86_REG_TYPE_KVM needs a feature that is not there: its only
 * one is the shadow stack pointer.
 * @throws KvmError EINVAL for all else.
 */
function msrOf(id: bigint): number {
  if (id >> 32n !== REG_X86_U64_MSR) refuse("EINVAL", "register");
  return Number(id & 0xffffffffn);
}

/** Only where the release has it: elsewhere it is a number that does not exist. */
const since =
  (call: (context: VcpuContext, arg: Argument) => void) =>
  (context: VcpuContext, arg: Argument): void => {
    if (!context.vcpu.linux.hasOneReg) refuse("EINVAL", "there are no such registers");
    call(context, arg);
  };

function getOneReg({ vcpu, vm }: VcpuContext, arg: Argument): void {
  const { id, addr } = kvm_one_reg.decode(arg.read(kvm_one_reg.size));
  const [entry] = vcpu.getMsrs([msrOf(id)]);
  if (entry === undefined) refuse("EINVAL", "MSR");
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigUint64(0, entry.data, true);
  if (!vm.process.write(addr, value)) refuse("EFAULT", "register's value");
}

function setOneReg({ vcpu, vm }: VcpuContext, arg: Argument): void {
  const { id, addr } = kvm_one_reg.decode(arg.read(kvm_one_reg.size));
  const index = msrOf(id);
  const value = vm.process.read(addr, 8) ?? refuse("EFAULT", "register's value");
  const data = new DataView(value.buffer, value.byteOffset).getBigUint64(0, true);
  if (vcpu.setMsrs([{ index, data }]) === 0) refuse("EINVAL", "MSR");
}

/** Of the registers that are not MSRs there is none. */
function getRegList(_context: VcpuContext, arg: Argument): void {
  arg.read(kvm_reg_list.size);
  arg.write(kvm_reg_list.encode({ n: 0n }));
}

/** ioctls of vCPUs that newer releases have. */
export const oneRegRows: Table<VcpuContext> = new Map([
  raw(KVM_GET_ONE_REG, "KVM_GET_ONE_REG", since(getOneReg)),
  raw(KVM_SET_ONE_REG, "KVM_SET_ONE_REG", since(setOneReg)),
  raw(KVM_GET_REG_LIST, "KVM_GET_REG_LIST", since(getRegList)),
  raw(KVM_MEMORY_ENCRYPT_OP, "KVM_MEMORY_ENCRYPT_OP", ({ vcpu }) =>
    refuse(vcpu.linux.vcpuEncrypts ? "ENOTTY" : "EINVAL", "memory is not encrypted"),
  ),
]);
