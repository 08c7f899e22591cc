import { type Gva, gva } from "../base/index.js";
import {
  KVM_GET_CPUID2,
  KVM_GET_DEBUGREGS,
  KVM_GET_FPU,
  KVM_GET_LAPIC,
  KVM_GET_MP_STATE,
  KVM_GET_MSRS,
  KVM_GET_REGS,
  KVM_GET_SREGS,
  KVM_GET_SUPPORTED_HV_CPUID,
  KVM_GET_VCPU_EVENTS,
  KVM_GET_XCRS,
  KVM_GET_XSAVE,
  KVM_GET_XSAVE2,
  KVM_INTERRUPT,
  KVM_NMI,
  KVM_SET_CPUID,
  KVM_SET_CPUID2,
  KVM_SET_DEBUGREGS,
  KVM_SET_FPU,
  KVM_SET_LAPIC,
  KVM_SET_MP_STATE,
  KVM_SET_MSRS,
  KVM_SET_REGS,
  KVM_SET_SIGNAL_MASK,
  KVM_SET_SREGS,
  KVM_SET_VAPIC_ADDR,
  KVM_SET_VCPU_EVENTS,
  KVM_SET_XCRS,
  KVM_SET_XSAVE,
  KVM_TPR_ACCESS_REPORTING,
  KVM_TRANSLATE,
  kvm_debugregs,
  kvm_fpu,
  kvm_interrupt,
  kvm_lapic_state,
  kvm_mp_state,
  kvm_regs,
  kvm_signal_mask,
  kvm_sregs,
  kvm_tpr_access_ctl,
  kvm_translation,
  kvm_vapic_addr,
  kvm_vcpu_events,
  kvm_xcrs,
  kvm_xsave,
} from "../kvm/index.js";
import { type Argument, refuse } from "./argument.js";
import { eventsFromC, eventsToC, fpuFromC, fpuToC, sregsFromC, sregsToC } from "./convert.js";
import { readCpuid, readCpuid2, readMsrRequest, replyCpuid, writeCpuid2 } from "./lists.js";
import { raw, reads, type Table, takes, updates, writes } from "./table.js";
import type { VcpuContext } from "./vcpu-context.js";

/** Bytes of the kernel's signal set. */
const SIGSET_BYTES = 8;

/** SIGKILL and SIGSTOP cannot be blocked. */
const UNBLOCKABLE = (1n << 8n) | (1n << 18n);

function getMsrs({ vcpu }: VcpuContext, arg: Argument): number {
  const { entries, write } = readMsrRequest(arg);
  const values = vcpu.getMsrs(entries.map(({ index }) => index));
  write(values);
  return values.length;
}

function setSignalMask(context: VcpuContext, arg: Argument): void {
  if (arg.isNull) {
    context.signalMask = undefined;
    return;
  }
  const { len } = kvm_signal_mask.decode(arg.read(kvm_signal_mask.size));
  if (len !== SIGSET_BYTES) refuse("EINVAL", "signal set size");
  const set = arg.read(SIGSET_BYTES, kvm_signal_mask.size);
  context.signalMask = new DataView(set.buffer).getBigUint64(0, true) & ~UNBLOCKABLE;
}

function getLapic({ vcpu }: VcpuContext, arg: Argument): void {
  arg.write(vcpu.getLapic());
}

function setLapic({ vcpu }: VcpuContext, arg: Argument): void {
  // That there is a local APIC is checked before the argument is read.
  vcpu.getLapic();
  vcpu.setLapic(arg.read(kvm_lapic_state.size));
}

function setVapicAddr({ vcpu }: VcpuContext, arg: Argument): void {
  // That there is a local APIC is checked before the argument is read.
  vcpu.getLapic();
  vcpu.setVapicAddr(kvm_vapic_addr.decode(arg.read(kvm_vapic_addr.size)).vapic_addr);
}

function reportTpr<T extends { enabled: number; flags: number }>({ vcpu }: VcpuContext, c: T): T {
  if (c.flags !== 0) refuse("EINVAL", "TPR access reporting flags");
  vcpu.tprAccessReporting = c.enabled !== 0;
  return c;
}

function translate({ vcpu }: VcpuContext, address: Gva) {
  const physical = vcpu.translate(address);
  return {
    linear_address: address,
    physical_address: physical === undefined ? 0xffffffffffffffffn : BigInt(physical),
    valid: physical === undefined ? 0 : 1,
    writeable: 1,
    usermode: 0,
  };
}

function setXcrs({ vcpu }: VcpuContext, c: ReturnType<typeof kvm_xcrs.decode>): void {
  if (c.nr_xcrs > 16 || c.flags !== 0) refuse("EINVAL", "XCRs");
  const xcr0 = c.xcrs.slice(0, c.nr_xcrs).find(({ xcr }) => xcr === 0);
  if (xcr0 !== undefined) vcpu.setXcr0(xcr0.value);
}

