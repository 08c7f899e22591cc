/**
 * LDMXCSR STMXCSR, ROUNDPx ROUNDSx, DPPS DPPD, and the approximations RCPPS RCPSS RSQRTPS RSQRTSS.
 */
import { MXCSR } from "../state.gen";
import { Rec } from "../record";
import { faulted, raiseErr, R_FAULT, R_NEXT, V_GP } from "../fault";
import { f32_round, f64_round } from "../fpu/softfloat";
import { imm } from "../operands";
import { fpBegin, fpEnd, op32, op64, plain64, fpRaise, OP_ADD, OP_MUL } from "./fp";
import { rdS, rdV, rdW, stMem, wrV } from "./operand";

/** Bits of MXCSR that exist; the others must be zero. */
const MXCSR_MASK: u32 = 0xffff;
const PE: u32 = 0x20;

export function ldmxcsr(p: u32): u32 {
  const value = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  if ((value & ~MXCSR_MASK) != 0) return raiseErr(V_GP, 0);
  store<u32>(MXCSR, value);
  return R_NEXT;
}

export function stmxcsr(p: u32): u32 {
  return stMem<u32>(p, load<u32>(MXCSR));
}

/** Rounding mode of ROUNDxx: that of the immediate, or MXCSR's with bit 2. */
function roundMode(control: u32): u32 {
  return (control & 4) != 0 ? (load<u32>(MXCSR) >> 13) & 3 : control & 3;
}

function roundOne64(x: u64, control: u32): u64 {
  return f64_round(x, roundMode(control), (control & 8) == 0);
}

function roundOne32(x: u32, control: u32): u32 {
  return f32_round(x, roundMode(control), (control & 8) == 0);
}

export function roundsd(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  const control = imm<u32>(p);
  if (plain64(w)) {
    const x = reinterpret<f64>(w);
    let r: f64;
    switch (roundMode(control)) {
      case 0: r = nearest<f64>(x); break;
      case 1: r = floor<f64>(x); break;
      case 2: r = ceil<f64>(x); break;
      default: r = trunc<f64>(x); break;
    }
    if (r != x && (control & 8) == 0 && !fpRaise(PE)) return R_FAULT;
    store<f64>(Rec.a(p), r);
    return R_NEXT;
  }
  fpBegin();
  const r = roundOne64(w, control);
  if (!fpEnd()) return R_FAULT;
  store<u64>(Rec.a(p), r);
  return R_NEXT;
}

export function roundss(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  fpBegin();
  const r = roundOne32(w, imm<u32>(p));
  if (!fpEnd()) return R_FAULT;
  store<u32>(Rec.a(p), r);
  return R_NEXT;
}

export function roundpd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const control = imm<u32>(p);
  fpBegin();
  const low = roundOne64(i64x2.extract_lane(w, 0), control);
  const high = roundOne64(i64x2.extract_lane(w, 1), control);
  if (!fpEnd()) return R_FAULT;
  return wrV(p, i64x2.replace_lane(i64x2.splat(low), 1, high));
}

export function roundps(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const control = imm<u32>(p);
  fpBegin();
  const a = roundOne32(i32x4.extract_lane(w, 0), control), b = roundOne32(i32x4.extract_lane(w, 1), control);
  const c = roundOne32(i32x4.extract_lane(w, 2), control), d = roundOne32(i32x4.extract_lane(w, 3), control);
  if (!fpEnd()) return R_FAULT;
  return wrV(p, vector32(a, b, c, d));
}

function vector32(a: u32, b: u32, c: u32, d: u32): v128 {
  let v = i32x4.splat(a);
  v = i32x4.replace_lane(v, 1, b);
  v = i32x4.replace_lane(v, 2, c);
  return i32x4.replace_lane(v, 3, d);
}

/** DPPS works on four products (or zeros), two sums of neighbours, and the sum of those. */
const DOT = <u32>memory.data(32, 16);

/**
 * Exceptions are raised after the products, after the first sums and after the second ones. Which
 * operand of a sum is the first one shows in the NaN that results: the lower lane, as on AMD's processors.
 */
