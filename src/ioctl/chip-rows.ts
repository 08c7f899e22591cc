/** ioctls that read and set the interrupt controllers and the timer of a VM. */
import {
  type IoapicState,
  KVM_CREATE_PIT,
  KVM_CREATE_PIT2,
  KVM_GET_IRQCHIP,
  KVM_GET_PIT,
  KVM_GET_PIT2,
  KVM_REINJECT_CONTROL,
  KVM_SET_IRQCHIP,
  KVM_SET_PIT,
  KVM_SET_PIT2,
  KvmIrqchip,
  type KvmPicState,
  type KvmPitChannelState,
  type KvmPitState2,
  kvm_ioapic_state,
  kvm_irqchip,
  kvm_pic_state,
  type kvm_pit_channel_state,
  kvm_pit_config,
  kvm_pit_state,
  kvm_pit_state2,
  kvm_reinject_control,
  type Vm,
} from "../kvm/index.js";
import { type Argument, refuse } from "./argument.js";
import { raw, reads, type Table, takes, updates, writes } from "./table.js";
import type { VmContext } from "./vm-context.js";

type PicC = ReturnType<typeof kvm_pic_state.decode>;
type IoapicC = ReturnType<typeof kvm_ioapic_state.decode>;
type ChannelC = ReturnType<typeof kvm_pit_channel_state.decode>;

/** A PIC as C has it. */
export const picToC = (s: KvmPicState): PicC => ({
  last_irr: s.lastIrr,
  irr: s.irr,
  imr: s.imr,
  isr: s.isr,
  priority_add: s.priorityAdd,
  irq_base: s.irqBase,
  read_reg_select: s.readRegSelect,
  poll: s.poll,
  special_mask: s.specialMask,
  init_state: s.initState,
  auto_eoi: s.autoEoi,
  rotate_on_auto_eoi: s.rotateOnAutoEoi,
  special_fully_nested_mode: s.specialFullyNestedMode,
  init4: s.init4,
  elcr: s.elcr,
  elcr_mask: s.elcrMask,
});

/** As {@link picToC}, the other way. */
export const picFromC = (c: PicC): KvmPicState => ({
  lastIrr: c.last_irr,
  irr: c.irr,
  imr: c.imr,
  isr: c.isr,
  priorityAdd: c.priority_add,
  irqBase: c.irq_base,
  readRegSelect: c.read_reg_select,
  poll: c.poll,
  specialMask: c.special_mask,
  initState: c.init_state,
  autoEoi: c.auto_eoi,
  rotateOnAutoEoi: c.rotate_on_auto_eoi,
  specialFullyNestedMode: c.special_fully_nested_mode,
  init4: c.init4,
  elcr: c.elcr,
  elcrMask: c.elcr_mask,
});

/** As {@link ioapicToC}, the other way. */
export const ioapicFromC = (c: IoapicC): IoapicState => ({
  baseAddress: Number(c.base_address),
  ioregsel: c.ioregsel,
  id: c.id,
  irr: c.irr,
  redirtbl: c.redirtbl,
});

/** The IOAPIC as C has it. */
export const ioapicToC = (s: IoapicState) => ({
  base_address: BigInt(s.baseAddress),
  ioregsel: s.ioregsel,
  id: s.id,
  irr: s.irr,
  redirtbl: s.redirtbl,
});

/** Where the state of a chip is in `kvm_irqchip`. */
const CHIP = kvm_irqchip.offset("chip");

/** The state of a chip as bytes. @throws KvmError ENXIO, then EINVAL for an unknown chip. */
function chipBytes(vm: Vm, id: number): Uint8Array {
  switch (id) {
    case KvmIrqchip.PIC_MASTER:
      return kvm_pic_state.encode(picToC(vm.getPic(0)));
    case KvmIrqchip.PIC_SLAVE:
      return kvm_pic_state.encode(picToC(vm.getPic(1)));
    case KvmIrqchip.IOAPIC:
      return kvm_ioapic_state.encode(ioapicToC(vm.getIoapic()));
    default:
      vm.getIoapic();
      return refuse("EINVAL", "interrupt controller");
  }
}

