/** How long the kernel keeps the switch on after the last VM gave up its MSR: HZ jiffies. */
const OFF_DELAY_NS = 1_000_000_000;

/**
 * The kernel's `kvm_xen_enabled`: one switch for all VMs of a system, on while any of them has a
 * hypercall page MSR. It goes off a second late (a rate limited static key), and until then even
 * VMs without the MSR get upcalls injected and deferred events delivered.
 */
export class XenSwitch {
  #users = 0;
  #offAtNs = 0;

  /** A VM's MSR became, or is no longer, other than 0. `nowNs`: the clock port. */
  count(delta: 1 | -1, nowNs: number): void {
    this.#users += delta;
    if (this.#users === 0) this.#offAtNs = nowNs + OFF_DELAY_NS;
  }

  /** Whether it is on. */
  isOn(nowNs: number): boolean {
    return this.#users > 0 || nowNs < this.#offAtNs;
  }
}
