/**
 * The processor's own accesses, to descriptor tables and task state segments: supervisor rights
 * whatever the privilege level, RFLAGS.AC not honoured. Also stack frames that are built or read
 * with the rights of another privilege level than the current one.
 */
import { EFER } from "../state.gen";
import { faulted } from "../fault";
import { inPage } from "../layout";
import { ldAs, probeAs, stAs, systemHalf } from "./access";
import { tlbEntry } from "./tlb";

/** A linear address as the mode has it: 32 bits outside of long mode. */
function wrap(va: u64): u64 {
  return (load<u32>(EFER) & 0x400) != 0 ? va : va & 0xffffffff;
}

/** Loads a T from a system structure. May raise. */
export function sysLd<T>(va: u64): T {
  const at = wrap(va);
  const half = systemHalf();
  const e = tlbEntry(half, at);
  if (inPage(load<u64>(e), at, sizeof<T>())) return load<T>(<u32>at + load<u32>(e, 16));
  return <T>ldAs(at, sizeof<T>(), half);
}

/**
 * Linear memory address of `bytes` of a system structure when all of them lie in one page that the TLB
 * knows to be readable; else 0, and sysLd() must be used.
 */
export function sysSpan(va: u64, bytes: u32): u32 {
  const at = wrap(va);
  const e = tlbEntry(systemHalf(), at);
  return inPage(load<u64>(e), at, bytes) ? <u32>at + load<u32>(e, 16) : 0;
}

/** Stores a T in a system structure. May raise. */
export function sysSt<T>(va: u64, value: T): void {
  stAs(wrap(va), <u64>value, sizeof<T>(), systemHalf());
}

/** Raises what writing `size` bytes (at most a page) in a system structure would raise. */
export function sysProbe(va: u64, size: u32): bool {
  probeAs(wrap(va), size, systemHalf());
  return !faulted();
}

/**
 * Linear memory address of `bytes` from `va` (canonical) when all of it lies in one page that the
 * TLB knows to be writable with the rights of `half`; else 0, and stAs() must be used.
 */
export function writableSpan(va: u64, bytes: u32, half: u32): u32 {
  const e = tlbEntry(half, va);
  return inPage(load<u64>(e, 8), va, bytes) ? <u32>va + load<u32>(e, 16) : 0;
}
