/** 128-bit products and quotients out of 64-bit arithmetic. */

/** Upper 64 bits of the unsigned product. */
export function mulHigh(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff, a1 = a >> 32;
  const b0 = b & 0xffffffff, b1 = b >> 32;
  const mid = a1 * b0 + ((a0 * b0) >> 32);
  const mid2 = a0 * b1 + (mid & 0xffffffff);
  return a1 * b1 + (mid >> 32) + (mid2 >> 32);
}

/** Upper 64 bits of the signed product. */
export function mulHighSigned(a: i64, b: i64): i64 {
  return <i64>mulHigh(<u64>a, <u64>b) - ((a >> 63) & b) - ((b >> 63) & a);
}

/** Remainder of the last divWide(). */
export let divRemainder: u64 = 0;

/**
 * Divides high:low by `d`; needs high < d, so that the quotient fits. Schoolbook division with two
 * 32-bit digits (Knuth, TAOCP vol. 2, 4.3.1, algorithm D).
 */
export function divWide(high: u64, low: u64, d: u64): u64 {
  if (high == 0) {
    divRemainder = low % d;
    return low / d;
  }
  const s = clz<u64>(d);
  const v = d << s;
  const u = s == 0 ? high : (high << s) | (low >> (64 - s));
  const w = low << s;
  const q1 = digit(u, w >> 32, v);
  const u2 = ((u << 32) | (w >> 32)) - q1 * v;
  const q0 = digit(u2, w & 0xffffffff, v);
  divRemainder = (((u2 << 32) | (w & 0xffffffff)) - q0 * v) >> s;
  return (q1 << 32) + q0;
}

/** One quotient digit of (u:next) / v, with v's top bit set and next one 32-bit digit. */
function digit(u: u64, next: u64, v: u64): u64 {
  const top = v >> 32, rest = v & 0xffffffff;
  let q = u / top;
  let r = u % top;
  while (q >> 32 != 0 || q * rest > ((r << 32) | next)) {
    q--;
    r += top;
    if (r >> 32 != 0) break;
  }
  return q;
}
