/**
 * The processor's own accesses, to descriptor tables and task state segments: supervisor rights
 * whatever the privilege level, RFLAGS.AC not honoured. Also stack frames that are built or read
 * with the rights of another privilege level than the current one.
 */
import { EFER } from "../state.gen";
import { faulted } from "../fault";
import { ldAs, probeAs, stAs, systemHalf } from "./access";

/** A linear address as the mode has it: 32 bits outside of long mode. */
function wrap(va: u64): u64 {
  return (load<u32>(EFER) & 0x400) != 0 ? va : va & 0xffffffff;
}

/** Loads a T from a system structure. May raise. */
export function sysLd<T>(va: u64): T {
  return <T>ldAs(wrap(va), sizeof<T>(), systemHalf());
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
