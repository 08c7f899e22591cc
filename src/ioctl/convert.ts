/** Between C structures and the typed values of the library, where they differ. */
import { Fxsave } from "../abi/x86/index.js";
import {
  KVM_SREGS2_FLAGS_PDPTRS_VALID,
  type KvmIrqRoutingEntry,
  type KvmSegment,
  type KvmSregs,
  type KvmVcpuEvents,
  type kvm_fpu,
  type kvm_irq_routing_entry,
  type kvm_segment,
  type kvm_sregs,
  type kvm_vcpu_events,
} from "../kvm/index.js";
import { refuse } from "./argument.js";

type Decoded<S extends { decode(bytes: Uint8Array): unknown }> = ReturnType<S["decode"]>;

const bit = (value: boolean): number => (value ? 1 : 0);

function segmentFromC(c: Decoded<typeof kvm_segment>): KvmSegment {
  return {
    base: c.base,
    limit: c.limit,
    selector: c.selector,
    type: c.type,
    present: c.present !== 0,
    dpl: c.dpl,
    db: c.db !== 0,
    s: c.s !== 0,
    l: c.l !== 0,
    g: c.g !== 0,
    avl: c.avl !== 0,
    unusable: c.unusable !== 0,
  };
}

function segmentToC(segment: KvmSegment) {
  return {
    base: segment.base,
    limit: segment.limit,
    selector: segment.selector,
    type: segment.type,
    present: bit(segment.present),
    dpl: segment.dpl,
    db: bit(segment.db),
    s: bit(segment.s),
    l: bit(segment.l),
    g: bit(segment.g),
    avl: bit(segment.avl),
    unusable: bit(segment.unusable),
  };
}

type SystemRegisters = Omit<Decoded<typeof kvm_sregs>, "interrupt_bitmap">;

/** The part that `kvm_sregs` and `kvm_sregs2` share, with the interrupt that waits. */
export function sregsFromC(c: SystemRegisters, bitmap: readonly bigint[]): KvmSregs {
  return {
    cs: segmentFromC(c.cs),
    ds: segmentFromC(c.ds),
    es: segmentFromC(c.es),
    fs: segmentFromC(c.fs),
    gs: segmentFromC(c.gs),
    ss: segmentFromC(c.ss),
    tr: segmentFromC(c.tr),
    ldt: segmentFromC(c.ldt),
    gdt: { base: c.gdt.base, limit: c.gdt.limit },
    idt: { base: c.idt.base, limit: c.idt.limit },
    cr0: c.cr0,
    cr2: c.cr2,
    cr3: c.cr3,
    cr4: c.cr4,
    cr8: c.cr8,
    efer: c.efer,
    apicBase: c.apic_base,
    interruptBitmap: [bitmap[0] ?? 0n, bitmap[1] ?? 0n, bitmap[2] ?? 0n, bitmap[3] ?? 0n],
  };
}

/**
 * As {@link sregsFromC}, the other way: all that either structure has. Copying it into an object with more
 * fields takes longer than all the rest of the call.
 */
export function sregsToC(sregs: KvmSregs, pdptrs?: readonly bigint[]) {
  return {
    cs: segmentToC(sregs.cs),
    ds: segmentToC(sregs.ds),
    es: segmentToC(sregs.es),
    fs: segmentToC(sregs.fs),
    gs: segmentToC(sregs.gs),
    ss: segmentToC(sregs.ss),
    tr: segmentToC(sregs.tr),
    ldt: segmentToC(sregs.ldt),
    gdt: sregs.gdt,
    idt: sregs.idt,
    cr0: sregs.cr0,
    cr2: sregs.cr2,
    cr3: sregs.cr3,
    cr4: sregs.cr4,
    cr8: sregs.cr8,
    efer: sregs.efer,
    apic_base: sregs.apicBase,
    interrupt_bitmap: sregs.interruptBitmap,
    flags: pdptrs === undefined ? 0n : KVM_SREGS2_FLAGS_PDPTRS_VALID,
    pdptrs,
  };
}

