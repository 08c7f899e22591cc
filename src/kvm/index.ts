/** KVM as a library: the public entry of the kernel half. */
import { type KvmOptions, Kvm as System } from "./system.js";
import { VmXenSupport } from "./xen/vm-xen.js";

/** The system object, with Xen support. */
export class Kvm extends System {
  private constructor(options: KvmOptions) {
    super(options, (host) => new VmXenSupport(host));
  }

  /** Opens the library's /dev/kvm: an engine, and the clock and timers that all its VMs share. */
  static open(options: KvmOptions): Promise<Kvm> {
    return Promise.resolve(new Kvm(options));
  }
}

export * from "../abi/kvm/index.js";
export type { CpuidEntry2 } from "../abi/x86/index.js";
export type { EngineFactory } from "../engine/bridge/port.js";
export { KvmError } from "./error.js";
export { EventFd } from "./event-fd.js";
export type { VcpuExit, VcpuExitIo, VcpuExitMmio, VcpuExitXen } from "./exits.js";
export type { IoapicState } from "./irq/ioapic.js";
export type { EventLoop } from "./run/event-loop.js";
export type { KvmOptions } from "./system.js";
export { Vcpu } from "./vcpu.js";
export { Vm } from "./vm.js";
export type * from "./xen-api.js";
