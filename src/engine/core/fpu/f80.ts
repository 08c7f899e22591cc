/**
 * Arithmetic of the x87 FPU on 80-bit numbers: add, subtract, multiply, divide, square root, compare,
 * loads of and stores to the memory formats (Intel SDM volume 1, chapter 8 and 4.8).
 *
 * Operands are unpacked to a and b (unpacked.ts). Exceptions of the instruction are collected in
 * sfFlags (softfloat.ts), the result is in rSig and rSe. Functions that return a bool return false when
 * an unmasked exception keeps the result from being written.
 */
import { FCW } from "../state.gen";
import {
  roundRange, roundZ, setZ, shiftZ, sqrtFinite, aClass, aSign, aExp, aSig, bClass, bSign, bSig, zSign, zExp,
  zHi, zUp, C_ZERO, C_NORMAL, C_DENORMAL, C_INF, C_QNAN, C_SNAN, C_UNSUPPORTED, IE, DE, ZE, OE, UE, PE,
  TOP_BIT, CHOP,
} from "./unpacked";
import {
  sfFlags, sfRounding, sfMasks, sfDaz, sfFtz, special, compute, order, finish32, finish64, S_COMPUTE,
  S_DEFAULT, S_ZERO, UNORDERED,
} from "./softfloat";

/** Significand of the result. */
export let rSig: u64 = 0;
/** Sign (bit 15) and exponent of the result. */
export let rSe: u32 = 0;
/** Precision that FCW.PC asks for, in bits. */
export let xPrecision: u32 = 64;
/** C1 of an inexact result: it was rounded up (away from zero). */
export let xUp: bool = false;

export const QUIET_BIT: u64 = 0x4000000000000000;
/** The exponent of the 80-bit format is moved by this when OE or UE is not masked. */
const WRAP: i32 = 24576;

/** Sets rounding and masks from FCW and forgets the last instruction's exceptions. */
export function xBegin(): void {
  const cw = load<u32>(FCW);
  sfRounding = (cw >> 10) & 3;
  sfMasks = cw & 0x3f;
  sfDaz = false;
  sfFtz = false;
  sfFlags = 0;
  xUp = false;
  const pc = (cw >> 8) & 3;
  xPrecision = pc == 0 ? 24 : pc == 2 ? 53 : 64;
}

/** Whether an exception that comes before the calculation (IE, DE, ZE) is raised and unmasked. */
export function stopped(): bool {
  return (sfFlags & ~sfMasks & (IE | DE | ZE)) != 0;
}

/** Sets the result. */
export function setR(sig: u64, se: u32): void {
  rSig = sig;
  rSe = se;
}

/** The default NaN ("real indefinite"). */
export function setDefaultNan(): void {
  setR(0xc000000000000000, 0xffff);
}

/** Signed zero. */
export function setZero(sign: u32): void {
  setR(0, sign << 15);
}

/** Signed infinity. */
export function setInf(sign: u32): void {
  setR(TOP_BIT, (sign << 15) | 0x7fff);
}

/** Invalid operation: IE, and the default NaN when it is masked. */
export function xInvalid(): bool {
  sfFlags |= IE;
  setDefaultNan();
  return !stopped();
}

/** The result for a that is a NaN or unsupported. */
export function nanOne(): bool {
  if (aClass == C_UNSUPPORTED) return xInvalid();
  if (aClass == C_SNAN) sfFlags |= IE;
  setR(aSig | QUIET_BIT, (aSign << 15) | 0x7fff);
  return !stopped();
}

/** The result for a and b, at least one of which is a NaN or unsupported. */
export function nanTwo(): bool {
  if (aClass == C_UNSUPPORTED || bClass == C_UNSUPPORTED) return xInvalid();
  if (aClass == C_SNAN || bClass == C_SNAN) sfFlags |= IE;
  let useA = aClass >= C_QNAN;
  if (useA && bClass >= C_QNAN) {
    if (aClass != bClass) useA = aClass == C_QNAN;
    else if (aSig != bSig) useA = aSig > bSig;
    else useA = aSign == 0;
  }
  if (useA) setR(aSig | QUIET_BIT, (aSign << 15) | 0x7fff);
  else setR(bSig | QUIET_BIT, (bSign << 15) | 0x7fff);
  return !stopped();
}

/** Packs the rounded z. */
function packZ(): void {
  if (zExp > 16383) setInf(zSign);
  else if (!(zHi >> 63)) setR(zHi, zSign << 15);
  else setR(zHi, (zSign << 15) | <u32>(zExp + 16383));
}

/** Moves the exponent of a result with an unmasked OE or UE; only FSCALE can still be out of range. */
function wrap(open: u32): void {
  zExp += open & OE ? -WRAP : WRAP;
  if (zExp > 16383) {
    sfFlags |= PE;
    xUp = true;
  } else if (zExp < -16382) {
    sfFlags |= PE;
    xUp = false;
    zHi = 0;
  }
}

/** Rounds z to `precision` bits and makes the result of it. */
export function finish80(precision: u32): bool {
  if (stopped()) return false;
  const flags = roundRange(precision, sfRounding, -16382, 16383, sfMasks);
  sfFlags |= flags;
  const open = flags & ~sfMasks;
  xUp = zUp;
  if (open & (OE | UE)) wrap(open);
  packZ();
  return true;
}

/** a op b, OP_* of softfloat.ts, rounded to the precision of FCW.PC. */
export function arith80(op: u32): bool {
  if (aClass >= C_QNAN || bClass >= C_QNAN) return nanTwo();
  const kind = special(op);
  if (kind == S_COMPUTE) {
    if (stopped()) return false;
    if (compute(op)) return finish80(xPrecision);
    setZero(zSign);
  } else if (kind == S_DEFAULT) setDefaultNan();
  else if (kind == S_ZERO) setZero(zSign);
  else setInf(zSign);
  return !stopped();
}

