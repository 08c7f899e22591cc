/** `KVM_EXIT_*` reasons that this library can report. */
export const KvmExitReason = {
  UNKNOWN: 0,
  IO: 2,
  HLT: 5,
  MMIO: 6,
  IRQ_WINDOW_OPEN: 7,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  INTERNAL_ERROR: 17,
  IOAPIC_EOI: 26,
  XEN: 34,
} as const;

/** `KVM_INTERNAL_ERROR_*` suberrors. */
export const KvmInternalError = { EMULATION: 1, SIMUL_EX: 2, DELIVERY_EV: 3 } as const;
