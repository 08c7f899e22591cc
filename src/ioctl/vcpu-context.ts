import type { Vcpu } from "../kvm/index.js";
import type { VmContext } from "./vm-context.js";

/** What the ioctls of a vCPU work on. */
export interface VcpuContext {
  readonly vcpu: Vcpu;
  readonly vm: VmContext;
  /** KVM_SET_SIGNAL_MASK: the signals that are blocked while it runs; undefined when not set. */
  signalMask: bigint | undefined;
}
