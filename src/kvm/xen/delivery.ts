import { VcpuInfo } from "../../abi/xen/vcpu-info.js";
import { Errno, PAGE_SIZE } from "../../base/index.js";
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

const testBit = (view: DataView, base: number, bit: number): boolean =>
  ((view.getUint8(base + (bit >> 3)) >> (bit & 7)) & 1) !== 0;

/** Whether a port's pending bit is set; `undefined` when shared_info is not at hand. */
export function isPending(domain: Domain, port: number): boolean | undefined {
  if (!domain.sharedInfo.check(PAGE_SIZE)) return undefined;
  return testBit(domain.view, domain.sharedInfo.hva + domain.layout.evtchnPending, port);
}

/**
 * Raises a port of a vCPU (2-level event channels) without renewing translations: the part of
 * delivery that may run where the kernel cannot sleep.
 * @returns one of {@link Delivery}.
 */
export function deliverFast(domain: Domain, port: number, vcpuId: number): number {
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
  select(domain, vcpu, Math.floor(port / layout.selectorBits));
  return Delivery.DELIVERED;
}

/** As {@link deliverFast}, renewing the translation of shared_info as often as it takes. */
export function deliver(domain: Domain, port: number, vcpuId: number): number {
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
    const bit = 1n << BigInt(word);
    const fresh = (vcpu.shadowSelector & bit) === 0n;
    vcpu.shadowSelector |= bit;
    if (fresh) vcpu.host.notify();
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

function wakePoller(vcpu: VcpuDomain, port: number): void {
  if (vcpu.pollPort !== port && vcpu.pollPort !== -1) return;
  vcpu.pollPort = undefined;
  vcpu.host.notify();
}

/** Moves the shadow selector into vcpu_info; what cannot be moved stays for the next time. */
export function deliverShadow(domain: Domain, vcpu: VcpuDomain): void {
  if (vcpu.shadowSelector === 0n) return;
  const info = vcpu.vcpuInfo;
  if (!info.check(VcpuInfo.SIZE) && info.refresh(VcpuInfo.SIZE) !== undefined) return;
  const { view } = domain;
  if (domain.longMode) {
    const at = info.hva + VcpuInfo.EVTCHN_PENDING_SEL_64;
    view.setBigUint64(at, view.getBigUint64(at, true) | vcpu.shadowSelector, true);
    vcpu.shadowSelector = 0n;
  } else {
    const at = info.hva + VcpuInfo.EVTCHN_PENDING_SEL_COMPAT;
    const bits = Number(vcpu.shadowSelector & 0xffffffffn);
    view.setUint32(at, (view.getUint32(at, true) | bits) >>> 0, true);
    vcpu.shadowSelector &= ~0xffffffffn;
  }
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
