/**
 * The x87 instructions that take numbers apart: FRNDINT, FSCALE, FXTRACT, FPREM, FPREM1, and the packed
 * decimal format. Conventions as in f80.ts.
 */
import {
  setZ, normalizeZ, aClass, aSign, aExp, aSig, bClass, bSign, bExp, bSig, zHi, zUp, C_ZERO, C_DENORMAL, C_INF,
  C_QNAN, IE, DE, ZE, PE, TOP_BIT,
} from "./unpacked";
import { sfFlags, sfRounding } from "./softfloat";
import {
  setR, setZero, setInf, setFromA, xInvalid, nanOne, nanTwo, stopped, finish80, integerZ, rSig, rSe, xUp,
} from "./f80";
import { div128, wRem } from "./wide";

/** FRNDINT: a rounded to an integral value. */
export function roundInt80(): bool {
  if (aClass >= C_QNAN) return nanOne();
  if (aClass == C_INF) {
    setInf(aSign);
    return true;
  }
  if (aClass == C_DENORMAL) {
    sfFlags |= DE;
    if (stopped()) return false;
  }
  if (aClass == C_ZERO || aExp >= 63) {
    setFromA();
    return true;
  }
  if (integerZ(sfRounding)) {
    sfFlags |= PE;
    xUp = zUp;
  }
  if (zHi == 0) setZero(aSign);
  else {
    const n = clz<u64>(zHi);
    setR(zHi << n, (aSign << 15) | (16383 + 63 - <u32>n));
  }
  return true;
}

/** FSCALE: a * 2^trunc(b). */
export function scale80(): bool {
  if (aClass >= C_QNAN || bClass >= C_QNAN) return nanTwo();
  if (bClass == C_INF) {
    if (bSign ? aClass == C_INF : aClass == C_ZERO) return xInvalid();
    if (aClass == C_DENORMAL) sfFlags |= DE;
    if (bSign) setZero(aSign);
    else setInf(aSign);
    return !stopped();
  }
  if (aClass == C_DENORMAL || bClass == C_DENORMAL) sfFlags |= DE;
  if (aClass == C_INF) setInf(aSign);
  else if (aClass == C_ZERO) setZero(aSign);
  else if (bClass == C_ZERO) setFromA();
  else {
    let n: i32 = 0;
    if (bExp >= 0) n = bExp > 16 ? 0x20000 : <i32>(bSig >> (63 - bExp));
    if (stopped()) return false;
    setZ(aSign, aExp + (bSign ? -n : n), aSig, 0);
    return finish80(64);
  }
  return !stopped();
}

/** Exponent of the number that FXTRACT took apart, as an 80-bit number. */
export let eSig: u64 = 0;
export let eSe: u32 = 0;

/** FXTRACT: the exponent of a in eSig, eSe; its significand is the result. */
export function extract80(): bool {
  if (aClass >= C_QNAN) {
    const go = nanOne();
    eSig = rSig;
    eSe = rSe;
    return go;
  }
  if (aClass == C_INF) {
    setInf(aSign);
    eSig = TOP_BIT;
    eSe = 0x7fff;
  } else if (aClass == C_ZERO) {
    sfFlags |= ZE;
    setZero(aSign);
    eSig = TOP_BIT;
    eSe = 0xffff;
  } else {
    if (aClass == C_DENORMAL) sfFlags |= DE;
    setR(aSig, (aSign << 15) | 16383);
    const e: u64 = aExp < 0 ? <u64>-aExp : <u64>aExp;
    const n = clz<u64>(e);
    eSig = e == 0 ? 0 : e << n;
    eSe = e == 0 ? 0 : (aExp < 0 ? 0x8000 : 0) | (16383 + 63 - <u32>n);
  }
  return !stopped();
}

/** Low bits of the quotient of the last remainder80(). */
export let qLow: u32 = 0;
/** Whether the last remainder80() had operands that it could divide. */
export let qValid: bool = false;
/** Whether the last remainder80() was only a partial reduction (C2). */
export let qPartial: bool = false;

