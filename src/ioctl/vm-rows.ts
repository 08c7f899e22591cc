import { apicId } from "../base/index.js";
import {
  KVM_CHECK_EXTENSION,
  KVM_CREATE_DEVICE,
  KVM_CREATE_VCPU,
  KVM_ENABLE_CAP,
  KVM_GET_CLOCK,
  KVM_GET_STATS_FD,
  KVM_GET_TSC_KHZ,
  KVM_SET_BOOT_CPU_ID,
  KVM_SET_CLOCK,
  KVM_SET_TSC_KHZ,
  KVM_X86_SET_MSR_FILTER,
  KvmCap,
  KvmLimit,
  kvm_clock_data,
  kvm_create_device,
  kvm_enable_cap,
  kvm_msr_filter,
} from "../kvm/index.js";
import { refuse } from "./argument.js";
import { createStatsFile } from "./stats-file.js";
import { reads, type Table, takes, updates, writes } from "./table.js";
import { createVcpuFile } from "./vcpu-file.js";
import { createDevice } from "./vfio-device.js";
import type { VmContext } from "./vm-context.js";

/** Arguments above this mean the same to every typed method: too large. */
const toNumber = (value: bigint): number =>
  value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);

function setBootCpuId({ vm }: VmContext, id: bigint): void {
  // The check for existing vCPUs comes first, in the typed method.
  const small = id <= BigInt(KvmLimit.MAX_VCPU_IDS);
  vm.setBootCpuId(apicId(small ? Number(id) : -1));
}

/**
 * Longer bitmaps are refused before they are read.
 * @nolimit listed in msr-filter.ts
 */
const MAX_MSR_BITMAP = 0x600;

function setMsrFilter(context: VmContext, c: ReturnType<typeof kvm_msr_filter.decode>): void {
  const empty = c.ranges.every(({ nmsrs }) => nmsrs === 0);
  if ((c.flags & ~1) !== 0 || (empty && c.flags !== 0)) refuse("EINVAL", "MSR filter");
  const ranges = c.ranges
    .filter(({ nmsrs }) => nmsrs !== 0)
    .map(({ flags, nmsrs, base, bitmap }) => {
      const length = Math.ceil(nmsrs / 64) * 8;
      if (flags === 0 || (flags & ~3) !== 0) refuse("EINVAL", "MSR filter range");
      if (length > MAX_MSR_BITMAP) refuse("EINVAL", "MSR filter range");
      const bytes = context.process.read(bitmap, length) ?? refuse("EFAULT", "MSR filter bitmap");
      return { flags, nmsrs, base, bitmap: bytes };
    });
  context.vm.setMsrFilter({ flags: c.flags, ranges });
}

/** ioctls of a VM as a whole: vCPUs, capabilities, clock. */
export const vmRows: Table<VmContext> = new Map([
  takes(KVM_CREATE_VCPU, "KVM_CREATE_VCPU", (context: VmContext, id) =>
    createVcpuFile(context, toNumber(id)),
  ),
  takes(KVM_CHECK_EXTENSION, "KVM_CHECK_EXTENSION", ({ vm }, cap) =>
    vm.checkExtension(toNumber(cap)),
  ),
  reads(KVM_ENABLE_CAP, "KVM_ENABLE_CAP", kvm_enable_cap, (context, { cap, flags, args }) => {
    if (flags !== 0) refuse("EINVAL", "KVM_ENABLE_CAP flags");
    context.vm.enableCap(cap, args);
    if (cap === KvmCap.SPLIT_IRQCHIP) context.hasLapics = true;
  }),
  takes(KVM_SET_BOOT_CPU_ID, "KVM_SET_BOOT_CPU_ID", setBootCpuId),
  takes(KVM_SET_TSC_KHZ, "KVM_SET_TSC_KHZ", ({ vm }, khz) =>
    vm.setTscKhz(Number(BigInt.asUintN(32, khz))),
  ),
  takes(KVM_GET_TSC_KHZ, "KVM_GET_TSC_KHZ", ({ vm }) => vm.tscKhz),
  takes(KVM_GET_STATS_FD, "KVM_GET_STATS_FD", (context) =>
    createStatsFile(context, "kvm-vm-stats", "", () => context.vm.statistics()),
  ),
  reads(KVM_X86_SET_MSR_FILTER, "KVM_X86_SET_MSR_FILTER", kvm_msr_filter, setMsrFilter),
  updates(KVM_CREATE_DEVICE, "KVM_CREATE_DEVICE", kvm_create_device, createDevice),
  writes(KVM_GET_CLOCK, "KVM_GET_CLOCK", kvm_clock_data, ({ vm }) => {
    const { clock, flags, realtime, hostTsc } = vm.getClock();
    return { clock, flags, realtime, host_tsc: hostTsc };
  }),
  reads(KVM_SET_CLOCK, "KVM_SET_CLOCK", kvm_clock_data, ({ vm }, c) => {
    vm.setClock({ clock: c.clock, flags: c.flags, realtime: c.realtime, hostTsc: c.host_tsc });
  }),
]);
