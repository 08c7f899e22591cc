import type {
  KvmDebugregs,
  KvmGuestDebug,
  KvmMsrEntry,
  KvmRegs,
  KvmSregs,
  KvmVcpuEvents,
} from "../../abi/kvm/index.js";
import type { CpuidEntry2 } from "../../abi/x86/index.js";
import type { ApicId, Gpa, Gva, VcpuIndex } from "../../base/index.js";
import type { MayHave, VcpuBeyondKvm } from "./engine.js";
import type { VcpuExit } from "./exits.js";
import type { VcpuXen } from "./xen.js";

/**
 * A vCPU: the ioctls of its descriptor and its `kvm_run` page. What {@link VcpuBeyondKvm} has besides is optional.
 * All methods throw KvmError with the errno that KVM refuses with.
 *
 * Methods answer at once also while the vCPU is inside {@link run}, where the kernel has callers wait for its
 * `vcpu->mutex`: whoever calls is the thread that the vCPU runs on, and would wait for itself.
 */
export interface VcpuApi extends MayHave<VcpuBeyondKvm> {
  /** Creation order in the VM. */
  readonly index: VcpuIndex;
  /** What KVM_CREATE_VCPU was given. */
  readonly id: ApicId;
  /** KVM_XEN_VCPU_SET_ATTR and GET_ATTR. */
  readonly xen: VcpuXen;
  /** `kvm_run.immediate_exit`: {@link run} only completes the last exit, and gives "intr". */
  immediateExit: boolean;
  /** KVM_GET_TSC_KHZ. */
  readonly tscKhz: number;
  /**
   * KVM_RUN: completes the last exit, with what the client has filled in, and executes until the next one. A
   * vCPU that halts or waits for its STARTUP message does so inside.
   */
  run(): Promise<VcpuExit>;
  /** As {@link run}; an exit that comes at once is given as it is. */
  runNow(): VcpuExit | Promise<VcpuExit>;
  /** A signal to the thread that is in KVM_RUN: run() gives "intr" at its next chance. Else nothing happens. */
  kick(): void;
  /** KVM_GET_REGS. */
  getRegs(): KvmRegs;
  /** KVM_SET_REGS. */
  setRegs(regs: KvmRegs): void;
  /** KVM_GET_SREGS. */
  getSregs(): KvmSregs;
  /** KVM_SET_SREGS. */
  setSregs(sregs: KvmSregs): void;
  /** KVM_GET_MSRS: the values up to the first index that is refused. */
  getMsrs(indices: readonly number[]): KvmMsrEntry[];
  /** KVM_SET_MSRS: sets in order up to the first that is refused; how many were set. */
  setMsrs(entries: readonly KvmMsrEntry[]): number;
  /** KVM_GET_CPUID2. */
  getCpuid2(): CpuidEntry2[];
  /** KVM_SET_CPUID2. */
  setCpuid2(entries: readonly CpuidEntry2[]): void;
  /** KVM_GET_MP_STATE: one of `KvmMpState`. */
  getMpState(): number;
  /** KVM_SET_MP_STATE. */
  setMpState(mpState: number): void;
  /** KVM_GET_LAPIC: 1024 bytes. */
  getLapic(): Uint8Array;
  /** KVM_SET_LAPIC. */
  setLapic(image: Uint8Array): void;
  /** KVM_GET_VCPU_EVENTS. */
  getVcpuEvents(): KvmVcpuEvents;
  /** KVM_SET_VCPU_EVENTS. */
  setVcpuEvents(events: KvmVcpuEvents): void;
  /** KVM_GET_FPU: as the 512-byte image of FXSAVE. */
  getFpu(): Uint8Array;
  /** KVM_GET_XSAVE: 4096 bytes, standard form. */
  getXsave(): Uint8Array;
  /** KVM_SET_XSAVE. */
  setXsave(area: Uint8Array): void;
  /** KVM_GET_XCRS: XCR0. */
  getXcr0(): bigint;
  /** KVM_SET_XCRS. */
  setXcr0(value: bigint): void;
  /** KVM_GET_DEBUGREGS. */
  getDebugregs(): KvmDebugregs;
  /** KVM_SET_DEBUGREGS. */
  setDebugregs(regs: KvmDebugregs): void;
  /** KVM_SET_GUEST_DEBUG. */
  setGuestDebug(request: KvmGuestDebug): void;
  /** KVM_NMI. */
  nmi(): void;
  /**
   * KVM_TRANSLATE: the address behind a virtual one, undefined when not mapped. `any`: also what SMAP keeps from the
   * guest's kernel, where the implementation can: KVM_TRANSLATE cannot.
   */
  translate(address: Gva, any?: boolean): Gpa | undefined;
}
