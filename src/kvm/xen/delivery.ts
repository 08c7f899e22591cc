import { VcpuInfo } from "../../abi/xen/vcpu-info.js";
import { type ApicId, Errno, type EvtchnPort, PAGE_SIZE } from "../../base/index.js";
import type { Domain } from "./domain.js";
import type { VcpuDomain } from "./vcpu-domain.js";

/** Result of a delivery: 1 delivered, 0 was pending already, or a negative errno. */
export const Delivery = {
  DELIVERED: 1,
  COALESCED: 0,
  MASKED: -Errno.ENOTCONN,
  WOULD_BLOCK: -Errno.EAGAIN,
  INVALID: -Errno.EINVAL,
} as const;

function testAndSet(view: DataView, base: number, bit: number): boolean {
  const at = base + (bit >> 3);
  const old = view.getUint8(at);
  view.setUint8(at, old | (1 << (bit & 7)));
  return ((old >> (bit & 7)) & 1) !== 0;
}

function orInto(view: DataView, at: number, bits: number): void {
  view.setUint32(at, view.getUint32(at, true) | bits, true);
}

const testBit = (view: DataView, base: number, bit: number): boolean =>
  ((view.getUint8(base + (bit >> 3)) >> (bit & 7)) & 1) !== 0;

/** Whether a port's pending bit is set; `undefined` when shared_info is not at hand. */
export function isPending(domain: Domain, port: EvtchnPort): boolean | undefined {
  if (!domain.sharedInfo.check(PAGE_SIZE)) return undefined;
  return testBit(domain.view, domain.sharedInfo.hva + domain.layout.evtchnPending, port);
}

/**
 * Raises a port of a vCPU (2-level event channels) without renewing translations: the part of
 * delivery that may run where the kernel cannot sleep.
 * @returns one of {@link Delivery}.
 */
export function deliverFast(domain: Domain, port: EvtchnPort, vcpuId: ApicId): number {
  const result = raise(domain, port, vcpuId);
  const { trace } = domain.host;
  if (trace !== undefined) trace.delivered(vcpuId, port, result);
  return result;
}

function raise(domain: Domain, port: EvtchnPort, vcpuId: ApicId): number {
  const vcpu = domain.vcpuById(vcpuId);
  if (vcpu === undefined) return Delivery.INVALID;
  const layout = domain.layout;
  if (port >= layout.ports) return Delivery.INVALID;
  const cache = domain.sharedInfo;
  if (!cache.check(PAGE_SIZE)) return Delivery.WOULD_BLOCK;
  const { view } = domain;
  if (testAndSet(view, cache.hva + layout.evtchnPending, port)) return Delivery.COALESCED;
  cache.noteWrite(layout.evtchnPending + (port >> 3), 1);
  if (testBit(view, cache.hva + layout.evtchnMask, port)) {
    wakePoller(vcpu, port);
    return Delivery.MASKED;
  }
  select(domain, vcpu, layout.selectorBits === 64 ? port >> 6 : port >> 5);
  return Delivery.DELIVERED;
}

/** As {@link deliverFast}, renewing the translation of shared_info as often as it takes. */
export function deliver(domain: Domain, port: EvtchnPort, vcpuId: ApicId): number {
  for (;;) {
    const result = deliverFast(domain, port, vcpuId);
    if (result !== Delivery.WOULD_BLOCK) return result;
    const failed = domain.sharedInfo.refresh(PAGE_SIZE);
    if (failed !== undefined) return -Errno[failed];
  }
}

/** Notes a selector bit in vcpu_info, or in the shadow when that is not at hand, and notifies. */
function select(domain: Domain, vcpu: VcpuDomain, word: number): void {
  const info = vcpu.vcpuInfo;
  if (!info.check(VcpuInfo.SIZE)) {
    if (setShadow(vcpu, word)) vcpu.host.notify();
    return;
  }
  const { view } = domain;
  const selector = domain.longMode
    ? VcpuInfo.EVTCHN_PENDING_SEL_64
    : VcpuInfo.EVTCHN_PENDING_SEL_COMPAT;
  if (testAndSet(view, info.hva + selector, word)) return;
  view.setUint8(info.hva + VcpuInfo.EVTCHN_UPCALL_PENDING, 1);
  info.noteWrite(0, VcpuInfo.TIME);
  if (vcpu.upcallVector !== 0) vcpu.host.sendToLapic(vcpu.upcallVector);
  else vcpu.host.notify();
}

/** Sets a bit of the shadow selector; false when it was set. */
function setShadow(vcpu: VcpuDomain, word: number): boolean {
  const { shadowLow, shadowHigh } = vcpu;
  if (word < 32) vcpu.shadowLow = shadowLow | (1 << word);
  else vcpu.shadowHigh = shadowHigh | (1 << (word - 32));
  return vcpu.shadowLow !== shadowLow || vcpu.shadowHigh !== shadowHigh;
}

function wakePoller(vcpu: VcpuDomain, port: EvtchnPort): void {
  if (vcpu.pollPort !== port && vcpu.pollPort !== -1) return;
  vcpu.pollPort = undefined;
  vcpu.host.notify();
}

/** Moves the shadow selector into vcpu_info; what cannot be moved stays for the next time. */
export function deliverShadow(domain: Domain, vcpu: VcpuDomain): void {
  if ((vcpu.shadowLow | vcpu.shadowHigh) === 0) return;
  const info = vcpu.vcpuInfo;
  if (!info.check(VcpuInfo.SIZE) && info.refresh(VcpuInfo.SIZE) !== undefined) return;
  const { view } = domain;
  if (domain.longMode) {
    orInto(view, info.hva + VcpuInfo.EVTCHN_PENDING_SEL_64, vcpu.shadowLow);
    orInto(view, info.hva + VcpuInfo.EVTCHN_PENDING_SEL_64 + 4, vcpu.shadowHigh);
    vcpu.shadowHigh = 0;
  } else orInto(view, info.hva + VcpuInfo.EVTCHN_PENDING_SEL_COMPAT, vcpu.shadowLow);
  vcpu.shadowLow = 0;
  view.setUint8(info.hva + VcpuInfo.EVTCHN_UPCALL_PENDING, 1);
  info.noteWrite(0, VcpuInfo.TIME);
  info.markDirty();
  if (vcpu.upcallVector !== 0) vcpu.host.sendToLapic(vcpu.upcallVector);
}

/** Whether `evtchn_upcall_pending` is set; renews the translation of vcpu_info. */
export function upcallPending(domain: Domain, vcpu: VcpuDomain): boolean {
  const info = vcpu.vcpuInfo;
  if (!info.check(VcpuInfo.SIZE) && info.refresh(VcpuInfo.SIZE) !== undefined) return false;
  return domain.view.getUint8(info.hva + VcpuInfo.EVTCHN_UPCALL_PENDING) !== 0;
}
