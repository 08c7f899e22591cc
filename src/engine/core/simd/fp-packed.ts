/**
 * Packed floating point: ADDPx SUBPx MULPx DIVPx SQRTPx MINPx MAXPx CMPPx ADDSUBPx HADDPx HSUBPx.
 * When all elements are plain (see fp.ts) and PE is set already, wasm's vector arithmetic is the
 * result; otherwise packed() goes through the elements.
 */
import { faulted, R_FAULT } from "../fault";
import { imm } from "../operands";
import {
  packed, quick, OP_ADD, OP_ADDSUB, OP_CMP, OP_DIV, OP_MAX, OP_MIN, OP_MUL, OP_SQRT, OP_SUB,
} from "./fp";
import { rdV, rdW, wrV } from "./operand";

/** Elements with an exponent field of at least 2: |x| >= twice the smallest normal number. */
function sizable<T>(x: v128): v128 {
  const least = sizeof<T>() == 4 ? i32x4.splat(0x01000000) : i64x2.splat(0x0020000000000000);
  return v128.ge<T>(v128.abs<T>(x), least);
}

function isZero<T>(x: v128): v128 {
  return v128.eq<T>(x, i64x2.splat(0));
}

function finite<T>(x: v128): v128 {
  const inf = sizeof<T>() == 4 ? i32x4.splat(0x7f800000) : i64x2.splat(0x7ff0000000000000);
  return v128.lt<T>(v128.abs<T>(x), inf);
}

/** Neither NaN nor denormal nor tiny. */
function tame<T>(x: v128): v128 {
  return v128.or(sizable<T>(x), isZero<T>(x));
}

/** All of a mask's elements (each all ones or zero) are set. */
function all(x: v128): bool {
  return i32x4.all_true(x);
}

/** All elements of x and y are tame: comparisons of them raise nothing. */
function bothTame<T>(x: v128, y: v128): bool {
  return all(v128.and(tame<T>(x), tame<T>(y)));
}

function sumIsUsual<T>(x: v128, y: v128, r: v128): bool {
  if (!quick()) return false;
  return all(v128.and(v128.and(tame<T>(x), tame<T>(y)), v128.and(tame<T>(r), finite<T>(r))));
}

function add<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const r = v128.add<T>(v, w);
  return sumIsUsual<T>(v, w, r) ? wrV(p, r) : packed<T>(OP_ADD, p, v, w);
}

function sub<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const r = v128.sub<T>(v, w);
  return sumIsUsual<T>(v, w, r) ? wrV(p, r) : packed<T>(OP_SUB, p, v, w);
}

function mul<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const r = v128.mul<T>(v, w);
  if (quick()) {
    const zero = v128.or(isZero<T>(v), isZero<T>(w));
    const result = v128.and(v128.or(sizable<T>(r), zero), finite<T>(r));
    if (all(v128.and(v128.and(tame<T>(v), tame<T>(w)), result))) return wrV(p, r);
  }
  return packed<T>(OP_MUL, p, v, w);
}

function div<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const r = v128.div<T>(v, w);
  if (quick()) {
    const result = v128.and(v128.or(sizable<T>(r), isZero<T>(v)), finite<T>(r));
    const divisor = v128.and(sizable<T>(w), finite<T>(w));
    if (all(v128.and(v128.and(tame<T>(v), divisor), result))) return wrV(p, r);
  }
  return packed<T>(OP_DIV, p, v, w);
}

function root<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  if (quick() && all(v128.and(tame<T>(w), v128.and(finite<T>(w), v128.ge<T>(w, i64x2.splat(0)))))) {
    return wrV(p, v128.sqrt<T>(w));
  }
  return packed<T>(OP_SQRT, p, w, w);
}

/** Wasm's pmin and pmax are MINPS and MAXPS with the operands exchanged. */
function lesser<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  return bothTame<T>(v, w) ? wrV(p, v128.pmin<T>(w, v)) : packed<T>(OP_MIN, p, v, w);
}

