import {
  KVM_EXIT_XEN_HCALL,
  KVM_PIO_PAGE_OFFSET,
  KvmExitIo,
  KvmExitReason,
  kvm_run,
  type Vcpu,
  type VcpuExit,
} from "../kvm/index.js";

const at = (path: string): number => kvm_run.offset(path);

/** Offsets in the page, looked up once. */
export const Run = {
  requestInterruptWindow: at("request_interrupt_window"),
  immediateExit: at("immediate_exit"),
  exitReason: at("exit_reason"),
  readyForInterruptInjection: at("ready_for_interrupt_injection"),
  ifFlag: at("if_flag"),
  flags: at("flags"),
  cr8: at("cr8"),
  apicBase: at("apic_base"),
  failReason: at("fail_entry.hardware_entry_failure_reason"),
  failCpu: at("fail_entry.cpu"),
  io: at("io"),
  ioSize: at("io.size"),
  ioPort: at("io.port"),
  ioCount: at("io.count"),
  ioData: at("io.data_offset"),
  mmioAddress: at("mmio.phys_addr"),
  mmioData: at("mmio.data"),
  mmioLength: at("mmio.len"),
  mmioIsWrite: at("mmio.is_write"),
  suberror: at("internal.suberror"),
  ndata: at("internal.ndata"),
  internalData: at("internal.data"),
  eoiVector: at("eoi.vector"),
  debugException: at("debug.arch.exception"),
  debugPc: at("debug.arch.pc"),
  debugDr6: at("debug.arch.dr6"),
  debugDr7: at("debug.arch.dr7"),
  tprRip: at("tpr_access.rip"),
  tprIsWrite: at("tpr_access.is_write"),
  hypercallNr: at("hypercall.nr"),
  hypercallArgs: at("hypercall.args"),
  hypercallRet: at("hypercall.ret"),
  hypercallMode: at("hypercall.longmode"),
  msrError: at("msr.error"),
  msrReason: at("msr.reason"),
  msrIndex: at("msr.index"),
  msrData: at("msr.data"),
  xenType: at("xen.type"),
  xen: at("xen.u.hcall"),
  xenLongmode: at("xen.u.hcall.longmode"),
  xenCpl: at("xen.u.hcall.cpl"),
  xenInput: at("xen.u.hcall.input"),
  xenResult: at("xen.u.hcall.result"),
  xenParams: at("xen.u.hcall.params"),
  validRegs: at("kvm_valid_regs"),
  dirtyRegs: at("kvm_dirty_regs"),
} as const;

/** Where the data of port accesses is. */
export const PIO = KVM_PIO_PAGE_OFFSET * 4096;

/**
 * The pages of a vCPU that client and KVM share: requests go in at KVM_RUN, the exit comes out. The
 * client may write them at any time, so nothing is read twice.
 */
export class RunPage {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  /** The exit whose answer the client puts into the page. */
  #pending: VcpuExit | undefined;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether `immediate_exit` is set. */
  get immediateExit(): boolean {
    return this.#view.getUint8(Run.immediateExit) !== 0;
  }

  /** Whether `request_interrupt_window` is set. */
  get requestInterruptWindow(): boolean {
    return this.#view.getUint8(Run.requestInterruptWindow) !== 0;
  }

  /** `cr8` as the client left it. */
  get cr8(): bigint {
    return this.#view.getBigUint64(Run.cr8, true);
  }

  /** `kvm_valid_regs`: what to store in the page after a run. */
  get validRegs(): bigint {
    return this.#view.getBigUint64(Run.validRegs, true);
  }

  /** `kvm_dirty_regs`: what the client changed in the page. */
  get dirtyRegs(): bigint {
    return this.#view.getBigUint64(Run.dirtyRegs, true);
  }
  set dirtyRegs(value: bigint) {
    this.#view.setBigUint64(Run.dirtyRegs, value, true);
  }

  /** `flags`, which a run starts with 0. */
  set flags(value: number) {
    this.#view.setUint16(Run.flags, value, true);
  }

  /** Hands the client's answer to the last exit to that exit: KVM_RUN takes it once. */
  takeAnswer(): void {
    const exit = this.#pending;
    this.#pending = undefined;
    switch (exit?.kind) {
      case "io":
        exit.data.set(this.bytes.subarray(PIO, PIO + exit.data.length));
        return;
      case "mmio":
        exit.data.set(this.bytes.subarray(Run.mmioData, Run.mmioData + exit.len));
        return;
      case "xen":
        exit.result = this.#view.getBigUint64(Run.xenResult, true);
        return;
      case "hypercall":
        exit.result = this.#view.getBigUint64(Run.hypercallRet, true);
        return;
      case "rdmsr":
        exit.error = this.#view.getUint8(Run.msrError) !== 0;
        exit.data = this.#view.getBigUint64(Run.msrData, true);
        return;
      case "wrmsr":
        exit.error = this.#view.getUint8(Run.msrError) !== 0;
        return;
      default:
    }
  }

  /**
   * Describes an exit in the page.
   * @param unchanged an "intr" without a signal, after `immediate_exit`: the reason stays
   */
  describe(exit: VcpuExit, unchanged: boolean): void {
    this.#pending = exit;
    const reason = reasonOf(exit);
    if (reason !== undefined && (exit.kind !== "intr" || !unchanged)) {
      this.#view.setUint32(Run.exitReason, reason, true);
    }
    this.#describeDetails(exit);
  }

