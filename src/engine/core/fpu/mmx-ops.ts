/**
 * MMX arithmetic: P = P op Q, also what SSE, SSE2 and SSSE3 added for MMX registers (Intel SDM volume 1,
 * 9.4, 10.4.4, 12.6). Operands are vectors whose lower half counts.
 */
import { R_FAULT } from "../fault";
import { beginPQ, beginPQ32, vecP, vecQ, valQ, endP } from "./mmx";

/** The lower halves of P and Q as one vector: P first. */
function joined(p: u32): v128 {
  return i64x2.replace_lane(vecP(p), 1, <i64>valQ());
}

/** The upper 16 bits of four 32-bit numbers, in the lower half. */
function highWords(x: v128): v128 {
  return i8x16.shuffle(x, x, 2, 3, 6, 7, 10, 11, 14, 15, 0, 0, 0, 0, 0, 0, 0, 0);
}

/** PMULHRSW of four products: (x >> 14) + 1, without its lowest bit. */
function roundedWords(x: v128): v128 {
  const y = i32x4.shr_s(i32x4.add(i32x4.shr_s(x, 14), i32x4.splat(1)), 1);
  return i8x16.shuffle(y, y, 0, 1, 4, 5, 8, 9, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0);
}

function evenWords(x: v128): v128 {
  return i8x16.shuffle(x, x, 0, 1, 4, 5, 8, 9, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0);
}

function oddWords(x: v128): v128 {
  return i8x16.shuffle(x, x, 2, 3, 6, 7, 10, 11, 14, 15, 0, 0, 0, 0, 0, 0, 0, 0);
}

function evenDwords(x: v128): v128 {
  return i8x16.shuffle(x, x, 0, 1, 2, 3, 8, 9, 10, 11, 0, 0, 0, 0, 0, 0, 0, 0);
}

function oddDwords(x: v128): v128 {
  return i8x16.shuffle(x, x, 4, 5, 6, 7, 12, 13, 14, 15, 0, 0, 0, 0, 0, 0, 0, 0);
}

/** PMADDUBSW before saturation: sums of two products of unsigned (P) and signed (Q) bytes, 32 bits each. */
function maddPairs(p: u32): v128 {
  return i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(vecP(p)), i16x8.extend_low_i8x16_s(vecQ()));
}

/** PADDB: bytes added. */
export function paddb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.add(vecP(p), vecQ()));
}

/** PADDW: words added. */
export function paddw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.add(vecP(p), vecQ()));
}

/** PADDD: dwords added. */
export function paddd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.add(vecP(p), vecQ()));
}

/** PADDQ: 64 bits added. */
export function paddq(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i64x2.add(vecP(p), vecQ()));
}

/** PSUBB: bytes subtracted. */
export function psubb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.sub(vecP(p), vecQ()));
}

/** PSUBW: words subtracted. */
export function psubw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.sub(vecP(p), vecQ()));
}

/** PSUBD: dwords subtracted. */
export function psubd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.sub(vecP(p), vecQ()));
}

/** PSUBQ: 64 bits subtracted. */
export function psubq(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i64x2.sub(vecP(p), vecQ()));
}

/** PADDSB: signed bytes added, saturated. */
export function paddsb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.add_sat_s(vecP(p), vecQ()));
}

/** PADDSW: signed words added, saturated. */
export function paddsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.add_sat_s(vecP(p), vecQ()));
}

/** PADDUSB: unsigned bytes added, saturated. */
export function paddusb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.add_sat_u(vecP(p), vecQ()));
}

/** PADDUSW: unsigned words added, saturated. */
export function paddusw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.add_sat_u(vecP(p), vecQ()));
}

/** PSUBSB: signed bytes subtracted, saturated. */
export function psubsb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.sub_sat_s(vecP(p), vecQ()));
}

/** PSUBSW: signed words subtracted, saturated. */
export function psubsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.sub_sat_s(vecP(p), vecQ()));
}

/** PSUBUSB: unsigned bytes subtracted, saturated. */
export function psubusb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.sub_sat_u(vecP(p), vecQ()));
}

/** PSUBUSW: unsigned words subtracted, saturated. */
export function psubusw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.sub_sat_u(vecP(p), vecQ()));
}

/** PMULLW: lower halves of the products of words. */
export function pmullw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.mul(vecP(p), vecQ()));
}

/** PCMPEQB: all ones where bytes are equal. */
export function pcmpeqb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.eq(vecP(p), vecQ()));
}

/** PCMPEQW: all ones where words are equal. */
export function pcmpeqw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.eq(vecP(p), vecQ()));
}

/** PCMPEQD: all ones where dwords are equal. */
export function pcmpeqd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.eq(vecP(p), vecQ()));
}

/** PCMPGTB: all ones where signed bytes are greater. */
export function pcmpgtb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.gt_s(vecP(p), vecQ()));
}

/** PCMPGTW: all ones where signed words are greater. */
export function pcmpgtw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.gt_s(vecP(p), vecQ()));
}

/** PCMPGTD: all ones where signed dwords are greater. */
export function pcmpgtd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.gt_s(vecP(p), vecQ()));
}

/** PAND: bitwise and. */
export function pand(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, v128.and(vecP(p), vecQ()));
}

/** POR: bitwise or. */
export function por(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, v128.or(vecP(p), vecQ()));
}

/** PXOR: bitwise exclusive or. */
export function pxor(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, v128.xor(vecP(p), vecQ()));
}

