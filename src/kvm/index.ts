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

export { apicId, defaultEventLoop, type EventLoop, gpa, gva, hva } from "../base/index.js";
export type { EngineFactory } from "../engine/bridge/port.js";
export * from "./api/index.js";
export { type KvmMsrFilter, KvmMsrFilterFlag, type KvmMsrFilterRange } from "./cpu/msr-filter.js";
export type { KvmIoeventfd } from "./io/ioeventfd.js";
export { LINUX_RELEASES, type LinuxRelease, type LinuxRules } from "./linux.js";
export type { KvmClearDirtyLog, LateBacking } from "./memory/slots.js";
export type { Statistic } from "./stats.js";
export type { KvmOptions } from "./system.js";
export { Vcpu } from "./vcpu.js";
export { Vm } from "./vm.js";
