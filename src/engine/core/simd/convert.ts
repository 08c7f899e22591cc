/**
 * Conversions: CVTSI2SS CVTSI2SD CVT(T)SS2SI CVT(T)SD2SI CVTSS2SD CVTSD2SS CVTPS2PD CVTPD2PS CVTDQ2PS
 * CVTDQ2PD CVT(T)PS2DQ CVT(T)PD2DQ, and those of MMX registers CVTPI2PS CVTPI2PD CVT(T)PS2PI
 * CVT(T)PD2PI.
 */
import { MXCSR } from "../state.gen";
import { Rec } from "../record";
import { faulted, R_FAULT, R_NEXT } from "../fault";
import { mm, mmxAvailable, mmxTouch, setMm } from "../fpu/mmx";
import { f32_to_f64, i64_to_f32, i64_to_f64, sfBegin, sfDaz, sfFlags, sfRounding } from "../fpu/softfloat";
import { wrReg } from "../operands";
import { fpBegin, fpEnd, narrow64, plain32, quick } from "./fp";
import { rdS, rdW, sseReady, wrV } from "./operand";

const IE: u32 = 1;
const PE: u32 = 0x20;

/** Rounding mode of the CVTT instructions. */
const CHOP: u32 = 3;

/** `x` rounded to an integral value by MXCSR.RC or CHOP. */
function integral(x: f64, mode: u32): f64 {
  switch (mode) {
    case 0: return nearest<f64>(x);
    case 1: return floor<f64>(x);
    case 2: return ceil<f64>(x);
    default: return trunc<f64>(x);
  }
}

/** An f64 as an integer of T (u32 or u64); what does not fit (or a NaN) gives the smallest integer and IE. */
function toInt<T>(x: f64, chop: bool): T {
  if (sfDaz && (reinterpret<u64>(x) & 0x7ff0000000000000) == 0) return <T>0;
  const r = integral(x, chop ? CHOP : sfRounding);
  const limit: f64 = sizeof<T>() == 4 ? 2147483648.0 : 9223372036854775808.0;
  if (!(r >= -limit && r < limit)) {
    sfFlags |= IE;
    return sizeof<T>() == 4 ? <T>0x80000000 : <T>0x8000000000000000;
  }
  if (r != x) sfFlags |= PE;
  return sizeof<T>() == 4 ? <T>(<i32>r) : <T>(<i64>r);
}

/** An f32 as the f64 that toInt() takes: a denormal is no longer one, so that DAZ is applied here. */
function wide(x: u32): f64 {
  if (sfDaz && (x & 0x7f800000) == 0) return 0;
  return <f64>reinterpret<f32>(x);
}

/** CVTSD2SI CVTTSD2SI */
function sdToInt<T>(p: u32, chop: bool): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  sfBegin(load<u32>(MXCSR));
  const r = toInt<T>(reinterpret<f64>(w), chop);
  if (!fpEnd()) return R_FAULT;
  wrReg<T>(Rec.a(p), r);
  return R_NEXT;
}

/** CVTSS2SI CVTTSS2SI */
function ssToInt<T>(p: u32, chop: bool): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  sfBegin(load<u32>(MXCSR));
  const r = toInt<T>(wide(w), chop);
  if (!fpEnd()) return R_FAULT;
  wrReg<T>(Rec.a(p), r);
  return R_NEXT;
}

export function cvtsd2si<T>(p: u32): u32 {
  return sdToInt<T>(p, false);
}
export function cvttsd2si<T>(p: u32): u32 {
  return sdToInt<T>(p, true);
}
export function cvtss2si<T>(p: u32): u32 {
  return ssToInt<T>(p, false);
}
export function cvttss2si<T>(p: u32): u32 {
  return ssToInt<T>(p, true);
}

/** Whether an integer has at most `bits` significant ones, from the first to the last. */
function fits(x: i64, bits: i64): bool {
  const m: u64 = x < 0 ? 0 - <u64>x : <u64>x;
  return 64 - <i64>clz<u64>(m) - <i64>ctz<u64>(m) <= bits;
}

