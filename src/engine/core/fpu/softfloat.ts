/**
 * Floating point for SSE: arithmetic on f32 and f64 bit patterns with x86 rounding, NaN and exception
 * rules (Intel SDM volume 1, 4.8, 4.9, 11.5; AMD APM volume 1, 4.10). Conversions: softfloat-convert.ts.
 *
 * Set sfRounding, sfMasks, sfDaz and sfFtz, clear sfFlags, then call. Flags are those that the
 * instruction sets when it completes. When an unmasked one of IE, DE, ZE is among them, the hardware
 * stops before the calculation: the caller drops OE, UE, PE of all elements (flags &= 7).
 */
import {
  aToB, unpack32, unpack64, addFinite, mulFinite, divFinite, sqrtFinite, roundRange, setZ, aClass, aSign,
  aExp, aSig, bClass, bSign, bExp, bSig, zSign, zExp, zHi, zTiny, C_ZERO, C_DENORMAL, C_INF, C_QNAN, C_SNAN,
  IE, DE, ZE, UE, PE, DOWN,
} from "./unpacked";

export {
  f32_to_f64, f64_to_f32, f64_to_i32, f64_to_i64, f32_to_i32, f32_to_i64, i32_to_f32, i32_to_f64, i64_to_f32,
  i64_to_f64, f32_round, f64_round,
} from "./softfloat-convert";

/** Rounding as MXCSR.RC: 0 nearest, 1 down, 2 up, 3 truncate. */
export let sfRounding: u32 = 0;
/** Masked exceptions, bits as in sfFlags (MXCSR >> 7): decides when a tiny result underflows. */
export let sfMasks: u32 = 0x3f;
/** Denormal operands count as zero. */
export let sfDaz: bool = false;
/** Tiny results become zero (while UE is masked). */
export let sfFtz: bool = false;
/** Exceptions so far, OR-ed: IE 1, DE 2, ZE 4, OE 8, UE 16, PE 32. */
export let sfFlags: u32 = 0;

/** Sets rounding, masks, DAZ and FTZ from an MXCSR value and clears sfFlags. */
export function sfBegin(mxcsr: u32): void {
  sfRounding = (mxcsr >> 13) & 3;
  sfMasks = (mxcsr >> 7) & 0x3f;
  sfDaz = (mxcsr & 0x40) != 0;
  sfFtz = (mxcsr & 0x8000) != 0;
  sfFlags = 0;
}

/** f64_compare, f32_compare: unordered. */
export const UNORDERED: i32 = 2;

export const OP_ADD: u32 = 0;
export const OP_SUB: u32 = 1;
export const OP_MUL: u32 = 2;
export const OP_DIV: u32 = 3;

const NAN32: u32 = 0xffc00000;
const NAN64: u64 = 0xfff8000000000000;

/** How a result follows when it is not computed; set by special(). */
export const S_COMPUTE: u32 = 0;
export const S_NAN_A: u32 = 1;
export const S_NAN_B: u32 = 2;
export const S_DEFAULT: u32 = 3;
export const S_ZERO: u32 = 4;
export const S_INF: u32 = 5;

/** Applies DAZ to a and b. */
function daz(): void {
  if (aClass == C_DENORMAL) aClass = C_ZERO;
  if (bClass == C_DENORMAL) bClass = C_ZERO;
}

/** What follows from operands that are not both finite and nonzero (S_*); their flags; sets zSign. */
export function special(op: u32): u32 {
  if (aClass >= C_QNAN || bClass >= C_QNAN) {
    if (aClass == C_SNAN || bClass == C_SNAN) sfFlags |= IE;
    return aClass >= C_QNAN ? S_NAN_A : S_NAN_B;
  }
  let kind = S_COMPUTE;
  if (op <= OP_SUB) {
    const sb = bSign ^ op;
    if (aClass == C_INF) {
      if (bClass == C_INF && aSign != sb) return invalid();
      zSign = aSign;
      kind = S_INF;
    } else if (bClass == C_INF) {
      zSign = sb;
      kind = S_INF;
    } else if (aClass == C_ZERO && bClass == C_ZERO) {
      zSign = aSign == sb ? aSign : <u32>(sfRounding == DOWN);
      kind = S_ZERO;
    }
  } else {
    zSign = aSign ^ bSign;
    if (op == OP_MUL) {
      if (aClass == C_INF || bClass == C_INF) {
        if (aClass == C_ZERO || bClass == C_ZERO) return invalid();
        kind = S_INF;
      } else if (aClass == C_ZERO || bClass == C_ZERO) kind = S_ZERO;
    } else if (aClass == C_INF) {
      if (bClass == C_INF) return invalid();
      kind = S_INF;
    } else if (bClass == C_INF) kind = S_ZERO;
    else if (bClass == C_ZERO) {
      if (aClass == C_ZERO) return invalid();
      sfFlags |= ZE;
      return S_INF;
    } else if (aClass == C_ZERO) kind = S_ZERO;
  }
  if (aClass == C_DENORMAL || bClass == C_DENORMAL) sfFlags |= DE;
  return kind;
}

