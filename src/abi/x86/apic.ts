/** Offsets of local APIC registers in its page (Intel SDM volume 3, "Local APIC Register Address Map"). */
export const ApicReg = {
  ID: 0x20,
  LVR: 0x30,
  TASKPRI: 0x80,
  ARBPRI: 0x90,
  PROCPRI: 0xa0,
  EOI: 0xb0,
  RRR: 0xc0,
  LDR: 0xd0,
  DFR: 0xe0,
  SPIV: 0xf0,
  ISR: 0x100,
  TMR: 0x180,
  IRR: 0x200,
  ESR: 0x280,
  LVTCMCI: 0x2f0,
  ICR: 0x300,
  ICR2: 0x310,
  LVTT: 0x320,
  LVTTHMR: 0x330,
  LVTPC: 0x340,
  LVT0: 0x350,
  LVT1: 0x360,
  LVTERR: 0x370,
  TMICT: 0x380,
  TMCCT: 0x390,
  TDCR: 0x3e0,
  SELF_IPI: 0x3f0,
} as const;

/** Bits of the local vector table, spurious vector and interrupt command registers. */
export const ApicBits = {
  SPIV_APIC_ENABLED: 0x100,
  SPIV_FOCUS_DISABLED: 0x200,
  SPIV_DIRECTED_EOI: 0x1000,
  LVR_DIRECTED_EOI: 1 << 24,
  LVT_MASKED: 0x10000,
  LVT_LEVEL_TRIGGER: 0x8000,
  LVT_REMOTE_IRR: 0x4000,
  LVT_POLARITY: 0x2000,
  SEND_PENDING: 0x1000,
  LVT_TIMER_ONESHOT: 0,
  LVT_TIMER_PERIODIC: 0x20000,
  LVT_TIMER_TSCDEADLINE: 0x40000,
  LVT_TIMER_MODE_MASK: 0x60000,
  DEST_LOGICAL: 0x800,
  ICR_BUSY: 0x1000,
  ICR_ASSERT: 0x4000,
  ICR_LEVEL_TRIGGER: 0x8000,
  SHORTHAND_MASK: 0xc0000,
  SHORTHAND_SELF: 0x40000,
  SHORTHAND_ALL: 0x80000,
  SHORTHAND_ALL_BUT_SELF: 0xc0000,
  ESR_SEND_ILLEGAL_VECTOR: 0x20,
  ESR_RECEIVED_ILLEGAL_VECTOR: 0x40,
  DFR_FLAT: 0xffffffff,
  DFR_CLUSTER: 0x0fffffff,
} as const;

/** Delivery modes as bits 10:8 of an LVT, ICR, IOAPIC redirection entry or MSI data. */
export const DeliveryMode = {
  FIXED: 0,
  LOWEST_PRIORITY: 1,
  SMI: 2,
  REMOTE_READ: 3,
  NMI: 4,
  INIT: 5,
  STARTUP: 6,
  EXTINT: 7,
} as const;

/** IOAPIC registers and redirection bits (Intel 82093AA data sheet). */
export const Ioapic = {
  DEFAULT_BASE: 0xfec00000,
  /** Bytes of its MMIO window that KVM claims. */
  MEM_LENGTH: 0x100,
  REG_SELECT: 0x00,
  REG_WINDOW: 0x10,
  REG_EOI: 0x40,
  REG_APIC_ID: 0,
  REG_VERSION: 1,
  REG_ARB_ID: 2,
  REDIR_BASE: 0x10,
  PINS: 24,
  VERSION_ID: 0x11,
  /** Remote IRR, bit 14 of a redirection entry. */
  REMOTE_IRR: 1 << 14,
  /** Delivery status, bit 12. */
  DELIVERY_STATUS: 1 << 12,
  LEVEL_TRIGGER: 1 << 15,
  MASKED: 1 << 16,
} as const;
