/** What the user half of Xen needs of KVM's objects: a small part, so that tests can stand in. */
import type { KvmClockData, KvmMsi, KvmRegs, KvmSregs } from "../../abi/kvm/index.js";
import type { ApicId, Gpa, Gva } from "../../base/index.js";
import { KvmError, type VcpuXen, type VmXen } from "../../kvm/api/index.js";
import type { SlotVm } from "./overlay.js";

/** Part of {@link import("../../kvm/api/index.js").VmApi}. */
export interface XenVm extends SlotVm {
  readonly xen: VmXen;
  signalMsi(msi: KvmMsi): number;
  getClock(): KvmClockData;
}

/** Part of {@link import("../../kvm/api/index.js").VcpuApi}. */
export interface XenVcpu {
  readonly id: ApicId;
  readonly xen: VcpuXen;
  kick(): void;
  translate(address: Gva): Gpa | undefined;
  getMpState(): number;
  setMpState(mpState: number): void;
  getRegs(): KvmRegs;
  setRegs(regs: KvmRegs): void;
  getSregs(): KvmSregs;
  setSregs(sregs: KvmSregs): void;
  nmi(): void;
  /** See {@link import("../../kvm/api/index.js").VcpuBeyondKvm}. */
  charge?: ((work: number) => void) | undefined;
  immediateExit: boolean;
  runNow(): unknown;
}

/**
 * Does something that KVM may refuse.
 * @returns 0, or the negative errno of the refusal.
 */
export function attempt(action: () => void): number {
  try {
    action();
    return 0;
  } catch (error) {
    if (error instanceof KvmError) return -error.errno;
    throw error;
  }
}
