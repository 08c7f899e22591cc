import { array, bytes, struct, u8, u16, u32, u64 } from "../layout.js";

/** Sub-operations of hvm_op (Xen's `public/hvm/hvm_op.h`, `HVMOP_*`). */
export const Hvmop = {
  set_param: 0,
  get_param: 1,
  flush_tlbs: 5,
  pagetable_dying: 9,
  get_time: 10,
  xentrace: 11,
  get_mem_type: 15,
  set_evtchn_upcall_vector: 23,
  guest_request_vm_event: 24,
  altp2m: 25,
} as const;

export const xen_hvm_param = struct("xen_hvm_param", {
  domid: u16,
  pad: u16,
  index: u32,
  value: u64,
});

export const xen_hvm_evtchn_upcall_vector = struct("xen_hvm_evtchn_upcall_vector", {
  vcpu: u32,
  vector: u8,
});

export const xen_hvm_get_time = struct("xen_hvm_get_time", { now: u64 });

export const xen_hvm_get_mem_type = struct("xen_hvm_get_mem_type", {
  domid: u16,
  mem_type: u16,
  pad: array(u16, 2),
  pfn: u64,
});
/** `mem_type`: RAM, or nothing but what a device might answer for (`HVMMEM_*`). */
export const HVMMEM_ram_rw = 0;
export const HVMMEM_mmio_dm = 2;

export const xen_hvm_pagetable_dying = struct("xen_hvm_pagetable_dying", {
  domid: u16,
  pad: array(u16, 3),
  gpa: u64,
});

/** Bytes of `extra` in `struct xen_hvm_xentrace` (`TRACE_EXTRA_MAX` words). */
export const XEN_HVM_XENTRACE_EXTRA = 28;
export const xen_hvm_xentrace = struct("xen_hvm_xentrace", {
  event: u16,
  extra_bytes: u16,
  extra: bytes(XEN_HVM_XENTRACE_EXTRA),
});
/** A guest's event is below this: the numbers of one sub-class of trace events (`public/trace.h`). */
export const XEN_HVM_XENTRACE_EVENTS = 1 << 12;

/** HVM parameters (`public/hvm/params.h`, `HVM_PARAM_*`). */
export const HvmParam = {
  CALLBACK_IRQ: 0,
  STORE_PFN: 1,
  STORE_EVTCHN: 2,
  PAE_ENABLED: 4,
  IOREQ_PFN: 5,
  BUFIOREQ_PFN: 6,
  VIRIDIAN: 9,
  TIMER_MODE: 10,
  HPET_ENABLED: 11,
  IDENT_PT: 12,
  DM_DOMAIN: 13,
  ACPI_S_STATE: 14,
  VM86_TSS: 15,
  VPT_ALIGN: 16,
  CONSOLE_PFN: 17,
  CONSOLE_EVTCHN: 18,
  ACPI_IOPORTS_LOCATION: 19,
  BUFIOREQ_EVTCHN: 26,
  VM_GENERATION_ID_ADDR: 34,
  ALTP2M: 35,
  X87_FIP_WIDTH: 36,
  VM86_TSS_SIZED: 37,
  MCA_CAP: 38,
} as const;
/** A parameter index is below this (`HVM_NR_PARAMS`). */
export const HVM_NR_PARAMS = 39;

/** Kinds of HVM_PARAM_CALLBACK_IRQ, in bits 63:56 of the value (`HVM_PARAM_CALLBACK_TYPE_*`). */
export const HvmCallbackType = { GSI: 0, PCI_INTX: 1, VECTOR: 2 } as const;
