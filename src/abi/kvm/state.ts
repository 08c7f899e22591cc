/** `KVM_MP_STATE_*`. */
export const KvmMpState = {
  RUNNABLE: 0,
  UNINITIALIZED: 1,
  INIT_RECEIVED: 2,
  HALTED: 3,
  SIPI_RECEIVED: 4,
  AP_RESET_HOLD: 9,
} as const;

/** `struct kvm_regs`. */
export interface KvmRegs {
  rax: bigint;
  rbx: bigint;
  rcx: bigint;
  rdx: bigint;
  rsi: bigint;
  rdi: bigint;
  rsp: bigint;
  rbp: bigint;
  r8: bigint;
  r9: bigint;
  r10: bigint;
  r11: bigint;
  r12: bigint;
  r13: bigint;
  r14: bigint;
  r15: bigint;
  rip: bigint;
  rflags: bigint;
}

/** `struct kvm_segment`. */
export interface KvmSegment {
  base: bigint;
  /** Bytes, scaled by the granularity. */
  limit: number;
  selector: number;
  type: number;
  present: boolean;
  dpl: number;
  db: boolean;
  s: boolean;
  l: boolean;
  g: boolean;
  avl: boolean;
  unusable: boolean;
}

/** `struct kvm_dtable`. */
export interface KvmDtable {
  base: bigint;
  limit: number;
}

/** `struct kvm_sregs`. */
export interface KvmSregs {
  cs: KvmSegment;
  ds: KvmSegment;
  es: KvmSegment;
  fs: KvmSegment;
  gs: KvmSegment;
  ss: KvmSegment;
  tr: KvmSegment;
  ldt: KvmSegment;
  gdt: KvmDtable;
  idt: KvmDtable;
  cr0: bigint;
  cr2: bigint;
  cr3: bigint;
  cr4: bigint;
  cr8: bigint;
  efer: bigint;
  apicBase: bigint;
  /** 256 bits, four u64: at most one set, the external interrupt that waits to be injected. */
  interruptBitmap: readonly [bigint, bigint, bigint, bigint];
}

/** `struct kvm_msr_entry`. */
export interface KvmMsrEntry {
  /** u32 index. */
  readonly index: number;
  /** u64 value. */
  readonly data: bigint;
}

/** `struct kvm_debugregs`. */
export interface KvmDebugregs {
  readonly db: readonly [bigint, bigint, bigint, bigint];
  readonly dr6: bigint;
  readonly dr7: bigint;
}

/** `KVM_VCPUEVENT_VALID_*`. */
export const KvmVcpuEvent = {
  VALID_NMI_PENDING: 1,
  VALID_SIPI_VECTOR: 2,
  VALID_SHADOW: 4,
  VALID_SMM: 8,
  VALID_PAYLOAD: 16,
  VALID_TRIPLE_FAULT: 32,
} as const;

/** `struct kvm_vcpu_events`. What is optional is zero when it is left out. */
export interface KvmVcpuEvents {
  exception: {
    injected: boolean;
    nr: number;
    hasErrorCode: boolean;
    errorCode: number;
    /** With VALID_PAYLOAD: not delivered so far. */
    pending?: boolean;
    /** With VALID_PAYLOAD, `exception_has_payload` and `exception_payload`. */
    payload?: bigint | undefined;
    /** `exception_payload` where it does not count: the kernel keeps and shows it all the same. */
    idlePayload?: bigint;
  };
  interrupt: { injected: boolean; nr: number; soft: boolean; shadow: number };
  nmi: { injected: boolean; pending: number; masked: boolean };
  sipiVector: number;
  /** With VALID_SMM. There is no system management mode: only `latchedInit` can be set. */
  smi?: { smm: boolean; pending: boolean; smmInsideNmi: boolean; latchedInit: boolean };
  /** With VALID_TRIPLE_FAULT. */
  tripleFaultPending?: boolean;
  /** {@link KvmVcpuEvent} bits: which optional parts a set call means. */
  flags: number;
}

/** `struct kvm_clock_data`. */
export interface KvmClockData {
  /** kvmclock, nanoseconds. */
  readonly clock: bigint;
  /** {@link KvmClockFlag} bits. */
  readonly flags: number;
  /** Nanoseconds since 1970, when KVM_CLOCK_REALTIME is set. */
  readonly realtime: bigint;
  /** Host TSC at that moment, when KVM_CLOCK_HOST_TSC is set. */
  readonly hostTsc: bigint;
}

/** `KVM_CLOCK_*` flags. */
export const KvmClockFlag = { TSC_STABLE: 2, REALTIME: 4, HOST_TSC: 8 } as const;
