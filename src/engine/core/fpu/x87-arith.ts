/**
 * FADD FSUB FSUBR FMUL FDIV FDIVR in all forms, FCOM FUCOM FCOMI FTST FXAM, FSQRT, FABS, FCHS, FRNDINT,
 * FSCALE, FXTRACT, FPREM, FPREM1 (Intel SDM volume 1, 8.3.5 to 8.3.8).
 */
import { R_FAULT } from "../fault";
import { Rec } from "../record";
import { CF, PF, ZF, setCcExplicit } from "../flags";
import { aToB, swapAB, aClass, bClass, C_ZERO, C_INF, C_NORMAL, C_DENORMAL, C_UNSUPPORTED } from "./unpacked";
import { UNORDERED, OP_ADD, OP_SUB, OP_MUL, OP_DIV } from "./softfloat";
import { arith80, compare80, sqrt80, stopped, xUp } from "./f80";
import { roundInt80, scale80, extract80, remainder80, eSig, eSe, qLow, qPartial, qValid } from "./f80-more";
import {
  begin, end, isEmpty, loadA, loadB, loadOperand, storeR, setSt, pop, rotate, underflow, overflow, setCodes,
  st, keepC1, clearC2, SW_C0, SW_C2, SW_C3,
} from "./regs";

/** The operation of ModRM.reg on a = ST(0) and b: 0 add, 1 multiply, 4 subtract, 6 divide, odd reversed. */
function operate(digit: u32): bool {
  if (digit == 0) return arith80(OP_ADD);
  if (digit == 1) return arith80(OP_MUL);
  if (digit & 1) swapAB();
  return arith80(digit < 6 ? OP_SUB : OP_DIV);
}

/** ST(dst) = ST(0) op ST(i). */
function arithStack(p: u32, dst: u32, popIt: bool): u32 {
  if (!begin()) return R_FAULT;
  const i = Rec.rm3(p);
  let go: bool;
  if (isEmpty(0) || isEmpty(i)) go = underflow();
  else {
    loadB(i);
    loadA(0);
    go = operate(Rec.reg3(p));
  }
  if (go) {
    storeR(dst);
    if (popIt) pop();
  }
  return end(p);
}

/** ST(0) = ST(0) op ST(i). */
export function arith_0i(p: u32): u32 {
  return arithStack(p, 0, false);
}

/** ST(i) = ST(0) op ST(i). */
export function arith_i0(p: u32): u32 {
  return arithStack(p, Rec.rm3(p), false);
}

/** ST(i) = ST(0) op ST(i), pop. */
export function arith_i0p(p: u32): u32 {
  return arithStack(p, Rec.rm3(p), true);
}

/** ST(0) = ST(0) op memory. */
export function arith_mem(p: u32): u32 {
  if (!begin() || !loadOperand(p)) return R_FAULT;
  aToB();
  let go: bool;
  if (isEmpty(0)) go = underflow();
  else {
    loadA(0);
    go = operate(Rec.reg3(p));
  }
  if (go) storeR(0);
  return end(p);
}

/** Condition codes of a comparison's result. */
function codesOf(result: i32): u32 {
  if (result == UNORDERED) return SW_C3 | SW_C2 | SW_C0;
  return result == 0 ? SW_C3 : result < 0 ? SW_C0 : 0;
}

/** The end of a comparison of a with b that sets the condition codes and pops `pops` registers. */
function compareEnd(p: u32, bad: bool, quiet: bool, pops: u32): u32 {
  let result = UNORDERED;
  if (bad) underflow();
  else result = compare80(quiet);
  setCodes(codesOf(result));
  if (!stopped()) {
    for (; pops > 0; pops--) pop();
  }
  return end(p);
}

function compareStack(p: u32, i: u32, quiet: bool, pops: u32): u32 {
  if (!begin()) return R_FAULT;
  const bad = isEmpty(0) || isEmpty(i);
  loadB(i);
  loadA(0);
  return compareEnd(p, bad, quiet, pops);
}

/** FCOM, FCOMP (odd ModRM.reg) with memory. */
export function com_mem(p: u32): u32 {
  if (!begin() || !loadOperand(p)) return R_FAULT;
  aToB();
  loadA(0);
  return compareEnd(p, isEmpty(0), false, Rec.reg3(p) & 1);
}

/** FCOM ST(i). */
export function fcom(p: u32): u32 {
  return compareStack(p, Rec.rm3(p), false, 0);
}
/** FCOMP ST(i). */
export function fcomp(p: u32): u32 {
  return compareStack(p, Rec.rm3(p), false, 1);
}
/** FCOMPP. */
export function fcompp(p: u32): u32 {
  return compareStack(p, 1, false, 2);
}
/** FUCOM ST(i). */
export function fucom(p: u32): u32 {
  return compareStack(p, Rec.rm3(p), true, 0);
}
/** FUCOMP ST(i). */
export function fucomp(p: u32): u32 {
  return compareStack(p, Rec.rm3(p), true, 1);
}
/** FUCOMPP. */
export function fucompp(p: u32): u32 {
  return compareStack(p, 1, true, 2);
}

