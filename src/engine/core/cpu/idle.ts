/**
 * HLT, PAUSE, CLI, STI, WBINVD, INVD, CLFLUSH, CLFLUSHOPT and the fences (AMD64
 * manual volume 3, under these names).
 */
import { CPL, EXIT, FLAGS, PAUSE_COUNT, PAUSE_EXIT, SHADOW } from "../state.gen";
import { R_EXIT, R_FAULT, R_NEXT, V_GP, X_HLT, X_PAUSE, faulted, raiseErr } from "../fault";
import { IF, IOPL } from "../flags";
import { eaLinear } from "../operands";
import { touch } from "../mmu/access";
import { leaveTo } from "./ip";
import { isProtected } from "./mode";

/** HLT leaves run() with RIP behind it; waiting is the caller's business. */
export function hlt(p: u32): u32 {
  if (load<u32>(CPL) != 0) return raiseErr(V_GP, 0);
  leaveTo(p);
  store<u32>(EXIT, X_HLT);
  return R_EXIT;
}

/** PAUSE: every PAUSE_EXIT-th one leaves run(), so that another vCPU can let go of its lock. */
export function pause(p: u32): u32 {
  const every = load<u32>(PAUSE_EXIT);
  if (every == 0) return R_NEXT;
  const count = load<u32>(PAUSE_COUNT) + 1;
  store<u32>(PAUSE_COUNT, count < every ? count : 0);
  if (count < every) return R_NEXT;
  leaveTo(p);
  store<u32>(EXIT, X_PAUSE);
  return R_EXIT;
}

/** Whether the current privilege may change IF. */
function mayChangeIf(): bool {
  return !isProtected() || <u64>load<u32>(CPL) <= (load<u64>(FLAGS) & IOPL) >> 12;
}

/** Nothing outside looks at IF inside of a run of instructions, so the next one follows directly. */
export function cli(p: u32): u32 {
  if (!mayChangeIf()) return raiseErr(V_GP, 0);
  store<u64>(FLAGS, load<u64>(FLAGS) & ~IF);
  return R_NEXT;
}

/** STI: when it sets IF, the next instruction still runs without interrupts. */
export function sti(p: u32): u32 {
  if (!mayChangeIf()) return raiseErr(V_GP, 0);
  const flags = load<u64>(FLAGS);
  if ((flags & IF) != 0) return R_NEXT;
  store<u64>(FLAGS, flags | IF);
  store<u32>(SHADOW, 1);
  return leaveTo(p);
}

/** WBINVD, INVD: there is no cache. */
export function wbinvd(p: u32): u32 {
  return load<u32>(CPL) != 0 ? raiseErr(V_GP, 0) : R_NEXT;
}

/** CLFLUSH, CLFLUSHOPT: faults as a load of one byte does, and reads nothing from a device. */
export function clflush(p: u32): u32 {
  const va = eaLinear(p, 1, false);
  if (faulted()) return R_FAULT;
  touch(va);
  return faulted() ? R_FAULT : R_NEXT;
}

/** LFENCE, SFENCE, MFENCE: one thread sees its accesses in order. */
export function fence(p: u32): u32 {
  return R_NEXT;
}