/** FPREM, or FPREM1 (`nearest`): the remainder of a / b. */
export function remainder80(nearest: bool): bool {
  qLow = 0;
  qPartial = false;
  qValid = false;
  if (aClass >= C_QNAN || bClass >= C_QNAN) return nanTwo();
  if (aClass == C_INF || bClass == C_ZERO) return xInvalid();
  if (aClass == C_DENORMAL || bClass == C_DENORMAL) sfFlags |= DE;
  if (stopped()) return false;
  qValid = true;
  if (aClass == C_ZERO) {
    setZero(aSign);
    return true;
  }
  if (bClass == C_INF) {
    setFromA();
    return true;
  }
  if (aExp < bExp - 1) {
    setZ(aSign, aExp, aSig, 0);
    return finish80(64);
  }
  const diff = aExp - bExp;
  if (diff >= 64) return partial(diff);
  // Remainder of aSig * 2^diff by bSig, in units of 2^(bExp - 63).
  let rem: u64, q: u64 = 0, sign = aSign;
  if (diff < 0) {
    // Half of b or more, below b: only FPREM1 may round it up. Units of half that size.
    if (!nearest || aSig <= bSig) {
      setZ(aSign, aExp, aSig, 0);
      return finish80(64);
    }
    // b - a = (2 * bSig - aSig) units
    setZ(aSign ^ 1, aExp, (bSig << 1) - aSig, 0);
    qLow = 1;
    normalizeZ();
    return finish80(64);
  }
  rem = aSig;
  if (rem >= bSig) {
    rem -= bSig;
    q = 1;
  }
  if (diff > 0) {
    const low = div128(rem >> (64 - diff), rem << diff, bSig);
    q = (q << diff) + low;
    rem = wRem;
  }
  if (nearest && (rem > bSig - rem || (rem == bSig - rem && q & 1))) {
    rem = bSig - rem;
    sign ^= 1;
    q++;
  }
  qLow = <u32>(q & 7);
  if (rem == 0) {
    setZero(aSign);
    return true;
  }
  setZ(sign, bExp, rem, 0);
  normalizeZ();
  return finish80(64);
}

/** A reduction by 32 to 63 bits of the exponent difference. */
function partial(diff: i32): bool {
  const n: u32 = (<u32>diff & 31) | 32;
  let rem = aSig >= bSig ? aSig - bSig : aSig;
  div128(rem >> (64 - n), rem << n, bSig);
  rem = wRem;
  qPartial = true;
  if (rem == 0) {
    setZero(aSign);
    return true;
  }
  setZ(aSign, bExp + diff - <i32>n, rem, 0);
  normalizeZ();
  return finish80(64);
}

/** FBLD: a packed decimal number (18 digits in 10 bytes), as an integer magnitude. */
export function fromBcd(digits: u64, top: u32): u64 {
  let value: u64 = <u64>((top >> 4) & 15) * 10 + <u64>(top & 15);
  for (let i = 60; i >= 0; i -= 4) value = value * 10 + ((digits >> <u32>i) & 15);
  return value;
}

/** FBSTP: a as a packed decimal number: rSig the low 8 bytes, rSe the upper two. */
export function toBcd80(): bool {
  if (aClass == C_ZERO) {
    setR(0, aSign << 15);
    return true;
  }
  if (aClass < C_INF && aExp < 63) {
    const inexact = integerZ(sfRounding);
    if (zHi < 1000000000000000000) {
      if (inexact) {
        sfFlags |= PE;
        xUp = zUp;
      }
      let rest = zHi, low: u64 = 0, high: u32 = 0;
      for (let i: u32 = 0; i < 18; i++) {
        const digit = rest % 10;
        rest /= 10;
        if (i < 16) low |= digit << (i * 4);
        else high |= <u32>digit << ((i - 16) * 4);
      }
      setR(low, high | (aSign << 15));
      return true;
    }
  }
  sfFlags |= IE;
  setR(0xc000000000000000, 0xffff);
  return !stopped();
}
