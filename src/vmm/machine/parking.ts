import type { VcpuApi } from "../../kvm/api/index.js";

/** vCPUs that are outside of KVM, for as long as something keeps them from running. */
export class Parking {
  readonly #parked = new Set<VcpuApi>();
  readonly #count: number;
  #onParked: () => void = () => undefined;

  /** `count`: how many there are. */
  constructor(count: number) {
    this.#count = count;
  }

  /** A vCPU waits here. */
  async wait(vcpu: VcpuApi, over: Promise<void>): Promise<void> {
    this.#parked.add(vcpu);
    this.#onParked();
    await over;
    this.#parked.delete(vcpu);
  }

  /** Resolves when all are here at a time. */
  all(): Promise<void> {
    return new Promise((resolve) => {
      this.#onParked = () => {
        if (this.#parked.size < this.#count) return;
        this.#onParked = () => undefined;
        resolve();
      };
      this.#onParked();
    });
  }
}
