/**
 * Access to memory by linear address, through the TLB half that fits mode and privilege. A hit
 * needs one compare: a tag is the page's address, and an access that crosses into the next page
 * cannot match. Everything else is in mmu/access.ts. After each call the caller checks faulted().
 */
import { TLB } from "./state.gen";
import { inPage, tlbAt } from "./layout";
import { ldSlow, stSlow, ldSlow128, stSlow128, probeSlow } from "./mmu/access";

/** Loads a T from a linear address. */
export function ld<T>(va: u64): T {
  const e: u32 = load<u32>(TLB) + tlbAt(va);
  if (inPage(load<u64>(e), va, sizeof<T>())) return load<T>(<u32>va + load<u32>(e, 16));
  return <T>ldSlow(va, sizeof<T>());
}

/** Stores a T at a linear address. */
export function st<T>(va: u64, value: T): void {
  const e: u32 = load<u32>(TLB) + tlbAt(va);
  if (inPage(load<u64>(e, 8), va, sizeof<T>())) store<T>(<u32>va + load<u32>(e, 16), value);
  else stSlow(va, <u64>value, sizeof<T>());
}

/**
 * Makes sure that `size` bytes at `va` can be written (raising what a write would raise), for
 * instructions that read, change and write: the read of such an instruction faults as a write.
 */
export function probeWrite(va: u64, size: u32): void {
  const e: u32 = load<u32>(TLB) + tlbAt(va);
  if (!inPage(load<u64>(e, 8), va, size)) probeSlow(va, size);
}

/**
 * Linear memory address of `bytes` from `va` when all of it lies in one page that the TLB knows to be
 * readable; else 0, and ld() must be used.
 */
export function readSpan(va: u64, bytes: u32): u32 {
  const e: u32 = load<u32>(TLB) + tlbAt(va);
  return inPage(load<u64>(e), va, bytes) ? <u32>va + load<u32>(e, 16) : 0;
}

/** As readSpan(), for bytes that are written too; else st() must be used. */
export function writeSpan(va: u64, bytes: u32): u32 {
  const e: u32 = load<u32>(TLB) + tlbAt(va);
  return inPage(load<u64>(e, 8), va, bytes) ? <u32>va + load<u32>(e, 16) : 0;
}

/** Loads 16 bytes; alignment is the caller's business. */
export function ld128(va: u64): v128 {
  const e: u32 = load<u32>(TLB) + tlbAt(va);
  if (inPage(load<u64>(e), va, 16)) return v128.load(<u32>va + load<u32>(e, 16));
  return ldSlow128(va);
}

/** Stores 16 bytes. */
export function st128(va: u64, value: v128): void {
  const e: u32 = load<u32>(TLB) + tlbAt(va);
  if (inPage(load<u64>(e, 8), va, 16)) v128.store(<u32>va + load<u32>(e, 16), value);
  else stSlow128(va, value);
}
