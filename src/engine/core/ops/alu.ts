/**
 * ADD ADC SUB SBB CMP, INC DEC NEG (SDM vol. 2, under these names; AMD vol. 3).
 * Forms: _EG r/m,reg; _GE reg,r/m; _EI r/m,imm; _AI accumulator,imm.
 */
import { R_FAULT, R_NEXT, faulted } from "../fault";
import { beginRmw, endRmw, imm, rdE, rdG, wrG, wrReg } from "../operands";
import { AF, K_ADD, K_SUB, getCf, setCc, setCcResult } from "../flags";
import { RAX, bits } from "./regs";

/** Flags of a + b + carry = r: as ADD's, the carry out following from the three sign bits. */
function adcFlags<T>(a: T, b: T, r: T): void {
  const x = <u64>a, y = <u64>b, z = <u64>r;
  const carries = (x & y) | ((x | y) & ~z);
  const overflow = (x ^ z) & (y ^ z);
  setCcResult<T>(r, cao<T>(carries, x ^ y ^ z, overflow));
}

/** Flags of a - b - borrow = r. */
function sbbFlags<T>(a: T, b: T, r: T): void {
  const x = <u64>a, y = <u64>b, z = <u64>r;
  const borrows = (~x & y) | ((~x | y) & z);
  const overflow = (x ^ y) & (x ^ z);
  setCcResult<T>(r, cao<T>(borrows, x ^ y ^ z, overflow));
}

/** CF and OF from sign bits, AF from bit 4, at their places in RFLAGS. */
function cao<T>(carry: u64, half: u64, overflow: u64): u64 {
  const sign: u64 = bits<T>() - 1;
  return ((carry >> sign) & 1) | (half & AF) | (((overflow >> sign) & 1) << 11);
}

/** ADD r/m,reg. */
export function add_EG<T>(p: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const b = rdG<T>(p);
  const r = <T>(a + b);
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  setCc<T>(K_ADD, r, b);
  return R_NEXT;
}

/** ADD r/m,imm. */
export function add_EI<T>(p: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const b = imm<T>(p);
  const r = <T>(a + b);
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  setCc<T>(K_ADD, r, b);
  return R_NEXT;
}

/** ADD reg,r/m. */
export function add_GE<T>(p: u32): u32 {
  const b = rdE<T>(p);
  if (faulted()) return R_FAULT;
  const a = rdG<T>(p);
  const r = <T>(a + b);
  wrG<T>(p, r);
  setCc<T>(K_ADD, r, b);
  return R_NEXT;
}

/** ADD rAX,imm. */
export function add_AI<T>(p: u32): u32 {
  const a = load<T>(RAX), b = imm<T>(p);
  const r = <T>(a + b);
  wrReg<T>(RAX, r);
  setCc<T>(K_ADD, r, b);
  return R_NEXT;
}

/** ADC r/m,reg. */
export function adc_EG<T>(p: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const b = rdG<T>(p);
  const r = <T>(a + b + <T>(<u32>getCf()));
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  adcFlags<T>(a, b, r);
  return R_NEXT;
}

/** ADC r/m,imm. */
export function adc_EI<T>(p: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const b = imm<T>(p);
  const r = <T>(a + b + <T>(<u32>getCf()));
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  adcFlags<T>(a, b, r);
  return R_NEXT;
}

/** ADC reg,r/m. */
export function adc_GE<T>(p: u32): u32 {
  const b = rdE<T>(p);
  if (faulted()) return R_FAULT;
  const a = rdG<T>(p);
  const r = <T>(a + b + <T>(<u32>getCf()));
  wrG<T>(p, r);
  adcFlags<T>(a, b, r);
  return R_NEXT;
}

/** ADC rAX,imm. */
export function adc_AI<T>(p: u32): u32 {
  const a = load<T>(RAX), b = imm<T>(p);
  const r = <T>(a + b + <T>(<u32>getCf()));
  wrReg<T>(RAX, r);
  adcFlags<T>(a, b, r);
  return R_NEXT;
}

/** SUB r/m,reg. */
export function sub_EG<T>(p: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const b = rdG<T>(p);
  const r = <T>(a - b);
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  setCc<T>(K_SUB, r, b);
  return R_NEXT;
}

/** SUB r/m,imm. */
export function sub_EI<T>(p: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const b = imm<T>(p);
  const r = <T>(a - b);
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  setCc<T>(K_SUB, r, b);
  return R_NEXT;
}

/** SUB reg,r/m. */
export function sub_GE<T>(p: u32): u32 {
  const b = rdE<T>(p);
  if (faulted()) return R_FAULT;
  const a = rdG<T>(p);
  const r = <T>(a - b);
  wrG<T>(p, r);
  setCc<T>(K_SUB, r, b);
  return R_NEXT;
}

