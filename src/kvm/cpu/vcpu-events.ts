import { KvmMpState, KvmVcpuEvent, type KvmVcpuEvents } from "../../abi/kvm/index.js";
import { Exception } from "../../abi/x86/index.js";
import { refuse } from "../error.js";
import { maskNmis } from "../run/nmi.js";
import type { VcpuState } from "../vcpu-state.js";

const KNOWN_FLAGS = Object.values(KvmVcpuEvent).reduce((all, bit) => all | bit, 0);

/** Only one NMI waits while they are blocked or one is being injected; what came beyond that is lost. */
export function limitNmis(vcpu: VcpuState): void {
  vcpu.nmi.pending = Math.min(vcpu.nmi.pending, nmiLimit(vcpu));
}

function nmiLimit(vcpu: VcpuState): number {
  return vcpu.nmi.masked || vcpu.nmi.injected ? 1 : 2;
}

/** KVM_GET_VCPU_EVENTS. */
export function readEvents(vcpu: VcpuState): KvmVcpuEvents {
  const { settings } = vcpu.env;
  if (!settings.exceptionPayload) deliverPayload(vcpu);
  limitNmis(vcpu);
  const exception = vcpu.shownException;
  const pending = exception.isShown && exception.pending;
  // Clients that do not know of payloads see both kinds as one.
  const injected = exception.isShown && (!pending || !settings.exceptionPayload);
  const flags = KvmVcpuEvent.VALID_NMI_PENDING | KvmVcpuEvent.VALID_SHADOW | KvmVcpuEvent.VALID_SMM;
  return {
    exception: {
      injected,
      nr: exception.vector,
      hasErrorCode: exception.hasErrorCode,
      errorCode: exception.errorCode,
      pending,
      payload: exception.hasPayload ? exception.payload : undefined,
      idlePayload: exception.payload,
    },
    interrupt: {
      injected: vcpu.interrupts.queued >= 0 && !vcpu.interrupts.queuedSoft,
      nr: vcpu.interrupts.queued >= 0 ? vcpu.interrupts.queued : vcpu.interrupts.last,
      soft: false,
      shadow: vcpu.engine.interruptShadow === 0 ? 0 : SHADOW_SHOWN,
    },
    nmi: {
      injected: vcpu.nmi.injected,
      pending: vcpu.nmi.pending,
      masked: vcpu.nmi.masked,
    },
    sipiVector: 0,
    smi: { smm: false, pending: false, smmInsideNmi: false, latchedInit: vcpu.mp.initPending },
    tripleFaultPending: settings.tripleFaultEvent && vcpu.tripleFault,
    flags:
      flags |
      (settings.exceptionPayload ? KvmVcpuEvent.VALID_PAYLOAD : 0) |
      (settings.tripleFaultEvent ? KvmVcpuEvent.VALID_TRIPLE_FAULT : 0),
  };
}

/** AMD processors do not say why: KVM shows both STI's and MOV SS's bit. */
const SHADOW_SHOWN = 3;

/**
 * KVM_SET_VCPU_EVENTS.
 * @throws KvmError EINVAL unknown flags, flags of what is not enabled, an exception that does not
 *   exist; and, with everything else done, for system management mode.
 */
export function writeEvents(vcpu: VcpuState, events: KvmVcpuEvents): void {
  const { settings } = vcpu.env;
  const { exception, interrupt, nmi, flags, smi } = events;
  if ((flags & ~KNOWN_FLAGS) !== 0) refuse("EINVAL", "event flags");
  const withPayload = (flags & KvmVcpuEvent.VALID_PAYLOAD) !== 0;
  if (withPayload && !settings.exceptionPayload) refuse("EINVAL", "payloads are not enabled");
  const pending = withPayload && exception.pending === true;
  const injected = exception.injected && !pending;
  if ((injected || pending) && (exception.nr > 31 || exception.nr === Exception.NMI)) {
    refuse("EINVAL", "exception number");
  }
  const withSmm = (flags & KvmVcpuEvent.VALID_SMM) !== 0;
  const inInit = vcpu.mp.state === KvmMpState.INIT_RECEIVED;
  if (withSmm && (smi?.smm || smi?.pending) && inInit) refuse("EINVAL", "SMM and INIT");
  // NMIs that came since then are counted under what masked them so far.
  limitNmis(vcpu);
  Object.assign(vcpu.shownException, {
    pending,
    injected,
    vector: exception.nr,
    hasErrorCode: exception.hasErrorCode,
    errorCode: exception.errorCode,
    hasPayload: pending && exception.payload !== undefined,
    payload: exception.payload ?? exception.idlePayload ?? 0n,
  });
  vcpu.interrupts.queued = interrupt.injected ? interrupt.nr & 0xff : -1;
  vcpu.interrupts.queuedSoft = interrupt.soft;
  vcpu.interrupts.last = interrupt.nr & 0xff;
  if ((flags & KvmVcpuEvent.VALID_SHADOW) !== 0) {
    vcpu.engine.interruptShadow = interrupt.shadow === 0 ? 0 : (interrupt.shadow & 1) !== 0 ? 1 : 2;
  }
  vcpu.nmi.injected = nmi.injected;
  maskNmis(vcpu, nmi.masked);
  if ((flags & KvmVcpuEvent.VALID_NMI_PENDING) !== 0) {
    vcpu.nmi.pending = Math.min(nmi.pending, nmiLimit(vcpu));
    if (nmi.pending > 0) vcpu.nmi.requested = true;
  }
  if ((flags & KvmVcpuEvent.VALID_SIPI_VECTOR) !== 0 && vcpu.lapic !== undefined) {
    vcpu.mp.sipiVector = events.sipiVector & 0xff;
  }
  if (withSmm) {
    if (smi?.smm || smi?.pending) refuse("EINVAL", "there is no SMM");
    if (vcpu.lapic !== undefined) vcpu.mp.initPending = smi?.latchedInit === true;
  }
  if ((flags & KvmVcpuEvent.VALID_TRIPLE_FAULT) !== 0) {
    if (!settings.tripleFaultEvent) {
      refuse("EINVAL", "triple fault events are not enabled");
    }
    vcpu.tripleFault = events.tripleFaultPending === true;
  }
  // Only now: what was set before a refusal waits for a look that something else asks for.
  vcpu.tpr.eventRequested = true;
  vcpu.env.scheduler.wake();
}

/** DR6: the conditions that a #DB reports anew; bits that are fixed or low when active; no bit. */
const DR6_TRAPS = 0xfn;
const DR6_ACTIVE_LOW = 0xffff0ff0n;
const DR6_NONE = 0x1000n;

/** A pending exception's payload goes to DR6 (#DB) or CR2 (#PF); the exception keeps waiting. */
export function deliverPayload(vcpu: VcpuState): void {
  const { engine, exception } = vcpu;
  if (!exception.pending || !exception.hasPayload) return;
  const { payload } = exception;
  if (exception.vector === Exception.DB) {
    const reported = (engine.dr(6) & ~DR6_TRAPS) | DR6_ACTIVE_LOW | payload;
    const dr6 = (reported ^ (payload & DR6_ACTIVE_LOW)) & ~DR6_NONE;
    engine.setDr(6, BigInt.asUintN(64, dr6));
  } else if (exception.vector === Exception.PF) engine.cr2 = payload;
  exception.noPayload();
}
