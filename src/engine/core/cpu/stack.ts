/**
 * The stack of the running code: SS with SP, ESP or RSP as STACK_SIZE says (SDM vol. 1, 6.2).
 * Nothing here changes the stack pointer before the access has succeeded. Offsets are in bytes from
 * the stack pointer and wrap at its width; a non-canonical stack address raises #SS(0).
 */
import { CODE_SIZE, GPR, STACK_SIZE } from "../state.gen";
import { V_SS, faulted, raiseErr } from "../fault";
import { ld, probeWrite, st } from "../mem";
import { isCanonical } from "./ip";
import { segLinear } from "./segments";

const RSP: u32 = GPR + 32;

/** All ones as wide as the stack pointer. */
export function stackMask(): u64 {
  const size = load<u32>(STACK_SIZE);
  if (size == 2) return ~(<u64>0);
  return size == 1 ? 0xffffffff : 0xffff;
}

/** The stack pointer plus `delta`, at its width. */
export function stackAt(delta: i64): u64 {
  return (load<u64>(RSP) + delta) & stackMask();
}

/** Sets SP, ESP (clearing the upper half) or RSP. */
export function setStackPtr(value: u64): void {
  const size = load<u32>(STACK_SIZE);
  if (size == 2) store<u64>(RSP, value);
  else if (size == 1) store<u64>(RSP, value & 0xffffffff);
  else store<u16>(RSP, <u16>value);
}

/** Moves the stack pointer by `delta` bytes. */
export function moveStack(delta: i64): void {
  setStackPtr(load<u64>(RSP) + delta);
}

/** Linear address of `size` bytes at `offset` in SS. May raise #SS(0). */
export function stackLinear(offset: u64, size: u32, write: bool): u64 {
  if (load<u32>(CODE_SIZE) != 2) return segLinear(2, offset, size, write);
  if (!isCanonical(offset) || !isCanonical(offset + (size - 1))) raiseErr(V_SS, 0);
  return offset;
}

/** Reads at the stack offset `offset` (as stackAt() gives it). May raise. */
export function stackRead<T>(offset: u64): T {
  const va = stackLinear(offset, sizeof<T>(), false);
  if (faulted()) return <T>0;
  return ld<T>(va);
}

/** Writes at the stack offset `offset`. May raise. */
export function stackWrite<T>(offset: u64, value: T): void {
  const va = stackLinear(offset, sizeof<T>(), true);
  if (!faulted()) st<T>(va, value);
}

/** Raises what writing `size` bytes at the stack offset `offset` would raise. */
export function stackProbe(offset: u64, size: u32): void {
  const va = stackLinear(offset, size, true);
  if (!faulted()) probeWrite(va, size);
}

/**
 * Makes sure that `count` values of T can be pushed one after another, each by itself, so that a
 * wrapping stack pointer is as the pushes would see it.
 */
export function probePushes<T>(count: u32): void {
  for (let i: u32 = 1; i <= count; i++) {
    stackProbe(stackAt(-<i64>(i * <u32>sizeof<T>())), sizeof<T>());
    if (faulted()) return;
  }
}

/** Pushes a value. On a fault neither memory nor the stack pointer has changed. */
export function push<T>(value: T): void {
  const offset = stackAt(-<i64>sizeof<T>());
  const va = stackLinear(offset, sizeof<T>(), true);
  if (faulted()) return;
  st<T>(va, value);
  if (!faulted()) setStackPtr(offset);
}

/** The value `depth` bytes above the stack pointer, which stays. May raise. */
export function peek<T>(depth: u32): T {
  return stackRead<T>(stackAt(<i64>depth));
}

/** Pops a value. On a fault the stack pointer has not changed. */
export function pop<T>(): T {
  const value = peek<T>(0);
  if (!faulted()) moveStack(sizeof<T>());
  return value;
}
