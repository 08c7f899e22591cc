/** Structures of KVM's Xen support (`asm/kvm.h`, Linux 6.12). */
import { array, s32, struct, u8, u16, u32, u64, union } from "../layout.js";

/** KVM_XEN_HVM_CONFIG. */
export const kvm_xen_hvm_config = struct("kvm_xen_hvm_config", {
  flags: u32,
  msr: u32,
  blob_addr_32: u64,
  blob_addr_64: u64,
  blob_size_32: u8,
  blob_size_64: u8,
  pad2: array(u8, 30),
});

/** KVM_XEN_HVM_SET_ATTR, KVM_XEN_HVM_GET_ATTR. */
export const kvm_xen_hvm_attr = struct("kvm_xen_hvm_attr", {
  type: u16,
  pad: array(u16, 3),
  u: union({
    long_mode: u8,
    vector: u8,
    runstate_update_flag: u8,
    shared_info: union({ gfn: u64, hva: u64 }),
    evtchn: struct("", {
      send_port: u32,
      type: u32,
      flags: u32,
      deliver: union({
        port: struct("", { port: u32, vcpu: u32, priority: u32 }),
        eventfd: struct("", { port: u32, fd: s32 }),
        padding: array(u32, 4),
      }),
    }),
    xen_version: u32,
    pad: array(u64, 8),
  }),
});

/** KVM_XEN_VCPU_SET_ATTR, KVM_XEN_VCPU_GET_ATTR. */
export const kvm_xen_vcpu_attr = struct("kvm_xen_vcpu_attr", {
  type: u16,
  pad: array(u16, 3),
  u: union({
    gpa: u64,
    hva: u64,
    pad: array(u64, 8),
    runstate: struct("", {
      state: u64,
      state_entry_time: u64,
      time_running: u64,
      time_runnable: u64,
      time_blocked: u64,
      time_offline: u64,
    }),
    vcpu_id: u32,
    timer: struct("", { port: u32, priority: u32, expires_ns: u64 }),
    vector: u8,
  }),
});

/** KVM_EXIT_XEN, in `kvm_run`. */
export const kvm_xen_exit = struct("kvm_xen_exit", {
  type: u32,
  u: union({
    hcall: struct("", {
      longmode: u32,
      cpl: u32,
      input: u64,
      result: u64,
      params: array(u64, 6),
    }),
  }),
});
