/**
 * Rearrangement: PUNPCKx UNPCKx PACKx PSHUFD PSHUFLW PSHUFHW SHUFPS SHUFPD PSHUFB PALIGNR, shifts
 * (PSLLx PSRLx PSRAx PSLLDQ PSRLDQ), blends, PMOVSXx PMOVZXx, PTEST. Shuffles by an immediate build
 * an index vector for i8x16.swizzle, which gives 0 for indexes over 15.
 */
import { XMM } from "../state.gen";
import { Rec } from "../record";
import { faulted, R_FAULT, R_NEXT } from "../fault";
import { CF, ZF, setCcExplicit } from "../flags";
import { imm } from "../operands";
import { rdS, rdV, rdW, sseReady, wrV } from "./operand";

export function punpcklbw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.shuffle<u8>(rdV(p), w, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
}

export function punpckhbw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.shuffle<u8>(rdV(p), w, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
}

export function punpcklwd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.shuffle<u16>(rdV(p), w, 0, 8, 1, 9, 2, 10, 3, 11));
}

export function punpckhwd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.shuffle<u16>(rdV(p), w, 4, 12, 5, 13, 6, 14, 7, 15));
}

/** PUNPCKLDQ UNPCKLPS */
export function punpckldq(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.shuffle<u32>(rdV(p), w, 0, 4, 1, 5));
}

/** PUNPCKHDQ UNPCKHPS */
export function punpckhdq(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.shuffle<u32>(rdV(p), w, 2, 6, 3, 7));
}

/** PUNPCKLQDQ UNPCKLPD */
export function punpcklqdq(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.shuffle<u64>(rdV(p), w, 0, 2));
}

/** PUNPCKHQDQ UNPCKHPD */
export function punpckhqdq(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.shuffle<u64>(rdV(p), w, 1, 3));
}

export function packsswb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i8x16.narrow_i16x8_s(rdV(p), w));
}

export function packuswb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i8x16.narrow_i16x8_u(rdV(p), w));
}

export function packssdw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.narrow_i32x4_s(rdV(p), w));
}

export function packusdw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.narrow_i32x4_u(rdV(p), w));
}

/** Byte indexes that move the dwords chosen by the four fields of `control`. */
function dwordIndexes(control: u32): v128 {
  const fields = (control & 3) | ((control & 12) << 6) | ((control & 0x30) << 12) | ((control & 0xc0) << 18);
  const spread = i8x16.swizzle(i32x4.splat(fields << 2), i8x16(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3));
  return i8x16.add(spread, i32x4.splat(0x03020100));
}

/** Byte indexes that move the words chosen by the four fields, for one half. */
function wordIndexes(control: u32): u64 {
  const low = (control & 3) | ((control & 12) << 14);
  const high = ((control >> 4) & 3) | ((control & 0xc0) << 10);
  const fields = <u64>low | (<u64>high << 32);
  return fields * 0x202 + 0x0100010001000100;
}

export function pshufd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i8x16.swizzle(w, dwordIndexes(imm<u32>(p))));
}

export function pshuflw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i8x16.swizzle(w, i64x2.replace_lane(i64x2(0, 0x0f0e0d0c0b0a0908), 0, wordIndexes(imm<u32>(p)))));
}

export function pshufhw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const high = wordIndexes(imm<u32>(p)) + 0x0808080808080808;
  return wrV(p, i8x16.swizzle(w, i64x2.replace_lane(i64x2(0x0706050403020100, 0), 1, high)));
}

export function shufps(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const at = dwordIndexes(imm<u32>(p));
  return wrV(p, v128.shuffle<u64>(i8x16.swizzle(rdV(p), at), i8x16.swizzle(w, at), 0, 3));
}

export function shufpd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p), control = imm<u32>(p);
  const low = (control & 1) != 0 ? i64x2.extract_lane(v, 1) : i64x2.extract_lane(v, 0);
  const high = (control & 2) != 0 ? i64x2.extract_lane(w, 1) : i64x2.extract_lane(w, 0);
  return wrV(p, i64x2.replace_lane(i64x2.splat(low), 1, high));
}

export function pshufb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i8x16.swizzle(rdV(p), v128.and(w, i8x16.splat(<i8>0x8f))));
}

/** 0, 1, ... 15, each plus n. */
function iotaPlus(n: i32): v128 {
  return i8x16.add(i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), i8x16.splat(<i8>n));
}

export function palignr(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const n: i32 = min<u32>(imm<u32>(p) & 255, 32);
  return wrV(p, v128.or(i8x16.swizzle(w, iotaPlus(n)), i8x16.swizzle(rdV(p), iotaPlus(n - 16))));
}

export function pslldq(p: u32): u32 {
  if (!sseReady()) return R_FAULT;
  const b = Rec.b(p);
  v128.store(b, i8x16.swizzle(v128.load(b), iotaPlus(-<i32>min<u32>(imm<u32>(p) & 255, 16))));
  return R_NEXT;
}

export function psrldq(p: u32): u32 {
  if (!sseReady()) return R_FAULT;
  const b = Rec.b(p);
  v128.store(b, i8x16.swizzle(v128.load(b), iotaPlus(min<u32>(imm<u32>(p) & 255, 16))));
  return R_NEXT;
}