/** The masked answer to an invalid operation. */
export function invalid(): u32 {
  sfFlags |= IE;
  return S_DEFAULT;
}

/** Computes z from finite a and b, not both zero; false when it is an exact zero (with zSign set). */
export function compute(op: u32): bool {
  if (op >= OP_MUL) {
    if (op == OP_MUL) mulFinite();
    else divFinite();
    return true;
  }
  if (aClass == C_ZERO) setZ(bSign ^ op, bExp, bSig, 0);
  else if (bClass == C_ZERO) setZ(aSign, aExp, aSig, 0);
  else if (!addFinite(op)) {
    zSign = <u32>(sfRounding == DOWN);
    return false;
  }
  return true;
}

/** Rounds z and makes an f32 of it. */
export function finish32(): u32 {
  sfFlags |= roundRange(24, sfRounding, -126, 127, sfMasks);
  const sign = zSign << 31;
  if (zTiny && sfFtz && sfMasks & UE) {
    sfFlags |= UE | PE;
    return sign;
  }
  if (!(zHi >> 63)) return sign | <u32>(zHi >> 40);
  if (zExp > 127) return sign | 0x7f800000;
  return sign | (<u32>(zExp + 127) << 23) | (<u32>(zHi >> 40) & 0x7fffff);
}

/** Rounds z and makes an f64 of it. */
export function finish64(): u64 {
  sfFlags |= roundRange(53, sfRounding, -1022, 1023, sfMasks);
  const sign = <u64>zSign << 63;
  if (zTiny && sfFtz && sfMasks & UE) {
    sfFlags |= UE | PE;
    return sign;
  }
  if (!(zHi >> 63)) return sign | (zHi >> 11);
  if (zExp > 1023) return sign | 0x7ff0000000000000;
  return sign | (<u64>(zExp + 1023) << 52) | ((zHi >> 11) & 0xfffffffffffff);
}

function arith32(op: u32, a: u32, b: u32): u32 {
  unpack32(b);
  aToB();
  unpack32(a);
  if (sfDaz) daz();
  switch (special(op)) {
    case S_NAN_A: return a | 0x400000;
    case S_NAN_B: return b | 0x400000;
    case S_DEFAULT: return NAN32;
    case S_ZERO: return zSign << 31;
    case S_INF: return (zSign << 31) | 0x7f800000;
    default: return compute(op) ? finish32() : zSign << 31;
  }
}

function arith64(op: u32, a: u64, b: u64): u64 {
  unpack64(b);
  aToB();
  unpack64(a);
  if (sfDaz) daz();
  switch (special(op)) {
    case S_NAN_A: return a | 0x8000000000000;
    case S_NAN_B: return b | 0x8000000000000;
    case S_DEFAULT: return NAN64;
    case S_ZERO: return <u64>zSign << 63;
    case S_INF: return (<u64>zSign << 63) | 0x7ff0000000000000;
    default: return compute(op) ? finish64() : <u64>zSign << 63;
  }
}

/** a + b. a is the first (destination) operand: its NaN wins. */
export function f32_add(a: u32, b: u32): u32 {
  return arith32(OP_ADD, a, b);
}
/** a - b. */
export function f32_sub(a: u32, b: u32): u32 {
  return arith32(OP_SUB, a, b);
}
/** a * b. */
export function f32_mul(a: u32, b: u32): u32 {
  return arith32(OP_MUL, a, b);
}
/** a / b. */
export function f32_div(a: u32, b: u32): u32 {
  return arith32(OP_DIV, a, b);
}
/** a + b. */
export function f64_add(a: u64, b: u64): u64 {
  return arith64(OP_ADD, a, b);
}
/** a - b. */
export function f64_sub(a: u64, b: u64): u64 {
  return arith64(OP_SUB, a, b);
}
/** a * b. */
export function f64_mul(a: u64, b: u64): u64 {
  return arith64(OP_MUL, a, b);
}
/** a / b. */
export function f64_div(a: u64, b: u64): u64 {
  return arith64(OP_DIV, a, b);
}

