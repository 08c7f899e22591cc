import { TraceBy } from "../../ports/index.js";
import { Delivery, deliver, deliverFast } from "./delivery.js";
import type { Domain } from "./domain.js";
import type { VcpuDomain } from "./vcpu-domain.js";

/** What an absurd deadline of set_timer_op becomes: the time from now. */
const ABSURD_DELAY_NS = 100_000_000n;

/**
 * Arms the one-shot timer for an absolute kvmclock time; one in the past fires here.
 * `forSetTimerOp`: old Linux guests pass negative or far too late times, which become 100 ms.
 */
export function startTimer(
  domain: Domain,
  vcpu: VcpuDomain,
  expiresNs: bigint,
  forSetTimerOp: boolean,
): void {
  vcpu.timer?.cancel();
  vcpu.timer = undefined;
  vcpu.timerPending = false;
  const { clock } = domain.host;
  const now = clock.kvmclockNs();
  let expires = expiresNs;
  let delta = BigInt.asIntN(64, expires - now);
  if (forSetTimerOp && (BigInt.asIntN(64, expires) < 0n || (delta > 0n && delta >> 50n !== 0n))) {
    delta = ABSURD_DELAY_NS;
    expires = now + delta;
  }
  vcpu.timerExpires = expires;
  const { trace } = domain.host;
  if (trace !== undefined) trace.timerArmed(vcpu.host.id, TraceBy.KVM, vcpu.timerPort, expires);
  if (delta <= 0n) fire(domain, vcpu);
  else armTimer(domain, vcpu);
}

/** Disarms; a firing that was not delivered is forgotten. */
export function stopTimer(domain: Domain, vcpu: VcpuDomain): void {
  const { trace } = domain.host;
  if (trace !== undefined && vcpu.timerExpires !== 0n) {
    trace.timerStopped(vcpu.host.id, TraceBy.KVM, vcpu.timerPort);
  }
  vcpu.timer?.cancel();
  vcpu.timer = undefined;
  vcpu.timerExpires = 0n;
  vcpu.timerPending = false;
}

/** Delivers a firing that had to wait; whatever comes of it, the timer is done. */
export function deliverPendingTimer(domain: Domain, vcpu: VcpuDomain): void {
  if (!vcpu.timerPending) return;
  deliver(domain, vcpu.timerPort, vcpu.host.id);
  vcpu.timerExpires = 0n;
  vcpu.timerPending = false;
}

/** The expiry to report: a firing that waits is delivered first (attribute TIMER). */
export function readTimer(domain: Domain, vcpu: VcpuDomain): bigint {
  if (vcpu.timerExpires !== 0n) deliverPendingTimer(domain, vcpu);
  return vcpu.timerExpires;
}

/** Arms it for the time that it has. */
export function armTimer(domain: Domain, vcpu: VcpuDomain): void {
  const { clock } = domain.host;
  vcpu.timer = clock.timers.arm(clock.kvmclockToNs(vcpu.timerExpires), () => {
    vcpu.timer = undefined;
    fire(domain, vcpu);
  });
}

function fire(domain: Domain, vcpu: VcpuDomain): void {
  if (vcpu.timerPending) return;
  const result = deliverFast(domain, vcpu.timerPort, vcpu.host.id);
  const { trace } = domain.host;
  if (trace !== undefined) trace.timerFired(vcpu.host.id, TraceBy.KVM, vcpu.timerPort, result);
  if (result !== Delivery.WOULD_BLOCK) {
    vcpu.timerExpires = 0n;
    return;
  }
  vcpu.timerPending = true;
  vcpu.host.notify();
}
