/**
 * MOV MOVNTI MOVZX MOVSX MOVSXD LEA XCHG CMOVcc SETcc XLAT BSWAP MOVBE, CBW CWDE CDQE CWD CDQ CQO
 * (SDM vol. 2, under these names). Loads of segment registers are in cpu/segments.ts.
 */
import { HIDDEN, SEG } from "../state.gen";
import { Rec } from "../record";
import { R_FAULT, R_NEXT, V_UD, faulted, raise } from "../fault";
import {
  beginRmw, eaLinear, eaOffset, endRmw, imm, linear, rdE, rdG, wrE, wrG, wrReg,
} from "../operands";
import { ld, st } from "../mem";
import { cond } from "../flags";
import { RAX, RBX, RDX, addressMask, bits, signed } from "./regs";

/** MOV r/m,reg; MOVNTI [mem],reg. */
export function mov_EG<T>(p: u32): u32 {
  wrE<T>(p, rdG<T>(p));
  return faulted() ? R_FAULT : R_NEXT;
}

/** MOV reg,r/m. */
export function mov_GE<T>(p: u32): u32 {
  const v = rdE<T>(p);
  if (faulted()) return R_FAULT;
  wrG<T>(p, v);
  return R_NEXT;
}

/** MOV r/m,imm. */
export function mov_EI<T>(p: u32): u32 {
  wrE<T>(p, imm<T>(p));
  return faulted() ? R_FAULT : R_NEXT;
}

/** MOV reg8,imm8. */
export function mov_ZI<T>(p: u32): u32 {
  wrG<T>(p, imm<T>(p));
  return R_NEXT;
}

/** MOV reg,imm of full width. */
export function mov_ZV<T>(p: u32): u32 {
  wrG<T>(p, <T>Rec.disp(p));
  return R_NEXT;
}

/** MOV accumulator,[offset]. */
export function mov_AO<T>(p: u32): u32 {
  const va = eaLinear(p, sizeof<T>(), false);
  if (faulted()) return R_FAULT;
  const v = ld<T>(va);
  if (faulted()) return R_FAULT;
  wrReg<T>(RAX, v);
  return R_NEXT;
}

/** MOV [offset],accumulator. */
export function mov_OA<T>(p: u32): u32 {
  const va = eaLinear(p, sizeof<T>(), true);
  if (faulted()) return R_FAULT;
  st<T>(va, load<T>(RAX));
  return faulted() ? R_FAULT : R_NEXT;
}

/** MOV r/m,segment: 16 bits to memory, zero-extended to the operand size in a register. */
export function mov_ES<T>(p: u32): u32 {
  if (Rec.a(p) > 5) return raise(V_UD);
  const selector = load<u16>(SEG + (Rec.a(p) << 4));
  if (Rec.isMem(p)) wrE<u16>(p, selector);
  else wrReg<T>(Rec.b(p), <T>selector);
  return faulted() ? R_FAULT : R_NEXT;
}

/** MOVZX reg,r/m. */
export function movzx8<T>(p: u32): u32 {
  const v = rdE<u8>(p);
  if (faulted()) return R_FAULT;
  wrG<T>(p, <T>v);
  return R_NEXT;
}

/** MOVZX reg,r/m. */
export function movzx16<T>(p: u32): u32 {
  const v = rdE<u16>(p);
  if (faulted()) return R_FAULT;
  wrG<T>(p, <T>v);
  return R_NEXT;
}

/** MOVSX reg,r/m. */
export function movsx8<T>(p: u32): u32 {
  const v = rdE<u8>(p);
  if (faulted()) return R_FAULT;
  wrG<T>(p, <T>signed<u8>(v));
  return R_NEXT;
}

/** MOVSX reg,r/m. */
export function movsx16<T>(p: u32): u32 {
  const v = rdE<u16>(p);
  if (faulted()) return R_FAULT;
  wrG<T>(p, <T>signed<u16>(v));
  return R_NEXT;
}

/** MOVSXD: 32 to 64 bits; with smaller operands a plain move, but of memory 32 bits are read (Intel: as many as the operand has). */
export function movsxd<T>(p: u32): u32 {
  const v = rdE<u32>(p);
  if (faulted()) return R_FAULT;
  wrG<T>(p, <T>signed<u32>(v));
  return R_NEXT;
}

/** LEA reg,[mem]. */
export function lea<T>(p: u32): u32 {
  wrG<T>(p, <T>eaOffset(p));
  return R_NEXT;
}

/** XCHG r/m,reg. */
export function xchg_EG<T>(p: u32): u32 {
  const old = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  endRmw<T>(p, rdG<T>(p));
  if (faulted()) return R_FAULT;
  wrG<T>(p, old);
  return R_NEXT;
}

/** XCHG reg,accumulator; with the accumulator itself it is NOP and leaves the upper half alone. */
export function xchg_ZA<T>(p: u32): u32 {
  if (Rec.a(p) == RAX) return R_NEXT;
  const old = rdG<T>(p);
  wrG<T>(p, load<T>(RAX));
  wrReg<T>(RAX, old);
  return R_NEXT;
}

/** CMOVcc: reads its source (and may fault), and clears the upper half, on either condition. */
export function cmov<T>(p: u32): u32 {
  const v = rdE<T>(p);
  if (faulted()) return R_FAULT;
  wrG<T>(p, cond(Rec.opcode(p)) ? v : rdG<T>(p));
  return R_NEXT;
}

/** SETcc r/m. */
export function setcc(p: u32): u32 {
  wrE<u8>(p, <u8>cond(Rec.opcode(p)));
  return faulted() ? R_FAULT : R_NEXT;
}

/** XLAT. */
export function xlat(p: u32): u32 {
  const offset = (load<u64>(RBX) + load<u8>(RAX)) & addressMask(Rec.asize(p));
  const va = linear(Rec.seg(p), offset, 1, false);
  if (faulted()) return R_FAULT;
  const v = ld<u8>(va);
  if (faulted()) return R_FAULT;
  store<u8>(RAX, v);
  return R_NEXT;
}

/** BSWAP; of 16 bits it is undefined, and gives zero on processors. */
export function bswap_Z<T>(p: u32): u32 {
  wrG<T>(p, sizeof<T>() == 2 ? <T>0 : bswap<T>(rdG<T>(p)));
  return R_NEXT;
}

/** MOVBE can be hidden, see HIDDEN. */
const HIDDEN_MOVBE: u32 = 8;

/** MOVBE reg,m. */
export function movbe_GM<T>(p: u32): u32 {
  if ((load<u32>(HIDDEN) & HIDDEN_MOVBE) != 0) return raise(V_UD);
  const v = rdE<T>(p);
  if (faulted()) return R_FAULT;
  wrG<T>(p, bswap<T>(v));
  return R_NEXT;
}

/** MOVBE m,reg. */
export function movbe_MG<T>(p: u32): u32 {
  if ((load<u32>(HIDDEN) & HIDDEN_MOVBE) != 0) return raise(V_UD);
  wrE<T>(p, bswap<T>(rdG<T>(p)));
  return faulted() ? R_FAULT : R_NEXT;
}

/** CBW, CWDE, CDQE by operand size. */
export function cbw<T>(p: u32): u32 {
  const half = 64 - (bits<T>() >> 1);
  wrReg<T>(RAX, <T>((load<i64>(RAX) << half) >> half));
  return R_NEXT;
}

/** CWD, CDQ, CQO by operand size. */
export function cwd<T>(p: u32): u32 {
  wrReg<T>(RDX, <T>(signed<T>(load<T>(RAX)) >> 63));
  return R_NEXT;
}
