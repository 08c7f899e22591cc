import {
  KvmCap,
  type KvmDebugregs,
  KvmGuestDbg,
  type KvmGuestDebug,
  KvmMpState,
  type KvmMsrEntry,
  type KvmRegs,
  type KvmSregs,
  type KvmVcpuEvents,
  type KvmX86Mce,
} from "../abi/kvm/index.js";
import { ApicReg, type CpuidEntry2, Cr0, Cr4, Efer, Exception, Rflags } from "../abi/x86/index.js";
import { type ApicId, assert, type Gpa, type Gva, type VcpuIndex } from "../base/index.js";
import type { VcpuApi, VcpuBeyondKvm, VcpuExit, VcpuXen } from "./api/index.js";
import { TSC_KHZ, tscKhzFits } from "./cpu/clock.js";
import { sameTable } from "./cpu/cpuid.js";
import { supportedHvCpuid } from "./cpu/hyperv.js";
import {
  canEnter,
  readPdptrs,
  readRegs,
  readSregs,
  validSregs,
  writeRegs,
  writeSregs,
} from "./cpu/regs.js";
import { deliverPayload, readEvents, writeEvents } from "./cpu/vcpu-events.js";
import { ALL_MARKED, loadFpu, readXsave, writeFxsave, writeXsave } from "./cpu/xsave.js";
import { refuse } from "./error.js";
import type { TprAccess } from "./irq/tpr-sync.js";
import type { LinuxRules } from "./linux.js";
import { begin } from "./run/finish.js";
import { beforeClientWrite } from "./run/in-flight.js";
import { keepStep, visibleFlags } from "./run/nmi.js";
import type { Statistic } from "./stats.js";
import type { VcpuState } from "./vcpu-state.js";

/** Takes the exit of a run() that has no promise yet: the caller finds it in `pendingExit`. */
const beforePromise = (): void => undefined;

/**
 * CR8 has four bits; KVM_SET_SREGS ignores more.
 * @nolimit the register has four bits
 */
const MAX_CR8 = 15n;

const { AP_RESET_HOLD } = KvmMpState;

/** A virtual processor: what `ioctl` on a vCPU file descriptor does, with types. */
export class Vcpu implements VcpuApi, VcpuBeyondKvm {
  /** Creation order in the VM. */
  readonly index: VcpuIndex;
  /** KVM vcpu_id: the local APIC id. */
  readonly id: ApicId;
  /** KVM_XEN_VCPU_SET_ATTR and GET_ATTR. */
  readonly xen: VcpuXen;
  readonly #state: VcpuState;
  /** The run() that is under way, or was last. */
  #running: Promise<VcpuExit> | undefined;

  constructor(state: VcpuState) {
    this.#state = state;
    this.index = state.index;
    this.id = state.id;
    this.xen = state.xen.api;
  }

  /** What the release of Linux that is followed does. */
  get linux(): LinuxRules {
    return this.#state.env.linux;
  }

  /**
   * KVM_RUN: completes the last exit and executes until the next one. A vCPU that halts or waits
   * for its STARTUP message does so inside, as long as there is an in-kernel local APIC.
   * Rejects only when this library has a defect; the VM is stopped then.
   */
  run(): Promise<VcpuExit> {
    try {
      const exit = this.runNow();
      return exit instanceof Promise ? exit : Promise.resolve(exit);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * As {@link run}, but an exit that comes at once is returned as it is. That happens when the client
   * has just handled the last exit of this vCPU and the vCPU's slice is not over. Throws where
   * run() rejects.
   */
  runNow(): VcpuExit | Promise<VcpuExit> {
    const state = this.#state;
    if (state.resolve !== undefined) {
      // As with the kernel's lock of the vCPU: who comes second waits for the first to leave.
      assert(this.#running !== undefined, "Vcpu.run: called from inside of its own turn");
      return this.#running.then(() => this.run());
    }
    state.hasRun = true;
    if (state.fpuMarked !== ALL_MARKED) loadFpu(state);
    const next = begin(state);
    if (next !== undefined) return next;
    state.resolve = beforePromise;
    const turn = state.env.scheduler.again(state);
    return turn === "exited" ? (state.pending.exit as VcpuExit) : this.#wait(turn === undefined);
  }

  #wait(isNew: boolean): Promise<VcpuExit> {
    const state = this.#state;
    this.#running = new Promise((resolve, reject) => {
      state.resolve = resolve;
      state.reject = reject;
      if (isNew) state.env.scheduler.add(state);
    });
    return this.#running;
  }

