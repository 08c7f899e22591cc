/**
 * F2XM1 FYL2X FYL2XP1 FPATAN FSIN FCOS FSINCOS FPTAN (Intel SDM volume 1, 8.3.7, 8.3.8).
 */
import { R_FAULT } from "../fault";
import { FSW } from "../state.gen";
import { TOP_BIT } from "./unpacked";
import { rSig, rSe, setR } from "./f80";
import { atan80, cos80, exp2m1, sin80, tan80, tooLarge, ylog2x, ylog2xp1 } from "./transcendental";
import {
  begin, clearC2, end, isEmpty, loadA, loadB, overflow, pop, rotate, setSt, storeR, underflow, SW_C2,
} from "./regs";

/** Says that the argument was too large. */
function setC2(): void {
  store<u32>(FSW, load<u32>(FSW) | SW_C2);
}

/** Writes the result to ST(0) if `go`. */
function unaryEnd(p: u32, go: bool): u32 {
  if (go) storeR(0);
  return end(p);
}

/** Writes the result to ST(1) and pops if `go`. */
function popEnd(p: u32, go: bool): u32 {
  if (go) {
    storeR(1);
    pop();
  }
  return end(p);
}

/** F2XM1. */
export function f2xm1(p: u32): u32 {
  if (!begin()) return R_FAULT;
  if (isEmpty(0)) return unaryEnd(p, underflow());
  loadA(0);
  return unaryEnd(p, exp2m1());
}

/** Unpacks ST(0) and ST(1); false when one is empty. */
function loadTwo(): bool {
  if (isEmpty(0) || isEmpty(1)) return false;
  loadB(1);
  loadA(0);
  return true;
}

/** FYL2X. */
export function fyl2x(p: u32): u32 {
  if (!begin()) return R_FAULT;
  return popEnd(p, loadTwo() ? ylog2x() : underflow());
}

/** FYL2XP1. */
export function fyl2xp1(p: u32): u32 {
  if (!begin()) return R_FAULT;
  return popEnd(p, loadTwo() ? ylog2xp1() : underflow());
}

/** FPATAN. */
export function fpatan(p: u32): u32 {
  if (!begin()) return R_FAULT;
  return popEnd(p, loadTwo() ? atan80() : underflow());
}

/** FSIN. */
export function fsin(p: u32): u32 {
  if (!begin()) return R_FAULT;
  clearC2();
  if (isEmpty(0)) return unaryEnd(p, underflow());
  loadA(0);
  const go = sin80();
  if (tooLarge) setC2();
  return unaryEnd(p, go);
}

/** FCOS. */
export function fcos(p: u32): u32 {
  if (!begin()) return R_FAULT;
  clearC2();
  if (isEmpty(0)) return unaryEnd(p, underflow());
  loadA(0);
  const go = cos80();
  if (tooLarge) setC2();
  return unaryEnd(p, go);
}

/** Replaces ST(0) by the default NaN and pushes another, after a stack fault. */
function pushNans(p: u32, go: bool): u32 {
  if (go) {
    storeR(0);
    rotate(7);
    storeR(0);
  }
  return end(p);
}

/** FSINCOS: the sine to ST(0), then the cosine is pushed. */
export function fsincos(p: u32): u32 {
  if (!begin()) return R_FAULT;
  clearC2();
  if (isEmpty(0)) return pushNans(p, underflow());
  if (!isEmpty(7)) return pushNans(p, overflow());
  loadA(0);
  const go = sin80();
  if (tooLarge) setC2();
  if (!go) return end(p);
  const sig = rSig, se = rSe;
  loadA(0);
  cos80();
  setSt(0, sig, se);
  rotate(7);
  storeR(0);
  return end(p);
}

/** FPTAN: the tangent to ST(0), then 1 is pushed (the NaN, when it is one). */
export function fptan(p: u32): u32 {
  if (!begin()) return R_FAULT;
  clearC2();
  if (isEmpty(0)) return pushNans(p, underflow());
  if (!isEmpty(7)) return pushNans(p, overflow());
  loadA(0);
  const go = tan80();
  if (tooLarge) setC2();
  if (!go) return end(p);
  storeR(0);
  rotate(7);
  if (!(rSe == 0x7fff || rSe == 0xffff)) setR(TOP_BIT, 0x3fff);
  storeR(0);
  return end(p);
}