/** What a square root gives without calculating: S_*; sets z otherwise. */
function root(): u32 {
  if (aClass == C_DENORMAL && sfDaz) aClass = C_ZERO;
  if (aClass >= C_QNAN) {
    if (aClass == C_SNAN) sfFlags |= IE;
    return S_NAN_A;
  }
  if (aClass == C_ZERO) return S_ZERO;
  if (aSign) return invalid();
  if (aClass == C_INF) return S_INF;
  if (aClass == C_DENORMAL) sfFlags |= DE;
  sqrtFinite();
  return S_COMPUTE;
}

/** Square root. */
export function f32_sqrt(a: u32): u32 {
  unpack32(a);
  switch (root()) {
    case S_NAN_A: return a | 0x400000;
    case S_DEFAULT: return NAN32;
    case S_ZERO: return aSign << 31;
    case S_INF: return a;
    default: return finish32();
  }
}

/** Square root. */
export function f64_sqrt(a: u64): u64 {
  unpack64(a);
  switch (root()) {
    case S_NAN_A: return a | 0x8000000000000;
    case S_DEFAULT: return NAN64;
    case S_ZERO: return <u64>aSign << 63;
    case S_INF: return a;
    default: return finish64();
  }
}

/** Compares a with b (unpacked). `quiet`: only signalling NaNs are invalid. */
function compare(quiet: bool): i32 {
  if (sfDaz) daz();
  if (aClass >= C_QNAN || bClass >= C_QNAN) {
    if (!quiet || aClass == C_SNAN || bClass == C_SNAN) sfFlags |= IE;
    return UNORDERED;
  }
  if (aClass == C_DENORMAL || bClass == C_DENORMAL) sfFlags |= DE;
  return order();
}

/** -1, 0 or 1 as a < b, a == b, a > b; neither is a NaN. */
export function order(): i32 {
  if (aClass == C_ZERO && bClass == C_ZERO) return 0;
  const below: i32 = aSign ? 1 : -1;
  if (aClass == C_ZERO) return bSign ? 1 : -1;
  if (bClass == C_ZERO) return -below;
  if (aSign != bSign) return -below;
  if (aClass == C_INF) return bClass == C_INF ? 0 : -below;
  if (bClass == C_INF) return below;
  if (aExp != bExp) return aExp < bExp ? below : -below;
  if (aSig != bSig) return aSig < bSig ? below : -below;
  return 0;
}

/** -1 a < b, 0 equal, 1 a > b, UNORDERED. `quiet`: a quiet NaN raises nothing (UCOMISS, CMPEQ..). */
export function f32_compare(a: u32, b: u32, quiet: bool): i32 {
  unpack32(b);
  aToB();
  unpack32(a);
  return compare(quiet);
}

/** -1 a < b, 0 equal, 1 a > b, UNORDERED. `quiet`: a quiet NaN raises nothing (UCOMISD, CMPEQ..). */
export function f64_compare(a: u64, b: u64, quiet: bool): i32 {
  unpack64(b);
  aToB();
  unpack64(a);
  return compare(quiet);
}

/** MINSS: b when either is a NaN or both are zero. */
export function f32_min(a: u32, b: u32): u32 {
  return pick32(f32_compare(a, b, false) == -1 ? a : b);
}
/** MAXSS. */
export function f32_max(a: u32, b: u32): u32 {
  return pick32(f32_compare(a, b, false) == 1 ? a : b);
}
/** MINSD. */
export function f64_min(a: u64, b: u64): u64 {
  return pick64(f64_compare(a, b, false) == -1 ? a : b);
}
/** MAXSD. */
export function f64_max(a: u64, b: u64): u64 {
  return pick64(f64_compare(a, b, false) == 1 ? a : b);
}

/** An operand that is itself the result: DAZ makes a zero of a denormal. */
function pick32(x: u32): u32 {
  return sfDaz && (x & 0x7f800000) == 0 ? x & 0x80000000 : x;
}

function pick64(x: u64): u64 {
  return sfDaz && (x & 0x7ff0000000000000) == 0 ? x & 0x8000000000000000 : x;
}
