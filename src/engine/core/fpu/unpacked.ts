/**
 * Unpacked floating-point numbers and the four operations, square root and rounding on them: common
 * to f32, f64 (softfloat.ts) and the 80-bit format (f80.ts).
 *
 * Operands are a and b. A finite one is sig / 2^63 * 2^exp with bit 63 of sig set. The result z has
 * 64 more bits in zLo; everything beyond them is in bit 0 of zLo ("jammed"), which is enough to round.
 */
import { mul64, div128, sqrt128, shiftRightJam, wHi, wLo, wRem, wRemHi } from "./wide";

export const C_ZERO: u32 = 0;
export const C_NORMAL: u32 = 1;
export const C_DENORMAL: u32 = 2;
export const C_INF: u32 = 3;
export const C_QNAN: u32 = 4;
export const C_SNAN: u32 = 5;
/** 80-bit encodings that the FPU refuses: unnormals, pseudo-infinities, pseudo-NaNs. */
export const C_UNSUPPORTED: u32 = 6;

export const IE: u32 = 1;
export const DE: u32 = 2;
export const ZE: u32 = 4;
export const OE: u32 = 8;
export const UE: u32 = 16;
export const PE: u32 = 32;

export const NEAR: u32 = 0;
export const DOWN: u32 = 1;
export const UP: u32 = 2;
export const CHOP: u32 = 3;

export const TOP_BIT: u64 = 0x8000000000000000;

export let aClass: u32 = 0;
export let aSign: u32 = 0;
export let aExp: i32 = 0;
export let aSig: u64 = 0;
export let bClass: u32 = 0;
export let bSign: u32 = 0;
export let bExp: i32 = 0;
export let bSig: u64 = 0;

export let zSign: u32 = 0;
export let zExp: i32 = 0;
export let zHi: u64 = 0;
export let zLo: u64 = 0;
/** Whether the last rounding increased the magnitude. */
export let zUp: bool = false;
/** Whether the last roundRange() had a result below the smallest normal number, even an exact one. */
export let zTiny: bool = false;

/** Makes b of a. */
export function aToB(): void {
  bClass = aClass;
  bSign = aSign;
  bExp = aExp;
  bSig = aSig;
}

/** Exchanges a and b. */
export function swapAB(): void {
  const cls = aClass, sign = aSign, exp = aExp, sig = aSig;
  aClass = bClass;
  aSign = bSign;
  aExp = bExp;
  aSig = bSig;
  bClass = cls;
  bSign = sign;
  bExp = exp;
  bSig = sig;
}

/** Unpacks an f32 to a. */
export function unpack32(x: u32): void {
  aSign = x >> 31;
  const e: u32 = (x >> 23) & 0xff;
  const f: u64 = <u64>(x & 0x7fffff) << 40;
  if (e == 0) {
    if (f == 0) {
      aClass = C_ZERO;
      aSig = 0;
      return;
    }
    const n = <i32>clz<u64>(f);
    aClass = C_DENORMAL;
    aSig = f << n;
    aExp = -126 - n;
  } else if (e == 0xff) {
    aSig = f | TOP_BIT;
    aClass = f == 0 ? C_INF : x & 0x400000 ? C_QNAN : C_SNAN;
  } else {
    aClass = C_NORMAL;
    aSig = f | TOP_BIT;
    aExp = <i32>e - 127;
  }
}

/** Unpacks an f64 to a. */
export function unpack64(x: u64): void {
  aSign = <u32>(x >> 63);
  const e: u32 = <u32>(x >> 52) & 0x7ff;
  const f: u64 = (x & 0xfffffffffffff) << 11;
  if (e == 0) {
    if (f == 0) {
      aClass = C_ZERO;
      aSig = 0;
      return;
    }
    const n = <i32>clz<u64>(f);
    aClass = C_DENORMAL;
    aSig = f << n;
    aExp = -1022 - n;
  } else if (e == 0x7ff) {
    aSig = f | TOP_BIT;
    aClass = f == 0 ? C_INF : x & 0x8000000000000 ? C_QNAN : C_SNAN;
  } else {
    aClass = C_NORMAL;
    aSig = f | TOP_BIT;
    aExp = <i32>e - 1023;
  }
}

/** Unpacks an 80-bit number (significand, sign and exponent) to a. Pseudo-denormals are denormals. */
export function unpack80(sig: u64, se: u32): void {
  aSign = (se >> 15) & 1;
  const e: u32 = se & 0x7fff;
  aSig = sig;
  if (e == 0) {
    if (sig == 0) {
      aClass = C_ZERO;
      return;
    }
    const n = <i32>clz<u64>(sig);
    aClass = C_DENORMAL;
    aSig = sig << n;
    aExp = -16382 - n;
  } else if (e == 0x7fff) {
    if (!(sig >> 63)) aClass = C_UNSUPPORTED;
    else if (sig == TOP_BIT) aClass = C_INF;
    else aClass = sig & 0x4000000000000000 ? C_QNAN : C_SNAN;
  } else {
    aClass = sig >> 63 ? C_NORMAL : C_UNSUPPORTED;
    aExp = <i32>e - 16383;
  }
}

/** Normalises z, which is not zero. */
export function normalizeZ(): void {
  if (zHi == 0) {
    zHi = zLo;
    zLo = 0;
    zExp -= 64;
  }
  const n = clz<u64>(zHi);
  if (n == 0) return;
  zHi = (zHi << n) | (zLo >> (64 - n));
  zLo <<= n;
  zExp -= <i32>n;
}

