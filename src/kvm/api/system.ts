import type { CpuidEntry2 } from "../../abi/x86/index.js";
import type { VmApi } from "./vm.js";

/** /dev/kvm: what makes VMs. */
export interface KvmApi {
  /**
   * KVM_CREATE_VM, of type KVM_X86_DEFAULT_VM.
   * @throws KvmError ENOMEM when the host has no memory for it.
   */
  createVm(): VmApi;
  /** KVM_GET_SUPPORTED_CPUID: what guests may be told of the processor. */
  getSupportedCpuid(): CpuidEntry2[];
  /** KVM_GET_MSR_INDEX_LIST: the MSRs that are saved and restored. */
  getMsrIndexList(): readonly number[];
}
