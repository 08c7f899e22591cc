/** `struct kvm_pic_state`: one 8259A. All u8. */
export interface KvmPicState {
  /** Levels seen last, for edges. */
  lastIrr: number;
  irr: number;
  imr: number;
  isr: number;
  /** The line with the highest priority. */
  priorityAdd: number;
  irqBase: number;
  readRegSelect: number;
  poll: number;
  specialMask: number;
  /** Which initialization word comes next: 0 none. */
  initState: number;
  autoEoi: number;
  rotateOnAutoEoi: number;
  specialFullyNestedMode: number;
  init4: number;
  /** Edge/level control, and which of its bits can be written. */
  elcr: number;
  elcrMask: number;
}

/** `struct kvm_pit_channel_state`. */
export interface KvmPitChannelState {
  /** 1 to 65536. */
  count: number;
  latchedCount: number;
  countLatched: number;
  statusLatched: number;
  status: number;
  readState: number;
  writeState: number;
  writeLatch: number;
  rwMode: number;
  mode: number;
  bcd: number;
  gate: number;
  /** When the count was loaded, nanoseconds of the host's monotonic clock; channel 0 has none. */
  countLoadTime: bigint;
}

/** `struct kvm_pit_state2`. */
export interface KvmPitState2 {
  readonly channels: readonly [KvmPitChannelState, KvmPitChannelState, KvmPitChannelState];
  /** {@link KvmPitFlag} bits. */
  readonly flags: number;
}

/** `KVM_PIT_FLAGS_*`. */
export const KvmPitFlag = { HPET_LEGACY: 1, SPEAKER_DATA_ON: 2 } as const;

/** `KVM_PIT_SPEAKER_DUMMY`: KVM_CREATE_PIT2 brings the speaker port along. */
export const KVM_PIT_SPEAKER_DUMMY = 1;

/** `struct kvm_sregs2` has these where kvm_sregs has the bitmap. */
export const KVM_SREGS2_FLAGS_PDPTRS_VALID = 1n;

/** `struct kvm_x86_mce`. */
export interface KvmX86Mce {
  readonly status: bigint;
  readonly addr: bigint;
  readonly misc: bigint;
  readonly mcgStatus: bigint;
  readonly bank: number;
}

/** `struct kvm_guest_debug`. */
export interface KvmGuestDebug {
  /** {@link KvmGuestDbg} bits. */
  readonly control: number;
  /** DR0 to DR7 as the debugger wants them. */
  readonly debugreg: readonly bigint[];
}

/** `KVM_GUESTDBG_*`. */
export const KvmGuestDbg = {
  ENABLE: 1 << 0,
  SINGLESTEP: 1 << 1,
  USE_SW_BP: 1 << 16,
  USE_HW_BP: 1 << 17,
  INJECT_DB: 1 << 18,
  INJECT_BP: 1 << 19,
  BLOCKIRQ: 1 << 20,
} as const;

/** `struct kvm_coalesced_mmio_zone`. */
export interface KvmCoalescedZone {
  readonly addr: number;
  readonly size: number;
  /** 0 memory, 1 ports. */
  readonly pio: number;
}

/** `KVM_IOEVENTFD_FLAG_*`. */
export const KvmIoeventfdFlag = { DATAMATCH: 1, PIO: 2, DEASSIGN: 4, VIRTIO_CCW: 8 } as const;

/** `KVM_DEV_TYPE_*`: types of KVM_CREATE_DEVICE that x86 has. */
export const KvmDevType = { VFIO: 4 } as const;

/** `KVM_DEV_VFIO_*`: the group of attributes of such a device, and its attributes. */
export const KvmDevVfio = { FILE: 1, FILE_ADD: 1, FILE_DEL: 2 } as const;
