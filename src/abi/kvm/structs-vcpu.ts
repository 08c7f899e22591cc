/** Structures of `linux/kvm.h` and `asm/kvm.h` about the state of a vCPU. */
import { array, bytes, flexible, struct, u8, u16, u32, u64, union } from "../layout.js";

/** KVM_GET_REGS, KVM_SET_REGS. */
export const kvm_regs = struct("kvm_regs", {
  rax: u64,
  rbx: u64,
  rcx: u64,
  rdx: u64,
  rsi: u64,
  rdi: u64,
  rsp: u64,
  rbp: u64,
  r8: u64,
  r9: u64,
  r10: u64,
  r11: u64,
  r12: u64,
  r13: u64,
  r14: u64,
  r15: u64,
  rip: u64,
  rflags: u64,
});

/** KVM_GET_LAPIC, KVM_SET_LAPIC. */
export const kvm_lapic_state = struct("kvm_lapic_state", { regs: bytes(0x400) });

/** A segment register with its hidden part. */
export const kvm_segment = struct("kvm_segment", {
  base: u64,
  limit: u32,
  selector: u16,
  type: u8,
  present: u8,
  dpl: u8,
  db: u8,
  s: u8,
  l: u8,
  g: u8,
  avl: u8,
  unusable: u8,
  padding: u8,
});

/** GDTR or IDTR. */
export const kvm_dtable = struct("kvm_dtable", { base: u64, limit: u16, padding: array(u16, 3) });

const systemRegisters = {
  cs: kvm_segment,
  ds: kvm_segment,
  es: kvm_segment,
  fs: kvm_segment,
  gs: kvm_segment,
  ss: kvm_segment,
  tr: kvm_segment,
  ldt: kvm_segment,
  gdt: kvm_dtable,
  idt: kvm_dtable,
  cr0: u64,
  cr2: u64,
  cr3: u64,
  cr4: u64,
  cr8: u64,
  efer: u64,
  apic_base: u64,
} as const;

/** KVM_GET_SREGS, KVM_SET_SREGS. */
export const kvm_sregs = struct("kvm_sregs", {
  ...systemRegisters,
  interrupt_bitmap: array(u64, 4),
});

/** KVM_GET_SREGS2, KVM_SET_SREGS2. */
export const kvm_sregs2 = struct("kvm_sregs2", {
  ...systemRegisters,
  flags: u64,
  pdptrs: array(u64, 4),
});

/** KVM_GET_FPU, KVM_SET_FPU. */
export const kvm_fpu = struct("kvm_fpu", {
  fpr: bytes(128),
  fcw: u16,
  fsw: u16,
  ftwx: u8,
  pad1: u8,
  last_opcode: u16,
  last_ip: u64,
  last_dp: u64,
  xmm: bytes(256),
  mxcsr: u32,
  pad2: u32,
});

/** An element of {@link kvm_msrs}. */
export const kvm_msr_entry = struct("kvm_msr_entry", { index: u32, reserved: u32, data: u64 });

/** KVM_GET_MSRS, KVM_SET_MSRS; `nmsrs` entries follow. */
export const kvm_msrs = struct("kvm_msrs", {
  nmsrs: u32,
  pad: u32,
  entries: flexible(kvm_msr_entry),
});

/** KVM_GET_MSR_INDEX_LIST; `nmsrs` indices follow. */
export const kvm_msr_list = struct("kvm_msr_list", { nmsrs: u32, indices: flexible(u32) });

/** A range of {@link kvm_msr_filter}. */
export const kvm_msr_filter_range = struct("kvm_msr_filter_range", {
  flags: u32,
  nmsrs: u32,
  base: u32,
  bitmap: u64,
});

/** KVM_X86_SET_MSR_FILTER. */
export const kvm_msr_filter = struct("kvm_msr_filter", {
  flags: u32,
  ranges: array(kvm_msr_filter_range, 16),
});

/** An element of {@link kvm_cpuid}. */
export const kvm_cpuid_entry = struct("kvm_cpuid_entry", {
  function: u32,
  eax: u32,
  ebx: u32,
  ecx: u32,
  edx: u32,
  padding: u32,
});

/** KVM_SET_CPUID; `nent` entries follow. */
export const kvm_cpuid = struct("kvm_cpuid", {
  nent: u32,
  padding: u32,
  entries: flexible(kvm_cpuid_entry),
});

/** An element of {@link kvm_cpuid2}. */
export const kvm_cpuid_entry2 = struct("kvm_cpuid_entry2", {
  function: u32,
  index: u32,
  flags: u32,
  eax: u32,
  ebx: u32,
  ecx: u32,
  edx: u32,
  padding: array(u32, 3),
});

