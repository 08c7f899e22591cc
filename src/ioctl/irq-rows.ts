import {
  KVM_CREATE_IRQCHIP,
  KVM_IOEVENTFD,
  KVM_IRQ_LINE,
  KVM_IRQ_LINE_STATUS,
  KVM_IRQFD,
  KVM_SET_GSI_ROUTING,
  KVM_SIGNAL_MSI,
  KvmIoeventfdFlag,
  kvm_ioeventfd,
  kvm_irq_level,
  kvm_irqfd,
  kvm_msi,
} from "../kvm/index.js";
import { refuse } from "./argument.js";
import { routeFromC } from "./convert.js";
import { readRoutes } from "./lists.js";
import { raw, reads, type Table, takes, updates } from "./table.js";
import type { VmContext } from "./vm-context.js";

/** `KVM_IRQFD_FLAG_*`. */
const IrqfdFlag = { DEASSIGN: 1, RESAMPLE: 2 } as const;

interface IrqfdArgs {
  readonly fd: number;
  readonly gsi: number;
  readonly flags: number;
  readonly resamplefd: number;
}

/** Descriptors in KVM's structures are u32, and int when used. */
const toFd = (value: number): number => value | 0;

function irqfd(context: VmContext, { fd, gsi, flags, resamplefd }: IrqfdArgs): void {
  if ((flags & ~(IrqfdFlag.DEASSIGN | IrqfdFlag.RESAMPLE)) !== 0) refuse("EINVAL", "irqfd flags");
  if ((flags & IrqfdFlag.DEASSIGN) !== 0) {
    context.vm.deassignIrqfd(context.eventfd(toFd(fd)), gsi);
    return;
  }
  const resamples = (flags & IrqfdFlag.RESAMPLE) !== 0;
  context.vm.checkIrqfd(resamples);
  const eventfd = context.eventfd(toFd(fd));
  const resample = resamples ? context.eventfd(toFd(resamplefd)) : undefined;
  context.vm.irqfd(eventfd, gsi, resample);
}

/** `KVM_MSI_VALID_DEVID`: the device id counts. x86 has no use for it. */
const KVM_MSI_VALID_DEVID = 1;

/** `KVM_IOEVENTFD_VALID_FLAG_MASK`. */
const IOEVENTFD_FLAGS = 0x1f;

/** KVM_IOEVENTFD. The descriptor is looked at after the rest of the arguments, except to take back. */
function ioeventfd(context: VmContext, c: ReturnType<typeof kvm_ioeventfd.decode>): void {
  const { datamatch, addr, len, flags } = c;
  if ((flags & KvmIoeventfdFlag.DEASSIGN) === 0) {
    if (![0, 1, 2, 4, 8].includes(len)) refuse("EINVAL", "ioeventfd length");
    if (addr + BigInt(len) >= 1n << 64n) refuse("EINVAL", "ioeventfd address");
    if ((flags & ~IOEVENTFD_FLAGS) !== 0) refuse("EINVAL", "ioeventfd flags");
    if (len === 0 && (flags & KvmIoeventfdFlag.DATAMATCH) !== 0) refuse("EINVAL", "datamatch");
  }
  context.vm.ioeventfd({ datamatch, addr, len, flags, eventfd: context.eventfd(c.fd) });
}

/** ioctls of a VM about interrupts. */
export const irqRows: Table<VmContext> = new Map([
  takes(KVM_CREATE_IRQCHIP, "KVM_CREATE_IRQCHIP", (context: VmContext) => {
    context.vm.createIrqchip();
    context.hasLapics = true;
  }),
  reads(KVM_IRQ_LINE, "KVM_IRQ_LINE", kvm_irq_level, ({ vm }, { $line, level }) => {
    vm.irqLine($line.irq, level !== 0);
  }),
  updates(
    KVM_IRQ_LINE_STATUS,
    "KVM_IRQ_LINE_STATUS",
    kvm_irq_level,
    ({ vm }, { $line, level }) => ({
      $line: { status: vm.irqLine($line.irq, level !== 0) },
      level,
    }),
  ),
  raw(KVM_SET_GSI_ROUTING, "KVM_SET_GSI_ROUTING", ({ vm }, arg) => {
    vm.setGsiRouting(readRoutes(arg).map(routeFromC));
  }),
  reads(KVM_IOEVENTFD, "KVM_IOEVENTFD", kvm_ioeventfd, ioeventfd),
  reads(KVM_IRQFD, "KVM_IRQFD", kvm_irqfd, irqfd),
  reads(KVM_SIGNAL_MSI, "KVM_SIGNAL_MSI", kvm_msi, ({ vm }, msi) =>
    vm.signalMsi({
      addressLo: msi.address_lo,
      addressHi: msi.address_hi,
      data: msi.data,
      flags: msi.flags & ~KVM_MSI_VALID_DEVID,
    }),
  ),
]);
