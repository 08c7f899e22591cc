/** The `kvm_run` pages of a vCPU from the side of the program: exits are read there, answers and requests written. */
import { assert, Errno, gpa } from "../../base/index.js";
import { KvmError, KvmExitIo, KvmExitReason, type VcpuExit } from "../../kvm/index.js";
import { PIO, Run } from "../run-page.js";

/** Arguments of a hypercall of Xen. */
const XEN_PARAMS = 6;

export class ClientRunPage {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** The exit whose answer goes into the page at the next KVM_RUN. */
  #open: VcpuExit | undefined;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** `immediate_exit`. */
  get immediateExit(): boolean {
    return this.#view.getUint8(Run.immediateExit) !== 0;
  }
  set immediateExit(value: boolean) {
    this.#view.setUint8(Run.immediateExit, value ? 1 : 0);
  }

  /** Puts what the client has filled in into the page, before KVM_RUN. */
  answer(): void {
    const exit = this.#open;
    this.#open = undefined;
    const view = this.#view;
    switch (exit?.kind) {
      case "io":
        if (exit.direction === "in") this.#bytes.set(exit.data, PIO);
        return;
      case "mmio":
        if (!exit.isWrite) this.#bytes.set(exit.data, Run.mmioData);
        return;
      case "xen":
        view.setBigUint64(Run.xenResult, BigInt.asUintN(64, exit.result), true);
        return;
      case "hypercall":
        view.setBigUint64(Run.hypercallRet, BigInt.asUintN(64, exit.result), true);
        return;
      case "rdmsr":
        view.setUint8(Run.msrError, exit.error ? 1 : 0);
        view.setBigUint64(Run.msrData, exit.data, true);
        return;
      case "wrmsr":
        view.setUint8(Run.msrError, exit.error ? 1 : 0);
        return;
      default:
    }
  }

  /** What KVM_RUN has returned with. @throws KvmError for other refusals than those that are exits. */
  exitOf(result: number): VcpuExit {
    if (result === -Errno.EINTR) return { kind: "intr" };
    if (result === -Errno.EAGAIN) return { kind: "again" };
    // Which address it was is not in the page.
    if (result === -Errno.EFAULT) return { kind: "memory-fault", physAddr: gpa(0) };
    if (result < 0) throw new KvmError(-result, "KVM_RUN");
    this.#open = this.#read(this.#view.getUint32(Run.exitReason, true));
    return this.#open;
  }

  #read(reason: number): VcpuExit {
    const view = this.#view;
    const u32 = (at: number): number => view.getUint32(at, true);
    const u64 = (at: number): bigint => view.getBigUint64(at, true);
    switch (reason) {
      case KvmExitReason.IO:
        return this.#io();
      case KvmExitReason.MMIO: {
        const len = u32(Run.mmioLength);
        const isWrite = view.getUint8(Run.mmioIsWrite) !== 0;
        const data = isWrite ? this.#copy(Run.mmioData, len) : new Uint8Array(len);
        const physAddr = gpa(Number(u64(Run.mmioAddress)));
        return { kind: "mmio", physAddr, isWrite, len, data };
      }
      case KvmExitReason.XEN: {
        const params = Array.from({ length: XEN_PARAMS }, (_, i) => u64(Run.xenParams + i * 8));
        return {
          kind: "xen",
          longmode: u32(Run.xenLongmode) !== 0,
          cpl: u32(Run.xenCpl),
          input: u64(Run.xenInput),
          params: params as [bigint, bigint, bigint, bigint, bigint, bigint],
          result: 0n,
        };
      }
      case KvmExitReason.HYPERCALL: {
        const at = Run.hypercallArgs;
        const args = [u64(at), u64(at + 8), u64(at + 16)] as const;
        const nr = Number(u64(Run.hypercallNr));
        return { kind: "hypercall", nr, args, longmode: u64(Run.hypercallMode) !== 0n, result: 0n };
      }
      case KvmExitReason.X86_RDMSR:
      case KvmExitReason.X86_WRMSR: {
        const msr = { reason: u32(Run.msrReason), index: u32(Run.msrIndex), error: false };
        const data = u64(Run.msrData);
        const kind = reason === KvmExitReason.X86_RDMSR ? "rdmsr" : "wrmsr";
        return { kind, ...msr, data };
      }
      case KvmExitReason.DEBUG: {
        const [exception, pc] = [u32(Run.debugException), u64(Run.debugPc)];
        return { kind: "debug", exception, pc, dr6: u64(Run.debugDr6), dr7: u64(Run.debugDr7) };
      }
      case KvmExitReason.IOAPIC_EOI:
        return { kind: "ioapic-eoi", vector: view.getUint8(Run.eoiVector) };
      case KvmExitReason.TPR_ACCESS: {
        const isWrite = u32(Run.tprIsWrite) !== 0;
        return { kind: "tpr-access", rip: u64(Run.tprRip), isWrite };
      }
      case KvmExitReason.FAIL_ENTRY:
        return { kind: "fail-entry", reason: Number(u64(Run.failReason)) };
      case KvmExitReason.INTERNAL_ERROR: {
        const suberror = u32(Run.suberror);
        const data = Array.from({ length: Math.min(16, u32(Run.ndata)) }, (_, i) =>
          u64(Run.internalData + i * 8),
        );
        return { kind: "internal-error", suberror, data, message: `suberror ${suberror}` };
      }
      case KvmExitReason.HLT:
        return { kind: "hlt" };
      case KvmExitReason.SHUTDOWN:
        return { kind: "shutdown" };
      case KvmExitReason.INTR:
        return { kind: "intr" };
      case KvmExitReason.SET_TPR:
        return { kind: "set-tpr" };
      case KvmExitReason.IRQ_WINDOW_OPEN:
        return { kind: "irq-window-open" };
      default:
        assert(false, `KVM_RUN: exit reason ${reason}`);
        return { kind: "intr" };
    }
  }

  #io(): VcpuExit {
    const view = this.#view;
    const size = view.getUint8(Run.ioSize);
    const count = view.getUint32(Run.ioCount, true);
    const isOut = view.getUint8(Run.io) === KvmExitIo.OUT;
    const at = Number(view.getBigUint64(Run.ioData, true));
    const data = isOut ? this.#copy(at, size * count) : new Uint8Array(size * count);
    const port = view.getUint16(Run.ioPort, true);
    return { kind: "io", direction: isOut ? "out" : "in", port, size, count, data };
  }

  #copy(at: number, length: number): Uint8Array {
    return this.#bytes.slice(at, at + length);
  }
}
