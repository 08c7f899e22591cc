/**
 * KVM as its clients see it: interfaces, and the data that goes through them. `kvm` implements them over an engine;
 * whoever drives a VM, as `vmm` does, knows nothing else of it. A member is named after its ioctl, which
 * `Documentation/virt/kvm/api.rst` of the kernel describes under that name.
 */
export * from "../../abi/kvm/index.js";
export type { CpuidEntry2 } from "../../abi/x86/index.js";
export type { CounterName, EngineCounters, EngineFactory } from "../../engine/bridge/port.js";
export type * from "./engine.js";
export { KvmError } from "./error.js";
export { EventFd } from "./event-fd.js";
export {
  KvmMsrExitReason,
  type VcpuExit,
  type VcpuExitDebug,
  type VcpuExitHypercall,
  type VcpuExitIo,
  type VcpuExitMmio,
  type VcpuExitRdmsr,
  type VcpuExitWrmsr,
  type VcpuExitXen,
} from "./exits.js";
export {
  type ExceptionKept,
  VCPU_FLAGS,
  VCPU_NUMBERS,
  type VcpuKept,
  type VmKept,
} from "./kept.js";
export type { KvmApi } from "./system.js";
export type { VcpuApi } from "./vcpu.js";
export type { IoapicState, VmApi } from "./vm.js";
export type * from "./xen.js";
export type * from "./xen-kept.js";
export type * from "./xen-view.js";
