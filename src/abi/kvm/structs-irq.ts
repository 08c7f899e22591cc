/** Structures of `linux/kvm.h` and `asm/kvm.h` about interrupts and timers. */
import { array, bytes, flexible, s32, s64, struct, u8, u16, u32, u64, union } from "../layout.js";

/** KVM_IRQ_LINE, KVM_IRQ_LINE_STATUS. */
export const kvm_irq_level = struct("kvm_irq_level", {
  $line: union({ irq: u32, status: s32 }),
  level: u32,
});

/** A PIC, in {@link kvm_irqchip}. */
export const kvm_pic_state = struct("kvm_pic_state", {
  last_irr: u8,
  irr: u8,
  imr: u8,
  isr: u8,
  priority_add: u8,
  irq_base: u8,
  read_reg_select: u8,
  poll: u8,
  special_mask: u8,
  init_state: u8,
  auto_eoi: u8,
  rotate_on_auto_eoi: u8,
  special_fully_nested_mode: u8,
  init4: u8,
  elcr: u8,
  elcr_mask: u8,
});

/** The IOAPIC, in {@link kvm_irqchip}. An element of `redirtbl` is its u64 register. */
export const kvm_ioapic_state = struct("kvm_ioapic_state", {
  base_address: u64,
  ioregsel: u32,
  id: u32,
  irr: u32,
  pad: u32,
  redirtbl: array(u64, 24),
});

/** KVM_GET_IRQCHIP, KVM_SET_IRQCHIP. */
export const kvm_irqchip = struct("kvm_irqchip", {
  chip_id: u32,
  pad: u32,
  chip: union({ dummy: bytes(512), pic: kvm_pic_state, ioapic: kvm_ioapic_state }),
});

/** KVM_CREATE_PIT2. */
export const kvm_pit_config = struct("kvm_pit_config", { flags: u32, pad: array(u32, 15) });

/** A counter of the PIT. */
export const kvm_pit_channel_state = struct("kvm_pit_channel_state", {
  count: u32,
  latched_count: u16,
  count_latched: u8,
  status_latched: u8,
  status: u8,
  read_state: u8,
  write_state: u8,
  write_latch: u8,
  rw_mode: u8,
  mode: u8,
  bcd: u8,
  gate: u8,
  count_load_time: s64,
});

/** KVM_GET_PIT, KVM_SET_PIT. */
export const kvm_pit_state = struct("kvm_pit_state", {
  channels: array(kvm_pit_channel_state, 3),
});

/** KVM_GET_PIT2, KVM_SET_PIT2. */
export const kvm_pit_state2 = struct("kvm_pit_state2", {
  channels: array(kvm_pit_channel_state, 3),
  flags: u32,
  reserved: array(u32, 9),
});

/** KVM_REINJECT_CONTROL. */
export const kvm_reinject_control = struct("kvm_reinject_control", {
  pit_reinject: u8,
  reserved: array(u8, 31),
});

/** Route to a pin. */
export const kvm_irq_routing_irqchip = struct("kvm_irq_routing_irqchip", {
  irqchip: u32,
  pin: u32,
});

/** Route to an MSI. */
export const kvm_irq_routing_msi = struct("kvm_irq_routing_msi", {
  address_lo: u32,
  address_hi: u32,
  data: u32,
  $device: union({ pad: u32, devid: u32 }),
});

/** Route of s390; fixes nothing here but is in the union. */
export const kvm_irq_routing_s390_adapter = struct("kvm_irq_routing_s390_adapter", {
  ind_addr: u64,
  summary_addr: u64,
  ind_offset: u64,
  summary_offset: u32,
  adapter_id: u32,
});

/** Route to a Hyper-V synthetic interrupt. */
export const kvm_irq_routing_hv_sint = struct("kvm_irq_routing_hv_sint", { vcpu: u32, sint: u32 });

/** Route to an event channel; also the argument of KVM_XEN_HVM_EVTCHN_SEND. */
export const kvm_irq_routing_xen_evtchn = struct("kvm_irq_routing_xen_evtchn", {
  port: u32,
  vcpu: u32,
  priority: u32,
});

/** An element of {@link kvm_irq_routing}. */
export const kvm_irq_routing_entry = struct("kvm_irq_routing_entry", {
  gsi: u32,
  type: u32,
  flags: u32,
  pad: u32,
  u: union({
    irqchip: kvm_irq_routing_irqchip,
    msi: kvm_irq_routing_msi,
    adapter: kvm_irq_routing_s390_adapter,
    hv_sint: kvm_irq_routing_hv_sint,
    xen_evtchn: kvm_irq_routing_xen_evtchn,
    pad: array(u32, 8),
  }),
});

/** KVM_SET_GSI_ROUTING; `nr` entries follow. */
export const kvm_irq_routing = struct("kvm_irq_routing", {
  nr: u32,
  flags: u32,
  entries: flexible(kvm_irq_routing_entry),
});

/** KVM_IRQFD. */
export const kvm_irqfd = struct("kvm_irqfd", {
  fd: u32,
  gsi: u32,
  flags: u32,
  resamplefd: u32,
  pad: array(u8, 16),
});

/** KVM_IOEVENTFD. */
export const kvm_ioeventfd = struct("kvm_ioeventfd", {
  datamatch: u64,
  addr: u64,
  len: u32,
  fd: s32,
  flags: u32,
  pad: array(u8, 36),
});

/** KVM_SIGNAL_MSI. */
export const kvm_msi = struct("kvm_msi", {
  address_lo: u32,
  address_hi: u32,
  data: u32,
  flags: u32,
  devid: u32,
  pad: array(u8, 12),
});

/** KVM_GET_CLOCK, KVM_SET_CLOCK. */
export const kvm_clock_data = struct("kvm_clock_data", {
  clock: u64,
  flags: u32,
  pad0: u32,
  realtime: u64,
  host_tsc: u64,
  pad: array(u32, 4),
});

/** KVM_HYPERV_EVENTFD. */
export const kvm_hyperv_eventfd = struct("kvm_hyperv_eventfd", {
  conn_id: u32,
  fd: s32,
  flags: u32,
  padding: array(u32, 3),
});