export function dpps(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const control = imm<u32>(p);
  v128.store(DOT, rdV(p));
  v128.store(DOT, w, 16);
  fpBegin();
  for (let i: u32 = 0; i < 4; i++) {
    const at = DOT + (i << 2);
    const taken = (control >> (4 + i)) & 1;
    store<u32>(at, taken ? op32(OP_MUL, load<u32>(at), load<u32>(at, 16)) : 0);
  }
  if (!fpEnd()) return R_FAULT;
  const low = op32(OP_ADD, load<u32>(DOT), load<u32>(DOT, 4));
  const high = op32(OP_ADD, load<u32>(DOT, 8), load<u32>(DOT, 12));
  if (!fpEnd()) return R_FAULT;
  const sum = op32(OP_ADD, low, high);
  if (!fpEnd()) return R_FAULT;
  for (let i: u32 = 0; i < 4; i++) store<u32>(DOT + (i << 2), (control >> i) & 1 ? sum : 0);
  return wrV(p, v128.load(DOT));
}

export function dppd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const control = imm<u32>(p), v = rdV(p);
  fpBegin();
  let x: u64 = 0, y: u64 = 0;
  if ((control & 0x10) != 0) x = op64(OP_MUL, i64x2.extract_lane(v, 0), i64x2.extract_lane(w, 0));
  if ((control & 0x20) != 0) y = op64(OP_MUL, i64x2.extract_lane(v, 1), i64x2.extract_lane(w, 1));
  if (!fpEnd()) return R_FAULT;
  const sum = op64(OP_ADD, x, y);
  if (!fpEnd()) return R_FAULT;
  return wrV(p, i64x2.replace_lane(i64x2.splat((control & 1) != 0 ? sum : 0), 1, (control & 2) != 0 ? sum : 0));
}

/**
 * 1 / x as Intel's processors approximate it: 12 or 13 bits of the reciprocal of the middle of one of
 * 2048 intervals (AMD's differ within the same documented error of 1.5 * 2^-12). Denormal operands
 * and results count as zero; no flags.
 */
function reciprocal(x: u32): u32 {
  const sign = x & 0x80000000, exponent = (x >> 23) & 255;
  if (exponent == 255) return (x & 0x7fffff) != 0 ? x | 0x400000 : sign;
  if (exponent == 0) return sign | 0x7f800000;
  if (exponent >= 253) return sign;
  const middle = 1.0 + (<f64>((x >> 12) & 0x7ff) + 0.5) / 2048.0;
  const bits = <u32>nearest<f64>(8192.0 / middle);
  return sign | ((253 - exponent) << 23) | ((bits - 4096) << 11);
}

/** 1 / sqrt(x), in the same way with 1024 intervals each for even and odd exponents. */
function reciprocalRoot(x: u32): u32 {
  const exponent = (x >> 23) & 255;
  if (exponent == 255 && (x & 0x7fffff) != 0) return x | 0x400000;
  if (exponent == 0) return (x & 0x80000000) | 0x7f800000;
  if (<i32>x < 0) return 0xffc00000;
  if (exponent == 255) return 0;
  const odd = ~exponent & 1;
  const middle = (1.0 + (<f64>((x >> 13) & 0x3ff) + 0.5) / 1024.0) * <f64>(1 + odd);
  const bits = <u32>nearest<f64>(8192.0 / sqrt<f64>(middle));
  return ((126 - ((<i32>(exponent - 127 - odd)) >> 1)) << 23) + ((bits - 4096) << 11);
}

export function rcpss(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  store<u32>(Rec.a(p), reciprocal(w));
  return R_NEXT;
}

export function rsqrtss(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  store<u32>(Rec.a(p), reciprocalRoot(w));
  return R_NEXT;
}

export function rcpps(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const a = reciprocal(i32x4.extract_lane(w, 0)), b = reciprocal(i32x4.extract_lane(w, 1));
  return wrV(p, vector32(a, b, reciprocal(i32x4.extract_lane(w, 2)), reciprocal(i32x4.extract_lane(w, 3))));
}

export function rsqrtps(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const a = reciprocalRoot(i32x4.extract_lane(w, 0)), b = reciprocalRoot(i32x4.extract_lane(w, 1));
  return wrV(p, vector32(a, b, reciprocalRoot(i32x4.extract_lane(w, 2)), reciprocalRoot(i32x4.extract_lane(w, 3))));
}
