/**
 * MMX instructions of irregular form: moves, shifts, shuffles, PSADBW, PMULUDQ, PALIGNR, inserts and
 * extracts, EMMS.
 */
import { FTW, GPR } from "../state.gen";
import { R_FAULT, R_NEXT, faulted } from "../fault";
import { Rec } from "../record";
import { eaLinear, rdE, wrE, wrReg, linear } from "../operands";
import { st, probeWrite } from "../mem";
import { beginPQ, endP, endP64, mm, mmxAvailable, mmxTouch, setMm, valQ, vecP, vecQ } from "./mmx";

/** EMMS: all registers empty, TOP = 0. */
export function emms(p: u32): u32 {
  if (!mmxAvailable()) return R_FAULT;
  mmxTouch();
  store<u32>(FTW, 0);
  return R_NEXT;
}

/** MOVD, MOVQ P,Ey: zero-extended. */
export function movd_PE<T>(p: u32): u32 {
  if (!mmxAvailable()) return R_FAULT;
  const value = <u64>rdE<T>(p);
  return faulted() ? R_FAULT : endP64(p, value);
}

/** MOVD, MOVQ Ey,P. */
export function movd_EP<T>(p: u32): u32 {
  if (!mmxAvailable()) return R_FAULT;
  wrE<T>(p, <T>load<u64>(mm(Rec.a(p))));
  if (faulted()) return R_FAULT;
  mmxTouch();
  return R_NEXT;
}

/** MOVQ P,Q. */
export function movq_PQ(p: u32): u32 {
  return beginPQ(p) ? endP64(p, valQ()) : R_FAULT;
}

/** MOVQ Q,P. */
export function movq_QP(p: u32): u32 {
  if (!Rec.isMem(p)) {
    if (!mmxAvailable()) return R_FAULT;
    setMm(Rec.b(p), load<u64>(mm(Rec.a(p))));
    return R_NEXT;
  }
  return movntq(p);
}

/** MOVNTQ M,P. */
export function movntq(p: u32): u32 {
  if (!mmxAvailable()) return R_FAULT;
  const va = eaLinear(p, 8, true);
  if (faulted()) return R_FAULT;
  st<u64>(va, load<u64>(mm(Rec.a(p))));
  if (faulted()) return R_FAULT;
  mmxTouch();
  return R_NEXT;
}

/** x shifted by n in lanes: `kind` 2 right, 4 right arithmetic, 6 left (ModRM.reg of the immediate form). */
function shift(kind: u32, lane: u32, x: v128, n: u64): v128 {
  const bits: u64 = 8 << lane;
  if (n >= bits) {
    if (kind != 4) return i64x2.splat(0);
    n = bits - 1;
  }
  const by = <i32>n;
  if (kind == 2) {
    if (lane == 1) return i16x8.shr_u(x, by);
    return lane == 2 ? i32x4.shr_u(x, by) : i64x2.shr_u(x, by);
  }
  if (kind == 4) return lane == 1 ? i16x8.shr_s(x, by) : i32x4.shr_s(x, by);
  if (lane == 1) return i16x8.shl(x, by);
  return lane == 2 ? i32x4.shl(x, by) : i64x2.shl(x, by);
}

/** PSRLW..PSLLQ P,Q: D1 D2 D3, E1 E2, F1 F2 F3. */
export function shift_PQ(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  const opcode = Rec.opcode(p);
  const row = opcode >> 4;
  return endP(p, shift(row == 13 ? 2 : row == 14 ? 4 : 6, opcode & 3, vecP(p), valQ()));
}

/** PSRLW..PSLLQ N,Ib: 71 72 73 with the operation in ModRM.reg. */
export function shift_NI(p: u32): u32 {
  if (!mmxAvailable()) return R_FAULT;
  const n = Rec.b(p);
  const x = v128.load64_splat(mm(n));
  const result = shift(Rec.reg3(p), Rec.opcode(p) & 3, x, <u64>(Rec.imm(p) & 0xff));
  setMm(n, <u64>i64x2.extract_lane(result, 0));
  return R_NEXT;
}

/** PMULUDQ. */
export function pmuludq(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  return endP64(p, <u64>load<u32>(mm(Rec.a(p))) * (valQ() & 0xffffffff));
}

/** PSADBW: the sum of eight absolute differences. */
export function psadbw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  const a = vecP(p), b = vecQ();
  const d = v128.or(i8x16.sub_sat_u(a, b), i8x16.sub_sat_u(b, a));
  const pairs = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(d));
  return endP64(p, <u64>(i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1)));
}

/** PSHUFW P,Q,Ib. */
export function pshufw(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  const x = valQ();
  let result: u64 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    const from = (<u32>Rec.imm(p) >> (i * 2)) & 3;
    result |= ((x >> (from * 16)) & 0xffff) << (i * 16);
  }
  return endP64(p, result);
}

/** PALIGNR P,Q,Ib: bytes n.. of P:Q. */
export function palignr(p: u32): u32 {
  if (!beginPQ(p)) return R_FAULT;
  const n: u64 = <u64>(Rec.imm(p) & 0xff) * 8;
  const high = load<u64>(mm(Rec.a(p))), low = valQ();
  let result: u64 = 0;
  if (n == 0) result = low;
  else if (n < 64) result = (low >> n) | (high << (64 - n));
  else if (n < 128) result = high >> (n - 64);
  return endP64(p, result);
}

/** PINSRW P,Ew,Ib. */
export function pinsrw(p: u32): u32 {
  if (!mmxAvailable()) return R_FAULT;
  const word = <u64>rdE<u16>(p);
  if (faulted()) return R_FAULT;
  const at: u64 = <u64>(Rec.imm(p) & 3) * 16;
  return endP64(p, (load<u64>(mm(Rec.a(p))) & ~((<u64>0xffff) << at)) | (word << at));
}

/** PEXTRW Gd,N,Ib. */
export function pextrw(p: u32): u32 {
  if (!mmxAvailable()) return R_FAULT;
  wrReg<u32>(Rec.a(p), load<u16>(mm(Rec.b(p)) + ((<u32>Rec.imm(p) & 3) << 1)));
  mmxTouch();
  return R_NEXT;
}

/** PMOVMSKB Gd,N. */
export function pmovmskb(p: u32): u32 {
  if (!mmxAvailable()) return R_FAULT;
  wrReg<u32>(Rec.a(p), <u32>i8x16.bitmask(v128.load64_zero(mm(Rec.b(p)))));
  mmxTouch();
  return R_NEXT;
}

/** MASKMOVQ P,N: bytes of P whose mask in N has bit 7 go to DS:rDI. All eight must be writable, as with AMD. */
export function maskmovq(p: u32): u32 {
  if (!mmxAvailable()) return R_FAULT;
  const asize = Rec.asize(p);
  let offset = load<u64>(GPR + 56);
  if (asize < 2) offset &= asize == 1 ? 0xffffffff : 0xffff;
  const va = linear(Rec.seg(p), offset, 8, true);
  if (faulted()) return R_FAULT;
  const mask = <u32>i8x16.bitmask(v128.load64_zero(mm(Rec.b(p))));
  const from = mm(Rec.a(p));
  probeWrite(va, 8);
  if (faulted()) return R_FAULT;
  for (let i: u32 = 0; i < 8; i++) {
    if ((mask >> i) & 1) st<u8>(va + i, load<u8>(from + i));
  }
  if (faulted()) return R_FAULT;
  mmxTouch();
  return R_NEXT;
}
