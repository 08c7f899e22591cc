import type { VcpuState } from "../vcpu-state.js";
import type { Lapic } from "./lapic.js";

/** External interrupts of a vCPU: what waits for it, from any source, and when it may come. */
export class InterruptQueue {
  readonly #vcpu: VcpuState;
  /** Vector given by KVM_INTERRUPT, or -1. It stays through INIT. */
  user = -1;
  /** One that was acknowledged but not injected (KVM_SET_VCPU_EVENTS), or -1. */
  queued = -1;
  /** It came from INT n. */
  queuedSoft = false;
  /** What KVM_GET_VCPU_EVENTS shows of the last one. */
  last = 0;
  /** `kvm_run.request_interrupt_window`. */
  requestInterruptWindow = false;

  constructor(vcpu: VcpuState) {
    this.#vcpu = vcpu;
  }

  /** Whether RFLAGS.IF and the interrupt shadow let one in. */
  allowed(): boolean {
    const { engine } = this.#vcpu;
    return engine.interruptFlag && engine.interruptShadow === 0;
  }

  /** One waits that does not come from Xen's level-triggered vector. */
  hasOwn(): boolean {
    return this.queued >= 0 || this.#chipHas();
  }

  /** One waits that is not injected so far, from any source. */
  hasNew(): boolean {
    const { lapic, xen } = this.#vcpu;
    return this.#chipHas() || (lapic !== undefined && xen.pendingVector() !== 0);
  }

  #chipHas(): boolean {
    const { lapic } = this.#vcpu;
    if (lapic === undefined) return false;
    if (this.#picWaits(lapic)) return true;
    return lapic.pendingVector() >= 0;
  }

  /** The legacy PIC, the kernel's or the client's, has an interrupt, and LVT0 passes it. */
  #picWaits(lapic: Lapic): boolean {
    const asks = this.user >= 0 || this.#vcpu.env.pic?.output === true;
    return asks && lapic.acceptsPic;
  }

  /** Takes the one to inject, in KVM's order; -1 when there is none after all. */
  take(): number {
    if (this.queued >= 0) {
      const vector = this.queued;
      this.queued = -1;
      return vector;
    }
    const vector = this.#choose();
    if (vector >= 0) this.last = vector;
    return vector;
  }

  #choose(): number {
    const { lapic, xen, env } = this.#vcpu;
    if (lapic === undefined) return -1;
    const upcall = xen.pendingVector();
    if (upcall !== 0) return upcall;
    if (this.#picWaits(lapic)) {
      if (env.pic !== undefined) return env.pic.acknowledge();
      const vector = this.user;
      this.user = -1;
      return vector;
    }
    const vector = lapic.pendingVector();
    if (vector >= 0) lapic.acknowledge(vector);
    return vector;
  }

  /** One that was acknowledged: comes before all others. */
  queue(vector: number): void {
    this.queued = vector;
    this.queuedSoft = false;
    this.last = vector;
    this.#vcpu.notify();
  }

  /**
   * An interrupt of the client's PIC would reach the processor: there is no PIC in the kernel, and LVT0 of
   * a local APIC in the kernel passes it. While it does not, no window opens for the client.
   */
  get acceptsUser(): boolean {
    const { env, lapic, xen } = this.#vcpu;
    if (env.irqchip === "kernel") return false;
    if (lapic === undefined) return this.queued < 0;
    return xen.pendingVector() === 0 && lapic.acceptsPic && this.user < 0;
  }

  /** KVM_INTERRUPT would be taken at once: `kvm_run.ready_for_interrupt_injection`. */
  get readyForInjection(): boolean {
    if (this.#vcpu.env.irqchip === "kernel") return true;
    if (this.#vcpu.hasQueuedEvent || !this.allowed()) return false;
    return this.acceptsUser;
  }

  /** The client asked to hear of this moment: KVM_EXIT_IRQ_WINDOW_OPEN. */
  get windowIsOpen(): boolean {
    if (!this.requestInterruptWindow || this.#vcpu.env.irqchip === "kernel") return false;
    return this.readyForInjection;
  }
}