function shiftLeft<T>(v: v128, count: u64): v128 {
  if (count >= 8 * sizeof<T>()) return i64x2.splat(0);
  return v128.shl<T>(v, <i32>count);
}

function shiftRight<T>(v: v128, count: u64): v128 {
  if (count >= 8 * sizeof<T>()) return i64x2.splat(0);
  return v128.shr<T>(v, <i32>count);
}

/** PSLLW PSLLD PSLLQ by the low quadword of W */
export function psll<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, shiftLeft<T>(rdV(p), i64x2.extract_lane(w, 0)));
}

/** PSRLW PSRLD PSRLQ by the low quadword of W */
export function psrl<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, shiftRight<T>(rdV(p), i64x2.extract_lane(w, 0)));
}

export function psraw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.shr_s(rdV(p), <i32>min<u64>(i64x2.extract_lane(w, 0), 15)));
}

export function psrad(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i32x4.shr_s(rdV(p), <i32>min<u64>(i64x2.extract_lane(w, 0), 31)));
}

/** PSLLW PSLLD PSLLQ by an immediate */
export function psllImm<T>(p: u32): u32 {
  if (!sseReady()) return R_FAULT;
  const b = Rec.b(p);
  v128.store(b, shiftLeft<T>(v128.load(b), imm<u32>(p) & 255));
  return R_NEXT;
}

/** PSRLW PSRLD PSRLQ by an immediate */
export function psrlImm<T>(p: u32): u32 {
  if (!sseReady()) return R_FAULT;
  const b = Rec.b(p);
  v128.store(b, shiftRight<T>(v128.load(b), imm<u32>(p) & 255));
  return R_NEXT;
}

export function psrawImm(p: u32): u32 {
  if (!sseReady()) return R_FAULT;
  const b = Rec.b(p);
  v128.store(b, i16x8.shr_s(v128.load(b), min<u32>(imm<u32>(p) & 255, 15)));
  return R_NEXT;
}

export function psradImm(p: u32): u32 {
  if (!sseReady()) return R_FAULT;
  const b = Rec.b(p);
  v128.store(b, i32x4.shr_s(v128.load(b), min<u32>(imm<u32>(p) & 255, 31)));
  return R_NEXT;
}

/** The implicit operand of the variable blends is XMM0. */
export function pblendvb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.bitselect(w, rdV(p), i8x16.shr_s(v128.load(XMM), 7)));
}

export function blendvps(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.bitselect(w, rdV(p), i32x4.shr_s(v128.load(XMM), 31)));
}

export function blendvpd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.bitselect(w, rdV(p), i64x2.shr_s(v128.load(XMM), 63)));
}

export function pblendw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const bits = i16x8(1, 2, 4, 8, 16, 32, 64, 128);
  return wrV(p, v128.bitselect(w, rdV(p), i16x8.eq(v128.and(i16x8.splat(imm<i16>(p)), bits), bits)));
}

export function blendps(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const bits = i32x4(1, 2, 4, 8);
  return wrV(p, v128.bitselect(w, rdV(p), i32x4.eq(v128.and(i32x4.splat(imm<i32>(p)), bits), bits)));
}

export function blendpd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const bits = i64x2(1, 2);
  return wrV(p, v128.bitselect(w, rdV(p), i64x2.eq(v128.and(i64x2.splat(imm<i64>(p)), bits), bits)));
}

/** The low half of W, 8, 4 or 2 bytes, as T. */
function low<T>(p: u32): v128 {
  return i64x2.replace_lane(i64x2.splat(0), 0, <i64>(<u64>rdS<T>(p)));
}

export function pmovsxbw(p: u32): u32 {
  const w = low<u64>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.extend_low_i8x16_s(w));
}

export function pmovsxbd(p: u32): u32 {
  const w = low<u32>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(w)));
}

export function pmovsxbq(p: u32): u32 {
  const w = low<u16>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i64x2.extend_low_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(w))));
}

export function pmovsxwd(p: u32): u32 {
  const w = low<u64>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i32x4.extend_low_i16x8_s(w));
}

export function pmovsxwq(p: u32): u32 {
  const w = low<u32>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i64x2.extend_low_i32x4_s(i32x4.extend_low_i16x8_s(w)));
}

export function pmovsxdq(p: u32): u32 {
  const w = low<u64>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i64x2.extend_low_i32x4_s(w));
}

export function pmovzxbw(p: u32): u32 {
  const w = low<u64>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.extend_low_i8x16_u(w));
}

export function pmovzxbd(p: u32): u32 {
  const w = low<u32>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(w)));
}

export function pmovzxbq(p: u32): u32 {
  const w = low<u16>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i64x2.extend_low_i32x4_u(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(w))));
}

export function pmovzxwd(p: u32): u32 {
  const w = low<u64>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i32x4.extend_low_i16x8_u(w));
}

export function pmovzxwq(p: u32): u32 {
  const w = low<u32>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i64x2.extend_low_i32x4_u(i32x4.extend_low_i16x8_u(w)));
}

export function pmovzxdq(p: u32): u32 {
  const w = low<u64>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i64x2.extend_low_i32x4_u(w));
}

export function ptest(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const v = rdV(p);
  const zf: u64 = v128.any_true(v128.and(v, w)) ? 0 : ZF;
  const cf: u64 = v128.any_true(v128.andnot(w, v)) ? 0 : CF;
  setCcExplicit(zf | cf);
  return R_NEXT;
}