function getIrqchip({ vm }: VmContext, arg: Argument): void {
  const bytes = arg.read(kvm_irqchip.size);
  const { chip_id } = kvm_irqchip.decode(bytes);
  bytes.set(chipBytes(vm, chip_id), CHIP);
  arg.write(bytes);
}

function setIrqchip({ vm }: VmContext, c: ReturnType<typeof kvm_irqchip.decode>): void {
  switch (c.chip_id) {
    case KvmIrqchip.PIC_MASTER:
      vm.setPic(0, picFromC(c.chip.pic));
      return;
    case KvmIrqchip.PIC_SLAVE:
      vm.setPic(1, picFromC(c.chip.pic));
      return;
    case KvmIrqchip.IOAPIC:
      vm.setIoapic(ioapicFromC(c.chip.ioapic));
      return;
    default:
      vm.getIoapic();
      refuse("EINVAL", "interrupt controller");
  }
}

const channelToC = (s: KvmPitChannelState): ChannelC => ({
  count: s.count,
  latched_count: s.latchedCount,
  count_latched: s.countLatched,
  status_latched: s.statusLatched,
  status: s.status,
  read_state: s.readState,
  write_state: s.writeState,
  write_latch: s.writeLatch,
  rw_mode: s.rwMode,
  mode: s.mode,
  bcd: s.bcd,
  gate: s.gate,
  count_load_time: s.countLoadTime,
});

const channelFromC = (c: ChannelC | undefined): KvmPitChannelState => ({
  count: c?.count ?? 0,
  latchedCount: c?.latched_count ?? 0,
  countLatched: c?.count_latched ?? 0,
  statusLatched: c?.status_latched ?? 0,
  status: c?.status ?? 0,
  readState: c?.read_state ?? 0,
  writeState: c?.write_state ?? 0,
  writeLatch: c?.write_latch ?? 0,
  rwMode: c?.rw_mode ?? 0,
  mode: c?.mode ?? 0,
  bcd: c?.bcd ?? 0,
  gate: c?.gate ?? 0,
  countLoadTime: c?.count_load_time ?? 0n,
});

const channelsFromC = (list: readonly ChannelC[]): KvmPitState2["channels"] => [
  channelFromC(list[0]),
  channelFromC(list[1]),
  channelFromC(list[2]),
];

/** ioctls about the state of the chips. */
export const chipRows: Table<VmContext> = new Map([
  raw(KVM_GET_IRQCHIP, "KVM_GET_IRQCHIP", getIrqchip),
  reads(KVM_SET_IRQCHIP, "KVM_SET_IRQCHIP", kvm_irqchip, setIrqchip),
  takes(KVM_CREATE_PIT, "KVM_CREATE_PIT", ({ vm }) => vm.createPit2()),
  reads(KVM_CREATE_PIT2, "KVM_CREATE_PIT2", kvm_pit_config, ({ vm }, { flags }) =>
    vm.createPit2(flags),
  ),
  updates(KVM_GET_PIT, "KVM_GET_PIT", kvm_pit_state, ({ vm }) => ({
    channels: vm.getPit2().channels.map(channelToC),
  })),
  reads(KVM_SET_PIT, "KVM_SET_PIT", kvm_pit_state, ({ vm }, { channels }) =>
    vm.setPit(channelsFromC(channels)),
  ),
  writes(KVM_GET_PIT2, "KVM_GET_PIT2", kvm_pit_state2, ({ vm }) => {
    const { channels, flags } = vm.getPit2();
    return { channels: channels.map(channelToC), flags };
  }),
  reads(KVM_SET_PIT2, "KVM_SET_PIT2", kvm_pit_state2, ({ vm }, { channels, flags }) =>
    vm.setPit2({ channels: channelsFromC(channels), flags }),
  ),
  reads(KVM_REINJECT_CONTROL, "KVM_REINJECT_CONTROL", kvm_reinject_control, ({ vm }, c) =>
    vm.reinjectControl(c.pit_reinject !== 0),
  ),
]);
