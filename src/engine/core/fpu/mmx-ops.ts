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

/** PADDB. */
export function paddb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.add(vecP(p), vecQ()));
}

/** PADDW. */
export function paddw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.add(vecP(p), vecQ()));
}

/** PADDD. */
export function paddd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.add(vecP(p), vecQ()));
}

/** PADDQ. */
export function paddq(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i64x2.add(vecP(p), vecQ()));
}

/** PSUBB. */
export function psubb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.sub(vecP(p), vecQ()));
}

/** PSUBW. */
export function psubw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.sub(vecP(p), vecQ()));
}

/** PSUBD. */
export function psubd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.sub(vecP(p), vecQ()));
}

/** PSUBQ. */
export function psubq(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i64x2.sub(vecP(p), vecQ()));
}

/** PADDSB. */
export function paddsb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.add_sat_s(vecP(p), vecQ()));
}

/** PADDSW. */
export function paddsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.add_sat_s(vecP(p), vecQ()));
}

/** PADDUSB. */
export function paddusb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.add_sat_u(vecP(p), vecQ()));
}

/** PADDUSW. */
export function paddusw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.add_sat_u(vecP(p), vecQ()));
}

/** PSUBSB. */
export function psubsb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.sub_sat_s(vecP(p), vecQ()));
}

/** PSUBSW. */
export function psubsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.sub_sat_s(vecP(p), vecQ()));
}

/** PSUBUSB. */
export function psubusb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.sub_sat_u(vecP(p), vecQ()));
}

/** PSUBUSW. */
export function psubusw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.sub_sat_u(vecP(p), vecQ()));
}

/** PMULLW. */
export function pmullw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.mul(vecP(p), vecQ()));
}

/** PCMPEQB. */
export function pcmpeqb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.eq(vecP(p), vecQ()));
}

/** PCMPEQW. */
export function pcmpeqw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.eq(vecP(p), vecQ()));
}

/** PCMPEQD. */
export function pcmpeqd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.eq(vecP(p), vecQ()));
}

/** PCMPGTB. */
export function pcmpgtb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.gt_s(vecP(p), vecQ()));
}

/** PCMPGTW. */
export function pcmpgtw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.gt_s(vecP(p), vecQ()));
}

/** PCMPGTD. */
export function pcmpgtd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.gt_s(vecP(p), vecQ()));
}

/** PAND. */
export function pand(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, v128.and(vecP(p), vecQ()));
}

/** POR. */
export function por(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, v128.or(vecP(p), vecQ()));
}

/** PXOR. */
export function pxor(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, v128.xor(vecP(p), vecQ()));
}

/** PAVGB. */
export function pavgb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.avgr_u(vecP(p), vecQ()));
}

/** PAVGW. */
export function pavgw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.avgr_u(vecP(p), vecQ()));
}

/** PMINUB. */
export function pminub(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.min_u(vecP(p), vecQ()));
}

/** PMAXUB. */
export function pmaxub(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.max_u(vecP(p), vecQ()));
}

/** PMINSW. */
export function pminsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.min_s(vecP(p), vecQ()));
}

/** PMAXSW. */
export function pmaxsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.max_s(vecP(p), vecQ()));
}

/** PANDN. */
export function pandn(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, v128.andnot(vecQ(), vecP(p)));
}

/** PMADDWD. */
export function pmaddwd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.dot_i16x8_s(vecP(p), vecQ()));
}

/** PMULHW. */
export function pmulhw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, highWords(i32x4.extmul_low_i16x8_s(vecP(p), vecQ())));
}

/** PMULHUW. */
export function pmulhuw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, highWords(i32x4.extmul_low_i16x8_u(vecP(p), vecQ())));
}

/** PUNPCKLBW. */
export function punpcklbw(p: u32): u32 {
  if (!beginPQ32(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 0, 16, 1, 17, 2, 18, 3, 19, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PUNPCKLWD. */
export function punpcklwd(p: u32): u32 {
  if (!beginPQ32(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 0, 1, 16, 17, 2, 3, 18, 19, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PUNPCKLDQ. */
export function punpckldq(p: u32): u32 {
  if (!beginPQ32(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 0, 1, 2, 3, 16, 17, 18, 19, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PUNPCKHBW. */
export function punpckhbw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 4, 20, 5, 21, 6, 22, 7, 23, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PUNPCKHWD. */
export function punpckhwd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 4, 5, 20, 21, 6, 7, 22, 23, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PUNPCKHDQ. */
export function punpckhdq(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.shuffle(vecP(p), vecQ(), 4, 5, 6, 7, 20, 21, 22, 23, 0, 0, 0, 0, 0, 0, 0, 0));
}

/** PACKSSWB. */
export function packsswb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.narrow_i16x8_s(joined(p), joined(p)));
}

/** PACKUSWB. */
export function packuswb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.narrow_i16x8_u(joined(p), joined(p)));
}

/** PACKSSDW. */
export function packssdw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.narrow_i32x4_s(joined(p), joined(p)));
}

/** PHADDW. */
export function phaddw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.add(evenWords(joined(p)), oddWords(joined(p))));
}

/** PHADDD. */
export function phaddd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.add(evenDwords(joined(p)), oddDwords(joined(p))));
}

/** PHADDSW. */
export function phaddsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.add_sat_s(evenWords(joined(p)), oddWords(joined(p))));
}

/** PHSUBW. */
export function phsubw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.sub(evenWords(joined(p)), oddWords(joined(p))));
}

/** PHSUBD. */
export function phsubd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.sub(evenDwords(joined(p)), oddDwords(joined(p))));
}

/** PHSUBSW. */
export function phsubsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.sub_sat_s(evenWords(joined(p)), oddWords(joined(p))));
}

/** PABSB. */
export function pabsb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.abs(vecQ()));
}

/** PABSW. */
export function pabsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.abs(vecQ()));
}

/** PABSD. */
export function pabsd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i32x4.abs(vecQ()));
}

/** PSIGNB. */
export function psignb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, v128.and(i8x16.sub(v128.xor(vecP(p), i8x16.shr_s(vecQ(), 7)), i8x16.shr_s(vecQ(), 7)), i8x16.ne(vecQ(), i64x2.splat(0))));
}

/** PSIGNW. */
export function psignw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, v128.and(i16x8.sub(v128.xor(vecP(p), i16x8.shr_s(vecQ(), 15)), i16x8.shr_s(vecQ(), 15)), i16x8.ne(vecQ(), i64x2.splat(0))));
}

/** PSIGND. */
export function psignd(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, v128.and(i32x4.sub(v128.xor(vecP(p), i32x4.shr_s(vecQ(), 31)), i32x4.shr_s(vecQ(), 31)), i32x4.ne(vecQ(), i64x2.splat(0))));
}

/** PSHUFB. */
export function pshufb(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i8x16.swizzle(vecP(p), v128.and(vecQ(), i8x16.splat(-121))));
}

/** PMADDUBSW. */
export function pmaddubsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, i16x8.narrow_i32x4_s(maddPairs(p), maddPairs(p)));
}

/** PMULHRSW. */
export function pmulhrsw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP(p, roundedWords(i32x4.extmul_low_i16x8_s(vecP(p), vecQ())));
}
