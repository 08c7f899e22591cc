/**
 * Scalar floating point: ADDSS SUBSS MULSS DIVSS SQRTSS MINSS MAXSS CMPSS COMISS UCOMISS and the SD
 * forms. The usual case is decided here; fp.ts has the others.
 */
import { Rec } from "../record";
import { faulted, R_FAULT, R_NEXT } from "../fault";
import { CF, PF, ZF, setCcExplicit } from "../flags";
import { f32_compare, f64_compare } from "../fpu/softfloat";
import { imm } from "../operands";
import {
  fpBegin, fpEnd, normal32, normal64, plain32, plain64, quick, scalar32, scalar64,
  OP_ADD, OP_CMP, OP_DIV, OP_MAX, OP_MIN, OP_MUL, OP_SQRT, OP_SUB,
} from "./fp";
import { rdS } from "./operand";

export function addsd(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u64>(at);
  const r = reinterpret<u64>(reinterpret<f64>(v) + reinterpret<f64>(w));
  if (!(quick() && plain64(v) && plain64(w) && plain64(r))) return scalar64(OP_ADD, at, v, w);
  store<u64>(at, r);
  return R_NEXT;
}

export function subsd(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u64>(at);
  const r = reinterpret<u64>(reinterpret<f64>(v) - reinterpret<f64>(w));
  if (!(quick() && plain64(v) && plain64(w) && plain64(r))) return scalar64(OP_SUB, at, v, w);
  store<u64>(at, r);
  return R_NEXT;
}

export function mulsd(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u64>(at);
  const r = reinterpret<u64>(reinterpret<f64>(v) * reinterpret<f64>(w));
  if (!(quick() && normal64(v) && normal64(w) && normal64(r))) return scalar64(OP_MUL, at, v, w);
  store<u64>(at, r);
  return R_NEXT;
}

export function divsd(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u64>(at);
  const r = reinterpret<u64>(reinterpret<f64>(v) / reinterpret<f64>(w));
  if (!(quick() && normal64(v) && normal64(w) && normal64(r))) return scalar64(OP_DIV, at, v, w);
  store<u64>(at, r);
  return R_NEXT;
}

export function sqrtsd(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  if (!(quick() && normal64(w) && <i64>w > 0)) return scalar64(OP_SQRT, at, 0, w);
  store<f64>(at, sqrt<f64>(reinterpret<f64>(w)));
  return R_NEXT;
}

export function minsd(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u64>(at);
  if (!(plain64(v) && plain64(w))) return scalar64(OP_MIN, at, v, w);
  store<u64>(at, reinterpret<f64>(v) < reinterpret<f64>(w) ? v : w);
  return R_NEXT;
}

export function maxsd(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u64>(at);
  if (!(plain64(v) && plain64(w))) return scalar64(OP_MAX, at, v, w);
  store<u64>(at, reinterpret<f64>(v) > reinterpret<f64>(w) ? v : w);
  return R_NEXT;
}

export function cmpsd(p: u32): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  return scalar64(OP_CMP + (imm<u32>(p) & 7), at, load<u64>(at), w);
}

export function addss(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u32>(at);
  const r = reinterpret<u32>(reinterpret<f32>(v) + reinterpret<f32>(w));
  if (!(quick() && plain32(v) && plain32(w) && plain32(r))) return scalar32(OP_ADD, at, v, w);
  store<u32>(at, r);
  return R_NEXT;
}

export function subss(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u32>(at);
  const r = reinterpret<u32>(reinterpret<f32>(v) - reinterpret<f32>(w));
  if (!(quick() && plain32(v) && plain32(w) && plain32(r))) return scalar32(OP_SUB, at, v, w);
  store<u32>(at, r);
  return R_NEXT;
}

export function mulss(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u32>(at);
  const r = reinterpret<u32>(reinterpret<f32>(v) * reinterpret<f32>(w));
  if (!(quick() && normal32(v) && normal32(w) && normal32(r))) return scalar32(OP_MUL, at, v, w);
  store<u32>(at, r);
  return R_NEXT;
}

export function divss(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u32>(at);
  const r = reinterpret<u32>(reinterpret<f32>(v) / reinterpret<f32>(w));
  if (!(quick() && normal32(v) && normal32(w) && normal32(r))) return scalar32(OP_DIV, at, v, w);
  store<u32>(at, r);
  return R_NEXT;
}

export function sqrtss(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  if (!(quick() && normal32(w) && <i32>w > 0)) return scalar32(OP_SQRT, at, 0, w);
  store<f32>(at, sqrt<f32>(reinterpret<f32>(w)));
  return R_NEXT;
}

export function minss(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u32>(at);
  if (!(plain32(v) && plain32(w))) return scalar32(OP_MIN, at, v, w);
  store<u32>(at, reinterpret<f32>(v) < reinterpret<f32>(w) ? v : w);
  return R_NEXT;
}

export function maxss(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  const v = load<u32>(at);
  if (!(plain32(v) && plain32(w))) return scalar32(OP_MAX, at, v, w);
  store<u32>(at, reinterpret<f32>(v) > reinterpret<f32>(w) ? v : w);
  return R_NEXT;
}

export function cmpss(p: u32): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  const at = Rec.a(p);
  return scalar32(OP_CMP + (imm<u32>(p) & 7), at, load<u32>(at), w);
}

/** ZF PF CF of an order of -1, 0, 1 or 2 (unordered); OF SF AF are cleared. */
function setOrder(order: i32): u32 {
  setCcExplicit(order == 2 ? ZF | PF | CF : order == 0 ? ZF : order < 0 ? CF : 0);
  return R_NEXT;
}

function comi64(p: u32, quiet: bool): u32 {
  const w = rdS<u64>(p);
  if (faulted()) return R_FAULT;
  const v = load<u64>(Rec.a(p));
  if (plain64(v) && plain64(w)) {
    const a = reinterpret<f64>(v), b = reinterpret<f64>(w);
    return setOrder(<i32>(a > b) - <i32>(a < b));
  }
  fpBegin();
  const order = f64_compare(v, w, quiet);
  if (!fpEnd()) return R_FAULT;
  return setOrder(order);
}

function comi32(p: u32, quiet: bool): u32 {
  const w = rdS<u32>(p);
  if (faulted()) return R_FAULT;
  const v = load<u32>(Rec.a(p));
  if (plain32(v) && plain32(w)) {
    const a = reinterpret<f32>(v), b = reinterpret<f32>(w);
    return setOrder(<i32>(a > b) - <i32>(a < b));
  }
  fpBegin();
  const order = f32_compare(v, w, quiet);
  if (!fpEnd()) return R_FAULT;
  return setOrder(order);
}

export function comisd(p: u32): u32 {
  return comi64(p, false);
}

export function ucomisd(p: u32): u32 {
  return comi64(p, true);
}

export function comiss(p: u32): u32 {
  return comi32(p, false);
}

export function ucomiss(p: u32): u32 {
  return comi32(p, true);
}
