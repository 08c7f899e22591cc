/**
 * SHL SHR SAR, SHLD SHRD (SDM vol. 2: SAL/SAR/SHL/SHR, SHLD, SHRD). The count is taken modulo 32,
 * or 64 for 64-bit operands; a count of zero leaves the flags. Undefined flags are as processors
 * leave them: OF as after the first of single-bit shifts, AF clear.
 * Forms: _1 by one, _C by CL, _I by the immediate.
 */
import { R_FAULT, R_NEXT, faulted } from "../fault";
import { beginRmw, endRmw, imm, rdG } from "../operands";
import { setCcResult } from "../flags";
import { RCX, bits, msb, msb2, signed } from "./regs";

/** Shift count as the operand size masks it. */
function masked<T>(count: u32): u32 {
  return count & (sizeof<T>() == 8 ? 63 : 31);
}

function shl<T>(p: u32, count: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const r = <T>(<u64>a << count);
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  if (count == 0) return R_NEXT;
  // The last bit out: none when a narrow operand is shifted further than it is long.
  const carry: u64 = count > bits<T>() ? 0 : (<u64>a >> (bits<T>() - count)) & 1;
  setCcResult<T>(r, carry | ((msb<T>(a) ^ msb2<T>(a)) << 11));
  return R_NEXT;
}

function shr<T>(p: u32, count: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const r = <T>(<u64>a >> count);
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  if (count == 0) return R_NEXT;
  setCcResult<T>(r, ((<u64>a >> (count - 1)) & 1) | (msb<T>(a) << 11));
  return R_NEXT;
}

function sar<T>(p: u32, count: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const r = <T>(signed<T>(a) >> count);
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  if (count == 0) return R_NEXT;
  setCcResult<T>(r, <u64>(signed<T>(a) >> (count - 1)) & 1);
  return R_NEXT;
}

/** SHL r/m,1. */
export function shl_1<T>(p: u32): u32 {
  return shl<T>(p, 1);
}

/** SHL r/m,CL. */
export function shl_C<T>(p: u32): u32 {
  return shl<T>(p, masked<T>(load<u8>(RCX)));
}

/** SHL r/m,imm. */
export function shl_I<T>(p: u32): u32 {
  return shl<T>(p, masked<T>(imm<u32>(p)));
}

/** SHR r/m,1. */
export function shr_1<T>(p: u32): u32 {
  return shr<T>(p, 1);
}

/** SHR r/m,CL. */
export function shr_C<T>(p: u32): u32 {
  return shr<T>(p, masked<T>(load<u8>(RCX)));
}

/** SHR r/m,imm. */
export function shr_I<T>(p: u32): u32 {
  return shr<T>(p, masked<T>(imm<u32>(p)));
}

/** SAR r/m,1. */
export function sar_1<T>(p: u32): u32 {
  return sar<T>(p, 1);
}

/** SAR r/m,CL. */
export function sar_C<T>(p: u32): u32 {
  return sar<T>(p, masked<T>(load<u8>(RCX)));
}

/** SAR r/m,imm. */
export function sar_I<T>(p: u32): u32 {
  return sar<T>(p, masked<T>(imm<u32>(p)));
}

/** Sets the flags of a double shift to `r`; `second` is what the first bit shifts into the sign. */
function doubleFlags<T>(a: T, r: T, carry: u64, second: u64): u32 {
  setCcResult<T>(r, (carry & 1) | ((msb<T>(a) ^ (second & 1)) << 11));
  return R_NEXT;
}

/**
 * Counts above 16 with 16-bit operands are undefined; processors go on with the destination's bits
 * behind the source's (destination, source, destination).
 */
function shld<T>(p: u32, count: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const x = <u64>a, y = <u64>rdG<T>(p);
  if (count == 0) {
    endRmw<T>(p, a);
    return faulted() ? R_FAULT : R_NEXT;
  }
  if (sizeof<T>() == 2) {
    const wide = (x << 32) | (y << 16) | x;
    const shifted = wide >> (32 - count);
    endRmw<T>(p, <T>shifted);
    return faulted() ? R_FAULT : doubleFlags<T>(a, <T>shifted, shifted >> 16, msb2<T>(a));
  }
  const r = <T>((x << count) | (y >> (bits<T>() - count)));
  endRmw<T>(p, r);
  return faulted() ? R_FAULT : doubleFlags<T>(a, r, x >> (bits<T>() - count), msb2<T>(a));
}

function shrd<T>(p: u32, count: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const x = <u64>a, y = <u64>rdG<T>(p);
  if (count == 0) {
    endRmw<T>(p, a);
    return faulted() ? R_FAULT : R_NEXT;
  }
  if (sizeof<T>() == 2) {
    const wide = (x << 32) | (y << 16) | x;
    const r16 = <T>(wide >> count);
    endRmw<T>(p, r16);
    return faulted() ? R_FAULT : doubleFlags<T>(a, r16, wide >> (count - 1), y);
  }
  const r = <T>((x >> count) | (y << (bits<T>() - count)));
  endRmw<T>(p, r);
  return faulted() ? R_FAULT : doubleFlags<T>(a, r, x >> (count - 1), y);
}

/** SHLD r/m,reg,CL. */
export function shld_C<T>(p: u32): u32 {
  return shld<T>(p, masked<T>(load<u8>(RCX)));
}

/** SHLD r/m,reg,imm. */
export function shld_I<T>(p: u32): u32 {
  return shld<T>(p, masked<T>(imm<u32>(p)));
}

/** SHRD r/m,reg,CL. */
export function shrd_C<T>(p: u32): u32 {
  return shrd<T>(p, masked<T>(load<u8>(RCX)));
}

/** SHRD r/m,reg,imm. */
export function shrd_I<T>(p: u32): u32 {
  return shrd<T>(p, masked<T>(imm<u32>(p)));
}