/** z = a + b, finite and not zero both, `flip` 1 to subtract. Returns false when the sum is exactly 0. */
export function addFinite(flip: u32): bool {
  const signB = bSign ^ flip;
  let hiX = aSig, expX = aExp, signX = aSign, hiY = bSig, expY = bExp;
  if (bExp > aExp || (bExp == aExp && bSig > aSig)) {
    hiX = bSig;
    expX = bExp;
    signX = signB;
    hiY = aSig;
    expY = aExp;
  }
  shiftRightJam(hiY, 0, <u32>(expX - expY));
  zSign = signX;
  zExp = expX;
  if (aSign == signB) {
    zHi = hiX + wHi;
    zLo = wLo;
    if (zHi < hiX) {
      zLo = (zLo >> 1) | (zLo & 1) | (zHi << 63);
      zHi = (zHi >> 1) | TOP_BIT;
      zExp++;
    }
    return true;
  }
  zLo = 0 - wLo;
  zHi = hiX - wHi - <u64>(wLo != 0);
  if ((zHi | zLo) == 0) return false;
  normalizeZ();
  return true;
}

/** z = a * b, finite and not zero both. */
export function mulFinite(): void {
  mul64(aSig, bSig);
  zSign = aSign ^ bSign;
  zExp = aExp + bExp + 1;
  zHi = wHi;
  zLo = wLo;
  if (!(zHi >> 63)) {
    zHi = (zHi << 1) | (zLo >> 63);
    zLo <<= 1;
    zExp--;
  }
}

/** z = a / b, finite and not zero both. */
export function divFinite(): void {
  zSign = aSign ^ bSign;
  zExp = aExp - bExp;
  if (aSig >= bSig) zHi = div128(aSig >> 1, aSig << 63, bSig);
  else {
    zHi = div128(aSig, 0, bSig);
    zExp--;
  }
  // Only the next bit of the quotient and whether anything follows.
  const r = wRem;
  if (r >> 63 || r << 1 >= bSig) zLo = TOP_BIT | <u64>(r << 1 != bSig);
  else zLo = <u64>(r != 0);
}

/** z = square root of a, finite and positive. */
export function sqrtFinite(): void {
  zSign = 0;
  zExp = aExp >> 1;
  zHi = aExp & 1 ? sqrt128(aSig, 0) : sqrt128(aSig >> 1, aSig << 63);
  zLo = wRemHi != 0 || wRem > zHi ? TOP_BIT | 1 : <u64>(wRem != 0);
}

/**
 * Rounds z to `precision` bits (24, 53 or 64) by `mode`. Returns whether that changed the
 * value; zUp says whether it grew. A carry out of the top makes zExp one larger.
 */
export function roundZ(precision: u32, mode: u32): bool {
  let rest: bool, half: bool, odd: bool;
  const extra = 64 - precision;
  zUp = false;
  if (extra == 0) {
    if (zLo == 0) return false;
    half = zLo >> 63 != 0;
    rest = zLo << 1 != 0;
    odd = (zHi & 1) != 0;
  } else {
    const low: u64 = zHi & (((<u64>1) << extra) - 1);
    if ((low | zLo) == 0) return false;
    half = (low >> (extra - 1)) != 0;
    rest = low << (65 - extra) != 0 || zLo != 0;
    odd = ((zHi >> extra) & 1) != 0;
    zHi ^= low;
  }
  zLo = 0;
  if (mode == NEAR) zUp = half && (rest || odd);
  else if (mode == DOWN) zUp = zSign != 0;
  else if (mode == UP) zUp = zSign == 0;
  if (zUp) {
    const step: u64 = (<u64>1) << extra;
    zHi += step;
    if (zHi == 0) {
      zHi = TOP_BIT;
      zExp++;
    }
  }
  return true;
}

/** Shifts z right by n, keeping zExp + n: makes a denormal of it. */
export function shiftZ(n: u32): void {
  shiftRightJam(zHi, zLo, n);
  zHi = wHi;
  zLo = wLo;
  zExp += <i32>n;
}

/** Sets z. */
export function setZ(sign: u32, exp: i32, hi: u64, lo: u64): void {
  zSign = sign;
  zExp = exp;
  zHi = hi;
  zLo = lo;
}

/**
 * Rounds z into a format of `precision` bits with exponents emin..emax and returns the flags. Afterwards
 * bit 63 of zHi is clear for denormals and zero (then zExp is emin), and zExp > emax stands for infinity.
 * With OE or UE not in `masks`, a result that is too large or tiny keeps its exponent.
 */
export function roundRange(precision: u32, mode: u32, emin: i32, emax: i32, masks: u32): u32 {
  zTiny = false;
  if (zExp < emin) return roundTiny(precision, mode, emin, masks);
  const flags: u32 = roundZ(precision, mode) ? PE : 0;
  if (zExp <= emax) return flags;
  if (!(masks & OE)) return flags | OE;
  // Modes that do not round towards infinity give the largest finite number.
  if (mode == CHOP || mode == (zSign ? UP : DOWN)) {
    zExp = emax;
    zHi = <u64>-1 << (64 - precision);
    zUp = false;
  } else zUp = true;
  return OE | PE;
}

/** roundRange() for what is below the smallest normal number before rounding. */
function roundTiny(precision: u32, mode: u32, emin: i32, masks: u32): u32 {
  // Tiny is what is still below it after rounding with an unbounded exponent.
  const hi = zHi, lo = zLo, exp = zExp;
  const unbounded = roundZ(precision, mode);
  zTiny = zExp < emin;
  if (zTiny && !(masks & UE)) return UE | (unbounded ? PE : 0);
  setZ(zSign, exp, hi, lo);
  shiftZ(<u32>(emin - exp));
  if (!roundZ(precision, mode)) return 0;
  return zTiny ? UE | PE : PE;
}
