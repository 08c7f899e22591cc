/** NOP in its many encodings, UD0 UD1 UD2, BOUND (SDM vol. 2, under these names). */
import { R_FAULT, R_NEXT, V_BR, V_UD, faulted, raise } from "../fault";
import { eaOffset, linear, rdE, rdG } from "../operands";
import { Rec } from "../record";
import { ld } from "../mem";
import { addressMask, signed } from "./regs";

/** NOP, ENDBR, PREFETCH and the other hints: their operand is not accessed. */
export function nop(p: u32): u32 {
  return R_NEXT;
}

/** UD2; UD1 reg,r/m; UD0 reg,r/m. */
export function ud(p: u32): u32 {
  return raise(V_UD);
}

/** BOUND: #BR unless lower <= index <= upper, signed. The upper bound is read only if needed. */
export function bound<T>(p: u32): u32 {
  const lower = rdE<T>(p);
  if (faulted()) return R_FAULT;
  const index = signed<T>(rdG<T>(p));
  if (index < signed<T>(lower)) return raise(V_BR);
  const second = (eaOffset(p) + sizeof<T>()) & addressMask(Rec.asize(p));
  const va = linear(Rec.seg(p), second, sizeof<T>(), false);
  if (faulted()) return R_FAULT;
  const upper = ld<T>(va);
  if (faulted()) return R_FAULT;
  return index > signed<T>(upper) ? raise(V_BR) : R_NEXT;
}
