import { Hypercall } from "../../abi/xen/xen.js";
import type { VcpuExitXen } from "../../kvm/index.js";

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
  #call: VcpuExitXen | undefined;

  /** Takes note of the hypercall that suspended the guest: the first to be answered after it. */
  noteCall(exit: VcpuExitXen): void {
    // A call inside a multicall has its result in memory already, which says "cancelled".
    const isDirect = Number(exit.input & 0xffffffffn) === Hypercall.sched_op;
    if (isDirect) this.#call ??= exit;
  }

  /** Whose result tells the guest how it was resumed. */
  get call(): VcpuExitXen | undefined {
    return this.#call;
  }
}
