/**
 * Moves: MOVAPS MOVUPS MOVDQA MOVDQU (and the PD forms) LDDQU MOVNTx MOVSS MOVSD MOVLPS MOVHPS
 * MOVHLPS MOVLHPS MOVSLDUP MOVSHDUP MOVDDUP MOVD MOVQ MOVQ2DQ MOVDQ2Q MOVMSKPx PMOVMSKB MASKMOVDQU
 * PINSRx PEXTRx EXTRACTPS INSERTPS.
 */
import { GPR } from "../state.gen";
import { Rec } from "../record";
import { faulted, R_FAULT, R_NEXT } from "../fault";
import { probeWrite, st } from "../mem";
import { mm, mmxAvailable, mmxTouch, setMm } from "../fpu/mmx";
import { imm, linear, wrG, wrReg } from "../operands";
import { rdS, rdV, rdW, rdWu, sseReady, stMem, stW, stWu, wrV } from "./operand";

/** MOVAPS MOVAPD MOVDQA MOVNTDQA, load */
export function load16(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, w);
}

/** MOVUPS MOVUPD MOVDQU LDDQU, load */
export function load16u(p: u32): u32 {
  const w = rdWu(p);
  if (faulted()) return R_FAULT;
  return wrV(p, w);
}

/** MOVAPS MOVAPD MOVDQA MOVNTPS MOVNTPD MOVNTDQ, store */
export function store16(p: u32): u32 {
  return stW(p, rdV(p));
}

/** MOVUPS MOVUPD MOVDQU, store */
export function store16u(p: u32): u32 {
  return stWu(p, rdV(p));
}

/** MOVSS MOVSD MOVQ from memory, MOVD, MOVQ from anywhere: the rest of V becomes zero. */
export function loadLow<T>(p: u32): u32 {
  const value = rdS<T>(p);
  if (faulted()) return R_FAULT;
  const a = Rec.a(p);
  store<u64>(a, <u64>value);
  store<u64>(a, 0, 8);
  return R_NEXT;
}

/** MOVSS MOVSD between registers, MOVLPS MOVLPD from memory: the rest of V stays. */
export function mergeLow<T>(p: u32): u32 {
  const value = rdS<T>(p);
  if (faulted()) return R_FAULT;
  store<T>(Rec.a(p), value);
  return R_NEXT;
}

/** MOVSS MOVSD to a register: the roles of the operands are exchanged. */
export function storeLowReg<T>(p: u32): u32 {
  if (!sseReady()) return R_FAULT;
  store<T>(Rec.b(p), load<T>(Rec.a(p)));
  return R_NEXT;
}

/** MOVSS MOVSD MOVLPS MOVLPD MOVQ to memory */
export function storeLow<T>(p: u32): u32 {
  return stMem<T>(p, load<T>(Rec.a(p)));
}

/** MOVQ to a register (66 0F D6) */
export function movqReg(p: u32): u32 {
  if (!sseReady()) return R_FAULT;
  const b = Rec.b(p);
  store<u64>(b, load<u64>(Rec.a(p)));
  store<u64>(b, 0, 8);
  return R_NEXT;
}

/** MOVD MOVQ to a general register or memory */
export function movToGeneral<T>(p: u32): u32 {
  const value = load<T>(Rec.a(p));
  if (Rec.isMem(p)) return stMem<T>(p, value);
  if (!sseReady()) return R_FAULT;
  wrReg<T>(Rec.b(p), value);
  return R_NEXT;
}

/** MOVHPS MOVHPD from memory, MOVLHPS */
export function loadHigh(p: u32): u32 {
  const value = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  store<u64>(Rec.a(p), value, 8);
  return R_NEXT;
}

/** MOVHPS MOVHPD to memory */
export function storeHigh(p: u32): u32 {
  return stMem<u64>(p, load<u64>(Rec.a(p), 8));
}

export function movhlps(p: u32): u32 {
  if (!sseReady()) return R_FAULT;
  store<u64>(Rec.a(p), load<u64>(Rec.b(p), 8));
  return R_NEXT;
}

export function movsldup(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.shuffle<u32>(w, w, 0, 0, 2, 2));
}

