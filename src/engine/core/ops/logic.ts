/**
 * AND OR XOR TEST NOT (SDM vol. 2, under these names). AF, undefined in the manuals, is cleared as
 * processors do. Forms as in alu.ts.
 */
import { R_FAULT, R_NEXT, faulted } from "../fault";
import { beginRmw, endRmw, imm, rdE, rdG, wrG, wrReg } from "../operands";
import { K_LOGIC, setCc } from "../flags";
import { RAX } from "./regs";

/** AND r/m,reg. */
export function and_EG<T>(p: u32): u32 {
  const r = <T>(beginRmw<T>(p) & rdG<T>(p));
  if (faulted()) return R_FAULT;
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** AND r/m,imm. */
export function and_EI<T>(p: u32): u32 {
  const r = <T>(beginRmw<T>(p) & imm<T>(p));
  if (faulted()) return R_FAULT;
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** AND reg,r/m. */
export function and_GE<T>(p: u32): u32 {
  const r = <T>(rdE<T>(p) & rdG<T>(p));
  if (faulted()) return R_FAULT;
  wrG<T>(p, r);
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** AND rAX,imm. */
export function and_AI<T>(p: u32): u32 {
  const r = <T>(load<T>(RAX) & imm<T>(p));
  wrReg<T>(RAX, r);
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** OR r/m,reg. */
export function or_EG<T>(p: u32): u32 {
  const r = <T>(beginRmw<T>(p) | rdG<T>(p));
  if (faulted()) return R_FAULT;
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** OR r/m,imm. */
export function or_EI<T>(p: u32): u32 {
  const r = <T>(beginRmw<T>(p) | imm<T>(p));
  if (faulted()) return R_FAULT;
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** OR reg,r/m. */
export function or_GE<T>(p: u32): u32 {
  const r = <T>(rdE<T>(p) | rdG<T>(p));
  if (faulted()) return R_FAULT;
  wrG<T>(p, r);
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** OR rAX,imm. */
export function or_AI<T>(p: u32): u32 {
  const r = <T>(load<T>(RAX) | imm<T>(p));
  wrReg<T>(RAX, r);
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** XOR r/m,reg. */
export function xor_EG<T>(p: u32): u32 {
  const r = <T>(beginRmw<T>(p) ^ rdG<T>(p));
  if (faulted()) return R_FAULT;
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** XOR r/m,imm. */
export function xor_EI<T>(p: u32): u32 {
  const r = <T>(beginRmw<T>(p) ^ imm<T>(p));
  if (faulted()) return R_FAULT;
  endRmw<T>(p, r);
  if (faulted()) return R_FAULT;
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** XOR reg,r/m. */
export function xor_GE<T>(p: u32): u32 {
  const r = <T>(rdE<T>(p) ^ rdG<T>(p));
  if (faulted()) return R_FAULT;
  wrG<T>(p, r);
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** XOR rAX,imm. */
export function xor_AI<T>(p: u32): u32 {
  const r = <T>(load<T>(RAX) ^ imm<T>(p));
  wrReg<T>(RAX, r);
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** TEST r/m,reg. */
export function test_EG<T>(p: u32): u32 {
  const r = <T>(rdE<T>(p) & rdG<T>(p));
  if (faulted()) return R_FAULT;
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** TEST r/m,imm. */
export function test_EI<T>(p: u32): u32 {
  const r = <T>(rdE<T>(p) & imm<T>(p));
  if (faulted()) return R_FAULT;
  setCc<T>(K_LOGIC, r, <T>0);
  return R_NEXT;
}

/** TEST rAX,imm. */
export function test_AI<T>(p: u32): u32 {
  setCc<T>(K_LOGIC, <T>(load<T>(RAX) & imm<T>(p)), <T>0);
  return R_NEXT;
}

/** NOT r/m. */
export function not_E<T>(p: u32): u32 {
  const r = <T>(~beginRmw<T>(p));
  if (faulted()) return R_FAULT;
  endRmw<T>(p, r);
  return faulted() ? R_FAULT : R_NEXT;
}
