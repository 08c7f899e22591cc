/** ioctls of a vCPU that control it: time, debugging, machine checks, capabilities, attributes. */
import {
  KVM_ENABLE_CAP,
  KVM_GET_DEVICE_ATTR,
  KVM_GET_SREGS2,
  KVM_GET_STATS_FD,
  KVM_GET_TSC_KHZ,
  KVM_HAS_DEVICE_ATTR,
  KVM_KVMCLOCK_CTRL,
  KVM_PRE_FAULT_MEMORY,
  KVM_SET_DEVICE_ATTR,
  KVM_SET_GUEST_DEBUG,
  KVM_SET_SREGS2,
  KVM_SET_TSC_KHZ,
  KVM_SREGS2_FLAGS_PDPTRS_VALID,
  KVM_X86_SET_MCE,
  KVM_X86_SETUP_MCE,
  kvm_device_attr,
  kvm_enable_cap,
  kvm_guest_debug,
  kvm_pre_fault_memory,
  kvm_sregs2,
  kvm_x86_mce,
} from "../kvm/index.js";
import { type Argument, refuse } from "./argument.js";
import { sregsFromC, sregsToC } from "./convert.js";
import { createStatsFile } from "./stats-file.js";
import { raw, reads, type Table, takes, writes } from "./table.js";
import type { VcpuContext } from "./vcpu-context.js";

/** `KVM_VCPU_TSC_CTRL` and its attribute `KVM_VCPU_TSC_OFFSET`. */
const TSC_CTRL = 0;
const TSC_OFFSET = 0n;

type DeviceAttr = ReturnType<typeof kvm_device_attr.decode>;

function checkAttr({ group, attr }: DeviceAttr): void {
  if (group !== TSC_CTRL || attr !== TSC_OFFSET) refuse("ENXIO", "vCPU attribute");
}

function getAttr({ vcpu, vm }: VcpuContext, c: DeviceAttr): void {
  checkAttr(c);
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigUint64(0, vcpu.tscOffset, true);
  if (!vm.process.write(c.addr, value)) refuse("EFAULT", "attribute address");
}

function setAttr({ vcpu, vm }: VcpuContext, c: DeviceAttr): void {
  checkAttr(c);
  const value = vm.process.read(c.addr, 8) ?? refuse("EFAULT", "attribute address");
  vcpu.tscOffset = new DataView(value.buffer).getBigUint64(0, true);
}

function setSregs2({ vcpu }: VcpuContext, c: ReturnType<typeof kvm_sregs2.decode>): void {
  if ((c.flags & ~KVM_SREGS2_FLAGS_PDPTRS_VALID) !== 0n) refuse("EINVAL", "kvm_sregs2 flags");
  vcpu.setSregs2(sregsFromC(c, []), c.flags === 0n ? undefined : c.pdptrs);
}

/** What is left of the range goes back in every case. */
function preFault({ vcpu }: VcpuContext, arg: Argument): void {
  const range = kvm_pre_fault_memory.decode(arg.read(kvm_pre_fault_memory.size));
  let done = 0n;
  try {
    done = vcpu.preFaultMemory(range);
  } finally {
    arg.write(
      kvm_pre_fault_memory.encode({ ...range, gpa: range.gpa + done, size: range.size - done }),
    );
  }
}

/** ioctls that control a vCPU. */
export const vcpuControlRows: Table<VcpuContext> = new Map([
  writes(KVM_GET_SREGS2, "KVM_GET_SREGS2", kvm_sregs2, ({ vcpu }: VcpuContext) =>
    sregsToC(vcpu.getSregs(), vcpu.getPdptrs()),
  ),
  reads(KVM_SET_SREGS2, "KVM_SET_SREGS2", kvm_sregs2, setSregs2),
  reads(KVM_SET_GUEST_DEBUG, "KVM_SET_GUEST_DEBUG", kvm_guest_debug, ({ vcpu }, c) =>
    vcpu.setGuestDebug({ control: c.control, debugreg: c.arch.debugreg }),
  ),
  raw(KVM_X86_SETUP_MCE, "KVM_X86_SETUP_MCE", ({ vcpu }, arg) => {
    const value = arg.read(8);
    vcpu.setupMce(new DataView(value.buffer).getBigUint64(0, true));
  }),
  reads(KVM_X86_SET_MCE, "KVM_X86_SET_MCE", kvm_x86_mce, ({ vcpu }, c) =>
    vcpu.setMce({
      status: c.status,
      addr: c.addr,
      misc: c.misc,
      mcgStatus: c.mcg_status,
      bank: c.bank,
    }),
  ),
  takes(KVM_KVMCLOCK_CTRL, "KVM_KVMCLOCK_CTRL", ({ vcpu }) => vcpu.kvmclockCtrl()),
  takes(KVM_SET_TSC_KHZ, "KVM_SET_TSC_KHZ", ({ vcpu }, khz) =>
    vcpu.setTscKhz(Number(BigInt.asUintN(32, khz))),
  ),
  takes(KVM_GET_TSC_KHZ, "KVM_GET_TSC_KHZ", ({ vcpu }) => vcpu.tscKhz),
  reads(KVM_ENABLE_CAP, "KVM_ENABLE_CAP", kvm_enable_cap, ({ vcpu }, { cap, flags, args }) => {
    if (flags !== 0) refuse("EINVAL", "KVM_ENABLE_CAP flags");
    vcpu.enableCap(cap, args);
  }),
  reads(KVM_HAS_DEVICE_ATTR, "KVM_HAS_DEVICE_ATTR", kvm_device_attr, (_context, c) => checkAttr(c)),
  reads(KVM_GET_DEVICE_ATTR, "KVM_GET_DEVICE_ATTR", kvm_device_attr, getAttr),
  reads(KVM_SET_DEVICE_ATTR, "KVM_SET_DEVICE_ATTR", kvm_device_attr, setAttr),
  takes(KVM_GET_STATS_FD, "KVM_GET_STATS_FD", ({ vcpu, vm }) =>
    createStatsFile(vm, `kvm-vcpu-stats:${vcpu.id}`, `/vcpu-${vcpu.id}`, () => vcpu.statistics()),
  ),
  raw(KVM_PRE_FAULT_MEMORY, "KVM_PRE_FAULT_MEMORY", preFault),
]);
