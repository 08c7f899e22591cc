import type { Gpa } from "../../base/index.js";

/**
 * Why {@link Vcpu.run} resolved: the exits of `struct kvm_run`. Objects belong to the caller; what
 * the caller fills in (`data` of reads, `result`) is taken at the vCPU's next run().
 */
export type VcpuExit =
  | VcpuExitIo
  | VcpuExitMmio
  | VcpuExitXen
  | VcpuExitHypercall
  | VcpuExitRdmsr
  | VcpuExitWrmsr
  | VcpuExitDebug
  /** HLT without an in-kernel local APIC. */
  | { readonly kind: "hlt" }
  /** Triple fault. */
  | { readonly kind: "shutdown" }
  /** kick() was called, or immediateExit is set. */
  | { readonly kind: "intr" }
  /**
   * The vCPU waited for its INIT message and got something: KVM_RUN returns -EAGAIN. Call run() again.
   */
  | { readonly kind: "again" }
  /** The guest lowered CR8 (no in-kernel local APIC). */
  | { readonly kind: "set-tpr" }
  /** The guest read or wrote its task priority register (setTprAccessReporting); RIP of that instruction. */
  | { readonly kind: "tpr-access"; readonly rip: bigint; readonly isWrite: boolean }
  /** requestInterruptWindow was set and an interrupt can be taken (no in-kernel PIC). */
  | { readonly kind: "irq-window-open" }
  /** The guest ended a level interrupt of this vector (split irqchip). */
  | { readonly kind: "ioapic-eoi"; readonly vector: number }
  /**
   * The client cannot access the memory at this guest-physical address itself, or there is none for it
   * (LateBacking): KVM_RUN returns -EFAULT. The instruction comes again with the next run().
   */
  | { readonly kind: "memory-fault"; readonly physAddr: Gpa }
  /** The register state cannot be entered. */
  | { readonly kind: "fail-entry"; readonly reason: number }
  | VcpuExitInternalError;

/** KVM_EXIT_INTERNAL_ERROR: this vCPU cannot go on as it is. */
export interface VcpuExitInternalError {
  readonly kind: "internal-error";
  readonly suberror: number;
  /** `internal.data`, 64 bits each: what there is to say about it, at most 16. */
  readonly data: readonly bigint[];
  readonly message: string;
}

/** KVM_EXIT_IO. */
export interface VcpuExitIo {
  readonly kind: "io";
  readonly direction: "in" | "out";
  readonly port: number;
  /** 1, 2 or 4. */
  readonly size: number;
  /** Elements: 1, or for REP INS as many as are wanted at once. */
  readonly count: number;
  /** size * count bytes: what was written, or to be filled for "in" (zero at first). */
  readonly data: Uint8Array;
  /** OUTS, and OUT to port 0x7e (a quirk): the registers are those behind it already. */
  readonly finished?: true;
}

/** KVM_EXIT_MMIO. */
export interface VcpuExitMmio {
  readonly kind: "mmio";
  readonly physAddr: Gpa;
  readonly isWrite: boolean;
  /** 1 to 8. */
  readonly len: number;
  /** `len` bytes: what was written, or to be filled for reads (zero at first). */
  readonly data: Uint8Array;
}

/** KVM_EXIT_XEN: a hypercall that KVM does not answer itself. */
export interface VcpuExitXen {
  readonly kind: "xen";
  /** The caller runs in a 64-bit code segment: arguments are 64 bits wide. */
  readonly longmode: boolean;
  readonly cpl: number;
  /** RAX (EAX): the hypercall number. */
  readonly input: bigint;
  readonly params: readonly [bigint, bigint, bigint, bigint, bigint, bigint];
  /** Goes to RAX at the next run() if RIP is still that of the hypercall. Taken modulo 2^64. */
  result: bigint;
}

/** KVM_EXIT_HYPERCALL: one that KVM_CAP_EXIT_HYPERCALL sends to the client. */
export interface VcpuExitHypercall {
  readonly kind: "hypercall";
  /** 12, KVM_HC_MAP_GPA_RANGE. */
  readonly nr: number;
  /** Guest-physical address, pages, attributes. */
  readonly args: readonly [bigint, bigint, bigint];
  readonly longmode: boolean;
  /** Goes to RAX at the next run(). Taken modulo 2^64. */
  result: bigint;
}

/** `KVM_MSR_EXIT_REASON_*`: the value or state forbids it; no such MSR; the filter. */
export const KvmMsrExitReason = { INVAL: 1, UNKNOWN: 2, FILTER: 4 } as const;

/** KVM_EXIT_X86_RDMSR: an MSR the guest may not read (KVM_CAP_X86_USER_SPACE_MSR). */
export interface VcpuExitRdmsr {
  readonly kind: "rdmsr";
  /** One of {@link KvmMsrExitReason}. */
  readonly reason: number;
  readonly index: number;
  /** What the guest reads: set it before the next run. */
  data: bigint;
  /** Set it for #GP instead. */
  error: boolean;
}

/** KVM_EXIT_X86_WRMSR: an MSR the guest may not write. */
export interface VcpuExitWrmsr {
  readonly kind: "wrmsr";
  /** One of {@link KvmMsrExitReason}. */
  readonly reason: number;
  readonly index: number;
  readonly data: bigint;
  /** Set it for #GP; else the write counts as done. */
  error: boolean;
}

/** KVM_EXIT_DEBUG: a step or breakpoint that KVM_SET_GUEST_DEBUG asked for. */
export interface VcpuExitDebug {
  readonly kind: "debug";
  /** 1 (#DB) or 3 (#BP). */
  readonly exception: number;
  /** Linear RIP: at a breakpoint on code, behind the instruction else. */
  readonly pc: bigint;
  readonly dr6: bigint;
  /** Not there behind an instruction that KVM itself has done: in `kvm_run` is what was there. */
  readonly dr7?: bigint;
}
