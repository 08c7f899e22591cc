import {
  KVM_API_VERSION,
  KVM_CHECK_EXTENSION,
  KVM_CREATE_VM,
  KVM_GET_API_VERSION,
  KVM_GET_DEVICE_ATTR,
  KVM_GET_EMULATED_CPUID,
  KVM_GET_MSR_FEATURE_INDEX_LIST,
  KVM_GET_MSR_INDEX_LIST,
  KVM_GET_MSRS,
  KVM_GET_SUPPORTED_CPUID,
  KVM_GET_SUPPORTED_HV_CPUID,
  KVM_GET_VCPU_MMAP_SIZE,
  KVM_HAS_DEVICE_ATTR,
  KVM_RUN_BYTES,
  KVM_X86_GET_MCE_CAP_SUPPORTED,
  kvm_device_attr,
} from "../kvm/index.js";
import type { Argument } from "./argument.js";
import { refuse } from "./argument.js";
import { readMsrRequest, replyCpuid, writeMsrList } from "./lists.js";
import type { SystemContext } from "./system-file.js";
import { raw, reads, type Table, takes } from "./table.js";
import { createVmFile } from "./vm-file.js";

/** ioctls of /dev/kvm that take no argument refuse one. */
function none(value: bigint): void {
  if (value !== 0n) refuse("EINVAL", "argument must be 0");
}

function createVm({ kvm, process }: SystemContext, type: bigint): number {
  return createVmFile(kvm, process, type > 0xffffffffn ? -1 : Number(type));
}

/** KVM_GET_MSRS of the system: MSRs that tell features. */
function getFeatureMsrs({ kvm }: SystemContext, arg: Argument): number {
  const { entries, write } = readMsrRequest(arg);
  const values = kvm.getMsrs(entries.map(({ index }) => index));
  write(values);
  return values.length;
}

function getDeviceAttr(
  { kvm, process }: SystemContext,
  c: ReturnType<typeof kvm_device_attr.decode>,
): void {
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigUint64(0, kvm.getDeviceAttr(c.group, c.attr), true);
  if (!process.write(c.addr, value)) refuse("EFAULT", "attribute address");
}

/** ioctls of /dev/kvm (`kvm_dev_ioctl` and its part for x86). */
export const systemRows: Table<SystemContext> = new Map([
  takes(KVM_GET_API_VERSION, "KVM_GET_API_VERSION", (_context, value) => {
    none(value);
    return KVM_API_VERSION;
  }),
  takes(KVM_CREATE_VM, "KVM_CREATE_VM", createVm),
  takes(KVM_CHECK_EXTENSION, "KVM_CHECK_EXTENSION", ({ kvm }, value) =>
    kvm.checkExtension(value > 0xffffffffn ? -1 : Number(value)),
  ),
  takes(KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE", (_context, value) => {
    none(value);
    return KVM_RUN_BYTES;
  }),
  raw(KVM_GET_MSR_INDEX_LIST, "KVM_GET_MSR_INDEX_LIST", ({ kvm }, arg) =>
    writeMsrList(arg, kvm.getMsrIndexList()),
  ),
  raw(KVM_GET_MSR_FEATURE_INDEX_LIST, "KVM_GET_MSR_FEATURE_INDEX_LIST", ({ kvm }, arg) =>
    writeMsrList(arg, kvm.getMsrFeatureIndexList()),
  ),
  raw(KVM_GET_MSRS, "KVM_GET_MSRS", getFeatureMsrs),
  raw(KVM_GET_SUPPORTED_CPUID, "KVM_GET_SUPPORTED_CPUID", ({ kvm }, arg) =>
    replyCpuid(arg, kvm.getSupportedCpuid(), false),
  ),
  raw(KVM_GET_EMULATED_CPUID, "KVM_GET_EMULATED_CPUID", ({ kvm }, arg) =>
    replyCpuid(arg, kvm.getEmulatedCpuid(), true),
  ),
  raw(KVM_GET_SUPPORTED_HV_CPUID, "KVM_GET_SUPPORTED_HV_CPUID", ({ kvm }, arg) =>
    replyCpuid(arg, kvm.getSupportedHvCpuid(), false),
  ),
  raw(KVM_X86_GET_MCE_CAP_SUPPORTED, "KVM_X86_GET_MCE_CAP_SUPPORTED", ({ kvm }, arg) => {
    const value = new Uint8Array(8);
    new DataView(value.buffer).setBigUint64(0, kvm.mceCapSupported, true);
    arg.write(value);
  }),
  reads(KVM_GET_DEVICE_ATTR, "KVM_GET_DEVICE_ATTR", kvm_device_attr, getDeviceAttr),
  reads(KVM_HAS_DEVICE_ATTR, "KVM_HAS_DEVICE_ATTR", kvm_device_attr, ({ kvm }, c) => {
    kvm.getDeviceAttr(c.group, c.attr);
  }),
]);
