/** The Xen side of a domain as it was made: for another kernel (kexec), or a restored one. */
import { KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL, KVM_XEN_INVALID } from "../../abi/kvm/index.js";
import { HvmParam } from "../../abi/xen/hvm.js";
import type { KvmXenVcpuAttr } from "../../kvm/api/index.js";
import type { Domain, DomainVcpu } from "./domain.js";
import { attempt } from "./kvm-objects.js";
import type { Rings } from "./rings.js";

/** What KVM knows of a vCPU's Xen areas and vectors when nothing is set up. */
const NOTHING: readonly KvmXenVcpuAttr[] = [
  { type: "VCPU_INFO", gpa: KVM_XEN_INVALID },
  { type: "VCPU_TIME_INFO", gpa: KVM_XEN_INVALID },
  { type: "RUNSTATE_ADDR", gpa: KVM_XEN_INVALID },
  { type: "UPCALL_VECTOR", vector: 0 },
  { type: "TIMER", port: 0, priority: KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL, expiresNs: 0n },
];

function resetVcpu(vcpu: DomainVcpu): void {
  vcpu.timers.close();
  vcpu.infoGpa = undefined;
  for (const attr of NOTHING) attempt(() => vcpu.kvm.xen.setAttr(attr));
}

/**
 * Takes back all that the running kernel has set up: event channels, vectors, timers, registered
 * areas, mapped pages, grants, watches and transactions. The processors' registers, the store's
 * nodes and what waits in the console ring stay. `memory`: whether what the balloon gave back
 * returns ("reset"), as another kernel needs it, which goes by a memory map that says it is there.
 */
export function softReset(domain: Domain, rings: Rings, memory: "reset" | "kept"): void {
  const { vm } = domain.config;
  domain.ports.reset();
  attempt(() => vm.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0 }));
  attempt(() => vm.xen.setAttr({ type: "RUNSTATE_UPDATE_FLAG", runstateUpdateFlag: false }));
  domain.params.delete(HvmParam.CALLBACK_IRQ);
  for (const vcpu of domain.vcpus.values()) resetVcpu(vcpu);
  domain.watchdogs.close();
  domain.sharedInfo.reset();
  domain.delivery.reset();
  domain.grantTable.reset();
  domain.grantTable.reserve(domain.config.consoleGfn, domain.config.xenstoreGfn);
  domain.physmap.uncover([domain.config.consoleGfn, domain.config.xenstoreGfn]);
  if (memory === "reset") domain.physmap.refill();
  rings.reset();
}
