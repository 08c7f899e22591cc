import type { Entropy } from "../../ports/index.js";

/**
 * Bytes that look random and are the same in every run: the xorshift32 generator (Marsaglia, 2003).
 * Not for secrets.
 */
export class SeededEntropy implements Entropy {
  #state: number;

  /** `seed`: a number other than 0; its lowest 32 bits count. */
  constructor(seed = 0x2545f491) {
    this.#state = seed >>> 0 || 1;
  }

  /** Where it is in its sequence: a seed from which another goes on. */
  get state(): number {
    return this.#state >>> 0;
  }
  set state(state: number) {
    this.#state = state >>> 0 || 1;
  }

  fill(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      this.#state ^= this.#state << 13;
      this.#state ^= this.#state >>> 17;
      this.#state ^= this.#state << 5;
      bytes[i] = this.#state >>> 24;
    }
  }
}