export function movshdup(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  return wrV(p, v128.shuffle<u32>(w, w, 1, 1, 3, 3));
}

export function movddup(p: u32): u32 {
  const value = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  return wrV(p, i64x2.splat(value));
}

export function movq2dq(p: u32): u32 {
  if (!sseReady() || !mmxAvailable()) return R_FAULT;
  mmxTouch();
  const a = Rec.a(p);
  store<u64>(a, load<u64>(mm(Rec.b(p))));
  store<u64>(a, 0, 8);
  return R_NEXT;
}

export function movdq2q(p: u32): u32 {
  if (!sseReady() || !mmxAvailable()) return R_FAULT;
  setMm(Rec.a(p), load<u64>(Rec.b(p)));
  return R_NEXT;
}

export function movmskps(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  wrG<u32>(p, i32x4.bitmask(w));
  return R_NEXT;
}

export function movmskpd(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  wrG<u32>(p, i64x2.bitmask(w));
  return R_NEXT;
}

export function pmovmskb(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  wrG<u32>(p, i8x16.bitmask(w));
  return R_NEXT;
}

/**
 * Stores the bytes of V whose mask byte in W is negative, at DS:rDI. All 16 bytes must be writable,
 * whatever the mask (the manuals leave that open); the upper half is looked at first, as on Intel's
 * processors.
 */
export function maskmovdqu(p: u32): u32 {
  const w = rdW(p);
  if (faulted()) return R_FAULT;
  const asize = Rec.asize(p);
  let rdi = load<u64>(GPR + 7 * 8);
  if (asize != 2) rdi &= asize == 1 ? 0xffffffff : 0xffff;
  const va = linear(Rec.seg(p), rdi, 16, true);
  if (faulted()) return R_FAULT;
  probeWrite(va, 8);
  if (faulted()) return R_FAULT;
  probeWrite(va + 8, 8);
  if (faulted()) return R_FAULT;
  const mask: u32 = i8x16.bitmask(w), a = Rec.a(p);
  for (let i: u32 = 0; i < 16; i++) {
    if (((mask >> i) & 1) == 0) continue;
    st<u8>(va + i, load<u8>(a + i));
    if (faulted()) return R_FAULT;
  }
  return R_NEXT;
}

/** PINSRB PINSRW PINSRD PINSRQ */
export function pinsr<T>(p: u32): u32 {
  const value = rdS<T>(p);
  if (faulted()) return R_FAULT;
  const at = (imm<u32>(p) * sizeof<T>()) & 15;
  store<T>(Rec.a(p) + at, value);
  return R_NEXT;
}

/** PEXTRB PEXTRW PEXTRD PEXTRQ EXTRACTPS: zero-extended into a register. */
export function pextr<T>(p: u32): u32 {
  const at = (imm<u32>(p) * sizeof<T>()) & 15;
  const value = load<T>(Rec.a(p) + at);
  if (Rec.isMem(p)) return stMem<T>(p, value);
  if (!sseReady()) return R_FAULT;
  store<u64>(Rec.b(p), <u64>value);
  return R_NEXT;
}

/** PEXTRW of SSE2 (0F C5): the general register is G. */
export function pextrwG(p: u32): u32 {
  if (!sseReady()) return R_FAULT;
  wrG<u32>(p, load<u16>(Rec.b(p) + ((imm<u32>(p) & 7) << 1)));
  return R_NEXT;
}

/** From a register the source lane is chosen by bits 6 and 7; memory is one dword. */
export function insertps(p: u32): u32 {
  const control = imm<u32>(p);
  let value: u32;
  if (Rec.isMem(p)) value = rdS<u32>(p);
  else {
    if (!sseReady()) return R_FAULT;
    value = load<u32>(Rec.b(p) + ((control >> 4) & 12));
  }
  if (faulted()) return R_FAULT;
  const a = Rec.a(p);
  store<u32>(a + ((control >> 2) & 12), value);
  for (let i: u32 = 0; i < 4; i++) if ((control >> i) & 1) store<u32>(a + (i << 2), 0);
  return R_NEXT;
}
