/** Registers of the 16550A (PC16550D data sheet, table II "Summary of Registers"). */

/** Register offsets. */
export const Reg = {
  /** Receiver buffer, transmitter holding register; low byte of the divisor with DLAB. */
  DATA: 0,
  /** Interrupt enable; high byte of the divisor with DLAB. */
  IER: 1,
  /** Interrupt identification (read). */
  IIR: 2,
  /** FIFO control (write). */
  FCR: 2,
  LCR: 3,
  MCR: 4,
  LSR: 5,
  MSR: 6,
  SCRATCH: 7,
} as const;

/** Interrupt enable register. */
export const Ier = { DATA: 1, THR_EMPTY: 2, MASK: 0x0f } as const;
/** Interrupt identification register. */
export const Iir = { NONE: 1, THR_EMPTY: 2, DATA: 4, FIFO_ENABLED: 0xc0 } as const;
/** FIFO control register. */
export const Fcr = { ENABLE: 1, CLEAR_RECEIVE: 2 } as const;
/** Line control register. */
export const Lcr = { EIGHT_BITS: 3, DLAB: 0x80 } as const;
/** Modem control register. */
export const Mcr = { DTR: 1, RTS: 2, OUT1: 4, OUT2: 8, LOOP: 0x10, MASK: 0x1f } as const;
/** Line status register. */
export const Lsr = { DATA_READY: 1, THRE: 0x20, TEMT: 0x40 } as const;
/** Modem status register. */
export const Msr = { CTS: 0x10, DSR: 0x20, RI: 0x40, DCD: 0x80 } as const;
