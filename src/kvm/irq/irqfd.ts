import type { EventFd } from "../api/event-fd.js";
import { refuse } from "../error.js";
import { IrqSource } from "./ioapic.js";
import type { GsiRouting } from "./routing.js";

interface Irqfd {
  readonly eventfd: EventFd;
  readonly gsi: number;
  readonly resample: EventFd | undefined;
  readonly stop: () => void;
}

/**
 * KVM_IRQFD: eventfds that raise GSIs. A signal takes the count and pulses the line; what was there before the
 * eventfd was connected does the same, and stays until the next signal or the end of the connection.
 */
export class Irqfds {
  readonly #routing: GsiRouting;
  readonly #list: Irqfd[] = [];
  /** Whether an eventfd that another VM has is refused. */
  readonly #exclusive: boolean;

  constructor(routing: GsiRouting, exclusive: boolean) {
    this.#routing = routing;
    this.#exclusive = exclusive;
  }

  /**
   * Connects an eventfd to a GSI. With `resample`, the line stays up until the guest ends the
   * interrupt; then `resample` is signalled.
   * @throws KvmError EBUSY when the eventfd is connected already.
   */
  assign(eventfd: EventFd, gsi: number, resample?: EventFd): void {
    const isMine = this.#list.some((other) => other.eventfd === eventfd);
    if (isMine || (this.#exclusive && eventfd.raises)) refuse("EBUSY", "eventfd is in use");
    eventfd.raises = true;
    const raise = (): void => {
      if (resample !== undefined) {
        this.#routing.setLevel(gsi, IrqSource.RESAMPLE, true);
        return;
      }
      this.#routing.setLevel(gsi, IrqSource.USERSPACE, true);
      this.#routing.setLevel(gsi, IrqSource.USERSPACE, false);
    };
    const isSignalled = eventfd.count > 0n;
    const unhook = eventfd.onSignal(() => {
      eventfd.read();
      raise();
    });
    const stop = (): void => {
      unhook();
      eventfd.read();
    };
    this.#list.push({ eventfd, gsi, resample, stop });
    if (isSignalled) raise();
  }

  /** Disconnects; an eventfd that is not connected to that GSI is left alone. */
  deassign(eventfd: EventFd, gsi: number): void {
    for (let i = this.#list.length - 1; i >= 0; i--) {
      const irqfd = this.#list[i] as Irqfd;
      if (irqfd.eventfd !== eventfd || irqfd.gsi !== gsi) continue;
      irqfd.stop();
      eventfd.raises = false;
      this.#list.splice(i, 1);
      this.#letGo(irqfd);
    }
  }

  /** The last irqfd that resamples a GSI is gone: what it held up goes down, as Linux has it. */
  #letGo({ gsi, resample }: Irqfd): void {
    if (resample === undefined) return;
    if (this.#list.some((other) => other.gsi === gsi && other.resample !== undefined)) return;
    this.#routing.setLevel(gsi, IrqSource.RESAMPLE, false);
  }

  /** The guest ended a level interrupt of an IOAPIC pin. */
  pinEnded(pin: number): void {
    const gsis = this.#routing.gsisOfIoapicPin(pin);
    for (const irqfd of [...this.#list]) {
      if (irqfd.resample === undefined || !gsis.includes(irqfd.gsi)) continue;
      this.#routing.setLevel(irqfd.gsi, IrqSource.RESAMPLE, false);
      irqfd.resample.signal();
    }
  }

  /** Disconnects all. */
  close(): void {
    for (const irqfd of this.#list) {
      irqfd.stop();
      irqfd.eventfd.raises = false;
    }
    this.#list.length = 0;
  }
}
