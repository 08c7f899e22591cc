/** `struct kvm_run`: the page that a vCPU's client and KVM share. Exits that x86 has. */
import { array, bytes, struct, u8, u16, u32, u64, union } from "../layout.js";
import { kvm_regs, kvm_sregs, kvm_vcpu_events } from "./structs-vcpu.js";
import { kvm_xen_exit } from "./structs-xen.js";

/** KVM_EXIT_DEBUG. */
export const kvm_debug_exit_arch = struct("kvm_debug_exit_arch", {
  exception: u32,
  pad: u32,
  pc: u64,
  dr6: u64,
  dr7: u64,
});

/** KVM_EXIT_HYPERV. */
export const kvm_hyperv_exit = struct("kvm_hyperv_exit", {
  type: u32,
  pad1: u32,
  u: union({
    synic: struct("", { msr: u32, pad2: u32, control: u64, evt_page: u64, msg_page: u64 }),
    hcall: struct("", { input: u64, result: u64, params: array(u64, 2) }),
    syndbg: struct("", {
      msr: u32,
      pad2: u32,
      control: u64,
      status: u64,
      send_page: u64,
      recv_page: u64,
      pending_page: u64,
    }),
  }),
});

/** Registers in `kvm_run` (KVM_CAP_SYNC_REGS). */
export const kvm_sync_regs = struct("kvm_sync_regs", {
  regs: kvm_regs,
  sregs: kvm_sregs,
  events: kvm_vcpu_events,
});

/** The page itself. */
export const kvm_run = struct("kvm_run", {
  request_interrupt_window: u8,
  immediate_exit: u8,
  padding1: array(u8, 6),
  exit_reason: u32,
  ready_for_interrupt_injection: u8,
  if_flag: u8,
  flags: u16,
  cr8: u64,
  apic_base: u64,
  $exit: union({
    hw: struct("", { hardware_exit_reason: u64 }),
    fail_entry: struct("", { hardware_entry_failure_reason: u64, cpu: u32 }),
    ex: struct("", { exception: u32, error_code: u32 }),
    io: struct("", { direction: u8, size: u8, port: u16, count: u32, data_offset: u64 }),
    debug: struct("", { arch: kvm_debug_exit_arch }),
    mmio: struct("", { phys_addr: u64, data: array(u8, 8), len: u32, is_write: u8 }),
    hypercall: struct("", {
      nr: u64,
      args: array(u64, 6),
      ret: u64,
      $mode: union({ longmode: u32, flags: u64 }),
    }),
    tpr_access: struct("", { rip: u64, is_write: u32, pad: u32 }),
    internal: struct("", { suberror: u32, ndata: u32, data: array(u64, 16) }),
    emulation_failure: struct("", {
      suberror: u32,
      ndata: u32,
      flags: u64,
      $code: struct("", { insn_size: u8, insn_bytes: array(u8, 15) }),
    }),
    system_event: struct("", {
      type: u32,
      ndata: u32,
      $more: union({ flags: u64, data: array(u64, 16) }),
    }),
    eoi: struct("", { vector: u8 }),
    hyperv: kvm_hyperv_exit,
    msr: struct("", { error: u8, pad: array(u8, 7), reason: u32, index: u32, data: u64 }),
    xen: kvm_xen_exit,
    notify: struct("", { flags: u32 }),
    memory_fault: struct("", { flags: u64, gpa: u64, size: u64 }),
    padding: bytes(256),
  }),
  kvm_valid_regs: u64,
  kvm_dirty_regs: u64,
  s: union({ regs: kvm_sync_regs, padding: bytes(2048) }),
});