/** An integer as f32, between fpBegin() and fpEnd(). */
function intToF32(x: i64): u32 {
  return fits(x, 24) ? reinterpret<u32>(<f32>x) : i64_to_f32(x);
}

/** CVTSI2SD */
export function cvtsi2sd<T>(p: u32): u32 {
  const w = rdS<T>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  if (sizeof<T>() == 4) {
    store<f64>(at, <f64>(<i32>w));
    return R_NEXT;
  }
  const x = <i64>w;
  if (quick() || fits(x, 53)) {
    store<f64>(at, <f64>x);
    return R_NEXT;
  }
  fpBegin();
  const r = i64_to_f64(x);
  if (!fpEnd()) return R_FAULT;
  store<u64>(at, r);
  return R_NEXT;
}

/** CVTSI2SS */
export function cvtsi2ss<T>(p: u32): u32 {
  const w = rdS<T>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const x: i64 = sizeof<T>() == 4 ? <i64>(<i32>w) : <i64>w;
  if (quick()) {
    store<f32>(at, <f32>x);
    return R_NEXT;
  }
  fpBegin();
  const r = intToF32(x);
  if (!fpEnd()) return R_FAULT;
  store<u32>(at, r);
  return R_NEXT;
}

export function cvtss2sd(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  if (plain32(w)) {
    store<f64>(at, <f64>reinterpret<f32>(w));
    return R_NEXT;
  }
  fpBegin();
  const r = f32_to_f64(w);
  if (!fpEnd()) return R_FAULT;
  store<u64>(at, r);
  return R_NEXT;
}

export function cvtsd2ss(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  fpBegin();
  const r = narrow64(w);
  if (!fpEnd()) return R_FAULT;
  store<u32>(Rec.a(p), r);
  return R_NEXT;
}

export function cvtps2pd(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  const x = <u32>w, y = <u32>(w >> 32), at = Rec.a(p);
  fpBegin();
  const low: u64 = plain32(x) ? reinterpret<u64>(<f64>reinterpret<f32>(x)) : f32_to_f64(x);
  const high: u64 = plain32(y) ? reinterpret<u64>(<f64>reinterpret<f32>(y)) : f32_to_f64(y);
  if (!fpEnd()) return R_FAULT;
  store<u64>(at, low);
  store<u64>(at, high, 8);
  return R_NEXT;
}

export function cvtpd2ps(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  fpBegin();
  const low = narrow64(i64x2.extract_lane(w, 0)), high = narrow64(i64x2.extract_lane(w, 1));
  if (!fpEnd()) return R_FAULT;
  return wrV(p, i64x2.replace_lane(i64x2.splat(0), 0, <u64>low | (<u64>high << 32)));
}

/** Two signed integers as two f32. */
function pairToF32(w: u64): u64 {
  const low = intToF32(<i64>(<i32>w)), high = intToF32(<i64>(<i32>(w >> 32)));
  return <u64>low | (<u64>high << 32);
}

export function cvtdq2ps(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  if (quick()) return wrV(p, f32x4.convert_i32x4_s(w));
  fpBegin();
  const low = pairToF32(i64x2.extract_lane(w, 0)), high = pairToF32(i64x2.extract_lane(w, 1));
  if (!fpEnd()) return R_FAULT;
  return wrV(p, i64x2.replace_lane(i64x2.splat(low), 1, high));
}

export function cvtdq2pd(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, f64x2.convert_low_i32x4_s(i64x2.splat(w)));
}

/** Two f32 as two integers. */
function pairToInt(w: u64, chop: bool): u64 {
  const low = toInt<u32>(wide(<u32>w), chop), high = toInt<u32>(wide(<u32>(w >> 32)), chop);
  return <u64>low | (<u64>high << 32);
}