/** The square root of a. */
export function sqrt80(): bool {
  if (aClass >= C_QNAN) return nanOne();
  if (aClass == C_ZERO) {
    setZero(aSign);
    return true;
  }
  if (aSign) return xInvalid();
  if (aClass == C_INF) {
    setInf(0);
    return true;
  }
  if (aClass == C_DENORMAL) sfFlags |= DE;
  sqrtFinite();
  return finish80(xPrecision);
}

/** Compares a with b: -1, 0, 1 or UNORDERED. `quiet`: FUCOM, only signalling NaNs are invalid. */
export function compare80(quiet: bool): i32 {
  if (aClass >= C_QNAN || bClass >= C_QNAN) {
    if (!quiet || aClass > C_QNAN || bClass > C_QNAN) sfFlags |= IE;
    return UNORDERED;
  }
  if (aClass == C_DENORMAL || bClass == C_DENORMAL) sfFlags |= DE;
  return order();
}

/** FLD of an f32 or f64, unpacked to a: the result. Of the exceptions, only IE keeps it from being loaded. */
export function load80(): bool {
  if (aClass >= C_QNAN) return nanOne();
  if (aClass == C_INF) setInf(aSign);
  else if (aClass == C_ZERO) setZero(aSign);
  else {
    if (aClass == C_DENORMAL) sfFlags |= DE;
    setR(aSig, (aSign << 15) | <u32>(aExp + 16383));
  }
  return true;
}

/** Packs a finite a, as it is. */
export function setFromA(): void {
  if (aClass == C_ZERO) setZero(aSign);
  else if (aExp < -16382) setR(aSig >> <u32>(-16382 - aExp), aSign << 15);
  else setR(aSig, (aSign << 15) | <u32>(aExp + 16383));
}

/** Makes a of an integer. */
export function integerToA(x: i64): void {
  aSign = <u32>(x < 0);
  aClass = x == 0 ? C_ZERO : C_NORMAL;
  if (x == 0) {
    aSig = 0;
    return;
  }
  const u: u64 = x < 0 ? 0 - <u64>x : <u64>x;
  const n = <i32>clz<u64>(u);
  aSig = u << n;
  aExp = 63 - n;
}

/** Whether a store to memory may go on: exceptions after the rounding stop stores too. */
function mayStore(): bool {
  return (sfFlags & ~sfMasks & (IE | DE | ZE | OE | UE)) == 0;
}

/** The end of a rounding store: one that an exception stops has not got as far as rounding. */
function endStore(): void {
  if (sfFlags & ~sfMasks & (OE | UE)) sfFlags &= ~PE;
  else xUp = zUp;
}

/** FST m32: the f32 of a in rSig. */
export function store32(): bool {
  const sign = <u64>(aSign << 31);
  if (aClass == C_UNSUPPORTED) {
    sfFlags |= IE;
    rSig = 0xffc00000;
  } else if (aClass >= C_QNAN) {
    if (aClass == C_SNAN) sfFlags |= IE;
    rSig = sign | 0x7fc00000 | ((aSig >> 40) & 0x3fffff);
  } else if (aClass == C_INF) rSig = sign | 0x7f800000;
  else if (aClass == C_ZERO) rSig = sign;
  else {
    setZ(aSign, aExp, aSig, 0);
    rSig = finish32();
    endStore();
  }
  return mayStore();
}

/** FST m64: the f64 of a in rSig. */
export function store64(): bool {
  const sign = <u64>aSign << 63;
  if (aClass == C_UNSUPPORTED) {
    sfFlags |= IE;
    rSig = 0xfff8000000000000;
  } else if (aClass >= C_QNAN) {
    if (aClass == C_SNAN) sfFlags |= IE;
    rSig = sign | 0x7ff8000000000000 | ((aSig >> 11) & 0x7ffffffffffff);
  } else if (aClass == C_INF) rSig = sign | 0x7ff0000000000000;
  else if (aClass == C_ZERO) rSig = sign;
  else {
    setZ(aSign, aExp, aSig, 0);
    rSig = finish64();
    endStore();
  }
  return mayStore();
}

/** Rounds the finite a, not zero and below 2^64, to an integer in zHi by `mode`; whether it changed. */
export function integerZ(mode: u32): bool {
  setZ(aSign, 63, aSig, 0);
  shiftZ(<u32>(63 - aExp));
  const exp = zExp;
  const inexact = roundZ(64, mode);
  // A carry out of all 64 bits cannot happen: there were fraction bits, or nothing to round.
  zExp = exp;
  return inexact;
}

/**
 * FIST: a as an integer of `bits` bits in rSig (the integer indefinite when it does not fit), rounded by
 * FCW.RC, or towards zero with `chop` (FISTTP).
 */
export function storeInt(bits: u32, chop: bool): bool {
  rSig = TOP_BIT >> (64 - bits);
  if (aClass == C_ZERO) {
    rSig = 0;
    return true;
  }
  if (aClass < C_INF && aExp < 64) {
    const inexact = integerZ(chop ? CHOP : sfRounding);
    if (zHi <= rSig - <u64>!aSign) {
      if (inexact) {
        sfFlags |= PE;
        xUp = zUp;
      }
      rSig = aSign ? 0 - zHi : zHi;
      return true;
    }
    xUp = false;
  }
  sfFlags |= IE;
  return !stopped();
}
