/**
 * JMP far and CALL far: AMD64 manual volume 2, 4.7 and 4.11. Direct to a code segment, through call
 * gates (with a stack switch for CALL), and to task gates and task state segments.
 */
import { CPL, GPR, RIP } from "../state.gen";
import { R_FAULT, R_JUMP, V_GP, V_NP, V_SS, faulted, raiseErr } from "../fault";
import { Rec } from "../record";
import { halfFor, isCanonical, stAs } from "../mmu/access";
import { enterCode64, tssStack } from "./events";
import { commitStack, pushTop, useInnerStack } from "./events-protected";
import { nextRip } from "./ip";
import { isLong, isReal, updateMode } from "./mode";
import {
  A_CODE, A_DB, A_DOWN, A_L, A_P, A_S, CS, SS, T_CALL, T_CALL16, T_TASK, T_TSS, T_TSS16, descAttr, descBase, descHigh, descLimit, descLow,
  dplOf, farOffset, farPointer, farSelector, markAccessed, putParagraph, putSeg, readDescriptor, readDescriptorTop, segLimit, segSelector,
  wideFits,
} from "./segments";
import { peek, probePushes, push } from "./stack";
import { FROM_CALL, FROM_JUMP, switchByDescriptor } from "./task";

const RSP: u32 = GPR + 32;

function gp(selector: u32): u32 {
  return raiseErr(V_GP, selector & 0xfffc);
}

/** Pushes CS and the return address as T. False with a fault raised and nothing changed. */
function pushReturn<T>(p: u32): bool {
  probePushes<T>(2);
  if (faulted()) return false;
  const before = load<u64>(RSP);
  push<T>(<T>segSelector(CS));
  if (!faulted()) push<T>(<T>nextRip(p));
  if (!faulted()) return true;
  store<u64>(RSP, before);
  return false;
}

/** Loads CS from the descriptor read last, at the current privilege level. */
function commit(selector: u32, offset: u64): u32 {
  putSeg(CS, (selector & 0xfffc) | load<u32>(CPL), descAttr(), descLimit(), descBase());
  store<u64>(RIP, offset);
  updateMode();
  return R_JUMP;
}

/** Jump or call (`call`, with return address of size T) to a far pointer. */
function transfer<T>(p: u32, selector: u32, offset: u64, call: bool): u32 {
  if (isReal()) {
    if (offset > segLimit(CS)) return raiseErr(V_GP, 0);
    if (call && !pushReturn<T>(p)) return R_FAULT;
    putParagraph(CS, selector);
    store<u64>(RIP, offset);
    updateMode();
    return R_JUMP;
  }
  if ((selector & 0xfffc) == 0) return raiseErr(V_GP, 0);
  if (!readDescriptor(selector, V_GP, 0)) return R_FAULT;
  const attr = descAttr();
  if ((attr & A_S) == 0) return system<T>(p, selector, attr, call);
  const cpl = load<u32>(CPL);
  let bad = (attr & A_CODE) == 0;
  if ((attr & A_DOWN) != 0) bad = bad || dplOf(attr) > cpl;
  else bad = bad || (selector & 3) > cpl || dplOf(attr) != cpl;
  const wide = isLong() && (attr & A_L) != 0;
  if (bad || (wide && (attr & A_DB) != 0)) return gp(selector);
  if ((attr & A_P) == 0) return raiseErr(V_NP, selector & 0xfffc);
  if (wide ? !isCanonical(offset) : offset > descLimit()) return raiseErr(V_GP, 0);
  if (!markAccessed()) return R_FAULT;
  if (call && !pushReturn<T>(p)) return R_FAULT;
  return commit(selector, offset);
}

/** The far pointer names a system descriptor: call gate, task gate, or task state segment. */
function system<T>(p: u32, selector: u32, attr: u32, call: bool): u32 {
  const type = attr & 0xf;
  const long = isLong();
  const known = type == T_CALL || (!long && (type == T_CALL16 || type == T_TASK || type == T_TSS || type == T_TSS16));
  const dpl = dplOf(attr);
  if (!known || dpl < load<u32>(CPL) || dpl < (selector & 3)) return gp(selector);
  if ((attr & A_P) == 0) return raiseErr(V_NP, selector & 0xfffc);
  if (type != T_CALL && type != T_CALL16) return switchByDescriptor(selector, type, call ? FROM_CALL : FROM_JUMP, nextRip(p));
  if (long) return longGate(p, selector, call);
  const offset = (descLow & 0xffff) | (type == T_CALL ? descHigh & 0xffff0000 : 0);
  return legacyGate(p, descLow >> 16, offset, type == T_CALL ? 4 : 2, descHigh & 31, call);
}

