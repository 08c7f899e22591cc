/**
 * What KVM_IRQ_LINE_STATUS answers to level 0 where that would change nothing, for whoever cannot ask cheaply: a byte for
 * each GSI, its answer and 2, or 0 where the VM has to be asked. QEMU lowers a line that is low again and again, for one
 * character that a serial port sends four times.
 *
 * Whatever may change such an answer clears all of them before it happens: a line that rises, routes, an access to the PICs
 * (the mask, an initialisation that waits for the next change of a line), states that are put back.
 */
export class LowLines {
  /** Where the answers lie; whoever reads them there may be another thread or process. */
  #page: Uint8Array | undefined;
  #isAny = false;

  get page(): Uint8Array | undefined {
    return this.#page;
  }
  set page(page: Uint8Array | undefined) {
    page?.fill(0);
    this.#page = page;
    this.#isAny = false;
  }

  /** Level 0 has been answered, and changes nothing from now on. */
  note(gsi: number, answer: number): void {
    if (this.#page === undefined || gsi >= this.#page.length) return;
    this.#page[gsi] = answer + 2;
    this.#isAny = true;
  }

  /** Something changes: none is known any more. */
  clear(): void {
    if (!this.#isAny) return;
    this.#isAny = false;
    this.#page?.fill(0);
  }
}
