/** Structures of `linux/kvm.h` that belong to no single subject. */
import { array, flexible, s16, struct, u8, u16, u32, u64 } from "../layout.js";

/** KVM_ENABLE_CAP. */
export const kvm_enable_cap = struct("kvm_enable_cap", {
  cap: u32,
  flags: u32,
  args: array(u64, 4),
  pad: array(u8, 64),
});

/** KVM_CREATE_DEVICE. */
export const kvm_create_device = struct("kvm_create_device", { type: u32, fd: u32, flags: u32 });

/** KVM_SET_DEVICE_ATTR, KVM_GET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR. */
export const kvm_device_attr = struct("kvm_device_attr", {
  flags: u32,
  group: u32,
  attr: u64,
  addr: u64,
});

/** KVM_SET_PMU_EVENT_FILTER; `nevents` u64 follow. */
export const kvm_pmu_event_filter = struct("kvm_pmu_event_filter", {
  action: u32,
  nevents: u32,
  fixed_counter_bitmap: u32,
  flags: u32,
  pad: array(u32, 4),
  events: flexible(u64),
});

/** Head of what KVM_GET_STATS_FD's descriptor reads. */
export const kvm_stats_header = struct("kvm_stats_header", {
  flags: u32,
  name_size: u32,
  num_desc: u32,
  id_offset: u32,
  desc_offset: u32,
  data_offset: u32,
});

/** A descriptor in a statistics file; `name_size` bytes of name follow. */
export const kvm_stats_desc = struct("kvm_stats_desc", {
  flags: u32,
  exponent: s16,
  size: u16,
  offset: u32,
  bucket_size: u32,
  name: flexible(u8),
});
