/** `KVM_API_VERSION`. */
export const KVM_API_VERSION = 12;

/** Bytes of a vCPU's mapping: `struct kvm_run`, a page of port data, the coalesced MMIO ring. */
export const KVM_RUN_BYTES = 12288;

/** `KVM_PIO_PAGE_OFFSET`: page of the mapping that holds port data. */
export const KVM_PIO_PAGE_OFFSET = 1;

/** `KVM_COALESCED_MMIO_PAGE_OFFSET`: page of the mapping that holds the coalesced MMIO ring. */
export const KVM_COALESCED_MMIO_PAGE_OFFSET = 2;

/** `KVM_EXIT_*` reasons that this library can report. */
export const KvmExitReason = {
  UNKNOWN: 0,
  IO: 2,
  HYPERCALL: 3,
  DEBUG: 4,
  HLT: 5,
  MMIO: 6,
  IRQ_WINDOW_OPEN: 7,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  SET_TPR: 11,
  TPR_ACCESS: 12,
  INTERNAL_ERROR: 17,
  IOAPIC_EOI: 26,
  X86_RDMSR: 29,
  X86_WRMSR: 30,
  XEN: 34,
} as const;

/** `KVM_EXIT_IO_*` directions. */
export const KvmExitIo = { IN: 0, OUT: 1 } as const;

/** `KVM_EXIT_XEN_HCALL`: the only kind of Xen exit. */
export const KVM_EXIT_XEN_HCALL = 1;

/** `KVM_INTERNAL_ERROR_*` suberrors. */
export const KvmInternalError = { EMULATION: 1, SIMUL_EX: 2, DELIVERY_EV: 3 } as const;
