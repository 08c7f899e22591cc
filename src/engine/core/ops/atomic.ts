/**
 * CMPXCHG CMPXCHG8B CMPXCHG16B XADD (SDM vol. 2, under these names). One thread runs all virtual
 * processors, so a LOCK prefix asks for nothing more.
 */
import { Rec } from "../record";
import { R_FAULT, R_NEXT, V_GP, faulted, raiseErr } from "../fault";
import { beginRmw, eaLinear, endRmw, rdG, wrG, wrReg } from "../operands";
import { ld, ld128, probeWrite, st, st128 } from "../mem";
import { K_ADD, K_SUB, ZF, arithFlags, setCc, setCcExplicit } from "../flags";
import { RAX, RBX, RCX, RDX } from "./regs";

/** CMPXCHG: memory is written in either case, a register only when equal. */
export function cmpxchg<T>(p: u32): u32 {
  const old = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const acc = load<T>(RAX);
  if (old == acc) endRmw<T>(p, rdG<T>(p));
  else if (Rec.isMem(p)) endRmw<T>(p, old);
  if (faulted()) return R_FAULT;
  if (old != acc) wrReg<T>(RAX, old);
  setCc<T>(K_SUB, <T>(acc - old), old);
  return R_NEXT;
}

/** XADD r/m,reg. */
export function xadd<T>(p: u32): u32 {
  const old = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const b = rdG<T>(p);
  const sum = <T>(old + b);
  // With one register as both operands the sum is what stays.
  if (!Rec.isMem(p)) wrG<T>(p, old);
  endRmw<T>(p, sum);
  if (faulted()) return R_FAULT;
  if (Rec.isMem(p)) wrG<T>(p, old);
  setCc<T>(K_ADD, sum, b);
  return R_NEXT;
}

/** CMPXCHG8B (T = u32) and CMPXCHG16B (T = u64, which must be aligned). */
export function cmpxchg2<T>(p: u32): u32 {
  const va = eaLinear(p, sizeof<T>() * 2, true);
  if (faulted()) return R_FAULT;
  if (sizeof<T>() == 8 && (va & 15) != 0) return raiseErr(V_GP, 0);
  probeWrite(va, sizeof<T>() * 2);
  if (faulted()) return R_FAULT;
  return sizeof<T>() == 8 ? exchange16(va) : exchange8(va);
}

function exchange8(va: u64): u32 {
  const old = ld<u64>(va);
  if (faulted()) return R_FAULT;
  const same = old == ((load<u64>(RDX) << 32) | load<u32>(RAX));
  st<u64>(va, same ? (load<u64>(RCX) << 32) | load<u32>(RBX) : old);
  if (faulted()) return R_FAULT;
  if (!same) {
    wrReg<u32>(RAX, <u32>old);
    wrReg<u32>(RDX, <u32>(old >> 32));
  }
  return setZf(same);
}

function exchange16(va: u64): u32 {
  const old = ld128(va);
  if (faulted()) return R_FAULT;
  const low = i64x2.extract_lane(old, 0), high = i64x2.extract_lane(old, 1);
  const same = low == load<i64>(RAX) && high == load<i64>(RDX);
  const fresh = i64x2.replace_lane(i64x2.splat(load<i64>(RBX)), 1, load<i64>(RCX));
  st128(va, same ? fresh : old);
  if (faulted()) return R_FAULT;
  if (!same) {
    store<i64>(RAX, low);
    store<i64>(RDX, high);
  }
  return setZf(same);
}

function setZf(on: bool): u32 {
  setCcExplicit((arithFlags() & ~ZF) | (on ? ZF : 0));
  return R_NEXT;
}
