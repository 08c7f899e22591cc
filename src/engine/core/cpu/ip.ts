/**
 * The instruction pointer: where the next instruction is, and near branches with their checks
 * (SDM vol. 1, 6.3.7 and 7.3.8; CS limit, or canonical form in 64-bit code).
 */
import { CODE_SIZE, RIP, SEG } from "../state.gen";
import { Rec } from "../record";
import { R_FAULT, R_JUMP, V_GP, raiseErr } from "../fault";

/** Byte offset of CS's limit in the state block's segment table. */
const CS_LIMIT: u32 = SEG + 16 + 4;

/** `ip` cut to the width that the code segment gives it. */
export function maskIp(ip: u64): u64 {
  const size = load<u32>(CODE_SIZE);
  if (size == 2) return ip;
  return size == 1 ? ip & 0xffffffff : ip & 0xffff;
}

/** Address (offset in CS) of the instruction behind the one in record `p`. */
export function nextRip(p: u32): u64 {
  return maskIp(load<u64>(RIP) + Rec.len(p));
}

/** Whether an address has canonical form (48 bits, sign-extended). */
export function isCanonical(va: u64): bool {
  return <u64>((<i64>va << 16) >> 16) == va;
}

/** Whether a near branch may go to `ip`; raises #GP(0) when not. */
export function checkIp(ip: u64): bool {
  const ok = load<u32>(CODE_SIZE) == 2 ? isCanonical(ip) : ip <= <u64>load<u32>(CS_LIMIT);
  if (!ok) raiseErr(V_GP, 0);
  return ok;
}

/** Near branch to `ip`, already cut to the operand size. Returns R_JUMP, or R_FAULT with #GP(0). */
export function setIp(ip: u64): u32 {
  if (!checkIp(ip)) return R_FAULT;
  store<u64>(RIP, ip);
  return R_JUMP;
}

/** Goes on behind record `p` by R_JUMP, for instructions after which the loop must look around. */
export function leaveTo(p: u32): u32 {
  store<u64>(RIP, nextRip(p));
  return R_JUMP;
}
