import { Pvclock } from "../../abi/xen/pvclock.js";
import { RUNSTATE_64, RUNSTATE_COMPAT } from "../../abi/xen/runstate.js";
import { VcpuInfo } from "../../abi/xen/vcpu-info.js";
import { PAGE_SIZE } from "../../base/index.js";
import type { SharedAreaView, XenVcpuView, XenVmView } from "../api/xen-view.js";
import type { PfnCache } from "../memory/pfncache.js";
import type { Domain } from "./domain.js";
import type { VcpuDomain } from "./vcpu-domain.js";

/** What this VM's Xen support knows now. `mpStates`: of the vCPUs, in the order of creation. */
export function viewOf(domain: Domain, mpStates: readonly number[]): XenVmView {
  const { clock } = domain.host;
  return {
    time: clock.nowNs(),
    kvmclock: clock.kvmclockNs(),
    flags: domain.flags,
    hypercallMsr: domain.msr,
    longMode: domain.longMode,
    upcallVector: domain.upcallVector,
    xenVersion: domain.xenVersion,
    runstateUpdateFlag: domain.runstateUpdateFlag,
    sharedInfo: area(domain, domain.sharedInfo, PAGE_SIZE),
    evtchns: domain.evtchns.list(),
    vcpus: domain.vcpus.map((vcpu, at) => vcpuView(domain, vcpu, mpStates[at] ?? 0)),
  };
}

function vcpuView(domain: Domain, vcpu: VcpuDomain, mpState: number): XenVcpuView {
  const { runstate } = vcpu;
  const { size } = domain.longMode ? RUNSTATE_64 : RUNSTATE_COMPAT;
  return {
    id: vcpu.host.id,
    xenId: vcpu.xenId,
    mpState,
    vcpuInfo: area(domain, vcpu.vcpuInfo, VcpuInfo.SIZE),
    timeInfo: area(domain, vcpu.timeInfo, Pvclock.SIZE),
    runstateArea: area(domain, vcpu.runstate1, size),
    runstate: {
      state: runstate.current,
      entryTime: runstate.entryTime,
      times: [...runstate.times],
    },
    upcallVector: vcpu.upcallVector,
    timer: { port: vcpu.timerPort, expires: vcpu.timerExpires, pending: vcpu.timerPending },
    shadowSelector: (BigInt(vcpu.shadowHigh >>> 0) << 32n) | BigInt(vcpu.shadowLow >>> 0),
    pollPort: vcpu.pollPort,
  };
}

/** A translation that would have to be renewed is left alone: its bytes are looked for anew. */
function area(domain: Domain, cache: PfnCache, size: number): SharedAreaView | undefined {
  if (!cache.active) return undefined;
  const { gpa, givenHva } = cache;
  if (cache.check(size)) {
    const { hva } = cache;
    return { gpa, hva: givenHva, bytes: domain.host.slots.linear.u8.slice(hva, hva + size) };
  }
  const isInPage = gpa !== undefined && Number(gpa & 0xfffn) + size <= PAGE_SIZE;
  const bytes = isInPage ? domain.host.access.read(Number(gpa), size) : undefined;
  return { gpa, hva: givenHva, bytes };
}
