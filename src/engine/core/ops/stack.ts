/**
 * PUSH POP PUSHA POPA ENTER LEAVE PUSHF POPF (SDM vol. 2, under these names). POP of segment
 * registers is in cpu/segments.ts.
 */
import { CPL, EXIT, FAULT, FLAGS, SEG } from "../state.gen";
import { Rec } from "../record";
import { F_EXIT, R_FAULT, R_NEXT, V_GP, X_MMIO, faulted, raiseErr } from "../fault";
import { gpr, imm, rdE, rdG, wrE, wrG, wrReg } from "../operands";
import { AC, ARITH, DF, ID, IF, IOPL, NT, RF, TF, VM, getFlags, setFlags } from "../flags";
import { leaveTo } from "../cpu/ip";
import { updateMode } from "../cpu/mode";
import {
  moveStack, peek, pop, push, setStackPtr, stackAt, stackMask, stackProbe, stackRead, stackWrite,
} from "../cpu/stack";
import { RBP, RSP } from "./regs";

/** PUSH reg. */
export function push_Z<T>(p: u32): u32 {
  push<T>(rdG<T>(p));
  return faulted() ? R_FAULT : R_NEXT;
}

/** PUSH imm. */
export function push_I<T>(p: u32): u32 {
  push<T>(imm<T>(p));
  return faulted() ? R_FAULT : R_NEXT;
}

/** PUSH r/m. */
export function push_E<T>(p: u32): u32 {
  const v = rdE<T>(p);
  if (faulted()) return R_FAULT;
  push<T>(v);
  return faulted() ? R_FAULT : R_NEXT;
}

/**
 * PUSH segment; the opcode's bits 3 to 5 name it. Zero-extended (of 32 bits Intel's processors write only
 * the lower half: SDM vol. 2, PUSH).
 */
export function push_S<T>(p: u32): u32 {
  const selector = load<u16>(SEG + (((Rec.opcode(p) >> 3) & 7) << 4));
  push<T>(<T>selector);
  return faulted() ? R_FAULT : R_NEXT;
}

/** POP register: into the stack pointer itself, the value stays. */
export function pop_Z<T>(p: u32): u32 {
  const v = pop<T>();
  if (faulted()) return R_FAULT;
  wrG<T>(p, v);
  return R_NEXT;
}

/** POP r/m: an address that uses the stack pointer sees it incremented. */
export function pop_E<T>(p: u32): u32 {
  const before = load<u64>(RSP);
  const v = pop<T>();
  if (faulted()) return R_FAULT;
  wrE<T>(p, v);
  if (!faulted()) return R_NEXT;
  store<u64>(RSP, before);
  return R_FAULT;
}

/** PUSHA: what was pushed before a fault stays in memory, as on processors. */
export function pusha<T>(p: u32): u32 {
  for (let n: u32 = 0; n < 8; n++) {
    stackWrite<T>(stackAt(-<i64>((n + 1) * <u32>sizeof<T>())), load<T>(gpr(n)));
    if (faulted()) return R_FAULT;
  }
  moveStack(-<i64>(8 * sizeof<T>()));
  return R_NEXT;
}

/** POPA: the saved stack pointer is only read. Registers popped before a fault stay changed. */
export function popa<T>(p: u32): u32 {
  for (let n: u32 = 0; n < 8; n++) {
    const v = peek<T>(n * <u32>sizeof<T>());
    if (faulted()) return R_FAULT;
    if (n != 3) wrReg<T>(gpr(7 - n), v);
  }
  moveStack(8 * sizeof<T>());
  return R_NEXT;
}

/**
 * ENTER: pushes the frame pointer, then (nesting level > 0) level - 1 frame pointers of the
 * enclosing frames and the new one. The stack must be writable at the final stack pointer. What was
 * pushed before a fault stays in memory, as on processors.
 */
export function enter<T>(p: u32): u32 {
  const bytes: u64 = imm<u32>(p) & 0xffff;
  const level = (imm<u32>(p) >> 16) & 31;
  const size = <i64>sizeof<T>();
  let top = stackAt(-size);
  // As wide as the operand, whatever the stack pointer's width.
  const frame = <T>((load<u64>(RSP) & ~stackMask()) | top);
  stackWrite<T>(top, load<T>(RBP));
  if (faulted()) return R_FAULT;
  for (let i: u32 = 1; i <= level; i++) {
    const above = (load<u64>(RBP) - <u64>size * i) & stackMask();
    const v = i == level ? frame : stackRead<T>(above);
    top = (top - size) & stackMask();
    if (!faulted()) stackWrite<T>(top, v);
    if (faulted()) return R_FAULT;
  }
  const end = (top - bytes) & stackMask();
  stackProbe(end, sizeof<T>());
  if (faulted()) return R_FAULT;
  wrReg<T>(RBP, frame);
  setStackPtr(end);
  return R_NEXT;
}

/**
 * LEAVE: the frame pointer becomes the stack pointer, then is popped. When it is popped from a device, the
 * stack pointer shows it, as with KVM.
 */
export function leave<T>(p: u32): u32 {
  const frame = load<u64>(RBP) & stackMask();
  const v = stackRead<T>(frame);
  if (faulted()) {
    if (load<u32>(FAULT) == F_EXIT && load<u32>(EXIT) == X_MMIO) setStackPtr(frame);
    return R_FAULT;
  }
  setStackPtr(frame + sizeof<T>());
  wrReg<T>(RBP, v);
  return R_NEXT;
}

/** Whether virtual-8086 code lacks the I/O privilege level for PUSHF and POPF (no VME offered). */
function v86Barred(): bool {
  const flags = load<u64>(FLAGS);
  return (flags & VM) != 0 && (flags & IOPL) != IOPL;
}

/** PUSHF. */
export function pushf<T>(p: u32): u32 {
  if (v86Barred()) return raiseErr(V_GP, 0);
  push<T>(<T>(getFlags() & ~(VM | RF)));
  return faulted() ? R_FAULT : R_NEXT;
}

/** POPF: IF needs CPL <= IOPL, IOPL needs CPL 0; VM VIF VIP stay, RF is cleared. */
export function popf<T>(p: u32): u32 {
  if (v86Barred()) return raiseErr(V_GP, 0);
  const v = <u64>pop<T>();
  if (faulted()) return R_FAULT;
  const old = getFlags();
  const cpl = load<u32>(CPL);
  let mask = ARITH | TF | DF | NT;
  if (sizeof<T>() != 2) mask |= AC | ID;
  if (cpl == 0) mask |= IOPL;
  if (<u64>cpl <= (old & IOPL) >> 12) mask |= IF;
  setFlags((old & ~mask & ~RF) | (v & mask));
  const changed = old ^ getFlags();
  if ((changed & AC) != 0) updateMode();
  return (changed & (AC | IF)) != 0 || (v & TF) != 0 ? leaveTo(p) : R_NEXT;
}
