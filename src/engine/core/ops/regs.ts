/** Registers that instructions use without naming them, and small integer helpers for all ops. */
import { GPR } from "../state.gen";

export const RAX: u32 = GPR;
export const RCX: u32 = GPR + 8;
export const RDX: u32 = GPR + 16;
export const RBX: u32 = GPR + 24;
export const RSP: u32 = GPR + 32;
export const RBP: u32 = GPR + 40;
export const RSI: u32 = GPR + 48;
export const RDI: u32 = GPR + 56;

/** Bits in a T. */
export function bits<T>(): u32 {
  return <u32>sizeof<T>() << 3;
}

/** The sign bit of a T, as 0 or 1. */
export function msb<T>(value: T): u64 {
  return (<u64>value >> (bits<T>() - 1)) & 1;
}

/** The bit below the sign bit, as 0 or 1. */
export function msb2<T>(value: T): u64 {
  return (<u64>value >> (bits<T>() - 2)) & 1;
}

/** A T taken as signed. */
export function signed<T>(value: T): i64 {
  const unused: i64 = 64 - bits<T>();
  return (<i64>(<u64>value) << unused) >> unused;
}

/** All ones as wide as an address of `asize` (0 16-bit, 1 32-bit, 2 64-bit). */
export function addressMask(asize: u32): u64 {
  if (asize == 2) return ~(<u64>0);
  return asize == 1 ? 0xffffffff : 0xffff;
}

/** Writes a register at the width of an address of `asize`; 32-bit writes clear the upper half. */
export function setByAddressSize(at: u32, asize: u32, value: u64): void {
  if (asize == 2) store<u64>(at, value);
  else if (asize == 1) store<u64>(at, value & 0xffffffff);
  else store<u16>(at, <u16>value);
}