/** PAVGB: averages of bytes, rounded up. */
export function pavgb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.avgr_u(vecP(p), vecQ()));
}

/** PAVGW: averages of words, rounded up. */
export function pavgw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.avgr_u(vecP(p), vecQ()));
}

/** PMINUB: lesser unsigned bytes. */
export function pminub(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.min_u(vecP(p), vecQ()));
}

/** PMAXUB: greater unsigned bytes. */
export function pmaxub(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.max_u(vecP(p), vecQ()));
}

/** PMINSW: lesser signed words. */
export function pminsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.min_s(vecP(p), vecQ()));
}

/** PMAXSW: greater signed words. */
export function pmaxsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.max_s(vecP(p), vecQ()));
}

/** PANDN: Q and not P. */
export function pandn(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, v128.andnot(vecQ(), vecP(p)));
}

/** PMADDWD: sums of two products of signed words. */
export function pmaddwd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.dot_i16x8_s(vecP(p), vecQ()));
}

/** PMULHW: upper halves of signed products of words. */
export function pmulhw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, highWords(i32x4.extmul_low_i16x8_s(vecP(p), vecQ())));
}

/** PMULHUW: upper halves of unsigned products of words. */
export function pmulhuw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, highWords(i32x4.extmul_low_i16x8_u(vecP(p), vecQ())));
}

/** PUNPCKLBW: lower bytes of P and Q in turn. */
export function punpcklbw(p: u32): u32 {
  if (!beginPQ32(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 0, 16, 1, 17, 2, 18, 3, 19, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PUNPCKLWD: lower words in turn. */
export function punpcklwd(p: u32): u32 {
  if (!beginPQ32(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 0, 1, 16, 17, 2, 3, 18, 19, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PUNPCKLDQ: lower dwords in turn. */
export function punpckldq(p: u32): u32 {
  if (!beginPQ32(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 0, 1, 2, 3, 16, 17, 18, 19, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PUNPCKHBW: upper bytes of P and Q in turn. */
export function punpckhbw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 4, 20, 5, 21, 6, 22, 7, 23, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PUNPCKHWD: upper words in turn. */
export function punpckhwd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 4, 5, 20, 21, 6, 7, 22, 23, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PUNPCKHDQ: upper dwords in turn. */
export function punpckhdq(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 4, 5, 6, 7, 20, 21, 22, 23, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PACKSSWB: words to bytes, signed saturation. */
export function packsswb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.narrow_i16x8_s(joined(p), joined(p)));
}

/** PACKUSWB: words to bytes, unsigned saturation. */
export function packuswb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.narrow_i16x8_u(joined(p), joined(p)));
}

/** PACKSSDW: dwords to words, signed saturation. */
export function packssdw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.narrow_i32x4_s(joined(p), joined(p)));
}

/** PHADDW: sums of neighbouring words. */
export function phaddw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.add(evenWords(joined(p)), oddWords(joined(p))));
}

/** PHADDD: sums of neighbouring dwords. */
export function phaddd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.add(evenDwords(joined(p)), oddDwords(joined(p))));
}

/** PHADDSW: saturated sums of neighbouring words. */
export function phaddsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.add_sat_s(evenWords(joined(p)), oddWords(joined(p))));
}

/** PHSUBW: differences of neighbouring words. */
export function phsubw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.sub(evenWords(joined(p)), oddWords(joined(p))));
}

/** PHSUBD: differences of neighbouring dwords. */
export function phsubd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.sub(evenDwords(joined(p)), oddDwords(joined(p))));
}

/** PHSUBSW: saturated differences of neighbouring words. */
export function phsubsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.sub_sat_s(evenWords(joined(p)), oddWords(joined(p))));
}

/** PABSB: magnitudes of bytes. */
export function pabsb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.abs(vecQ()));
}

/** PABSW: magnitudes of words. */
export function pabsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.abs(vecQ()));
}

/** PABSD: magnitudes of dwords. */
export function pabsd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.abs(vecQ()));
}

/** PSIGNB: bytes of P with the signs of Q's multiplied in, 0 where Q is 0. */
export function psignb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  const sign = i8x16.shr_s(vecQ(), 7);
  return endP(p, v128.and(i8x16.sub(v128.xor(vecP(p), sign), sign), i8x16.ne(vecQ(), i64x2.splat(0))));
}

/** PSIGNW: as PSIGNB, words. */
export function psignw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  const sign = i16x8.shr_s(vecQ(), 15);
  return endP(p, v128.and(i16x8.sub(v128.xor(vecP(p), sign), sign), i16x8.ne(vecQ(), i64x2.splat(0))));
}

/** PSIGND: as PSIGNB, dwords. */
export function psignd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  const sign = i32x4.shr_s(vecQ(), 31);
  return endP(p, v128.and(i32x4.sub(v128.xor(vecP(p), sign), sign), i32x4.ne(vecQ(), i64x2.splat(0))));
}

/** PSHUFB: bytes of P chosen by Q, 0 where its bit 7 is set. */
export function pshufb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.swizzle(vecP(p), v128.and(vecQ(), i8x16.splat(-121))));
}

/** PMADDUBSW: saturated sums of two products of unsigned bytes of P and signed ones of Q. */
export function pmaddubsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.narrow_i32x4_s(maddPairs(p), maddPairs(p)));
}

/** PMULHRSW: products of signed words, rounded, as fractions. */
export function pmulhrsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, roundedWords(i32x4.extmul_low_i16x8_s(vecP(p), vecQ())));
}
