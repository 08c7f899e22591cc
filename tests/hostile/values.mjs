// @ts-check
/**
 * Random values that are more often wrong in an interesting way than random bits are: borders of
 * widths and pages, small numbers, and what was of use before.
 */
import { Prng } from "../native/prng.mjs";

const EDGES = [
  0n,
  1n,
  2n,
  0xfffn,
  0x1000n,
  0x1001n,
  0x7fffffffn,
  0x80000000n,
  0xfffffffen,
  0xffffffffn,
  0x100000000n,
  0x7ffffffff000n,
  0x800000000000n,
  0xffff800000000000n,
  0xfffffffffffffn,
  0x10000000000000n,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0xfffffffffffff000n,
  0xffffffffffffffffn,
];

/** A generator of hostile values. */
export class Values extends Prng {
  /** Addresses that mean something in this episode. @type {bigint[]} */
  places = [];

  u8() {
    return this.u32() & 0xff;
  }

  /** A 64-bit value. */
  wide() {
    switch (this.below(8)) {
      case 0:
        return this.pick(EDGES);
      case 1:
        return BigInt.asUintN(64, this.pick(EDGES) + BigInt(this.range(-3, 3)));
      case 2:
        return BigInt(this.below(64));
      case 3:
        return 1n << BigInt(this.below(64));
      case 4:
        return this.u64();
      case 5:
        return this.u64() >> BigInt(this.below(64));
      default:
        return this.place();
    }
  }

  /** An address at, or near, something. */
  place() {
    if (this.places.length === 0) return this.u64() & 0xfffff000n;
    const base = this.pick(this.places);
    switch (this.below(6)) {
      case 0:
        return base;
      case 1:
        return BigInt.asUintN(64, base + BigInt(this.range(-64, 64)));
      case 2:
        return BigInt.asUintN(64, base + BigInt(this.range(-2, 18)) * 0x1000n);
      default:
        return base + BigInt(this.below(0x10000));
    }
  }

  /** A 32-bit value. */
  narrow() {
    switch (this.below(5)) {
      case 0:
        return this.below(8);
      case 1:
        return this.below(4200);
      case 2:
        return (1 << this.below(32)) >>> 0;
      case 3:
        return Number(this.wide() & 0xffffffffn);
      default:
        return this.u32();
    }
  }

  /**
   * One that is often below `n`.
   * @param {number} n
   */
  small(n) {
    return this.chance(90) ? this.below(n) : this.narrow();
  }

  /** A page address as a number that a memory slot may have. */
  page() {
    const value = Number(this.place() & ~0xfffn);
    return this.chance(90) ? value : Number(this.wide());
  }

  /**
   * Bytes: zeros, random, or sparse.
   * @param {number} length
   */
  bytes(length) {
    const out = new Uint8Array(length);
    const kind = this.below(4);
    if (kind === 0) return out;
    if (kind === 1) {
      for (let i = 0; i < 1 + length / 32; i++) out[this.below(length)] = this.u8();
      return out;
    }
    if (kind === 2 && length >= 8) {
      const view = new DataView(out.buffer);
      for (let at = 0; at + 8 <= length; at += 8) view.setBigUint64(at, this.wide(), true);
      return out;
    }
    for (let i = 0; i < length; i++) out[i] = this.u32();
    return out;
  }
}
