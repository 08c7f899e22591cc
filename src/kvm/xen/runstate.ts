import { KVM_XEN_INVALID } from "../../abi/kvm/index.js";
import {
  RUNSTATE_64,
  RUNSTATE_COMPAT,
  Runstate,
  type RunstateLayout,
  XEN_RUNSTATE_UPDATE,
} from "../../abi/xen/runstate.js";
import { PAGE_SIZE } from "../../base/index.js";
import type { KvmXenRunstate } from "../api/xen.js";
import { refuse } from "../error.js";
import type { Domain } from "./domain.js";
import type { VcpuDomain } from "./vcpu-domain.js";

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

const layoutOf = (domain: Domain): RunstateLayout =>
  domain.longMode ? RUNSTATE_64 : RUNSTATE_COMPAT;

/** Accounts the time since the last transition and enters a state. */
export function enterState(domain: Domain, vcpu: VcpuDomain, state: number): void {
  const { runstate } = vcpu;
  const now = domain.host.clock.kvmclockNs();
  const delay = vcpu.host.runDelayNs();
  let delta = u64(now - runstate.entryTime);
  // Before its first transition a vCPU was offline, since the beginning of time.
  if (runstate.entryTime === 0n) runstate.current = Runstate.OFFLINE;
  if (runstate.current === Runstate.RUNNING) {
    const stolen = u64(delay - runstate.lastSteal);
    delta = u64(delta - stolen);
    runstate.times[Runstate.RUNNABLE] = u64(runstate.times[Runstate.RUNNABLE] + stolen);
  }
  runstate.lastSteal = delay;
  const { trace } = domain.host;
  if (trace !== undefined) trace.runstate(vcpu.host.id, runstate.current, state);
  const current = runstate.current as 0 | 1 | 2 | 3;
  runstate.times[current] = u64(runstate.times[current] + delta);
  runstate.current = state;
  runstate.entryTime = now;
  if (vcpu.runstate1.active) writeGuest(domain, vcpu, state === Runstate.RUNNABLE);
}

/** Attribute RUNSTATE_ADDR. @throws KvmError EFAULT; the area is off then. */
export function setAddress(domain: Domain, vcpu: VcpuDomain, gpa: bigint): void {
  const off = (): void => {
    vcpu.runstate1.deactivate();
    vcpu.runstate2.deactivate();
  };
  if (gpa === KVM_XEN_INVALID) {
    off();
    return;
  }
  const first = PAGE_SIZE - Number(gpa & 0xfffn);
  let failed = vcpu.runstate1.activate(gpa, first);
  const { size } = layoutOf(domain);
  if (failed === undefined) {
    if (first >= size) vcpu.runstate2.deactivate();
    else failed = vcpu.runstate2.activate(u64(gpa + BigInt(first)), size - first);
  }
  if (failed !== undefined) {
    off();
    refuse(failed, "runstate area");
  }
  writeGuest(domain, vcpu, false);
}

const sum = (data: KvmXenRunstate): bigint =>
  u64(data.timeRunning + data.timeRunnable + data.timeBlocked + data.timeOffline);

/** Attribute RUNSTATE_CURRENT. @throws KvmError EINVAL. */
export function setCurrent(domain: Domain, vcpu: VcpuDomain, state: bigint): void {
  if (state > BigInt(Runstate.OFFLINE)) refuse("EINVAL", "runstate");
  enterState(domain, vcpu, Number(state));
}

/** Attribute RUNSTATE_DATA: replaces the account; guest memory is left alone. @throws KvmError EINVAL. */
export function setData(domain: Domain, vcpu: VcpuDomain, data: KvmXenRunstate): void {
  if (data.state > BigInt(Runstate.OFFLINE)) refuse("EINVAL", "runstate");
  if (data.stateEntryTime !== sum(data)) refuse("EINVAL", "runstate times do not add up");
  if (domain.host.clock.kvmclockNs() < data.stateEntryTime) refuse("EINVAL", "runstate time");
  const { runstate } = vcpu;
  runstate.current = Number(data.state);
  runstate.entryTime = data.stateEntryTime;
  runstate.times[0] = data.timeRunning;
  runstate.times[1] = data.timeRunnable;
  runstate.times[2] = data.timeBlocked;
  runstate.times[3] = data.timeOffline;
  runstate.lastSteal = vcpu.host.runDelayNs();
}