/** Reads and checks the code segment of a call gate. */
function gateCode(selector: u32, call: bool): bool {
  if ((selector & 0xfffc) == 0) {
    raiseErr(V_GP, 0);
    return false;
  }
  if (!readDescriptor(selector, V_GP, 0)) return false;
  const attr = descAttr();
  const cpl = load<u32>(CPL);
  const dpl = dplOf(attr);
  let bad = (attr & (A_S | A_CODE)) != (A_S | A_CODE) || dpl > cpl;
  if (!call && (attr & A_DOWN) == 0) bad = bad || dpl != cpl;
  if (bad) gp(selector);
  else if ((attr & A_P) == 0) raiseErr(V_NP, selector & 0xfffc);
  return !faulted();
}

function legacyGate(p: u32, selector: u32, offset: u32, size: u32, count: u32, call: bool): u32 {
  if (!gateCode(selector, call) || !markAccessed()) return R_FAULT;
  const attr = descAttr();
  const limit = descLimit();
  const base = descBase();
  if (offset > limit) return raiseErr(V_GP, 0);
  if (!call) return commit(selector, offset);
  const dpl = dplOf(attr);
  const inner = (attr & A_DOWN) == 0 && dpl < load<u32>(CPL);
  if (!inner) {
    if (!(size == 4 ? pushReturn<u32>(p) : pushReturn<u16>(p))) return R_FAULT;
    return commit(selector, offset);
  }
  if (!useInnerStack(dpl, 0)) return R_FAULT;
  pushTop(segSelector(SS), size);
  if (!faulted()) pushTop(load<u32>(RSP), size);
  for (let i = count; i > 0; i--) {
    if (faulted()) return R_FAULT;
    const value: u32 = size == 4 ? peek<u32>((i - 1) * 4) : peek<u16>((i - 1) * 2);
    if (!faulted()) pushTop(value, size);
  }
  if (!faulted()) pushTop(segSelector(CS), size);
  if (!faulted()) pushTop(<u32>nextRip(p), size);
  if (faulted()) return R_FAULT;
  commitStack(dpl);
  putSeg(CS, (selector & 0xfffc) | dpl, attr, limit, base);
  store<u64>(RIP, offset);
  updateMode();
  return R_JUMP;
}

/** A call gate of long mode: 16 bytes, always to 64-bit code. */
function longGate(p: u32, gate: u32, call: bool): u32 {
  if (!wideFits(gate)) return gp(gate);
  const selector = descLow >> 16;
  let offset: u64 = <u64>((descLow & 0xffff) | (descHigh & 0xffff0000));
  const high = readDescriptorTop();
  if (faulted()) return R_FAULT;
  if ((high & 0x1f0000000000) != 0) return gp(gate);
  offset |= high << 32;
  if (!gateCode(selector, call)) return R_FAULT;
  const attr = descAttr();
  if ((attr & (A_L | A_DB)) != A_L) return gp(selector);
  if (!isCanonical(offset)) return raiseErr(V_GP, 0);
  if (!markAccessed()) return R_FAULT;
  const dpl = dplOf(attr);
  if (call && (attr & A_DOWN) == 0 && dpl < load<u32>(CPL)) return innerLong(p, selector, offset, dpl);
  if (call && !pushReturn<u64>(p)) return R_FAULT;
  return commit(selector, offset);
}

function innerLong(p: u32, selector: u32, offset: u64, cpl: u32): u32 {
  const sp = tssStack(4 + cpl * 8, 0);
  if (faulted()) return R_FAULT;
  if (!isCanonical(sp - 32) || !isCanonical(sp - 1)) return raiseErr(V_SS, 0);
  const half = halfFor(cpl);
  stAs(sp - 8, segSelector(SS), 8, half);
  if (!faulted()) stAs(sp - 16, load<u64>(RSP), 8, half);
  if (!faulted()) stAs(sp - 24, segSelector(CS), 8, half);
  if (!faulted()) stAs(sp - 32, nextRip(p), 8, half);
  if (faulted()) return R_FAULT;
  store<u64>(RSP, sp - 32);
  store<u64>(RIP, offset);
  enterCode64(selector, cpl);
  return R_JUMP;
}

export function jmp_far<T>(p: u32): u32 {
  return transfer<T>(p, Rec.imm(p) & 0xffff, <u64>Rec.disp(p), false);
}

export function call_far<T>(p: u32): u32 {
  return transfer<T>(p, Rec.imm(p) & 0xffff, <u64>Rec.disp(p), true);
}

/** A far pointer in memory has at most 32 bits of offset: AMD processors ignore REX.W there. */
function readPointer<T>(p: u32): bool {
  return sizeof<T>() == 2 ? farPointer<u16>(p) : farPointer<u32>(p);
}

export function jmp_far_M<T>(p: u32): u32 {
  return readPointer<T>(p) ? transfer<T>(p, farSelector, farOffset, false) : R_FAULT;
}

export function call_far_M<T>(p: u32): u32 {
  return readPointer<T>(p) ? transfer<T>(p, farSelector, farOffset, true) : R_FAULT;
}
