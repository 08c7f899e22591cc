// @ts-check
/** A seeded generator (sfc32): the same seed text gives the same cases on every machine. */
export class Prng {
  /** @param {string} text */
  constructor(text) {
    let h = 0x811c9dc5;
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) >>> 0;
    this.a = h;
    this.b = Math.imul(h, 0x9e3779b1) >>> 0;
    this.c = 0x6d2b79f5;
    this.d = 1;
    for (let i = 0; i < 12; i++) this.u32();
  }

  /** 32 random bits. */
  u32() {
    const t = (this.a + this.b + this.d) >>> 0;
    this.d = (this.d + 1) >>> 0;
    this.a = (this.b ^ (this.b >>> 9)) >>> 0;
    this.b = (this.c + (this.c << 3)) >>> 0;
    this.c = ((this.c << 21) | (this.c >>> 11)) >>> 0;
    this.c = (this.c + t) >>> 0;
    return t;
  }

  /** 64 random bits. */
  u64() {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  /**
   * An integer from 0 to n - 1.
   * @param {number} n
   */
  below(n) {
    return Math.floor((this.u32() / 0x100000000) * n);
  }

  /**
   * An integer from `low` to `high`, both included.
   * @param {number} low
   * @param {number} high
   */
  range(low, high) {
    return low + this.below(high - low + 1);
  }

  /**
   * True with probability `percent` / 100.
   * @param {number} percent
   */
  chance(percent) {
    return this.u32() < percent * 42949672.96;
  }

  /**
   * One element of a list that has some.
   * @template const T
   * @param {readonly T[]} list
   * @returns {T}
   */
  pick(list) {
    return /** @type {T} */ (list[this.below(list.length)]);
  }

  /**
   * One key of an object whose values are weights.
   * @param {Readonly<Record<string, number>>} table
   */
  weighted(table) {
    const entries = Object.entries(table);
    let left = this.below(entries.reduce((sum, [, w]) => sum + w, 0));
    for (const [key, weight] of entries) {
      left -= weight;
      if (left < 0) return key;
    }
    throw new Error("no entry has a weight");
  }
}