/** Attribute RUNSTATE_ADJUST: adds to the account. @throws KvmError EINVAL. */
export function adjust(domain: Domain, vcpu: VcpuDomain, data: KvmXenRunstate): void {
  const keep = data.state === KVM_XEN_INVALID;
  if (data.state > BigInt(Runstate.OFFLINE) && !keep) refuse("EINVAL", "runstate");
  if (data.stateEntryTime !== sum(data)) refuse("EINVAL", "runstate times do not add up");
  const { runstate } = vcpu;
  const entry = u64(runstate.entryTime + data.stateEntryTime);
  if (domain.host.clock.kvmclockNs() < entry) refuse("EINVAL", "runstate time");
  runstate.entryTime = entry;
  runstate.times[0] = u64(runstate.times[0] + data.timeRunning);
  runstate.times[1] = u64(runstate.times[1] + data.timeRunnable);
  runstate.times[2] = u64(runstate.times[2] + data.timeBlocked);
  runstate.times[3] = u64(runstate.times[3] + data.timeOffline);
  if (!keep) enterState(domain, vcpu, Number(data.state));
  else if (vcpu.runstate1.active) writeGuest(domain, vcpu, false);
}

/**
 * Copies the account to the guest. `atomic`: where the kernel may not sleep; then nothing is
 * written when a translation would have to be renewed.
 */
function writeGuest(domain: Domain, vcpu: VcpuDomain, atomic: boolean): void {
  const layout = layoutOf(domain);
  const first = vcpu.runstate1;
  const room = PAGE_SIZE - first.pageOffset;
  const length1 = Math.min(layout.size, room);
  const length2 = layout.size - length1;
  if (!first.check(length1)) {
    if (atomic || first.refresh(length1) !== undefined) return;
  }
  const second = vcpu.runstate2;
  if (length2 > 0 && !second.check(length2)) {
    // Activated here when the guest grew into the second page by going to 64 bits.
    const gpa = first.gpa;
    if (atomic || gpa === undefined) return;
    if (second.activate(gpa + BigInt(length1), length2) !== undefined) return;
  }
  writeImage(domain, vcpu, layout, length1);
  if (length2 > 0) {
    second.noteWrite(0, length2);
    second.markDirty();
  }
  first.noteWrite(0, length1);
  first.markDirty();
}

function writeImage(
  domain: Domain,
  vcpu: VcpuDomain,
  layout: RunstateLayout,
  length1: number,
): void {
  const { view } = domain;
  const { runstate } = vcpu;
  const image = new Uint8Array(layout.size);
  const out = new DataView(image.buffer);
  const updating = domain.runstateUpdateFlag;
  const entry = updating ? runstate.entryTime | XEN_RUNSTATE_UPDATE : runstate.entryTime;
  out.setUint32(layout.state, runstate.current, true);
  out.setBigUint64(layout.stateEntryTime, entry, true);
  for (let i = 0; i < 4; i++) {
    out.setBigUint64(layout.time + i * 8, runstate.times[i as 0 | 1 | 2 | 3], true);
  }
  const at = (offset: number): number =>
    offset < length1 ? vcpu.runstate1.hva + offset : vcpu.runstate2.hva + offset - length1;
  const flagByte = at(layout.stateEntryTime + 7);
  // The flag goes up before the rest changes and down after: readers retry meanwhile.
  if (updating) view.setUint8(flagByte, Number(entry >> 56n));
  const split = length1 < layout.size;
  for (let offset = 0; offset < layout.size; offset++) {
    // In one page the padding of the 64-bit layout stays as it is; across two it becomes zero.
    if (!split && offset >= 4 && offset < layout.stateEntryTime) continue;
    view.setUint8(at(offset), image[offset] as number);
  }
  if (updating) view.setUint8(flagByte, Number((entry & ~XEN_RUNSTATE_UPDATE) >> 56n));
}
