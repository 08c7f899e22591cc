/** What Xen support knows of a VM that stands still, and how it is put back: for exact snapshots. */
import { Pvclock } from "../../abi/xen/pvclock.js";
import { VcpuInfo } from "../../abi/xen/vcpu-info.js";
import type { ArmLater } from "../../ports/index.js";
import type { XenAreaKept, XenKept, XenVcpuKept } from "../api/xen-kept.js";
import type { PfnCache } from "../memory/pfncache.js";
import type { Domain } from "./domain.js";
import { armPoll, startPoll } from "./poll.js";
import { armTimer } from "./timer.js";
import { setTscLeaves } from "./tsc-leaves.js";
import type { VcpuDomain } from "./vcpu-domain.js";

export function readXen(domain: Domain): XenKept {
  const { longMode, upcallVector, runstateUpdateFlag } = domain;
  return { longMode, upcallVector, runstateUpdateFlag, vcpus: domain.vcpus.map(readVcpu) };
}

/** A page that was given by its place in linear memory is the client's to give again. */
const areaOf = (cache: PfnCache): XenAreaKept | undefined =>
  cache.gpa === undefined ? undefined : { gpa: cache.gpa, isFresh: cache.check(1) };

function readVcpu(vcpu: VcpuDomain): XenVcpuKept {
  const { runstate } = vcpu;
  return {
    vcpuInfo: areaOf(vcpu.vcpuInfo),
    timeInfo: areaOf(vcpu.timeInfo),
    runstate1: areaOf(vcpu.runstate1),
    runstate2: areaOf(vcpu.runstate2),
    runstate: { ...runstate, times: [...runstate.times] },
    xenId: vcpu.xenId,
    upcallVector: vcpu.upcallVector,
    shadowLow: vcpu.shadowLow >>> 0,
    shadowHigh: vcpu.shadowHigh >>> 0,
    timerPort: vcpu.timerPort,
    timerExpires: vcpu.timerExpires,
    timerPending: vcpu.timerPending,
    timer: vcpu.timer === undefined ? undefined : (vcpu.timer.order ?? 0),
    poll: vcpu.isPolling
      ? {
          port: vcpu.pollPort,
          deadlineNs: vcpu.pollTimer === undefined ? undefined : vcpu.pollDeadlineNs,
          timer: vcpu.pollTimer?.order ?? 0,
        }
      : undefined,
    tscLeavesSet: vcpu.tscLeavesSet,
  };
}

/** Puts it back; memory slots are there. Nothing is written to guest memory, and nobody is told. */
export function writeXen(domain: Domain, kept: XenKept, later: ArmLater): void {
  domain.longMode = kept.longMode;
  domain.upcallVector = kept.upcallVector;
  domain.runstateUpdateFlag = kept.runstateUpdateFlag;
  for (const [i, vcpu] of domain.vcpus.entries()) {
    const state = kept.vcpus[i];
    if (state !== undefined) writeVcpu(domain, vcpu, state, later);
  }
}

function putArea(cache: PfnCache, area: XenAreaKept | undefined, length: number): void {
  if (area === undefined) return;
  const room = 0x1000 - Number(area.gpa & 0xfffn);
  cache.activate(area.gpa, Math.min(length, room));
  if (!area.isFresh) cache.expire();
}

function writeVcpu(domain: Domain, vcpu: VcpuDomain, kept: XenVcpuKept, later: ArmLater): void {
  putArea(vcpu.vcpuInfo, kept.vcpuInfo, VcpuInfo.SIZE);
  putArea(vcpu.timeInfo, kept.timeInfo, Pvclock.SIZE);
  putArea(vcpu.runstate1, kept.runstate1, 1);
  putArea(vcpu.runstate2, kept.runstate2, 1);
  Object.assign(vcpu.runstate, kept.runstate, { times: [...kept.runstate.times] });
  const { xenId, upcallVector, shadowLow, shadowHigh } = kept;
  Object.assign(vcpu, { xenId, upcallVector, shadowLow, shadowHigh });
  if (kept.tscLeavesSet) setTscLeaves(vcpu, domain.host.clock.pvclock(0n, false));
  const { timerPort, timerExpires, timerPending, timer, poll } = kept;
  Object.assign(vcpu, { timerPort, timerExpires, timerPending });
  if (timer !== undefined) later(timer, () => armTimer(domain, vcpu));
  if (poll === undefined) return;
  startPoll(vcpu, poll.port ?? -1);
  vcpu.pollPort = poll.port;
  const { deadlineNs } = poll;
  if (deadlineNs !== undefined) later(poll.timer, () => armPoll(domain, vcpu, deadlineNs));
}