  /**
   * Counts work that the client did for this vCPU, such as the hypercall of its last exit: it uses up
   * the slice of the vCPU as instructions do, so that other vCPUs, timers and the host have their
   * turn in time, and under a virtual clock each unit is a nanosecond. A unit stands for at most about a
   * microsecond; see SLICE in run/scheduler.ts.
   */
  charge(work: number): void {
    const { env } = this.#state;
    env.clock.clock.virtual?.advance(work);
    env.scheduler.charge(this.#state, work);
  }

  /** Makes a run() that is under way resolve with "intr" at its next chance; else does nothing. */
  kick(): void {
    const state = this.#state;
    if (state.resolve === undefined) return;
    state.kicked = true;
    state.env.scheduler.wake();
  }

  /**
   * How long the client's thread has waited for a processor, nanoseconds. It counts as stolen from
   * the guest: Xen's runnable time, KVM's steal time.
   */
  set hostRunDelay(delayNs: () => bigint) {
    this.#state.thread.hostRunDelay = delayNs;
  }

  /** `kvm_run.immediate_exit`: run() only completes the last exit. */
  get immediateExit(): boolean {
    return this.#state.immediateExit;
  }
  set immediateExit(value: boolean) {
    this.#state.immediateExit = value;
  }

  /** `kvm_run.request_interrupt_window`, for VMs without an in-kernel PIC. */
  set requestInterruptWindow(value: boolean) {
    this.#state.interrupts.requestInterruptWindow = value;
  }

  /** `kvm_run.ready_for_interrupt_injection`: always with the PIC in the kernel. */
  get readyForInterruptInjection(): boolean {
    return this.#state.interrupts.readyForInjection;
  }

  /** `kvm_run.cr8`: the task priority. Setting it is for VMs without an in-kernel local APIC. */
  get cr8(): number {
    return this.#state.engine.cr8;
  }
  set cr8(value: number) {
    this.#state.engine.cr8 = value;
    this.#state.tpr.lastCr8 = value;
  }

  /** `kvm_run.apic_base`: IA32_APIC_BASE. */
  get apicBase(): bigint {
    return this.#state.apicBase;
  }

  /** Instructions retired since the vCPU was made. */
  get instructions(): number {
    return this.#state.instructions;
  }

  /** KVM_GET_REGS. */
  getRegs(): KvmRegs {
    const regs = { ...readRegs(this.#state.engine), rflags: visibleFlags(this.#state) };
    if (this.#state.debug.singleStep) regs.rflags &= ~Rflags.TF;
    return regs;
  }

  /** KVM_SET_REGS. */
  setRegs(regs: KvmRegs): void {
    const state = this.#state;
    beforeClientWrite(state, "regs");
    // An exception whose delivery was interrupted stays.
    state.exception.pending = false;
    writeRegs(state.engine, regs);
    if (state.debug.setsTf(state.linearRip())) state.engine.rflags |= Rflags.TF;
    keepStep(state);
    state.tpr.eventRequested = true;
  }

  /** KVM_GET_SREGS. */
  getSregs(): KvmSregs {
    const state = this.#state;
    const bitmap: [bigint, bigint, bigint, bigint] = [0n, 0n, 0n, 0n];
    const waiting = state.interrupts.queued;
    if (waiting >= 0 && !state.interrupts.queuedSoft)
      bitmap[waiting >> 6] = 1n << BigInt(waiting & 63);
    return readSregs(state.engine, state.apicBase, bitmap);
  }

  /** KVM_SET_SREGS. @throws KvmError EINVAL for registers that cannot be entered together. */
  setSregs(sregs: KvmSregs): void {
    const state = this.#state;
    this.#putSregs(sregs);
    const waiting = sregs.interruptBitmap.findIndex((word) => word !== 0n);
    if (waiting < 0) return;
    const word = sregs.interruptBitmap[waiting] as bigint;
    let bit = 0;
    while (((word >> BigInt(bit)) & 1n) === 0n) bit++;
    state.interrupts.queue(waiting * 64 + bit);
  }

  /**
   * KVM_GET_SREGS2: with the page directory pointers that PAE paging uses, which this library
   * reads from memory when CR3 is loaded. Undefined in other modes.
   */
  getPdptrs(): readonly [bigint, bigint, bigint, bigint] | undefined {
    return readPdptrs(this.#state.engine, this.#state.env.access);
  }

  /**
   * KVM_SET_SREGS2: without the waiting interrupt. `pdptrs` are only there with PAE paging; they
   * are taken from memory all the same. @throws KvmError EINVAL as {@link setSregs}, or for pdptrs
   * in another mode.
   */
  setSregs2(sregs: KvmSregs, pdptrs?: readonly bigint[]): void {
    const pae = (sregs.cr0 & Cr0.PG) !== 0n && (sregs.cr4 & Cr4.PAE) !== 0n;
    const legacy = pae && (sregs.efer & Efer.LMA) === 0n;
    if (pdptrs !== undefined && !legacy) refuse("EINVAL", "PDPTRs without PAE paging");
    this.#putSregs(sregs);
  }

  #putSregs(sregs: KvmSregs): void {
    const state = this.#state;
    if (!validSregs(sregs, state.cpuid)) refuse("EINVAL", "control registers");
    if (!state.setApicBase(sregs.apicBase, true)) refuse("EINVAL", "IA32_APIC_BASE");
    beforeClientWrite(state, "sregs");
    writeSregs(state.engine, sregs);
    state.badState = !canEnter(sregs);
    if (sregs.cr8 <= MAX_CR8) {
      state.engine.cr8 = Number(sregs.cr8);
      state.tpr.lastCr8 = state.engine.cr8;
      state.lapic?.setCr8(state.engine.cr8);
    }
    // A client that resets a halted boot processor need not set its MP state.
    const atReset = state.engine.rip === 0xfff0n && sregs.cs.base === 0xffff0000n;
    if (state.isBsp && atReset && sregs.cs.selector === 0xf000 && (sregs.cr0 & Cr0.PE) === 0n) {
      state.mp.state = KvmMpState.RUNNABLE;
    }
  }

  /** KVM_GET_MSRS: the values up to the first index that is not known. */
  getMsrs(indices: readonly number[]): KvmMsrEntry[] {
    const entries: KvmMsrEntry[] = [];
    for (const index of indices) {
      const data = this.#state.msrs.read(index >>> 0, true);
      if (data === undefined) break;
      entries.push({ index, data });
    }
    return entries;
  }

  /** KVM_SET_MSRS: sets in order up to the first that is refused; returns how many were set. */
  setMsrs(entries: readonly KvmMsrEntry[]): number {
    let done = 0;
    for (const { index, data } of entries) {
      if (!this.#state.msrs.write(index >>> 0, BigInt.asUintN(64, data), true)) break;
      done++;
    }
    return done;
  }

  /**
   * KVM_SET_CPUID2: replaces the CPUID table.
   * @throws KvmError E2BIG; EINVAL for a bad address width, or another table after the first run().
   */
  setCpuid2(entries: readonly CpuidEntry2[]): void {
    const state = this.#state;
    if (state.hasRun && !sameTable(entries, state.cpuid.get(state.cpuidState), state.cpuidState)) {
      refuse("EINVAL", "CPUID cannot change after the vCPU ran");
    }
    state.cpuid.set(entries);
    state.engine.hide(state.cpuid.hidden);
    if (state.cpuid.hasModel) state.lapic?.setFeatures(state.cpuid);
  }

  /** KVM_SET_CPUID: as {@link setCpuid2}, for entries without an index. */
  setCpuid(entries: readonly Omit<CpuidEntry2, "index" | "flags">[]): void {
    this.setCpuid2(entries.map((entry) => ({ ...entry, index: 0, flags: 0 })));
  }

  /** KVM_GET_CPUID2. */
  getCpuid2(): CpuidEntry2[] {
    return this.#state.cpuid.get(this.#state.cpuidState);
  }

  /** KVM_GET_SUPPORTED_HV_CPUID of a vCPU: the same as the system's. */
  getSupportedHvCpuid(): CpuidEntry2[] {
    return supportedHvCpuid();
  }

  /** KVM_GET_MP_STATE. INIT and STARTUP messages that wait for a run() are processed first. */
  getMpState(): number {
    const state = this.#state;
    state.acceptApicEvents();
    return state.mp.isHalted && state.mp.unhalted ? KvmMpState.RUNNABLE : state.mp.state;
  }

  /** KVM_SET_MP_STATE. @throws KvmError EINVAL without a local APIC unless RUNNABLE, or unknown. */
  setMpState(mpState: number): void {
    const state = this.#state;
    if (mpState > KvmMpState.SIPI_RECEIVED && mpState !== AP_RESET_HOLD) {
      refuse("EINVAL", "MP state");
    }
    if (state.lapic === undefined && mpState !== KvmMpState.RUNNABLE) refuse("EINVAL", "MP state");
    if (mpState === KvmMpState.SIPI_RECEIVED) {
      state.mp.state = KvmMpState.INIT_RECEIVED;
      state.mp.sipiPending = true;
    } else state.mp.state = mpState;
    state.tpr.eventRequested = true;
    state.env.scheduler.wake();
  }

  /** KVM_GET_LAPIC: 1024 bytes. @throws KvmError EINVAL without a local APIC. */
  getLapic(): Uint8Array {
    const { lapic, env } = this.#state;
    const image = (lapic ?? refuse("EINVAL", "no local APIC in the kernel")).save();
    if (env.settings.x2apicFormat && lapic?.x2apic) put32(image, ApicReg.ID, this.id);
    return image;
  }

  /**
   * KVM_SET_LAPIC. @throws KvmError EINVAL without a local APIC, fewer than 1024 bytes, or, with
   * 32-bit ids enabled, another id than the vCPU's.
   */
  setLapic(image: Uint8Array): void {
    const { lapic, env } = this.#state;
    if (lapic === undefined) refuse("EINVAL", "no local APIC in the kernel");
    if (image.length < 1024) refuse("EINVAL", "local APIC image");
    if (env.settings.x2apicFormat && lapic.x2apic && get32(image, ApicReg.ID) !== this.id) {
      refuse("EINVAL", "x2APIC id");
    }
    lapic.restore(image);
  }

  /**
   * KVM_SET_VAPIC_ADDR: the guest shares its task priority with the local APIC in the u32 at `address`
   * (guest-physical); 0 ends that. @throws KvmError EINVAL without a local APIC, or without memory there.
   */
  setVapicAddr(address: bigint): void {
    const { lapic, tpr } = this.#state;
    if (lapic === undefined) refuse("EINVAL", "no local APIC in the kernel");
    if (!tpr.setAddress(address)) refuse("EINVAL", "no memory for the VAPIC");
  }

  /** KVM_TPR_ACCESS_REPORTING: run() resolves with "tpr-access" behind every access to the TPR. */
  set tprAccessReporting(enabled: boolean) {
    this.#state.tpr.reporting = enabled;
  }

  /** `kvm_run.tpr_access`: the access that was noted since it was asked for last, reported or not. */
  takeTprAccess(): TprAccess | undefined {
    return this.#state.tpr.takeUnseen();
  }

  /**
   * What the last hypercall of KVM's own interface leaves in `kvm_run.hypercall.ret`, once; undefined when there
   * was none, and in releases that leave nothing.
   */
  takeHypercallResult(): bigint | undefined {
    const result = this.#state.pending.hypercallResult;
    this.#state.pending.hypercallResult = undefined;
    return result;
  }

  /** KVM_GET_VCPU_EVENTS. */
  getVcpuEvents(): KvmVcpuEvents {
    return readEvents(this.#state);
  }

  /** KVM_SET_VCPU_EVENTS. @throws KvmError EINVAL: see {@link writeEvents}. */
  setVcpuEvents(events: KvmVcpuEvents): void {
    writeEvents(this.#state, events);
  }

  /** KVM_GET_FPU: the 512-byte FXSAVE image. */
  getFpu(): Uint8Array {
    return this.#state.engine.fpu();
  }

  /** KVM_SET_FPU: a 512-byte FXSAVE image. Before the first run it is lost, as in Linux. @throws KvmError EINVAL: MXCSR. */
  setFpu(image: Uint8Array): void {
    writeFxsave(this.#state, image);
  }

  /** KVM_GET_XSAVE and KVM_GET_XSAVE2: 4096 bytes, standard form, x87 and SSE. */
  getXsave(): Uint8Array {
    return readXsave(this.#state);
  }

  /** KVM_SET_XSAVE. @throws KvmError EINVAL for components that are not supported, bad headers. */
  setXsave(area: Uint8Array): void {
    writeXsave(this.#state, area);
  }

  /** KVM_GET_XCRS: XCR0. */
  getXcr0(): bigint {
    return this.#state.engine.xcr0;
  }

  /** KVM_SET_XCRS. @throws KvmError EINVAL without x87, or with more than CPUID leaf 0xd names. */
  setXcr0(value: bigint): void {
    const allowed = this.#state.cpuid.xcr0 | 1n;
    if ((value & 1n) === 0n || (value & ~allowed) !== 0n) refuse("EINVAL", "XCR0");
    this.#state.engine.xcr0 = value;
  }

  /** KVM_GET_DEBUGREGS. */
  getDebugregs(): KvmDebugregs {
    const { engine, env } = this.#state;
    if (!env.settings.exceptionPayload) deliverPayload(this.#state);
    return {
      db: [engine.dr(0), engine.dr(1), engine.dr(2), engine.dr(3)],
      dr6: engine.dr(6),
      dr7: engine.dr(7),
    };
  }

  /** KVM_SET_DEBUGREGS. @throws KvmError EINVAL for upper halves of DR6 or DR7. */
  setDebugregs(regs: KvmDebugregs): void {
    if (regs.dr6 >> 32n !== 0n || regs.dr7 >> 32n !== 0n) refuse("EINVAL", "debug registers");
    const { engine } = this.#state;
    for (const [i, value] of regs.db.entries()) engine.setDr(i, value);
    engine.setDr(6, regs.dr6);
    engine.setDr(7, regs.dr7);
  }

  /**
   * KVM_INTERRUPT: queues an external interrupt, for VMs whose PIC is the client's.
   * @throws KvmError EINVAL above 255; ENXIO with an in-kernel PIC; EEXIST when one waits already.
   */
  interrupt(vector: number): void {
    const state = this.#state;
    if (vector < 0 || vector > 255) refuse("EINVAL", "interrupt vector");
    if (state.lapic === undefined) {
      state.interrupts.queue(vector);
      return;
    }
    if (state.env.irqchip === "kernel") refuse("ENXIO", "the PIC is in the kernel");
    if (state.interrupts.user >= 0) refuse("EEXIST", "interrupt waits");
    state.interrupts.user = vector;
    state.notify();
  }

  /** KVM_NMI. */
  nmi(): void {
    this.#state.raiseNmi();
  }

  /** KVM_X86_SETUP_MCE: MCG_CAP. @throws KvmError EINVAL banks or bits that do not exist. */
  setupMce(mcgCap: bigint): void {
    this.#state.msrs.mce.setUp(mcgCap);
  }

  /** KVM_X86_SET_MCE: an error in a machine check bank. @throws KvmError EINVAL bank or status. */
  setMce(mce: KvmX86Mce): void {
    const state = this.#state;
    const outcome = state.msrs.mce.raise(mce, (state.engine.cr4 & Cr4.MCE) !== 0n);
    if (outcome === "exception") state.queueException(Exception.MC, undefined);
    else if (outcome === "triple-fault") state.tripleFault = true;
    state.env.scheduler.wake();
  }

  /** KVM_SET_GUEST_DEBUG. @throws KvmError EBUSY when an exception to inject is in the way. */
  setGuestDebug(request: KvmGuestDebug): void {
    const state = this.#state;
    const inject = request.control & (KvmGuestDbg.INJECT_DB | KvmGuestDbg.INJECT_BP);
    if (inject !== 0) {
      if (state.exception.pending) refuse("EBUSY", "an exception waits");
      const db = (inject & KvmGuestDbg.INJECT_DB) !== 0;
      state.queueException(db ? Exception.DB : Exception.BP, undefined);
    }
    const { debug, engine } = state;
    // TF of steps before this call goes, the guest's own stays.
    const shown = visibleFlags(state);
    const flags = debug.singleStep ? shown & ~Rflags.TF : shown;
    debug.set(request);
    debug.startAt(state.linearRip());
    engine.rflags = debug.singleStep ? flags | Rflags.TF : flags;
    keepStep(state);
    state.tpr.eventRequested = true;
    engine.watch(debug.addresses, debug.dr7InForce);
  }

  /** KVM_KVMCLOCK_CTRL: tells the guest it was stopped. @throws KvmError EINVAL without kvmclock. */
  kvmclockCtrl(): void {
    const state = this.#state;
    if (!state.time.areas.hasClock) refuse("EINVAL", "no kvmclock area");
    state.time.clockStopped = true;
    state.time.clockUpdate = true;
  }

  /** KVM_GET_TSC_KHZ. */
  get tscKhz(): number {
    return this.#state.time.tscKhz;
  }

  /**
   * KVM_SET_TSC_KHZ; 0 means the host's. @throws KvmError EINVAL: there is no scaling, so only
   * frequencies within 250 ppm of the host's are taken.
   */
  setTscKhz(khz: number): void {
    const wanted = khz === 0 ? TSC_KHZ : khz;
    if (!tscKhzFits(wanted)) refuse("EINVAL", "no TSC scaling");
    this.#state.time.tscKhz = wanted;
  }

  /** Attribute KVM_VCPU_TSC_OFFSET of group KVM_VCPU_TSC_CTRL: guest minus host TSC, u64. */
  get tscOffset(): bigint {
    return BigInt.asUintN(64, this.#state.engine.tscOffset);
  }
  set tscOffset(offset: bigint) {
    this.#state.time.setTscOffset(offset);
  }

  /**
   * KVM_ENABLE_CAP on the vCPU: ENFORCE_PV_FEATURE_CPUID.
   * @throws KvmError EINVAL for others; Linux also has those of Hyper-V.
   */
  enableCap(cap: number, args: readonly (number | bigint)[] = []): void {
    if (cap !== KvmCap.ENFORCE_PV_FEATURE_CPUID) refuse("EINVAL", "capability of a vCPU");
    this.#state.cpuid.enforcePvFeatures = BigInt(args[0] ?? 0) !== 0n;
  }

  /**
   * KVM_PRE_FAULT_MEMORY: nothing has to be prepared, but the range is checked.
   * @returns the bytes at its start that have memory. @throws KvmError EINVAL; for none ENOENT, or
   *   EFAULT where the client cannot access it.
   */
  preFaultMemory(range: { gpa: bigint; size: bigint; flags: bigint }): bigint {
    const { gpa, size, flags } = range;
    if (flags !== 0n) refuse("EINVAL", "flags");
    const unaligned = ((gpa | size) & 0xfffn) !== 0n;
    if (unaligned || size === 0n || gpa + size >= 1n << 64n) refuse("EINVAL", "range");
    const { slots } = this.#state.env;
    const done = slots.backedBytes(gpa, size);
    if (done === 0n) {
      const isSlot = gpa < 1n << 52n && slots.find(Number(gpa >> 12n)) !== undefined;
      refuse(isSlot ? "EFAULT" : "ENOENT", "no memory");
    }
    return done;
  }

  /** KVM_GET_STATS_FD: what was counted. */
  statistics(): Statistic[] {
    const { stats, mp, resolve } = this.#state;
    return stats.list(mp.state === KvmMpState.HALTED && resolve !== undefined);
  }

  /** KVM_TRANSLATE: the address behind a virtual one, undefined when not mapped; `any`: whatever SMAP forbids. */
  translate(address: Gva, any = false): Gpa | undefined {
    const at = this.#state.engine.translate(address, "read", 0);
    return at ?? (any ? this.#state.engine.translate(address, "read", 3) : undefined);
  }

  /** `kvm_run.if_flag`: RFLAGS.IF. */
  get interruptFlag(): boolean {
    return (this.#state.engine.rflags & Rflags.IF) !== 0n;
  }
}

const get32 = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);

const put32 = (bytes: Uint8Array, at: number, value: number): void =>
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(at, value, true);