/** `kvm_vcpu_events` to its typed form. Parts that a flag turns on are checked by the callee. */
export function eventsFromC(c: Decoded<typeof kvm_vcpu_events>): KvmVcpuEvents {
  return {
    exception: {
      injected: c.exception.injected !== 0,
      nr: c.exception.nr,
      hasErrorCode: c.exception.has_error_code !== 0,
      errorCode: c.exception.error_code,
      pending: c.exception.pending !== 0,
      payload: c.exception_has_payload !== 0 ? c.exception_payload : undefined,
      idlePayload: c.exception_payload,
    },
    interrupt: {
      injected: c.interrupt.injected !== 0,
      nr: c.interrupt.nr,
      soft: c.interrupt.soft !== 0,
      shadow: c.interrupt.shadow,
    },
    nmi: {
      injected: c.nmi.injected !== 0,
      pending: c.nmi.pending,
      masked: c.nmi.masked !== 0,
    },
    sipiVector: c.sipi_vector,
    smi: {
      smm: c.smi.smm !== 0,
      pending: c.smi.pending !== 0,
      smmInsideNmi: c.smi.smm_inside_nmi !== 0,
      latchedInit: c.smi.latched_init !== 0,
    },
    tripleFaultPending: c.triple_fault.pending !== 0,
    flags: c.flags,
  };
}

/** As {@link eventsFromC}, the other way. */
export function eventsToC(events: KvmVcpuEvents) {
  const { exception, interrupt, nmi, smi } = events;
  return {
    exception: {
      injected: bit(exception.injected),
      nr: exception.nr,
      has_error_code: bit(exception.hasErrorCode),
      error_code: exception.errorCode,
      pending: bit(exception.pending ?? false),
    },
    exception_has_payload: bit(exception.payload !== undefined),
    exception_payload: exception.payload ?? exception.idlePayload ?? 0n,
    interrupt: {
      injected: bit(interrupt.injected),
      nr: interrupt.nr,
      soft: bit(interrupt.soft),
      shadow: interrupt.shadow,
    },
    nmi: { injected: bit(nmi.injected), pending: nmi.pending, masked: bit(nmi.masked) },
    sipi_vector: events.sipiVector,
    smi: {
      smm: bit(smi?.smm ?? false),
      pending: bit(smi?.pending ?? false),
      smm_inside_nmi: bit(smi?.smmInsideNmi ?? false),
      latched_init: bit(smi?.latchedInit ?? false),
    },
    triple_fault: { pending: bit(events.tripleFaultPending ?? false) },
    flags: events.flags,
  };
}

/** `kvm_fpu` from an FXSAVE image. MXCSR is not part of it: Linux leaves the field 0. */
export function fpuToC(image: Uint8Array) {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  return {
    fpr: image.subarray(Fxsave.ST, Fxsave.ST + 128),
    fcw: view.getUint16(Fxsave.FCW, true),
    fsw: view.getUint16(Fxsave.FSW, true),
    ftwx: view.getUint8(Fxsave.FTW),
    last_opcode: view.getUint16(Fxsave.FOP, true),
    last_ip: view.getBigUint64(Fxsave.FIP, true),
    last_dp: view.getBigUint64(Fxsave.FDP, true),
    xmm: image.subarray(Fxsave.XMM, Fxsave.XMM + 256),
  };
}

/** An FXSAVE image with the fields of `kvm_fpu` put in; the rest, MXCSR too, stays. */
export function fpuFromC(c: Decoded<typeof kvm_fpu>, image: Uint8Array): Uint8Array {
  const result = image.slice();
  const view = new DataView(result.buffer);
  result.set(c.fpr, Fxsave.ST);
  view.setUint16(Fxsave.FCW, c.fcw, true);
  view.setUint16(Fxsave.FSW, c.fsw, true);
  view.setUint8(Fxsave.FTW, c.ftwx);
  view.setUint16(Fxsave.FOP, c.last_opcode, true);
  view.setBigUint64(Fxsave.FIP, c.last_ip, true);
  view.setBigUint64(Fxsave.FDP, c.last_dp, true);
  result.set(c.xmm, Fxsave.XMM);
  return result;
}

/** A routing entry. @throws KvmError EINVAL for types that this library does not have. */
export function routeFromC(c: Decoded<typeof kvm_irq_routing_entry>): KvmIrqRoutingEntry {
  const { gsi, flags, u } = c;
  switch (c.type) {
    case 1:
      return { gsi, flags, type: "IRQCHIP", irqchip: u.irqchip.irqchip, pin: u.irqchip.pin };
    case 2:
      return {
        gsi,
        // The device id that bit 0 announces means nothing on x86.
        flags: flags & ~1,
        type: "MSI",
        addressLo: u.msi.address_lo,
        addressHi: u.msi.address_hi,
        data: u.msi.data,
      };
    case 5:
      return { gsi, flags, type: "XEN_EVTCHN", ...u.xen_evtchn };
    default:
      return refuse("EINVAL", "routing entry type");
  }
}
