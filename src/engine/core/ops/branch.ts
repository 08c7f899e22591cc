/**
 * Jcc JMP CALL RET (near), LOOP LOOPE LOOPNE, JCXZ JECXZ JRCXZ (SDM vol. 2, under these names). The
 * operand size cuts the target. The target is checked before any register changes.
 */
import { RF_REP, RF_REPNE, Rec } from "../record";
import { R_FAULT, R_JUMP, R_NEXT, faulted } from "../fault";
import { imm, rdE } from "../operands";
import { cond, getZf } from "../flags";
import { checkIp, nextRip, setIp } from "../cpu/ip";
import { moveStack, peek, setStackPtr, stackAt, stackWrite } from "../cpu/stack";
import { RCX, addressMask, setByAddressSize } from "./regs";

/** Target of a relative branch. */
function relative<T>(p: u32): u64 {
  return <u64>(<T>(nextRip(p) + imm<u64>(p)));
}

/** Jcc rel. */
export function jcc<T>(p: u32): u32 {
  return cond(Rec.opcode(p)) ? setIp(relative<T>(p)) : R_NEXT;
}

/** JMP rel. */
export function jmp_J<T>(p: u32): u32 {
  return setIp(relative<T>(p));
}

/** JMP r/m. */
export function jmp_E<T>(p: u32): u32 {
  const target = <u64>rdE<T>(p);
  return faulted() ? R_FAULT : setIp(target);
}

/** Checks the target before it stores the return address, as AMD's processors do (Intel's store first). */
function callTo<T>(p: u32, target: u64): u32 {
  if (!checkIp(target)) return R_FAULT;
  const offset = stackAt(-<i64>sizeof<T>());
  stackWrite<T>(offset, <T>nextRip(p));
  if (faulted()) return R_FAULT;
  setStackPtr(offset);
  return setIp(target);
}

/** CALL rel. */
export function call_J<T>(p: u32): u32 {
  return callTo<T>(p, relative<T>(p));
}

/** CALL r/m. */
export function call_E<T>(p: u32): u32 {
  const target = <u64>rdE<T>(p);
  return faulted() ? R_FAULT : callTo<T>(p, target);
}

function returnOver<T>(bytes: u32): u32 {
  const target = <u64>peek<T>(0);
  if (faulted() || setIp(target) != R_JUMP) return R_FAULT;
  moveStack(sizeof<T>() + bytes);
  return R_JUMP;
}

/** RET. */
export function ret<T>(p: u32): u32 {
  return returnOver<T>(0);
}

/** RET imm16: the immediate is unsigned. */
export function ret_I<T>(p: u32): u32 {
  return returnOver<T>(imm<u32>(p) & 0xffff);
}

/** The count register's value after one turn. */
function countDown(p: u32): u64 {
  return (load<u64>(RCX) - 1) & addressMask(Rec.asize(p));
}

/** Commits the count, and jumps if `taken`. */
function loopEnd<T>(p: u32, count: u64, taken: bool): u32 {
  if (taken && setIp(relative<T>(p)) != R_JUMP) return R_FAULT;
  setByAddressSize(RCX, Rec.asize(p), count);
  return taken ? R_JUMP : R_NEXT;
}

/** LOOP rel. */
export function loop<T>(p: u32): u32 {
  const count = countDown(p);
  return loopEnd<T>(p, count, count != 0);
}

/** LOOPE or LOOPNE, which a repeat prefix turns into the one that it names itself (so do AMD's processors). */
function loopWhile<T>(p: u32, zero: bool): u32 {
  const prefix = Rec.flags(p) & (RF_REP | RF_REPNE);
  if (prefix != 0) zero = prefix == RF_REP;
  const count = countDown(p);
  return loopEnd<T>(p, count, count != 0 && getZf() == zero);
}

/** LOOPE rel. */
export function loope<T>(p: u32): u32 {
  return loopWhile<T>(p, true);
}

/** LOOPNE rel. */
export function loopne<T>(p: u32): u32 {
  return loopWhile<T>(p, false);
}

/** JCXZ rel. */
export function jcxz<T>(p: u32): u32 {
  const zero = (load<u64>(RCX) & addressMask(Rec.asize(p))) == 0;
  return zero ? setIp(relative<T>(p)) : R_NEXT;
}
