/**
 * A counter stays here when more is added, as the kernel's `eventfd_signal` does.
 * @nolimit the width of the counter
 */
const MAX_COUNT = 0xffffffffffffffffn;

/**
 * A counter that wakes its listeners, as Linux's eventfd: the target of event channels that leave
 * the VM and the source of irqfds. Calls happen in the VM's thread.
 */
export class EventFd {
  #count = 0n;
  /** It raises interrupts of a VM: an irqfd has it. */
  raises = false;
  readonly #listeners = new Set<() => void>();

  /** The count since the last {@link read}. */
  get count(): bigint {
    return this.#count;
  }

  /** Adds to the count (1 unless told) and calls the listeners, in order of registration. */
  signal(value = 1n): void {
    const sum = this.#count + value;
    this.#count = sum > MAX_COUNT ? MAX_COUNT : sum;
    for (const listener of [...this.#listeners]) listener();
  }

  /** Takes the count and sets it to zero. */
  read(): bigint {
    const count = this.#count;
    this.#count = 0n;
    return count;
  }

  /** Registers a listener; returns the function that takes it back. */
  onSignal(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