  /** The guest accessed its TPR: that is noted at once, so that what an exit says may overwrite it. */
  noteTprAccess(rip: bigint, isWrite: boolean): void {
    this.#view.setBigUint64(Run.tprRip, rip, true);
    this.#view.setUint32(Run.tprIsWrite, isWrite ? 1 : 0, true);
  }

  /** A hypercall of KVM's own has left its result, whoever completes it. */
  noteHypercallResult(result: bigint): void {
    this.#view.setBigUint64(Run.hypercallRet, BigInt.asUintN(64, result), true);
  }

  /** What every KVM_RUN leaves in the page, whatever it answered. */
  save(vcpu: Vcpu): void {
    const view = this.#view;
    view.setUint8(Run.ifFlag, vcpu.interruptFlag ? 1 : 0);
    view.setUint8(Run.readyForInterruptInjection, vcpu.readyForInterruptInjection ? 1 : 0);
    view.setBigUint64(Run.cr8, BigInt(vcpu.cr8), true);
    view.setBigUint64(Run.apicBase, vcpu.apicBase, true);
  }

  #describeDetails(exit: VcpuExit): void {
    const view = this.#view;
    switch (exit.kind) {
      case "io": {
        const isOut = exit.direction === "out";
        view.setUint8(Run.io, isOut ? KvmExitIo.OUT : KvmExitIo.IN);
        view.setUint8(Run.ioSize, exit.size);
        view.setUint16(Run.ioPort, exit.port, true);
        view.setUint32(Run.ioCount, exit.count, true);
        view.setBigUint64(Run.ioData, BigInt(PIO), true);
        this.bytes.set(exit.data, PIO);
        return;
      }
      case "mmio":
        view.setBigUint64(Run.mmioAddress, BigInt(exit.physAddr), true);
        view.setUint32(Run.mmioLength, exit.len, true);
        view.setUint8(Run.mmioIsWrite, exit.isWrite ? 1 : 0);
        if (exit.isWrite) this.bytes.set(exit.data, Run.mmioData);
        return;
      case "xen":
        view.setUint32(Run.xenType, KVM_EXIT_XEN_HCALL, true);
        view.setUint32(Run.xenLongmode, exit.longmode ? 1 : 0, true);
        view.setUint32(Run.xenCpl, exit.cpl, true);
        view.setBigUint64(Run.xenInput, exit.input, true);
        for (const [i, param] of exit.params.entries()) {
          view.setBigUint64(Run.xenParams + i * 8, param, true);
        }
        return;
      case "hypercall":
        view.setBigUint64(Run.hypercallNr, BigInt(exit.nr), true);
        for (const [i, value] of exit.args.entries()) {
          view.setBigUint64(Run.hypercallArgs + i * 8, value, true);
        }
        view.setBigUint64(Run.hypercallMode, exit.longmode ? 1n : 0n, true);
        return;
      case "rdmsr":
      case "wrmsr":
        view.setBigUint64(Run.msrError, 0n, true);
        view.setUint32(Run.msrReason, exit.reason, true);
        view.setUint32(Run.msrIndex, exit.index, true);
        view.setBigUint64(Run.msrData, exit.data, true);
        return;
      case "debug":
        view.setUint32(Run.debugException, exit.exception, true);
        view.setBigUint64(Run.debugPc, exit.pc, true);
        view.setBigUint64(Run.debugDr6, exit.dr6, true);
        if (exit.dr7 !== undefined) view.setBigUint64(Run.debugDr7, exit.dr7, true);
        return;
      case "ioapic-eoi":
        view.setUint8(Run.eoiVector, exit.vector);
        return;
      case "fail-entry":
        view.setBigUint64(Run.failReason, BigInt(exit.reason), true);
        view.setUint32(Run.failCpu, 0, true);
        return;
      case "internal-error":
        view.setUint32(Run.suberror, exit.suberror, true);
        view.setUint32(Run.ndata, exit.data.length, true);
        for (const [i, value] of exit.data.entries()) {
          view.setBigUint64(Run.internalData + i * 8, value, true);
        }
        return;
      default:
    }
  }
}

/** `kvm_run.exit_reason` of an exit; undefined leaves the last one (KVM_RUN fails). */
function reasonOf(exit: VcpuExit): number | undefined {
  switch (exit.kind) {
    case "io":
      return KvmExitReason.IO;
    case "mmio":
      return KvmExitReason.MMIO;
    case "xen":
      return KvmExitReason.XEN;
    case "hlt":
      return KvmExitReason.HLT;
    case "shutdown":
      return KvmExitReason.SHUTDOWN;
    case "intr":
      return KvmExitReason.INTR;
    case "irq-window-open":
      return KvmExitReason.IRQ_WINDOW_OPEN;
    case "ioapic-eoi":
      return KvmExitReason.IOAPIC_EOI;
    case "fail-entry":
      return KvmExitReason.FAIL_ENTRY;
    case "internal-error":
      return KvmExitReason.INTERNAL_ERROR;
    case "hypercall":
      return KvmExitReason.HYPERCALL;
    case "rdmsr":
      return KvmExitReason.X86_RDMSR;
    case "wrmsr":
      return KvmExitReason.X86_WRMSR;
    case "debug":
      return KvmExitReason.DEBUG;
    case "set-tpr":
      return KvmExitReason.SET_TPR;
    case "tpr-access":
      return KvmExitReason.TPR_ACCESS;
    case "memory-fault":
      return KvmExitReason.UNKNOWN;
    case "again":
      return undefined;
  }
}
