/**
 * Products, sums across lanes and signs: PMULLW PMULHW PMULHUW PMULHRSW PMULUDQ PMULDQ PMULLD PMADDWD
 * PMADDUBSW PSADBW MPSADBW PHMINPOSUW PHADDx PHSUBx PSIGNx.
 */
import { faulted, R_FAULT } from "../fault";
import { imm } from "../operands";
import { rdV, rdW, wrV } from "./operand";

export function pmullw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.mul(rdV(p), w));
}

/** The upper halves of eight 32-bit products. */
function highWords(low: v128, high: v128): v128 {
  return v128.shuffle<u16>(low, high, 1, 3, 5, 7, 9, 11, 13, 15);
}

export function pmulhw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  return wrV(p, highWords(i32x4.extmul_low_i16x8_s(v, w), i32x4.extmul_high_i16x8_s(v, w)));
}

export function pmulhuw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  return wrV(p, highWords(i32x4.extmul_low_i16x8_u(v, w), i32x4.extmul_high_i16x8_u(v, w)));
}

/** Wasm saturates -1 * -1, where the processor wraps to -1. */
export function pmulhrsw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const min = i16x8.splat(-32768);
  const wrap = v128.and(i16x8.eq(v, min), i16x8.eq(w, min));
  return wrV(p, v128.xor(i16x8.q15mulr_sat_s(v, w), wrap));
}

/** Lanes 0 and 2 side by side in the lower half. */
function evenDwords(x: v128): v128 {
  return v128.shuffle<u32>(x, x, 0, 2, 0, 2);
}

export function pmuludq(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i64x2.extmul_low_i32x4_u(evenDwords(rdV(p)), evenDwords(w)));
}

export function pmuldq(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i64x2.extmul_low_i32x4_s(evenDwords(rdV(p)), evenDwords(w)));
}

export function pmulld(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i32x4.mul(rdV(p), w));
}

export function pmaddwd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i32x4.dot_i16x8_s(rdV(p), w));
}

/** Bytes of V are unsigned, those of W signed; each product fits in 16 bits, their sums saturate. */
export function pmaddubsw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const even = i16x8.mul(v128.and(v, i16x8.splat(255)), i16x8.shr_s(i16x8.shl(w, 8), 8));
  const odd = i16x8.mul(i16x8.shr_u(v, 8), i16x8.shr_s(w, 8));
  return wrV(p, i16x8.add_sat_s(even, odd));
}

/** |x - y| of unsigned bytes. */
function distance(x: v128, y: v128): v128 {
  return v128.or(i8x16.sub_sat_u(x, y), i8x16.sub_sat_u(y, x));
}

export function psadbw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const words = i16x8.extadd_pairwise_i8x16_u(distance(rdV(p), w));
  const dwords = i32x4.extadd_pairwise_i16x8_u(words);
  const sums = i64x2.add(dwords, i64x2.shr_u(dwords, 32));
  return wrV(p, v128.and(sums, i64x2.splat(0xffff)));
}

/** Eight sums of four distances: a sliding window of V against one group of W. */
export function mpsadbw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const control = imm<u32>(p);
  const group = i8x16.swizzle(w, i32x4.splat(0x03020100 + (control & 3) * 0x04040404));
  const iota = i8x16(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6);
  const start = i8x16.splat(<i8>(control & 4));
  const v = rdV(p);
  const low = i8x16.swizzle(v, i8x16.add(iota, start));
  const high = i8x16.swizzle(v, i8x16.add(i8x16.add(iota, start), i8x16.splat(4)));
  const a = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(distance(low, group)));
  const b = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(distance(high, group)));
  return wrV(p, i16x8.narrow_i32x4_u(a, b));
}

/** The smallest word, the first of equal ones, and its number. */
export function phminposuw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  let m = i16x8.min_u(w, v128.shuffle<u16>(w, w, 4, 5, 6, 7, 0, 1, 2, 3));
  m = i16x8.min_u(m, v128.shuffle<u16>(m, m, 2, 3, 0, 1, 6, 7, 4, 5));
  m = i16x8.min_u(m, v128.shuffle<u16>(m, m, 1, 0, 3, 2, 5, 4, 7, 6));
  const at: u32 = ctz<i32>(i16x8.bitmask(i16x8.eq(w, m)));
  return wrV(p, i32x4((at << 16) | i16x8.extract_lane_u(m, 0), 0, 0, 0));
}

function evenW(v: v128, w: v128): v128 {
  return v128.shuffle<u16>(v, w, 0, 2, 4, 6, 8, 10, 12, 14);
}

function oddW(v: v128, w: v128): v128 {
  return v128.shuffle<u16>(v, w, 1, 3, 5, 7, 9, 11, 13, 15);
}

function evenD(v: v128, w: v128): v128 {
  return v128.shuffle<u32>(v, w, 0, 2, 4, 6);
}

function oddD(v: v128, w: v128): v128 {
  return v128.shuffle<u32>(v, w, 1, 3, 5, 7);
}

export function phaddw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  return wrV(p, i16x8.add(evenW(v, w), oddW(v, w)));
}

export function phaddd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  return wrV(p, i32x4.add(evenD(v, w), oddD(v, w)));
}

export function phaddsw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  return wrV(p, i16x8.add_sat_s(evenW(v, w), oddW(v, w)));
}

export function phsubw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  return wrV(p, i16x8.sub(evenW(v, w), oddW(v, w)));
}

export function phsubd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  return wrV(p, i32x4.sub(evenD(v, w), oddD(v, w)));
}

export function phsubsw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  return wrV(p, i16x8.sub_sat_s(evenW(v, w), oddW(v, w)));
}

export function psignb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const negative = i8x16.shr_s(w, 7), v = rdV(p);
  const signed = i8x16.sub(v128.xor(v, negative), negative);
  return wrV(p, v128.andnot(signed, i8x16.eq(w, i64x2.splat(0))));
}

export function psignw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const negative = i16x8.shr_s(w, 15), v = rdV(p);
  const signed = i16x8.sub(v128.xor(v, negative), negative);
  return wrV(p, v128.andnot(signed, i16x8.eq(w, i64x2.splat(0))));
}

export function psignd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const negative = i32x4.shr_s(w, 31), v = rdV(p);
  const signed = i32x4.sub(v128.xor(v, negative), negative);
  return wrV(p, v128.andnot(signed, i32x4.eq(w, i64x2.splat(0))));
}
