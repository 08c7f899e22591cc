/**
 * How much work a hypercall has made, so that a long one is continued. Xen looks whether something
 * waits for the processor (hypercall_preempt_check); here it is counted, so that every run is the
 * same: after {@link CONTINUED_AFTER} the registers say what is left and the vCPU executes the same
 * instruction again, behind the interrupts that have come meanwhile.
 */
import type { GuestPhysmap } from "../overlay.js";

/**
 * Units of work, as the slices of KVM's scheduler count them, after which a hypercall is continued.
 * @limit guest | work of a hypercall at once | units of work | it is continued
 */
export const CONTINUED_AFTER = 20_000;

/** Work of one element of a list: reading, doing and answering it; also of a page copied or cleared. */
export const ELEMENT = 100;
/** Work of telling KVM of other memory slots, which all processors have to hear of. */
const REMAP = 10_000;

/** The work of one execution of a hypercall instruction, a multicall's calls together. */
export class Effort {
  readonly #physmap: GuestPhysmap;
  readonly #commits: number;
  #elements = 0;

  constructor(physmap: GuestPhysmap) {
    this.#physmap = physmap;
    this.#commits = physmap.commits;
  }

  /** Counts elements, or pages. */
  add(elements: number): void {
    this.#elements += elements;
  }

  /** Units of work so far. */
  get units(): number {
    return this.#elements * ELEMENT + (this.#physmap.commits - this.#commits) * REMAP;
  }

  /** Enough for this time: what is left is for a continuation. At least one element has to be done. */
  get isEnough(): boolean {
    return this.units >= CONTINUED_AFTER;
  }
}