/** KVM_SET_CPUID2, KVM_GET_CPUID2, KVM_GET_SUPPORTED_CPUID; `nent` entries follow. */
export const kvm_cpuid2 = struct("kvm_cpuid2", {
  nent: u32,
  padding: u32,
  entries: flexible(kvm_cpuid_entry2),
});

/** KVM_SET_GUEST_DEBUG: its part for x86. */
export const kvm_guest_debug_arch = struct("kvm_guest_debug_arch", { debugreg: array(u64, 8) });

/** KVM_SET_GUEST_DEBUG. */
export const kvm_guest_debug = struct("kvm_guest_debug", {
  control: u32,
  pad: u32,
  arch: kvm_guest_debug_arch,
});

/** KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS. */
export const kvm_vcpu_events = struct("kvm_vcpu_events", {
  exception: struct("", {
    injected: u8,
    nr: u8,
    has_error_code: u8,
    pending: u8,
    error_code: u32,
  }),
  interrupt: struct("", { injected: u8, nr: u8, soft: u8, shadow: u8 }),
  nmi: struct("", { injected: u8, pending: u8, masked: u8, pad: u8 }),
  sipi_vector: u32,
  flags: u32,
  smi: struct("", { smm: u8, pending: u8, smm_inside_nmi: u8, latched_init: u8 }),
  triple_fault: struct("", { pending: u8 }),
  reserved: array(u8, 26),
  exception_has_payload: u8,
  exception_payload: u64,
});

/** KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS. */
export const kvm_debugregs = struct("kvm_debugregs", {
  db: array(u64, 4),
  dr6: u64,
  dr7: u64,
  flags: u64,
  reserved: array(u64, 9),
});

/** KVM_GET_XSAVE, KVM_SET_XSAVE, KVM_GET_XSAVE2. The area, with the bytes of `region`. */
export const kvm_xsave = struct("kvm_xsave", { region: array(u32, 1024), extra: flexible(u32) });

/** An element of {@link kvm_xcrs}. */
export const kvm_xcr = struct("kvm_xcr", { xcr: u32, reserved: u32, value: u64 });

/** KVM_GET_XCRS, KVM_SET_XCRS. */
export const kvm_xcrs = struct("kvm_xcrs", {
  nr_xcrs: u32,
  flags: u32,
  xcrs: array(kvm_xcr, 16),
  padding: array(u64, 16),
});

/** KVM_GET_MP_STATE, KVM_SET_MP_STATE. */
export const kvm_mp_state = struct("kvm_mp_state", { mp_state: u32 });

/** KVM_INTERRUPT. */
export const kvm_interrupt = struct("kvm_interrupt", { irq: u32 });

/** KVM_SET_SIGNAL_MASK; `len` bytes follow. */
export const kvm_signal_mask = struct("kvm_signal_mask", { len: u32, sigset: flexible(u8) });

/** KVM_TRANSLATE. */
export const kvm_translation = struct("kvm_translation", {
  linear_address: u64,
  physical_address: u64,
  valid: u8,
  writeable: u8,
  usermode: u8,
  pad: array(u8, 5),
});

/** KVM_TPR_ACCESS_REPORTING. */
export const kvm_tpr_access_ctl = struct("kvm_tpr_access_ctl", {
  enabled: u32,
  flags: u32,
  reserved: array(u32, 8),
});

/** KVM_SET_VAPIC_ADDR. */
export const kvm_vapic_addr = struct("kvm_vapic_addr", { vapic_addr: u64 });

/** KVM_X86_SET_MCE. */
export const kvm_x86_mce = struct("kvm_x86_mce", {
  status: u64,
  addr: u64,
  misc: u64,
  mcg_status: u64,
  bank: u8,
  pad1: array(u8, 7),
  pad2: array(u64, 3),
});

/** KVM_GET_NESTED_STATE, KVM_SET_NESTED_STATE: the head; `size` counts what follows too. */
export const kvm_nested_state = struct("kvm_nested_state", {
  flags: u16,
  format: u16,
  size: u32,
  hdr: union({
    vmx: struct("kvm_vmx_nested_state_hdr", {
      vmxon_pa: u64,
      vmcs12_pa: u64,
      smm: struct("", { flags: u16 }),
      pad: u16,
      flags: u32,
      preemption_timer_deadline: u64,
    }),
    svm: struct("kvm_svm_nested_state_hdr", { vmcb_pa: u64 }),
    pad: array(u8, 120),
  }),
});

/** KVM_GET_ONE_REG, KVM_SET_ONE_REG: `addr` is where the value is. */
export const kvm_one_reg = struct("kvm_one_reg", { id: u64, addr: u64 });

/** KVM_GET_REG_LIST: `n` ids follow. */
export const kvm_reg_list = struct("kvm_reg_list", { n: u64, reg: flexible(u64) });
