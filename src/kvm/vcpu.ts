import {
  type KvmDebugregs,
  KvmMpState,
  type KvmMsrEntry,
  type KvmRegs,
  type KvmSregs,
  KvmVcpuEvent,
  type KvmVcpuEvents,
} from "../abi/kvm/index.js";
import { type CpuidEntry2, Rflags } from "../abi/x86/index.js";
import {
  type ApicId,
  apicId,
  assert,
  type Gpa,
  type Gva,
  type VcpuIndex,
  vcpuIndex,
} from "../base/index.js";
import { readRegs, readSregs, validSregs, writeRegs, writeSregs } from "./cpu/regs.js";
import { refuse } from "./error.js";
import type { VcpuExit } from "./exits.js";
import { finishInstruction } from "./run/entry.js";
import { completeExit } from "./run/exits.js";
import type { VcpuState } from "./vcpu-state.js";
import type { VcpuXen } from "./xen-api.js";

const KNOWN_EVENT_FLAGS =
  KvmVcpuEvent.VALID_NMI_PENDING | KvmVcpuEvent.VALID_SIPI_VECTOR | KvmVcpuEvent.VALID_SHADOW;

/** A virtual processor: what `ioctl` on a vCPU file descriptor does, with types. */
export class Vcpu {
  /** Creation order in the VM. */
  readonly index: VcpuIndex;
  /** KVM vcpu_id: the local APIC id. */
  readonly id: ApicId;
  /** KVM_XEN_VCPU_SET_ATTR and GET_ATTR. */
  readonly xen: VcpuXen;
  readonly #state: VcpuState;

  constructor(state: VcpuState) {
    this.#state = state;
    this.index = vcpuIndex(state.index);
    this.id = apicId(state.id);
    this.xen = state.xen.api;
  }

  /**
   * KVM_RUN: completes the last exit and executes until the next one. A vCPU that halts or waits
   * for its STARTUP message does so inside, as long as there is an in-kernel local APIC.
   * Rejects only when this library has a defect; the VM is stopped then.
   */
  run(): Promise<VcpuExit> {
    const state = this.#state;
    assert(state.resolve === undefined, "Vcpu.run: called while the vCPU runs");
    state.hasRun = true;
    if (state.immediateExit) {
      const exit = finishInstruction(state);
      if (exit.kind === "intr" && state.xen.deferredEvents) state.xen.processDeferred();
      return Promise.resolve(exit);
    }
    completeExit(state);
    return new Promise((resolve, reject) => {
      state.resolve = resolve;
      state.reject = reject;
      state.env.scheduler.add(state);
    });
  }

  /** Makes a run() that is under way resolve with "intr" at its next chance; else does nothing. */
  kick(): void {
    const state = this.#state;
    if (state.resolve === undefined) return;
    state.kicked = true;
    state.env.scheduler.wake();
  }

  /** `kvm_run.immediate_exit`: run() only completes the last exit. */
  get immediateExit(): boolean {
    return this.#state.immediateExit;
  }
  set immediateExit(value: boolean) {
    this.#state.immediateExit = value;
  }

  /** `kvm_run.request_interrupt_window`, for VMs without an in-kernel local APIC. */
  set requestInterruptWindow(value: boolean) {
    this.#state.requestInterruptWindow = value;
  }

  /** `kvm_run.ready_for_interrupt_injection`. */
  get readyForInterruptInjection(): boolean {
    return this.#state.interruptAllowed() && !this.#state.hasInterrupt();
  }

  /** Instructions retired since the vCPU was made. */
  get instructions(): number {
    return this.#state.instructions;
  }

