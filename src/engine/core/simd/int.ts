/**
 * SSE2 integer arithmetic and logic on XMM registers that maps to one wasm instruction or a few:
 * PADDx PSUBx (also saturating), PAND PANDN POR PXOR (and the ANDPS.. forms), PCMPEQx PCMPGTx, PAVGx,
 * PMINx PMAXx, PABSx. Manual: the entries of SDM vol. 2 of these names.
 */
import { faulted, R_FAULT } from "../fault";
import { rdV, rdW, wrV } from "./operand";

/** PADDB PADDW PADDD PADDQ */
export function padd<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.add<T>(rdV(p), w));
}

/** PSUBB PSUBW PSUBD PSUBQ */
export function psub<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.sub<T>(rdV(p), w));
}

/** PADDUSB PADDUSW */
export function paddus<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.add_sat<T>(rdV(p), w));
}

/** PSUBUSB PSUBUSW */
export function psubus<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.sub_sat<T>(rdV(p), w));
}

export function paddsb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i8x16.add_sat_s(rdV(p), w));
}

export function paddsw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.add_sat_s(rdV(p), w));
}

export function psubsb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i8x16.sub_sat_s(rdV(p), w));
}

export function psubsw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.sub_sat_s(rdV(p), w));
}

/** PAND ANDPS ANDPD */
export function pand(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.and(rdV(p), w));
}

/** PANDN ANDNPS ANDNPD: the destination is the complemented one. */
export function pandn(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.andnot(w, rdV(p)));
}

/** POR ORPS ORPD */
export function por(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.or(rdV(p), w));
}

/** PXOR XORPS XORPD */
export function pxor(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.xor(rdV(p), w));
}

/** PCMPEQB PCMPEQW PCMPEQD PCMPEQQ */
export function pcmpeq<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.eq<T>(rdV(p), w));
}

export function pcmpgtb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i8x16.gt_s(rdV(p), w));
}

export function pcmpgtw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.gt_s(rdV(p), w));
}

export function pcmpgtd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i32x4.gt_s(rdV(p), w));
}

export function pcmpgtq(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i64x2.gt_s(rdV(p), w));
}

/** PAVGB PAVGW */
export function pavg<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.avgr<T>(rdV(p), w));
}

/** PMINUB PMINUW PMINUD */
export function pminu<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.min<T>(rdV(p), w));
}

/** PMAXUB PMAXUW PMAXUD */
export function pmaxu<T>(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.max<T>(rdV(p), w));
}

export function pminsb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i8x16.min_s(rdV(p), w));
}

export function pminsw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.min_s(rdV(p), w));
}

export function pminsd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i32x4.min_s(rdV(p), w));
}

export function pmaxsb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i8x16.max_s(rdV(p), w));
}

export function pmaxsw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.max_s(rdV(p), w));
}

export function pmaxsd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i32x4.max_s(rdV(p), w));
}

export function pabsb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i8x16.abs(w));
}

export function pabsw(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i16x8.abs(w));
}

export function pabsd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i32x4.abs(w));
}
