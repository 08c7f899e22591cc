/**
 * Conversions between f32, f64 and integers, and rounding to integral values, with the rules and
 * globals of softfloat.ts.
 */
import {
  unpack32, unpack64, roundZ, shiftZ, setZ, normalizeZ, aClass, aSign, aExp, aSig, zHi, zExp, C_ZERO,
  C_DENORMAL, C_INF, C_QNAN, C_SNAN, IE, DE, PE, CHOP, TOP_BIT,
} from "./unpacked";
import { sfRounding, sfDaz, sfFlags, finish32, finish64 } from "./softfloat";

/** CVTSS2SD. */
export function f32_to_f64(a: u32): u64 {
  unpack32(a);
  const sign = <u64>aSign << 63;
  if (aClass >= C_QNAN) {
    if (aClass == C_SNAN) sfFlags |= IE;
    return sign | 0x7ff8000000000000 | (<u64>(a & 0x7fffff) << 29);
  }
  if (aClass == C_INF) return sign | 0x7ff0000000000000;
  if (aClass == C_DENORMAL) {
    if (sfDaz) return sign;
    sfFlags |= DE;
  }
  if (aClass == C_ZERO) return sign;
  return sign | (<u64>(aExp + 1023) << 52) | ((aSig >> 11) & 0xfffffffffffff);
}

/** CVTSD2SS. */
export function f64_to_f32(a: u64): u32 {
  unpack64(a);
  const sign = aSign << 31;
  if (aClass >= C_QNAN) {
    if (aClass == C_SNAN) sfFlags |= IE;
    return sign | 0x7fc00000 | (<u32>(a >> 29) & 0x7fffff);
  }
  if (aClass == C_INF) return sign | 0x7f800000;
  if (aClass == C_DENORMAL) {
    if (sfDaz) return sign;
    sfFlags |= DE;
  }
  if (aClass == C_ZERO) return sign;
  setZ(aSign, aExp, aSig, 0);
  return finish32();
}

/** Rounds the finite a, not zero, to an integer in zHi. Returns 0 exact, 1 inexact, 2 above 2^64. */
function toInteger(mode: u32): u32 {
  if (aExp > 63) return 2;
  setZ(aSign, 63, aSig, 0);
  shiftZ(<u32>(63 - aExp));
  const inexact = roundZ(64, mode);
  // The shift moved zExp up; a carry out of all 64 bits moved it once more.
  if (zExp != 126 - aExp) return 2;
  return <u32>inexact;
}

/** The unpacked a as an integer of `bits` bits; `indefinite` when it does not fit. */
function toInt(bits: u32, mode: u32): i64 {
  const indefinite: i64 = bits == 64 ? <i64>TOP_BIT : -2147483648;
  if (aClass == C_ZERO || (aClass == C_DENORMAL && sfDaz)) return 0;
  if (aClass < C_INF) {
    const state = toInteger(mode);
    const limit: u64 = ((<u64>1) << (bits - 1)) - <u64>!aSign;
    if (state < 2 && zHi <= limit) {
      if (state) sfFlags |= PE;
      return aSign ? 0 - <i64>zHi : <i64>zHi;
    }
  }
  sfFlags |= IE;
  return indefinite;
}

/** CVTSD2SI, CVTTSD2SI (`truncate`). Invalid gives 0x80000000. */
export function f64_to_i32(a: u64, truncate: bool): i32 {
  unpack64(a);
  return <i32>toInt(32, truncate ? CHOP : sfRounding);
}
/** CVTSD2SI, CVTTSD2SI with a 64-bit register. Invalid gives 1 << 63. */
export function f64_to_i64(a: u64, truncate: bool): i64 {
  unpack64(a);
  return toInt(64, truncate ? CHOP : sfRounding);
}
/** CVTSS2SI, CVTTSS2SI. */
export function f32_to_i32(a: u32, truncate: bool): i32 {
  unpack32(a);
  return <i32>toInt(32, truncate ? CHOP : sfRounding);
}
/** CVTSS2SI, CVTTSS2SI with a 64-bit register. */
export function f32_to_i64(a: u32, truncate: bool): i64 {
  unpack32(a);
  return toInt(64, truncate ? CHOP : sfRounding);
}

/** Sets z to an integer that is not zero. */
function fromInt(a: i64): void {
  setZ(<u32>(a < 0), 63, a < 0 ? 0 - <u64>a : <u64>a, 0);
  normalizeZ();
}

/** CVTSI2SS. */
export function i64_to_f32(a: i64): u32 {
  if (a == 0) return 0;
  fromInt(a);
  return finish32();
}
/** CVTSI2SD. */
export function i64_to_f64(a: i64): u64 {
  if (a == 0) return 0;
  fromInt(a);
  return finish64();
}
/** CVTSI2SS, CVTDQ2PS. */
export function i32_to_f32(a: i32): u32 {
  return i64_to_f32(a);
}
/** CVTSI2SD, CVTDQ2PD: always exact. */
export function i32_to_f64(a: i32): u64 {
  return reinterpret<u64>(<f64>a);
}

/** ROUNDSS by `mode` (0 nearest, 1 down, 2 up, 3 truncate); `raisePe`: raise PE when the value changes. */
export function f32_round(a: u32, mode: u32, raisePe: bool): u32 {
  unpack32(a);
  if (aClass >= C_QNAN) {
    if (aClass == C_SNAN) sfFlags |= IE;
    return a | 0x400000;
  }
  if (aClass == C_INF || aClass == C_ZERO || aExp >= 23) return a;
  if (aClass == C_DENORMAL && sfDaz) return aSign << 31;
  if (toInteger(mode) && raisePe) sfFlags |= PE;
  const f: f32 = <f32>zHi;
  return reinterpret<u32>(f) | (aSign << 31);
}

/** ROUNDSD by `mode`; `raisePe`: raise PE when the value changes. */
export function f64_round(a: u64, mode: u32, raisePe: bool): u64 {
  unpack64(a);
  if (aClass >= C_QNAN) {
    if (aClass == C_SNAN) sfFlags |= IE;
    return a | 0x8000000000000;
  }
  if (aClass == C_INF || aClass == C_ZERO || aExp >= 52) return a;
  if (aClass == C_DENORMAL && sfDaz) return <u64>aSign << 63;
  if (toInteger(mode) && raisePe) sfFlags |= PE;
  const f: f64 = <f64>zHi;
  return reinterpret<u64>(f) | (<u64>aSign << 63);
}
