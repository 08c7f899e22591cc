import type { Gpa } from "../base/index.js";

/**
 * Why {@link Vcpu.run} resolved: the exits of `struct kvm_run`. Objects belong to the caller; what
 * the caller fills in (`data` of reads, `result`) is taken at the vCPU's next run().
 */
export type VcpuExit =
  | VcpuExitIo
  | VcpuExitMmio
  | VcpuExitXen
  /** HLT without an in-kernel local APIC. */
  | { readonly kind: "hlt" }
  /** Triple fault. */
  | { readonly kind: "shutdown" }
  /** kick() was called, or immediateExit is set. */
  | { readonly kind: "intr" }
  /** requestInterruptWindow was set and an interrupt can be taken (no in-kernel local APIC). */
  | { readonly kind: "irq-window-open" }
  /** The guest ended a level interrupt of this vector (split irqchip). */
  | { readonly kind: "ioapic-eoi"; readonly vector: number }
  /** The register state cannot be entered. */
  | { readonly kind: "fail-entry"; readonly reason: number }
  /** The engine or this library cannot go on with this vCPU. */
  | { readonly kind: "internal-error"; readonly suberror: number; readonly message: string };

/** KVM_EXIT_IO. */
export interface VcpuExitIo {
  readonly kind: "io";
  readonly direction: "in" | "out";
  readonly port: number;
  /** 1, 2 or 4. */
  readonly size: number;
  /** Always 1: string instructions exit once for each element. */
  readonly count: number;
  /** size * count bytes: what was written, or to be filled for "in" (zero at first). */
  readonly data: Uint8Array;
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