function greater<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  return bothTame<T>(v, w) ? wrV(p, v128.pmax<T>(w, v)) : packed<T>(OP_MAX, p, v, w);
}

function compare<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const predicate = imm<u32>(p) & 7;
  if (!bothTame<T>(v, w)) return packed<T>(OP_CMP + predicate, p, v, w);
  switch (predicate) {
    case 0: return wrV(p, v128.eq<T>(v, w));
    case 1: return wrV(p, v128.lt<T>(v, w));
    case 2: return wrV(p, v128.le<T>(v, w));
    case 3: return wrV(p, i64x2.splat(0));
    case 4: return wrV(p, v128.ne<T>(v, w));
    case 5: return wrV(p, v128.ge<T>(v, w));
    case 6: return wrV(p, v128.gt<T>(v, w));
    default: return wrV(p, i64x2.splat(-1));
  }
}

export function addps(p: u32): u32 {
  return add<f32>(p);
}
export function addpd(p: u32): u32 {
  return add<f64>(p);
}
export function subps(p: u32): u32 {
  return sub<f32>(p);
}
export function subpd(p: u32): u32 {
  return sub<f64>(p);
}
export function mulps(p: u32): u32 {
  return mul<f32>(p);
}
export function mulpd(p: u32): u32 {
  return mul<f64>(p);
}
export function divps(p: u32): u32 {
  return div<f32>(p);
}
export function divpd(p: u32): u32 {
  return div<f64>(p);
}
export function sqrtps(p: u32): u32 {
  return root<f32>(p);
}
export function sqrtpd(p: u32): u32 {
  return root<f64>(p);
}
export function minps(p: u32): u32 {
  return lesser<f32>(p);
}
export function minpd(p: u32): u32 {
  return lesser<f64>(p);
}
export function maxps(p: u32): u32 {
  return greater<f32>(p);
}
export function maxpd(p: u32): u32 {
  return greater<f64>(p);
}
export function cmpps(p: u32): u32 {
  return compare<f32>(p);
}
export function cmppd(p: u32): u32 {
  return compare<f64>(p);
}

export function addsubps(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const r = v128.shuffle<u32>(f32x4.sub(v, w), f32x4.add(v, w), 0, 5, 2, 7);
  return sumIsUsual<f32>(v, w, r) ? wrV(p, r) : packed<f32>(OP_ADDSUB, p, v, w);
}

export function addsubpd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const r = v128.shuffle<u64>(f64x2.sub(v, w), f64x2.add(v, w), 0, 3);
  return sumIsUsual<f64>(v, w, r) ? wrV(p, r) : packed<f64>(OP_ADDSUB, p, v, w);
}

function horizontal32(p: u32, op: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const even = v128.shuffle<u32>(v, w, 0, 2, 4, 6), odd = v128.shuffle<u32>(v, w, 1, 3, 5, 7);
  const r = op == OP_ADD ? f32x4.add(even, odd) : f32x4.sub(even, odd);
  return sumIsUsual<f32>(even, odd, r) ? wrV(p, r) : packed<f32>(op, p, even, odd);
}

function horizontal64(p: u32, op: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const even = v128.shuffle<u64>(v, w, 0, 2), odd = v128.shuffle<u64>(v, w, 1, 3);
  const r = op == OP_ADD ? f64x2.add(even, odd) : f64x2.sub(even, odd);
  return sumIsUsual<f64>(even, odd, r) ? wrV(p, r) : packed<f64>(op, p, even, odd);
}

export function haddps(p: u32): u32 {
  return horizontal32(p, OP_ADD);
}
export function haddpd(p: u32): u32 {
  return horizontal64(p, OP_ADD);
}
export function hsubps(p: u32): u32 {
  return horizontal32(p, OP_SUB);
}
export function hsubpd(p: u32): u32 {
  return horizontal64(p, OP_SUB);
}
