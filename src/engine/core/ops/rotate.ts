/**
 * ROL ROR RCL RCR (SDM vol. 2: RCL/RCR/ROL/ROR). Only CF and OF change. The count is taken modulo
 * 32 (64 for 64-bit operands), then modulo the width, or width + 1 through the carry. OF, undefined
 * for counts above one, is as after the first of single-bit rotations; ROL and ROR of a register by
 * an immediate above one leave it, as processors do.
 * Forms: _1 by one, _C by CL, _I by the immediate.
 */
import { Rec } from "../record";
import { R_FAULT, R_NEXT, faulted } from "../fault";
import { beginRmw, endRmw, imm } from "../operands";
import { CF, OF, arithFlags, getCf, getOf, setCcExplicit } from "../flags";
import { RCX, bits, msb, msb2 } from "./regs";

/** Rotate count as the operand size masks it. */
function masked<T>(count: u32): u32 {
  return count & (sizeof<T>() == 8 ? 63 : 31);
}

/** Finishes a rotation: writes `r`, then CF and OF. */
function finish<T>(p: u32, r: T, flags: bool, carry: u64, overflow: u64): u32 {
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  if (flags) setCcExplicit((arithFlags() & ~(CF | OF)) | (carry & 1) | ((overflow & 1) << 11));
  return R_NEXT;
}

function rol<T>(p: u32, count: u32, keepOf: bool): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const n = count & (bits<T>() - 1);
  const x = <u64>a;
  const r = n == 0 ? a : <T>((x << n) | (x >> (bits<T>() - n)));
  return finish<T>(p, r, count != 0, <u64>r, keepOf ? <u64>getOf() : msb<T>(a) ^ msb2<T>(a));
}

function ror<T>(p: u32, count: u32, keepOf: bool): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const n = count & (bits<T>() - 1);
  const x = <u64>a;
  const r = n == 0 ? a : <T>((x >> n) | (x << (bits<T>() - n)));
  return finish<T>(p, r, count != 0, msb<T>(r), keepOf ? <u64>getOf() : msb<T>(a) ^ x);
}

/** Count of a rotation through the carry. */
function throughCarry<T>(count: u32): u32 {
  return sizeof<T>() <= 2 ? count % (bits<T>() + 1) : count;
}

function rcl<T>(p: u32, count: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const n = throughCarry<T>(count);
  if (n == 0) return finish<T>(p, a, false, 0, 0);
  const x = <u64>a;
  const r = <T>((x << n) | (<u64>getCf() << (n - 1)) | ((x >> 1) >> (bits<T>() - n)));
  const carry = (x >> (bits<T>() - n)) & 1;
  return finish<T>(p, r, true, carry, msb<T>(a) ^ msb2<T>(a));
}

function rcr<T>(p: u32, count: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const n = throughCarry<T>(count);
  if (n == 0) return finish<T>(p, a, false, 0, 0);
  const x = <u64>a;
  const r = <T>((x >> n) | (<u64>getCf() << (bits<T>() - n)) | ((x << 1) << (bits<T>() - n)));
  return finish<T>(p, r, true, x >> (n - 1), msb<T>(a) ^ <u64>getCf());
}

/** ROL r/m,1. */
export function rol_1<T>(p: u32): u32 {
  return rol<T>(p, 1, false);
}

/** ROL r/m,CL. */
export function rol_C<T>(p: u32): u32 {
  return rol<T>(p, masked<T>(load<u8>(RCX)), false);
}

/** ROL r/m,imm. */
export function rol_I<T>(p: u32): u32 {
  const count = masked<T>(imm<u32>(p));
  return rol<T>(p, count, count != 1 && !Rec.isMem(p));
}

/** ROR r/m,1. */
export function ror_1<T>(p: u32): u32 {
  return ror<T>(p, 1, false);
}

/** ROR r/m,CL. */
export function ror_C<T>(p: u32): u32 {
  return ror<T>(p, masked<T>(load<u8>(RCX)), false);
}

/** ROR r/m,imm. */
export function ror_I<T>(p: u32): u32 {
  const count = masked<T>(imm<u32>(p));
  return ror<T>(p, count, count != 1 && !Rec.isMem(p));
}

/** RCL r/m,1. */
export function rcl_1<T>(p: u32): u32 {
  return rcl<T>(p, 1);
}

/** RCL r/m,CL. */
export function rcl_C<T>(p: u32): u32 {
  return rcl<T>(p, masked<T>(load<u8>(RCX)));
}

/** RCL r/m,imm. */
export function rcl_I<T>(p: u32): u32 {
  return rcl<T>(p, masked<T>(imm<u32>(p)));
}

/** RCR r/m,1. */
export function rcr_1<T>(p: u32): u32 {
  return rcr<T>(p, 1);
}

/** RCR r/m,CL. */
export function rcr_C<T>(p: u32): u32 {
  return rcr<T>(p, masked<T>(load<u8>(RCX)));
}

/** RCR r/m,imm. */
export function rcr_I<T>(p: u32): u32 {
  return rcr<T>(p, masked<T>(imm<u32>(p)));
}
