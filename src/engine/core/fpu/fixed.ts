/**
 * 128-bit fixed point for the transcendental functions: a number is hi:lo / 2^128, from 0 up to just
 * below 1, and ONE is its stand-in for 1. Results are in fHi and fLo, a few units too small at most, so
 * that functions made from them have about 120 good bits: rounding them to 64 gives the correctly rounded
 * result but for one case in 2^50.
 */
import { mulHigh } from "../ops/wide";
import { mul64, wHi, wLo } from "./wide";

export let fHi: u64 = 0;
export let fLo: u64 = 0;

/** f = a * b. */
export function mulFixed(ah: u64, al: u64, bh: u64, bl: u64): void {
  const cross1 = mulHigh(ah, bl), cross2 = mulHigh(al, bh);
  mul64(ah, bh);
  let hi = wHi, lo = wLo + cross1;
  hi += <u64>(lo < cross1);
  lo += cross2;
  fHi = hi + <u64>(lo < cross2);
  fLo = lo;
}

/** f = f / d for 0 < d < 2^32. */
export function divSmall(d: u64): void {
  const q = fHi / d;
  const mid = ((fHi - q * d) << 32) | (fLo >> 32);
  const qm = mid / d;
  const low = ((mid - qm * d) << 32) | (fLo & 0xffffffff);
  fHi = q;
  fLo = (qm << 32) | (low / d);
}

/** f = 1 - f. */
export function complement(): void {
  fHi = ~fHi;
  fLo = ~fLo;
}

/** f = f + hi:lo, below 1. */
export function addFixed(hi: u64, lo: u64): void {
  const sum = fLo + lo;
  fHi += hi + <u64>(sum < lo);
  fLo = sum;
}

/** f = f - hi:lo, not below 0. */
export function subFixed(hi: u64, lo: u64): void {
  const borrow = <u64>(fLo < lo);
  fLo -= lo;
  fHi -= hi + borrow;
}

/** Whether the last divFixed() had a remainder. */
export let fRest: bool = false;

/** f = a / b with a < b, bit by bit. */
export function divFixed(ah: u64, al: u64, bh: u64, bl: u64): void {
  let qh: u64 = 0, ql: u64 = 0;
  for (let i = 0; i < 128; i++) {
    const carry = ah >> 63;
    ah = (ah << 1) | (al >> 63);
    al <<= 1;
    qh = (qh << 1) | (ql >> 63);
    ql <<= 1;
    if (carry || ah > bh || (ah == bh && al >= bl)) {
      ah -= bh + <u64>(al < bl);
      al -= bl;
      ql |= 1;
    }
  }
  fRest = (ah | al) != 0;
  fHi = qh;
  fLo = ql;
}

/** f = hi:lo >> n. */
export function setShifted(hi: u64, lo: u64, n: u32): void {
  if (n == 0) {
    fHi = hi;
    fLo = lo;
  } else if (n < 64) {
    fHi = hi >> n;
    fLo = (lo >> n) | (hi << (64 - n));
  } else {
    fHi = 0;
    fLo = n < 128 ? hi >> (n - 64) : 0;
  }
}

/**
 * f = the alternating sum over k of u^k / (2k + 1) from k = 0, for atan, with `terms` terms; or, with
 * `plus`, the sum of all but its first term, for atanh.
 */
export function oddSeries(uh: u64, ul: u64, terms: u64, plus: bool): void {
  fHi = 0;
  fLo = 0;
  for (let k = terms; k > 0; k--) {
    // The sum so far, times u, joins the next lower coefficient 1 / (2k + 1).
    mulFixed(fHi, fLo, uh, ul);
    const hi = fHi, lo = fLo;
    fHi = <u64>-1;
    fLo = <u64>-1;
    divSmall(k * 2 + 1);
    if (plus) addFixed(hi, lo);
    else subFixed(hi, lo);
  }
  mulFixed(fHi, fLo, uh, ul);
  if (!plus) complement();
}