/** FTST: ST(0) with 0. */
export function ftst(p: u32): u32 {
  if (!begin()) return R_FAULT;
  loadA(0);
  bClass = C_ZERO;
  return compareEnd(p, isEmpty(0), false, 0);
}

/** FCOMI and its kin: the result goes to ZF, PF and CF. */
function compareFlags(p: u32, quiet: bool, pops: u32): u32 {
  if (!begin()) return R_FAULT;
  const i = Rec.rm3(p);
  let result = UNORDERED;
  if (isEmpty(0) || isEmpty(i)) underflow();
  else {
    loadB(i);
    loadA(0);
    result = compare80(quiet);
    keepC1();
  }
  if (result == UNORDERED) setCcExplicit(ZF | PF | CF);
  else setCcExplicit(result == 0 ? ZF : result < 0 ? CF : 0);
  if (pops && !stopped()) pop();
  return end(p);
}

/** FCOMI. */
export function fcomi(p: u32): u32 {
  return compareFlags(p, false, 0);
}
/** FCOMIP. */
export function fcomip(p: u32): u32 {
  return compareFlags(p, false, 1);
}
/** FUCOMI. */
export function fucomi(p: u32): u32 {
  return compareFlags(p, true, 0);
}
/** FUCOMIP. */
export function fucomip(p: u32): u32 {
  return compareFlags(p, true, 1);
}

/** FXAM: the class of ST(0) in C3, C2, C0 and its sign in C1. */
export function fxam(p: u32): u32 {
  if (!begin()) return R_FAULT;
  loadA(0);
  let codes: u32 = SW_C0;
  if (isEmpty(0)) codes = SW_C3 | SW_C0;
  else if (aClass == C_UNSUPPORTED) codes = 0;
  else if (aClass == C_NORMAL) codes = SW_C2;
  else if (aClass == C_INF) codes = SW_C2 | SW_C0;
  else if (aClass == C_ZERO) codes = SW_C3;
  else if (aClass == C_DENORMAL) codes = SW_C3 | SW_C2;
  setCodes(codes);
  xUp = (load<u8>(st(0), 9) & 0x80) != 0;
  return end(p);
}

/** Writes the result to ST(0) if `go`. */
function unaryEnd(p: u32, go: bool): u32 {
  if (go) storeR(0);
  return end(p);
}

/** FCHS. */
export function fchs(p: u32): u32 {
  if (!begin()) return R_FAULT;
  if (isEmpty(0)) return unaryEnd(p, underflow());
  store<u8>(st(0), load<u8>(st(0), 9) ^ 0x80, 9);
  return end(p);
}

/** FABS. */
export function fabs(p: u32): u32 {
  if (!begin()) return R_FAULT;
  if (isEmpty(0)) return unaryEnd(p, underflow());
  store<u8>(st(0), load<u8>(st(0), 9) & 0x7f, 9);
  return end(p);
}

/** FSQRT. */
export function fsqrt(p: u32): u32 {
  if (!begin()) return R_FAULT;
  if (isEmpty(0)) return unaryEnd(p, underflow());
  loadA(0);
  return unaryEnd(p, sqrt80());
}

/** FRNDINT. */
export function frndint(p: u32): u32 {
  if (!begin()) return R_FAULT;
  if (isEmpty(0)) return unaryEnd(p, underflow());
  loadA(0);
  return unaryEnd(p, roundInt80());
}

/** FSCALE: ST(0) * 2^trunc(ST(1)). */
export function fscale(p: u32): u32 {
  if (!begin()) return R_FAULT;
  if (isEmpty(0) || isEmpty(1)) return unaryEnd(p, underflow());
  loadB(1);
  loadA(0);
  return unaryEnd(p, scale80());
}

/** FXTRACT: ST(0) becomes its exponent, then its significand is pushed. */
export function fxtract(p: u32): u32 {
  if (!begin()) return R_FAULT;
  let go: bool;
  if (isEmpty(0)) {
    go = underflow();
    setExponentNan();
  } else if (!isEmpty(7)) {
    go = overflow();
    setExponentNan();
  } else {
    loadA(0);
    go = extract80();
  }
  if (go) {
    setSt(0, eSig, eSe);
    rotate(7);
    storeR(0);
  }
  return end(p);
}

function setExponentNan(): void {
  eSig = 0xc000000000000000;
  eSe = 0xffff;
}

/**
 * FPREM, FPREM1: the quotient's low bits go to C0, C3, C1; C2 when the reduction is partial. Without a
 * quotient C0 and C3 stay.
 */
function remainder(p: u32, nearest: bool): u32 {
  if (!begin()) return R_FAULT;
  clearC2();
  if (isEmpty(0) || isEmpty(1)) return unaryEnd(p, underflow());
  loadB(1);
  loadA(0);
  const go = remainder80(nearest);
  if (go && qValid) {
    setCodes((qLow & 4 ? SW_C0 : 0) | (qLow & 2 ? SW_C3 : 0) | (qPartial ? SW_C2 : 0));
    xUp = (qLow & 1) != 0;
  }
  return unaryEnd(p, go);
}

/** FPREM. */
export function fprem(p: u32): u32 {
  return remainder(p, false);
}
/** FPREM1. */
export function fprem1(p: u32): u32 {
  return remainder(p, true);
}