/** CVTPS2DQ CVTTPS2DQ */
function psToDwords(p: u32, chop: bool): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const exponent = v128.and(w, i32x4.splat(0x7f800000));
  // Exponents of 1 to 2^30: no overflow, no denormal.
  const usual = v128.and(i32x4.gt_s(i32x4.splat(0x4f000000), exponent), i32x4.ne(exponent, i64x2.splat(0)));
  if (quick() && i32x4.all_true(v128.or(usual, i32x4.eq(w, i64x2.splat(0))))) {
    return wrV(p, i32x4.trunc_sat_f32x4_s(chop ? w : f32x4.nearest(w)));
  }
  sfBegin(load<u32>(MXCSR));
  const low = pairToInt(i64x2.extract_lane(w, 0), chop), high = pairToInt(i64x2.extract_lane(w, 1), chop);
  if (!fpEnd()) return R_FAULT;
  return wrV(p, i64x2.replace_lane(i64x2.splat(low), 1, high));
}

export function cvtps2dq(p: u32): u32 {
  return psToDwords(p, false);
}
export function cvttps2dq(p: u32): u32 {
  return psToDwords(p, true);
}

/** Two f64 as two integers. */
function doublesToInt(w: v128, chop: bool): u64 {
  sfBegin(load<u32>(MXCSR));
  const low = toInt<u32>(f64x2.extract_lane(w, 0), chop), high = toInt<u32>(f64x2.extract_lane(w, 1), chop);
  return <u64>low | (<u64>high << 32);
}

function pdToDwords(p: u32, chop: bool): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const r = doublesToInt(w, chop);
  if (!fpEnd()) return R_FAULT;
  return wrV(p, i64x2.replace_lane(i64x2.splat(0), 0, r));
}

export function cvtpd2dq(p: u32): u32 {
  return pdToDwords(p, false);
}
export function cvttpd2dq(p: u32): u32 {
  return pdToDwords(p, true);
}

/**
 * The MMX register or memory operand. Only the register makes it an MMX instruction, for which x87
 * exceptions must not be pending and which changes TOP and tags, even when #XM follows.
 */
function rdPair(p: u32): u64 {
  if (Rec.isMem(p)) return rdS<u64>(p);
  if (!sseReady() || !mmxAvailable()) return 0;
  mmxTouch();
  return load<u64>(mm(Rec.b(p)));
}

export function cvtpi2ps(p: u32): u32 {
  const w = rdPair(p);
  if (faulted()) return R_FAULT;
  fpBegin();
  const r = pairToF32(w);
  if (!fpEnd()) return R_FAULT;
  store<u64>(Rec.a(p), r);
  return R_NEXT;
}

export function cvtpi2pd(p: u32): u32 {
  const w = rdPair(p);
  if (faulted()) return R_FAULT;
  return wrV(p, f64x2.convert_low_i32x4_s(i64x2.splat(w)));
}

/** Ends a conversion to an MMX register. */
function putMmx(p: u32, value: u64): u32 {
  mmxTouch();
  if (!fpEnd()) return R_FAULT;
  setMm(Rec.a(p), value);
  return R_NEXT;
}

function psToMmx(p: u32, chop: bool): u32 {
  if (!sseReady() || !mmxAvailable()) return R_FAULT;
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  sfBegin(load<u32>(MXCSR));
  return putMmx(p, pairToInt(w, chop));
}

export function cvtps2pi(p: u32): u32 {
  return psToMmx(p, false);
}
export function cvttps2pi(p: u32): u32 {
  return psToMmx(p, true);
}

function pdToMmx(p: u32, chop: bool): u32 {
  if (!sseReady() || !mmxAvailable()) return R_FAULT;
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return putMmx(p, doublesToInt(w, chop));
}

export function cvtpd2pi(p: u32): u32 {
  return pdToMmx(p, false);
}
export function cvttpd2pi(p: u32): u32 {
  return pdToMmx(p, true);
}
