/**
 * LLDT LTR SLDT STR, and the questions about selectors: LAR LSL VERR VERW ARPL (AMD64 manual volume
 * 3, under these names). None of them exists in real or virtual-8086 mode.
 */
import { CPL, GDT_LIMIT } from "../state.gen";
import { R_FAULT, R_NEXT, V_GP, V_NP, V_UD, faulted, raise, raiseErr } from "../fault";
import { ZF, arithFlags, setCcExplicit } from "../flags";
import { RF_MEM, Rec } from "../record";
import { rdE, rdG, wrE, wrG, wrReg } from "../operands";
import { isCanonical } from "../mmu/access";
import { umip } from "./control";
import { isLong, isReal } from "./mode";
import {
  A_CODE, A_DOWN, A_P, A_S, A_WRITABLE, LDTR, TR, T_CALL, T_CALL16, T_LDT, T_TASK, T_TSS, T_TSS16, T_TSS16_BUSY, T_TSS_BUSY, descAttr,
  descBase, descHigh, descLimit, dplOf, markBusy, putSeg, readDescriptor, readDescriptorTop, segAttr, segLimit, segSelector, wideFits,
} from "./segments";

function setZf(on: bool): u32 {
  const flags = arithFlags();
  setCcExplicit(on ? flags | ZF : flags & ~ZF);
  return R_NEXT;
}

function storeSelector<T>(p: u32, seg: u32): u32 {
  if (isReal()) return raise(V_UD);
  if (umip()) return R_FAULT;
  const selector = segSelector(seg);
  if ((Rec.flags(p) & RF_MEM) != 0) wrE<u16>(p, <u16>selector);
  else wrReg<T>(Rec.b(p), <T>selector);
  return faulted() ? R_FAULT : R_NEXT;
}

export function sldt<T>(p: u32): u32 {
  return storeSelector<T>(p, LDTR);
}
export function str<T>(p: u32): u32 {
  return storeSelector<T>(p, TR);
}

/** Reads the operand of LLDT and LTR. False with a fault raised. */
function systemOperand(p: u32): bool {
  if (isReal()) {
    raise(V_UD);
    return false;
  }
  if (load<u32>(CPL) != 0) {
    raiseErr(V_GP, 0);
    return false;
  }
  operand = rdE<u16>(p);
  return !faulted();
}
let operand: u32 = 0;

/** Base of the descriptor read last, of 16 bytes in long mode; ~0 with a fault raised. */
function systemBase(selector: u32): u64 {
  if (!isLong()) return descBase();
  if (!wideFits(selector)) {
    raiseErr(V_GP, selector & 0xfffc);
    return ~0;
  }
  const high = readDescriptorTop();
  const base = <u64>descBase() | (high << 32);
  if (!faulted() && ((high & 0x1f0000000000) != 0 || !isCanonical(base))) raiseErr(V_GP, selector & 0xfffc);
  return base;
}

export function lldt(p: u32): u32 {
  if (!systemOperand(p)) return R_FAULT;
  const selector = operand;
  if ((selector & 0xfffc) == 0) {
    putSeg(LDTR, selector, 0, 0, 0);
    return R_NEXT;
  }
  const error = selector & 0xfffc;
  if ((selector & 4) != 0) return raiseErr(V_GP, error);
  if (!readDescriptor(selector, V_GP, 0)) return R_FAULT;
  const attr = descAttr();
  if ((attr & (A_S | 0xf)) != T_LDT) return raiseErr(V_GP, error);
  if ((attr & A_P) == 0) return raiseErr(V_NP, error);
  const base = systemBase(selector);
  if (faulted()) return R_FAULT;
  putSeg(LDTR, selector, attr, descLimit(), base);
  return R_NEXT;
}