/** Registers. */
const registerRows: Table<VcpuContext> = new Map([
  writes(KVM_GET_REGS, "KVM_GET_REGS", kvm_regs, ({ vcpu }: VcpuContext) => vcpu.getRegs()),
  reads(KVM_SET_REGS, "KVM_SET_REGS", kvm_regs, ({ vcpu }, regs) => vcpu.setRegs(regs)),
  writes(KVM_GET_SREGS, "KVM_GET_SREGS", kvm_sregs, ({ vcpu }) => sregsToC(vcpu.getSregs())),
  reads(KVM_SET_SREGS, "KVM_SET_SREGS", kvm_sregs, ({ vcpu }, c) =>
    vcpu.setSregs(sregsFromC(c, c.interrupt_bitmap)),
  ),
  writes(KVM_GET_FPU, "KVM_GET_FPU", kvm_fpu, ({ vcpu }) => fpuToC(vcpu.getFpu())),
  reads(KVM_SET_FPU, "KVM_SET_FPU", kvm_fpu, ({ vcpu }, c) =>
    vcpu.setFpu(fpuFromC(c, vcpu.getFpu())),
  ),
  raw(KVM_GET_XSAVE, "KVM_GET_XSAVE", ({ vcpu }, arg) => arg.write(vcpu.getXsave())),
  raw(KVM_GET_XSAVE2, "KVM_GET_XSAVE2", ({ vcpu }, arg) => arg.write(vcpu.getXsave())),
  raw(KVM_SET_XSAVE, "KVM_SET_XSAVE", ({ vcpu }, arg) => vcpu.setXsave(arg.read(kvm_xsave.size))),
  writes(KVM_GET_XCRS, "KVM_GET_XCRS", kvm_xcrs, ({ vcpu }) => ({
    nr_xcrs: 1,
    xcrs: [{ xcr: 0, value: vcpu.getXcr0() }],
  })),
  reads(KVM_SET_XCRS, "KVM_SET_XCRS", kvm_xcrs, setXcrs),
  writes(KVM_GET_DEBUGREGS, "KVM_GET_DEBUGREGS", kvm_debugregs, ({ vcpu }) => vcpu.getDebugregs()),
  reads(KVM_SET_DEBUGREGS, "KVM_SET_DEBUGREGS", kvm_debugregs, ({ vcpu }, c) => {
    if (c.flags !== 0n) refuse("EINVAL", "debug register flags");
    const [db0 = 0n, db1 = 0n, db2 = 0n, db3 = 0n] = c.db;
    vcpu.setDebugregs({ db: [db0, db1, db2, db3], dr6: c.dr6, dr7: c.dr7 });
  }),
  raw(KVM_GET_MSRS, "KVM_GET_MSRS", getMsrs),
  raw(KVM_SET_MSRS, "KVM_SET_MSRS", ({ vcpu }, arg) => vcpu.setMsrs(readMsrRequest(arg).entries)),
]);

/** CPUID, events, and the rest. */
const eventRows: Table<VcpuContext> = new Map([
  raw(KVM_SET_CPUID, "KVM_SET_CPUID", ({ vcpu }: VcpuContext, arg) =>
    vcpu.setCpuid2(readCpuid(arg)),
  ),
  raw(KVM_SET_CPUID2, "KVM_SET_CPUID2", ({ vcpu }, arg) => vcpu.setCpuid2(readCpuid2(arg))),
  raw(KVM_GET_CPUID2, "KVM_GET_CPUID2", ({ vcpu }, arg) => writeCpuid2(arg, vcpu.getCpuid2())),
  raw(KVM_GET_SUPPORTED_HV_CPUID, "KVM_GET_SUPPORTED_HV_CPUID", ({ vcpu }, arg) =>
    replyCpuid(arg, vcpu.getSupportedHvCpuid(), false),
  ),
  writes(KVM_GET_MP_STATE, "KVM_GET_MP_STATE", kvm_mp_state, ({ vcpu }) => ({
    mp_state: vcpu.getMpState(),
  })),
  reads(KVM_SET_MP_STATE, "KVM_SET_MP_STATE", kvm_mp_state, ({ vcpu }, { mp_state }) =>
    vcpu.setMpState(mp_state),
  ),
  raw(KVM_GET_LAPIC, "KVM_GET_LAPIC", getLapic),
  raw(KVM_SET_VAPIC_ADDR, "KVM_SET_VAPIC_ADDR", setVapicAddr),
  updates(KVM_TPR_ACCESS_REPORTING, "KVM_TPR_ACCESS_REPORTING", kvm_tpr_access_ctl, reportTpr),
  raw(KVM_SET_LAPIC, "KVM_SET_LAPIC", setLapic),
  writes(KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS", kvm_vcpu_events, ({ vcpu }) =>
    eventsToC(vcpu.getVcpuEvents()),
  ),
  reads(KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", kvm_vcpu_events, ({ vcpu }, c) =>
    vcpu.setVcpuEvents(eventsFromC(c)),
  ),
  reads(KVM_INTERRUPT, "KVM_INTERRUPT", kvm_interrupt, ({ vcpu }, { irq }) => vcpu.interrupt(irq)),
  takes(KVM_NMI, "KVM_NMI", ({ vcpu }) => vcpu.nmi()),
  updates(KVM_TRANSLATE, "KVM_TRANSLATE", kvm_translation, (context, { linear_address }) =>
    translate(context, gva(linear_address)),
  ),
  raw(KVM_SET_SIGNAL_MASK, "KVM_SET_SIGNAL_MASK", setSignalMask),
]);

/** ioctls of a vCPU, KVM_RUN apart. */
export const vcpuRows: Table<VcpuContext> = new Map([...registerRows, ...eventRows]);
