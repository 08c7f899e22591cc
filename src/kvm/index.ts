/** KVM as a library: the public entry of the kernel half. */
import { type KvmOptions, Kvm as System } from "./system.js";
import { XenSwitch } from "./xen/switch.js";
import { VmXenSupport } from "./xen/vm-xen.js";

/** The system object, with Xen support. */
export class Kvm extends System {
  private constructor(options: KvmOptions) {
    const xenSwitch = new XenSwitch();
    super(options, (host) => new VmXenSupport(host, xenSwitch));
  }

  /** Opens the library's /dev/kvm: an engine, and the clock and timers that all its VMs share. */
  static open(options: KvmOptions): Promise<Kvm> {
    return Promise.resolve(new Kvm(options));
  }
}

export * from "../abi/kvm/index.js";
export type { CpuidEntry2 } from "../abi/x86/index.js";
export { apicId, gpa, gva, hva } from "../base/index.js";
export type { CounterName, EngineCounters, EngineFactory } from "../engine/bridge/port.js";
export type { ExceptionKept } from "./cpu/exception.js";
export { type KvmMsrFilter, KvmMsrFilterFlag, type KvmMsrFilterRange } from "./cpu/msr-filter.js";
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
export type { KvmIoeventfd } from "./io/ioeventfd.js";
export type { IoapicState } from "./irq/ioapic.js";
export {
  VCPU_FLAGS,
  VCPU_NUMBERS,
  type VcpuKept,
  type VmKept,
} from "./kept.js";
export { LINUX_RELEASES, type LinuxRelease, type LinuxRules } from "./linux.js";
export type { KvmClearDirtyLog, LateBacking } from "./memory/slots.js";
export { defaultEventLoop, type EventLoop } from "./run/event-loop.js";
export type { Statistic } from "./stats.js";
export type { KvmOptions } from "./system.js";
export { Vcpu } from "./vcpu.js";
export { Vm } from "./vm.js";
export type * from "./xen-api.js";
export type * from "./xen-kept.js";
export type * from "./xen-view.js";
