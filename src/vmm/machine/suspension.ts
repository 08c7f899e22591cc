import { Hypercall } from "../../abi/xen/xen.js";
import type { VcpuApi, VcpuExitXen } from "../../kvm/api/index.js";

/** Keeps vCPUs from running: they wait for {@link over}. */
export class Standstill {
  readonly over: Promise<void>;
  /** Ends it. */
  readonly end: () => void;

  constructor() {
    let end: () => void = () => undefined;
    this.over = new Promise((resolve) => {
      end = resolve;
    });
    this.end = end;
  }
}

/** A guest that has suspended itself (SHUTDOWN_suspend). */
export class Suspension extends Standstill {
  #call: { readonly exit: VcpuExitXen; readonly vcpu: VcpuApi } | undefined;
  #isFinished = false;

  /** Takes note of the hypercall that suspended the guest: the first to be answered after it. */
  noteCall(exit: VcpuExitXen, vcpu: VcpuApi): void {
    // A call inside a multicall has its result in memory already, which says "cancelled".
    const isDirect = Number(exit.input & 0xffffffffn) === Hypercall.sched_op;
    if (isDirect) this.#call ??= { exit, vcpu };
  }

  /** Whether the guest can be told how it was resumed. */
  get isAnswerable(): boolean {
    return this.#call !== undefined;
  }

  /** What the call answers, in place of what it was before. */
  answer(result: bigint): void {
    if (this.#call === undefined) return;
    const { exit, vcpu } = this.#call;
    exit.result = result;
    // The guest is behind its hypercall, in which its result is in a register.
    if (this.#isFinished) vcpu.setRegs({ ...vcpu.getRegs(), rax: result });
  }

  /** The exit was handed to the vCPU. */
  noteFinished(): void {
    this.#isFinished = true;
  }
}
