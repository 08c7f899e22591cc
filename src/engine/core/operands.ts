/**
 * Operands of a decoded instruction, for the handlers. Names follow the manuals: E is the ModRM r/m
 * operand (register or memory), G the ModRM reg register (or the register in the opcode). Every
 * access to E may fault: check faulted() afterwards and return R_FAULT before changing anything.
 */
import { FLAT, SEG, CODE_SIZE, GPR } from "./state.gen";
import { Rec, RF_MEM, RF_ASIZE } from "./record";
import { ld, st, ld128, st128, probeWrite, writeSpan } from "./mem";
import { V_SS, faulted, raiseErr } from "./fault";
import { segLinear } from "./cpu/segments";

/** Effective address: the offset in its segment, wrapped to the address size. */
export function eaOffset(p: u32): u64 {
  const ea: u64 =
    load<u64>(<u32>load<u16>(p, 8)) + (load<u64>(<u32>load<u16>(p, 10)) << load<u8>(p, 12)) + load<i64>(p, 24);
  const asize: u32 = load<u16>(p, 22) & RF_ASIZE;
  if (asize == 2) return ea;
  return asize == 1 ? ea & 0xffffffff : ea & 0xffff;
}

/** Whether bits 48 to 63 repeat bit 47. */
function canonical(va: u64): bool {
  return ((<i64>va << 16) >> 16) == <i64>va;
}

/**
 * Linear address of `size` bytes at `offset` in segment `seg` (0 ES to 5 GS), with the segment's
 * checks. May raise #GP or #SS. In 64-bit code only FS and GS have a base, and the canonical
 * check happens at the access.
 */
export function linear(seg: u32, offset: u64, size: u32, write: bool): u64 {
  if (load<u32>(CODE_SIZE) == 2) {
    if (seg == 2 && !(canonical(offset) && canonical(offset + size - 1))) raiseErr(V_SS, 0);
    return seg < 4 ? offset : offset + load<u64>(SEG + (seg << 4), 8);
  }
  return segLinear(seg, offset, size, write);
}

/** Linear address of the memory operand. May raise. */
export function eaLinear(p: u32, size: u32, write: bool): u64 {
  return linear(load<u8>(p, 13), eaOffset(p), size, write);
}

/** A register's value; `at` is its address. */
export function rdReg<T>(at: u32): T {
  return load<T>(at);
}

/** Writes a register; 32-bit writes clear the upper half. */
export function wrReg<T>(at: u32, value: T): void {
  if (sizeof<T>() == 4) store<u64>(at, <u64>(<u32>value));
  else store<T>(at, value);
}

/** Reads G. */
export function rdG<T>(p: u32): T {
  return load<T>(<u32>load<u16>(p, 4));
}

/** Writes G. */
export function wrG<T>(p: u32, value: T): void {
  wrReg<T>(load<u16>(p, 4), value);
}

/** Reads E. */
export function rdE<T>(p: u32): T {
  if ((load<u16>(p, 22) & RF_MEM) == 0) return load<T>(<u32>load<u16>(p, 6));
  const va = eaLinear(p, sizeof<T>(), false);
  if (faulted()) return <T>0;
  return ld<T>(va);
}

/** Writes E, as an instruction that does not read it first. */
export function wrE<T>(p: u32, value: T): void {
  if ((load<u16>(p, 22) & RF_MEM) == 0) {
    wrReg<T>(load<u16>(p, 6), value);
    return;
  }
  const va = eaLinear(p, sizeof<T>(), true);
  if (faulted()) return;
  st<T>(va, value);
}

let rmwVa: u64 = 0;
/** Where the operand is in linear memory, when that is known already; else 0. */
let rmwAt: u32 = 0;

/** Reads E for an instruction that will write it by endRmw(): faults as a write does. */
export function beginRmw<T>(p: u32): T {
  if ((load<u16>(p, 22) & RF_MEM) == 0) return load<T>(<u32>load<u16>(p, 6));
  const va = eaLinear(p, sizeof<T>(), true);
  if (faulted()) return <T>0;
  rmwAt = writeSpan(va, sizeof<T>());
  if (rmwAt != 0) return load<T>(rmwAt);
  probeWrite(va, sizeof<T>());
  if (faulted()) return <T>0;
  rmwVa = va;
  return ld<T>(va);
}

/** Writes E after beginRmw(). Must come before any other register changes, and may fault. */
export function endRmw<T>(p: u32, value: T): void {
  if ((load<u16>(p, 22) & RF_MEM) == 0) wrReg<T>(load<u16>(p, 6), value);
  else if (rmwAt != 0) store<T>(rmwAt, value);
  else st<T>(rmwVa, value);
}

/** The immediate as T: sign-extended from its encoded size. */
export function imm<T>(p: u32): T {
  return <T>load<i32>(p, 16);
}

/** Address of general register n as 64, 32 or 16 bits. */
export function gpr(n: u32): u32 {
  return GPR + (n << 3);
}