  /** KVM_GET_REGS. */
  getRegs(): KvmRegs {
    return readRegs(this.#state.engine);
  }

  /** KVM_SET_REGS. */
  setRegs(regs: KvmRegs): void {
    this.#state.queuedException = undefined;
    writeRegs(this.#state.engine, regs);
  }

  /** KVM_GET_SREGS. */
  getSregs(): KvmSregs {
    const state = this.#state;
    const bitmap: [bigint, bigint, bigint, bigint] = [0n, 0n, 0n, 0n];
    const waiting = state.queuedInterrupt >= 0 ? state.queuedInterrupt : state.userInterrupt;
    if (waiting >= 0) bitmap[waiting >> 6] = 1n << BigInt(waiting & 63);
    return {
      ...readSregs(state.engine),
      cr8: BigInt(state.engine.cr8),
      apicBase: state.apicBase,
      interruptBitmap: bitmap,
    };
  }

  /** KVM_SET_SREGS. @throws KvmError EINVAL for registers that cannot be entered together. */
  setSregs(sregs: KvmSregs): void {
    const state = this.#state;
    if (!validSregs(sregs)) refuse("EINVAL", "control registers");
    if (!state.setApicBase(sregs.apicBase, true)) refuse("EINVAL", "IA32_APIC_BASE");
    writeSregs(state.engine, sregs);
    state.engine.cr8 = Number(sregs.cr8 & 15n);
    state.lapic?.setCr8(state.engine.cr8);
    for (const [word, bits] of sregs.interruptBitmap.entries()) {
      for (let bit = 0; bit < 64; bit++) {
        if (((bits >> BigInt(bit)) & 1n) !== 0n) state.queuedInterrupt = word * 64 + bit;
      }
    }
    // A client that resets a halted boot processor need not set its MP state.
    const atReset = state.engine.rip === 0xfff0n && sregs.cs.base === 0xffff0000n;
    if (state.isBsp && atReset && sregs.cs.selector === 0xf000 && (sregs.cr0 & 1n) === 0n) {
      state.mpState = KvmMpState.RUNNABLE;
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
    if (state.hasRun && !sameTable(entries, state.cpuid.get(state.cpuidState))) {
      refuse("EINVAL", "CPUID cannot change after the vCPU ran");
    }
    state.cpuid.set(entries);
  }

  /** KVM_GET_CPUID2. */
  getCpuid2(): CpuidEntry2[] {
    return this.#state.cpuid.get(this.#state.cpuidState);
  }

  /** KVM_GET_MP_STATE. Events that wait for a run() to be processed are processed first. */
  getMpState(): number {
    this.#state.acceptApicEvents();
    return this.#state.mpState;
  }

  /** KVM_SET_MP_STATE. @throws KvmError EINVAL without a local APIC unless RUNNABLE, or unknown. */
  setMpState(mpState: number): void {
    const state = this.#state;
    if (mpState < 0 || mpState > KvmMpState.SIPI_RECEIVED) refuse("EINVAL", "MP state");
    if (state.lapic === undefined && mpState !== KvmMpState.RUNNABLE) refuse("EINVAL", "MP state");
    if (mpState === KvmMpState.SIPI_RECEIVED) {
      state.mpState = KvmMpState.INIT_RECEIVED;
      state.sipiPending = true;
    } else state.mpState = mpState;
    state.env.scheduler.wake();
  }

  /** KVM_GET_LAPIC: 1024 bytes. @throws KvmError EINVAL without a local APIC. */
  getLapic(): Uint8Array {
    return (this.#state.lapic ?? refuse("EINVAL", "no local APIC in the kernel")).save();
  }

  /** KVM_SET_LAPIC. @throws KvmError EINVAL without a local APIC, or fewer than 1024 bytes. */
  setLapic(image: Uint8Array): void {
    const lapic = this.#state.lapic ?? refuse("EINVAL", "no local APIC in the kernel");
    if (image.length < 1024) refuse("EINVAL", "local APIC image");
    lapic.restore(image);
  }

  /** KVM_GET_VCPU_EVENTS. */
  getVcpuEvents(): KvmVcpuEvents {
    const state = this.#state;
    const exception = state.queuedException;
    return {
      exception: {
        injected: exception !== undefined,
        nr: exception?.vector ?? 0,
        hasErrorCode: exception?.errorCode !== undefined,
        errorCode: exception?.errorCode ?? 0,
      },
      interrupt: {
        injected: state.queuedInterrupt >= 0,
        nr: Math.max(0, state.queuedInterrupt),
        soft: false,
        shadow: state.engine.interruptShadow,
      },
      nmi: { injected: false, pending: state.nmiPending, masked: state.engine.nmiMasked },
      sipiVector: state.sipiVector,
      flags: KvmVcpuEvent.VALID_NMI_PENDING | KvmVcpuEvent.VALID_SHADOW,
    };
  }

  /** KVM_SET_VCPU_EVENTS. @throws KvmError EINVAL for unknown flags or an impossible exception. */
  setVcpuEvents(events: KvmVcpuEvents): void {
    const state = this.#state;
    if ((events.flags & ~KNOWN_EVENT_FLAGS) !== 0) refuse("EINVAL", "event flags");
    const { exception, interrupt, nmi } = events;
    if (exception.injected && (exception.nr > 31 || exception.nr === 2)) {
      refuse("EINVAL", "exception number");
    }
    state.queuedException = exception.injected
      ? {
          vector: exception.nr,
          errorCode: exception.hasErrorCode ? exception.errorCode : undefined,
        }
      : undefined;
    state.queuedInterrupt = interrupt.injected ? interrupt.nr & 0xff : -1;
    if ((events.flags & KvmVcpuEvent.VALID_SHADOW) !== 0) {
      state.engine.interruptShadow =
        (interrupt.shadow & 3) === 3 ? 2 : ((interrupt.shadow & 3) as 0 | 1 | 2);
    }
    if ((events.flags & KvmVcpuEvent.VALID_NMI_PENDING) !== 0) {
      state.nmiPending = Math.min(2, nmi.pending);
    }
    if (nmi.injected) state.nmiPending = Math.max(1, state.nmiPending);
    state.engine.nmiMasked = nmi.masked;
    if ((events.flags & KvmVcpuEvent.VALID_SIPI_VECTOR) !== 0) state.sipiVector = events.sipiVector;
  }

  /** The 512-byte FXSAVE image: KVM_GET_FPU and the legacy part of KVM_GET_XSAVE. */
  getFpu(): Uint8Array {
    return this.#state.engine.fpu();
  }

  /** KVM_SET_FPU, as a 512-byte FXSAVE image. @throws KvmError EINVAL for reserved MXCSR bits. */
  setFpu(image: Uint8Array): void {
    if (image.length < 512) refuse("EINVAL", "FXSAVE image");
    const mxcsr = new DataView(image.buffer, image.byteOffset).getUint32(24, true);
    if (mxcsr >>> 16 !== 0) refuse("EINVAL", "MXCSR");
    this.#state.engine.setFpu(image.slice(0, 512));
  }

  /** KVM_GET_XSAVE: 4096 bytes, standard form, x87 and SSE. */
  getXsave(): Uint8Array {
    const area = new Uint8Array(4096);
    area.set(this.#state.engine.fpu());
    area[512] = 3;
    return area;
  }

  /** KVM_SET_XSAVE. @throws KvmError EINVAL for components that are not supported. */
  setXsave(area: Uint8Array): void {
    if (area.length < 576) refuse("EINVAL", "XSAVE area");
    const present = new DataView(area.buffer, area.byteOffset).getBigUint64(512, true);
    if ((present & ~3n) !== 0n) refuse("EINVAL", "XSAVE components");
    this.setFpu(area.subarray(0, 512));
  }

  /** KVM_GET_XCRS: XCR0. */
  getXcr0(): bigint {
    return this.#state.engine.xcr0;
  }

  /** KVM_SET_XCRS. @throws KvmError EINVAL unless x87, or x87 and SSE. */
  setXcr0(value: bigint): void {
    if (value !== 1n && value !== 3n) refuse("EINVAL", "XCR0");
    this.#state.engine.xcr0 = value;
  }

  /** KVM_GET_DEBUGREGS. */
  getDebugregs(): KvmDebugregs {
    const { engine } = this.#state;
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
    if (state.env.irqchip === "kernel") refuse("ENXIO", "the PIC is in the kernel");
    if (state.lapic !== undefined && state.userInterrupt >= 0) refuse("EEXIST", "interrupt waits");
    state.userInterrupt = vector;
    state.notify();
  }

  /** KVM_NMI. */
  nmi(): void {
    this.#state.raiseNmi();
  }

  /** KVM_TRANSLATE: the guest-physical address behind a virtual one, undefined when not mapped. */
  translate(address: Gva): Gpa | undefined {
    return this.#state.engine.translate(address, "read", 0);
  }

  /** `kvm_run.if_flag`: RFLAGS.IF. */
  get interruptFlag(): boolean {
    return (this.#state.engine.rflags & Rflags.IF) !== 0n;
  }
}

function sameTable(a: readonly CpuidEntry2[], b: readonly CpuidEntry2[]): boolean {
  if (a.length !== b.length) return false;
  return a.every((entry, i) => {
    const other = b[i];
    return (
      other !== undefined &&
      entry.function === other.function &&
      entry.index === other.index &&
      entry.flags === other.flags &&
      entry.eax === other.eax &&
      entry.ebx === other.ebx &&
      entry.ecx === other.ecx &&
      entry.edx === other.edx
    );
  });
}
