/** {@link NmiState.step}: KVM is not about to make a step. */
export const NO_STEP = -1;

/** Non-maskable interrupts of a vCPU; `run/nmi.ts` says how they come. */
export class NmiState {
  /** Those that wait: 0 to 2. */
  pending = 0;
  /** KVM_REQ_NMI: one came since the last look at them. It ends a halt although NMIs may be masked. */
  requested = false;
  /** One whose delivery was interrupted (KVM_SET_VCPU_EVENTS): comes whatever masks it. */
  injected = false;
  /** Between an NMI and its IRET, as far as KVM knows. */
  masked = false;
  /** That IRET comes next: KVM has intercepted it. */
  awaitsIret = false;
  /** RIP of that IRET. */
  iretRip = 0n;
  /** KVM makes a single step of its own to where an NMI may come: TF and RF of the guest before that, else NO_STEP. */
  step = NO_STEP;

  /** One more; at most two wait. */
  raise(): void {
    this.pending = Math.min(2, this.pending + 1);
    this.requested = true;
  }
}
