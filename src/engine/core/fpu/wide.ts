/**
 * Arithmetic on 128-bit numbers for the FPU. A function that has a 128-bit result leaves it in wHi
 * and wLo (and a remainder in wRem, wRemHi): the caller reads them before the next call.
 */

export let wHi: u64 = 0;
export let wLo: u64 = 0;
/** Remainder of div128, and low half of the remainder of sqrt128. */
export let wRem: u64 = 0;
/** High half of the remainder of sqrt128: 0 or 1. */
export let wRemHi: u64 = 0;

/** wHi:wLo = a * b. */
export function mul64(a: u64, b: u64): void {
  const al = a & 0xffffffff, ah = a >> 32, bl = b & 0xffffffff, bh = b >> 32;
  const ll = al * bl, lh = al * bh, hl = ah * bl, hh = ah * bh;
  const mid = (ll >> 32) + (lh & 0xffffffff) + (hl & 0xffffffff);
  wLo = (mid << 32) | (ll & 0xffffffff);
  wHi = hh + (lh >> 32) + (hl >> 32) + (mid >> 32);
}

/** One 32-bit digit of the quotient: (rem * 2^32 + next) / d, with rem < d and d >= 2^63. Leaves wRem. */
function divDigit(rem: u64, next: u64, d: u64): u64 {
  const dh = d >> 32, dl = d & 0xffffffff;
  let q = rem / dh;
  let r = rem - q * dh;
  // q is at most 2 too large (Knuth, volume 2, 4.3.1, theorem B).
  while (q > 0xffffffff || q * dl > ((r << 32) | next)) {
    q--;
    r += dh;
    if (r > 0xffffffff) break;
  }
  wRem = ((rem << 32) | next) - q * d;
  return q;
}

/** hi:lo / d with hi < d and bit 63 of d set: the quotient; the remainder is in wRem. */
export function div128(hi: u64, lo: u64, d: u64): u64 {
  const q1 = divDigit(hi, lo >> 32, d);
  const q0 = divDigit(wRem, lo & 0xffffffff, d);
  return (q1 << 32) | q0;
}

/**
 * The integer square root of hi:lo, with hi >= 2^62, so that the root has 64 bits. The remainder
 * hi:lo - root^2 (at most 2 * root) is in wRemHi:wRem.
 */
export function sqrt128(hi: u64, lo: u64): u64 {
  // The hardware square root is right to about 2^11; one Newton step makes it right to 1.
  const guess: f64 = Math.sqrt(<f64>hi) * 4294967296.0;
  let s: u64 = guess >= 18446744073709549568.0 ? <u64>-1 : <u64>guess;
  mul64(s, s);
  let rl = lo - wLo;
  let rh = <i64>(hi - wHi - <u64>(lo < wLo));
  const rem: f64 = <f64>rh * 18446744073709551616.0 + <f64>rl;
  const step = <i64>Math.floor(rem / (2.0 * <f64>s));
  if (step > 0 && s + <u64>step < s) s = <u64>-1;
  else s += <u64>step;
  mul64(s, s);
  rl = lo - wLo;
  rh = <i64>(hi - wHi - <u64>(lo < wLo));
  while (rh < 0) {
    // (s - 1)^2 = s^2 - (2s - 1)
    s--;
    const low = rl + (s << 1) + 1;
    rh += <i64>(s >> 63) + <i64>(low < rl || (low == rl && (s << 1) + 1 != 0));
    rl = low;
  }
  while (rh > <i64>(s >> 63) || (rh == <i64>(s >> 63) && rl > s << 1)) {
    const low = rl - ((s << 1) + 1);
    rh -= <i64>(s >> 63) + <i64>(rl < (s << 1) + 1);
    rl = low;
    s++;
  }
  wRemHi = <u64>rh;
  wRem = rl;
  return s;
}

/** wHi:wLo = hi:lo >> n for any n >= 0; bit 0 of the result is set when a set bit was shifted out. */
export function shiftRightJam(hi: u64, lo: u64, n: u32): void {
  if (n == 0) {
    wHi = hi;
    wLo = lo;
  } else if (n < 64) {
    wHi = hi >> n;
    wLo = (hi << (64 - n)) | (lo >> n) | <u64>(lo << (64 - n) != 0);
  } else if (n < 128) {
    const m = n - 64;
    wHi = 0;
    wLo = (hi >> m) | <u64>((m != 0 && hi << (64 - m) != 0) || lo != 0);
  } else {
    wHi = 0;
    wLo = <u64>((hi | lo) != 0);
  }
}