/** SUB rAX,imm. */
export function sub_AI<T>(p: u32): u32 {
  const a = load<T>(RAX), b = imm<T>(p);
  const r = <T>(a - b);
  wrReg<T>(RAX, r);
  setCc<T>(K_SUB, r, b);
  return R_NEXT;
}

/** SBB r/m,reg. */
export function sbb_EG<T>(p: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const b = rdG<T>(p);
  const r = <T>(a - b - <T>(<u32>getCf()));
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  sbbFlags<T>(a, b, r);
  return R_NEXT;
}

/** SBB r/m,imm. */
export function sbb_EI<T>(p: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const b = imm<T>(p);
  const r = <T>(a - b - <T>(<u32>getCf()));
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  sbbFlags<T>(a, b, r);
  return R_NEXT;
}

/** SBB reg,r/m. */
export function sbb_GE<T>(p: u32): u32 {
  const b = rdE<T>(p);
  if (faulted()) return R_FAULT;
  const a = rdG<T>(p);
  const r = <T>(a - b - <T>(<u32>getCf()));
  wrG<T>(p, r);
  sbbFlags<T>(a, b, r);
  return R_NEXT;
}

/** SBB rAX,imm. */
export function sbb_AI<T>(p: u32): u32 {
  const a = load<T>(RAX), b = imm<T>(p);
  const r = <T>(a - b - <T>(<u32>getCf()));
  wrReg<T>(RAX, r);
  sbbFlags<T>(a, b, r);
  return R_NEXT;
}

/** CMP r/m,reg. */
export function cmp_EG<T>(p: u32): u32 {
  const a = rdE<T>(p);
  if (faulted()) return R_FAULT;
  const b = rdG<T>(p);
  setCc<T>(K_SUB, <T>(a - b), b);
  return R_NEXT;
}

/** CMP r/m,imm. */
export function cmp_EI<T>(p: u32): u32 {
  const a = rdE<T>(p);
  if (faulted()) return R_FAULT;
  const b = imm<T>(p);
  setCc<T>(K_SUB, <T>(a - b), b);
  return R_NEXT;
}

/** CMP reg,r/m. */
export function cmp_GE<T>(p: u32): u32 {
  const b = rdE<T>(p);
  if (faulted()) return R_FAULT;
  setCc<T>(K_SUB, <T>(rdG<T>(p) - b), b);
  return R_NEXT;
}

/** CMP rAX,imm. */
export function cmp_AI<T>(p: u32): u32 {
  const b = imm<T>(p);
  setCc<T>(K_SUB, <T>(load<T>(RAX) - b), b);
  return R_NEXT;
}

/** INC: as ADD 1, but CF stays. */
function incFlags<T>(r: T): void {
  const half: u64 = (<u64>r & 15) == 0 ? AF : 0;
  const overflow: u64 = <u64>r == <u64>1 << (bits<T>() - 1) ? 1 : 0;
  setCcResult<T>(r, <u64>getCf() | half | (overflow << 11));
}

/** DEC: as SUB 1, but CF stays. */
function decFlags<T>(r: T): void {
  const half: u64 = (<u64>r & 15) == 15 ? AF : 0;
  const overflow: u64 = <u64>r == (<u64>1 << (bits<T>() - 1)) - 1 ? 1 : 0;
  setCcResult<T>(r, <u64>getCf() | half | (overflow << 11));
}

/** INC r/m. */
export function inc_E<T>(p: u32): u32 {
  const r = <T>(beginRmw<T>(p) + <T>1);
  if (faulted()) return R_FAULT;
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  incFlags<T>(r);
  return R_NEXT;
}

/** DEC r/m. */
export function dec_E<T>(p: u32): u32 {
  const r = <T>(beginRmw<T>(p) - <T>1);
  if (faulted()) return R_FAULT;
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  decFlags<T>(r);
  return R_NEXT;
}

/** The one-byte forms of 16- and 32-bit code. */
export function inc_Z<T>(p: u32): u32 {
  const r = <T>(rdG<T>(p) + <T>1);
  wrG<T>(p, r);
  incFlags<T>(r);
  return R_NEXT;
}

/** DEC reg. */
export function dec_Z<T>(p: u32): u32 {
  const r = <T>(rdG<T>(p) - <T>1);
  wrG<T>(p, r);
  decFlags<T>(r);
  return R_NEXT;
}

/** NEG r/m. */
export function neg_E<T>(p: u32): u32 {
  const a = beginRmw<T>(p);
  if (faulted()) return R_FAULT;
  const r = <T>(<T>0 - a);
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  setCc<T>(K_SUB, r, a);
  return R_NEXT;
}
