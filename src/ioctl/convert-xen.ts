/** Between the unions of KVM's Xen attributes and the typed values of the library, for both sides of an ioctl. */
import type { KvmXenRunstate, kvm_xen_hvm_attr, kvm_xen_vcpu_attr } from "../kvm/index.js";

/** Members of an attribute of a VM, as read and as they can be written. */
export type HvmUnion = ReturnType<typeof kvm_xen_hvm_attr.decode>["u"];
export type HvmUnionIn = NonNullable<Parameters<typeof kvm_xen_hvm_attr.encode>[0]["u"]>;
/** Members of an attribute of a vCPU. */
export type VcpuUnion = ReturnType<typeof kvm_xen_vcpu_attr.decode>["u"];
export type VcpuUnionIn = NonNullable<Parameters<typeof kvm_xen_vcpu_attr.encode>[0]["u"]>;

export const runstateFromC = (c: VcpuUnion["runstate"]): KvmXenRunstate => ({
  state: c.state,
  stateEntryTime: c.state_entry_time,
  timeRunning: c.time_running,
  timeRunnable: c.time_runnable,
  timeBlocked: c.time_blocked,
  timeOffline: c.time_offline,
});

export const runstateToC = (runstate: KvmXenRunstate): VcpuUnion["runstate"] => ({
  state: runstate.state,
  state_entry_time: runstate.stateEntryTime,
  time_running: runstate.timeRunning,
  time_runnable: runstate.timeRunnable,
  time_blocked: runstate.timeBlocked,
  time_offline: runstate.timeOffline,
});