export function ltr(p: u32): u32 {
  if (!systemOperand(p)) return R_FAULT;
  const selector = operand;
  const error = selector & 0xfffc;
  if (error == 0 || (selector & 4) != 0) return raiseErr(V_GP, error);
  if (!readDescriptor(selector, V_GP, 0)) return R_FAULT;
  const attr = descAttr();
  const type = attr & (A_S | 0xf);
  if (type != T_TSS && (isLong() || type != T_TSS16)) return raiseErr(V_GP, error);
  if ((attr & A_P) == 0) return raiseErr(V_NP, error);
  const limit = descLimit();
  const base = systemBase(selector);
  if (faulted()) return R_FAULT;
  markBusy(selector, true);
  if (faulted()) return R_FAULT;
  putSeg(TR, selector, attr | 2, limit, base);
  return R_NEXT;
}

/** Reads the descriptor of a selector that is asked about. False when there is none, or with a fault. */
function ask(selector: u32): bool {
  if ((selector & 0xfffc) == 0) return false;
  const ldt = (selector & 4) != 0;
  if (ldt && (segAttr(LDTR) & A_P) == 0) return false;
  if ((selector | 7) > (ldt ? segLimit(LDTR) : load<u32>(GDT_LIMIT))) return false;
  return readDescriptor(selector, V_GP, 0);
}

/** Whether privilege allows to see the descriptor read last; conforming code always. */
function visible(selector: u32): bool {
  const attr = descAttr();
  if ((attr & (A_S | A_CODE | A_DOWN)) == (A_S | A_CODE | A_DOWN)) return true;
  const dpl = dplOf(attr);
  return dpl >= load<u32>(CPL) && dpl >= (selector & 3);
}

/** Whether LAR (with gates) or LSL answers for a system descriptor of this type. */
function answers(type: u32, gates: bool): bool {
  const long = isLong();
  switch (type) {
    case T_LDT:
    case T_TSS:
    case T_TSS_BUSY: return true;
    case T_TSS16:
    case T_TSS16_BUSY: return !long;
    case T_CALL: return gates;
    case T_CALL16:
    case T_TASK: return gates && !long;
    default: return false;
  }
}

function known(selector: u32, gates: bool): bool {
  if (!ask(selector)) return false;
  const attr = descAttr();
  return ((attr & A_S) != 0 || answers(attr & 0xf, gates)) && visible(selector);
}

export function lar<T>(p: u32): u32 {
  if (isReal()) return raise(V_UD);
  const selector: u32 = rdE<u16>(p);
  if (faulted()) return R_FAULT;
  const yes = known(selector, true);
  if (faulted()) return R_FAULT;
  if (yes) wrG<T>(p, <T>(descHigh & 0xffff00));
  return setZf(yes);
}

export function lsl<T>(p: u32): u32 {
  if (isReal()) return raise(V_UD);
  const selector: u32 = rdE<u16>(p);
  if (faulted()) return R_FAULT;
  const yes = known(selector, false);
  if (faulted()) return R_FAULT;
  if (yes) wrG<T>(p, <T>descLimit());
  return setZf(yes);
}

function verify(p: u32, write: bool): u32 {
  if (isReal()) return raise(V_UD);
  const selector: u32 = rdE<u16>(p);
  if (faulted()) return R_FAULT;
  let yes = ask(selector);
  if (faulted()) return R_FAULT;
  if (yes) {
    const attr = descAttr();
    const code = (attr & A_CODE) != 0;
    yes = (attr & A_S) != 0 && visible(selector);
    if (write) yes = yes && !code && (attr & A_WRITABLE) != 0;
    else yes = yes && (!code || (attr & A_WRITABLE) != 0);
  }
  return setZf(yes);
}

export function verr(p: u32): u32 {
  return verify(p, false);
}
export function verw(p: u32): u32 {
  return verify(p, true);
}

/** ARPL: raises the operand's RPL to that of the register. */
export function arpl(p: u32): u32 {
  if (isReal()) return raise(V_UD);
  // Read first, and written only when it changes: a read-only page is no fault otherwise.
  const selector: u32 = rdE<u16>(p);
  if (faulted()) return R_FAULT;
  const rpl: u32 = <u32>rdG<u16>(p) & 3;
  if ((selector & 3) >= rpl) return setZf(false);
  wrE<u16>(p, <u16>((selector & ~3) | rpl));
  return faulted() ? R_FAULT : setZf(true);
}
