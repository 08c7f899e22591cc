/**
 * Floating point of SSE, one element at a time: wasm arithmetic where it gives the processor's result
 * and the flags can be told cheaply, the soft float (fpu/softfloat.ts) for everything else.
 *
 * "Plain" numbers are zero or finite with an exponent field of at least 2: no NaN, no infinity, no
 * denormal, and not so small that underflow is in doubt. From plain operands to a plain result, with
 * rounding to nearest, wasm is exact and the only flag in question is PE.
 * Manual: SDM vol. 1, 4.9 and 11.5; MXCSR 10.2.3.
 */
import { CR4, MXCSR } from "../state.gen";
import { raise, R_FAULT, R_NEXT, V_UD, V_XM } from "../fault";
import {
  f32_add, f32_sub, f32_mul, f32_div, f32_sqrt, f32_min, f32_max, f32_compare,
  f64_add, f64_sub, f64_mul, f64_div, f64_sqrt, f64_min, f64_max, f64_compare,
  sfBegin, sfFlags, sfRounding, f64_to_f32,
} from "../fpu/softfloat";
import { CR4_OSXMMEXCPT, wrV } from "./operand";

export const OP_ADD: u32 = 0;
export const OP_SUB: u32 = 1;
export const OP_MUL: u32 = 2;
export const OP_DIV: u32 = 3;
export const OP_SQRT: u32 = 4; // of the second operand
export const OP_MIN: u32 = 5;
export const OP_MAX: u32 = 6;
/** Packed only: SUB in even elements, ADD in odd ones. */
export const OP_ADDSUB: u32 = 7;
/** OP_CMP + predicate 0..7. */
export const OP_CMP: u32 = 8;

const PE: u32 = 0x20;
const PM: u32 = 0x1000;
const RC: u32 = 0x6000;

/** Rounding to nearest, PE masked and already set: inexact results have no further effect. */
export function quick(): bool {
  return (load<u32>(MXCSR) & (RC | PM | PE)) == (PM | PE);
}

/** Plain and not zero. */
export function normal64(x: u64): bool {
  return (((x >> 52) - 2) & 0x7ff) < 0x7fd;
}

export function plain64(x: u64): bool {
  return (((x >> 52) - 2) & 0x7ff) < 0x7fd || x << 1 == 0;
}

/** Plain and not zero. */
export function normal32(x: u32): bool {
  return (((x >> 23) - 2) & 0xff) < 0xfd;
}

export function plain32(x: u32): bool {
  return (((x >> 23) - 2) & 0xff) < 0xfd || x << 1 == 0;
}

/** Starts the calculation of one instruction. */
export function fpBegin(): void {
  const mxcsr = load<u32>(MXCSR);
  sfBegin(mxcsr);
  // A flag that changes nothing need not be found out.
  if ((mxcsr & (PM | PE)) == (PM | PE)) sfFlags = PE;
}

/**
 * Adds exception flags to MXCSR. False when one of them is not masked: #XM (or #UD) has been raised.
 * Unmasked IE, DE, ZE come before the calculation, so that its OE, UE, PE do not arise.
 */
export function fpRaise(flags: u32): bool {
  const mxcsr = load<u32>(MXCSR);
  const open = flags & ~(mxcsr >> 7) & 0x3f;
  store<u32>(MXCSR, mxcsr | ((open & 7) != 0 ? flags & 7 : flags));
  if (open == 0) return true;
  raise((load<u32>(CR4) & CR4_OSXMMEXCPT) != 0 ? V_XM : V_UD);
  return false;
}

/** Ends the calculation begun by fpBegin(): as fpRaise(). */
export function fpEnd(): bool {
  return fpRaise(sfFlags);
}

/** Whether the product of two significands (with any number of trailing zeros) needs over 53 bits. */
function longProduct(x: u64, y: u64): bool {
  let m: u64 = (x & 0xfffffffffffff) | 0x10000000000000;
  let n: u64 = (y & 0xfffffffffffff) | 0x10000000000000;
  m >>= ctz<u64>(m);
  n >>= ctz<u64>(n);
  const bits = 128 - clz<u64>(m) - clz<u64>(n);
  if (bits != 54) return bits > 54;
  return (m * n) >> 53 != 0;
}

/** Whether a + b is not s exactly; all three are plain. The halves cannot overflow. */
function sumInexact(a: f64, b: f64, s: f64): bool {
  const x = a * 0.5, y = b * 0.5, h = s * 0.5;
  const t = h - x;
  return x - (h - t) + (y - t) != 0;
}

function inexact64(op: u32, a: f64, b: f64, r: f64): bool {
  const z = reinterpret<u64>(r);
  switch (op) {
    case OP_ADD: return sumInexact(a, b, r);
    case OP_SUB: return sumInexact(a, -b, r);
    case OP_MUL: return longProduct(reinterpret<u64>(a), reinterpret<u64>(b));
    case OP_DIV: return longProduct(z, reinterpret<u64>(b)) || r * b != a;
    default: return longProduct(z, z) || r * r != b;
  }
}

/** The same for operands and result of 24 bits. Products of two are exact in f64. */
function inexact32(op: u32, a: f64, b: f64, r: f64): bool {
  switch (op) {
    case OP_ADD: return a + b != r || sumInexact(a, b, r);
    case OP_SUB: return a - b != r || sumInexact(a, -b, r);
    case OP_MUL: return a * b != r;
    case OP_DIV: return r * b != a;
    default: return r * r != b;
  }
}

/** All ones when the predicate holds for an order of -1, 0, 1 or 2 (unordered). */
function holds(predicate: u32, order: i32): u64 {
  let yes: bool;
  switch (predicate & 3) {
    case 0: yes = order == 0; break;
    case 1: yes = order == -1; break;
    case 2: yes = order <= 0; break;
    default: yes = order == 2; break;
  }
  return yes != (predicate > 3) ? -1 : 0;
}

/** LT LE NLT NLE signal quiet NaNs too. */
function signals(predicate: u32): bool {
  return ((predicate + 1) & 2) != 0;
}

function soft64(op: u32, x: u64, y: u64): u64 {
  switch (op) {
    case OP_ADD: return f64_add(x, y);
    case OP_SUB: return f64_sub(x, y);
    case OP_MUL: return f64_mul(x, y);
    case OP_DIV: return f64_div(x, y);
    case OP_SQRT: return f64_sqrt(y);
    case OP_MIN: return f64_min(x, y);
    case OP_MAX: return f64_max(x, y);
    default: return holds(op & 7, f64_compare(x, y, !signals(op & 7)));
  }
}

function soft32(op: u32, x: u32, y: u32): u32 {
  switch (op) {
    case OP_ADD: return f32_add(x, y);
    case OP_SUB: return f32_sub(x, y);
    case OP_MUL: return f32_mul(x, y);
    case OP_DIV: return f32_div(x, y);
    case OP_SQRT: return f32_sqrt(y);
    case OP_MIN: return f32_min(x, y);
    case OP_MAX: return f32_max(x, y);
    default: return <u32>holds(op & 7, f32_compare(x, y, !signals(op & 7)));
  }
}

/** Whether a zero that wasm computed is exact. x and y are the operands, both plain. */
function trueZero(op: u32, x: u64, y: u64): bool {
  if (op <= OP_SUB) return true;
  if (op == OP_SQRT) return y << 1 == 0;
  return x << 1 == 0 || (op == OP_MUL && y << 1 == 0);
}

/** One operation (OP_ADD to OP_MAX, OP_CMP) on f64 elements, between fpBegin() and fpEnd(). */
export function op64(op: u32, x: u64, y: u64): u64 {
  if (op <= OP_SQRT && sfRounding == 0 && plain64(x) && plain64(y)) {
    const a = reinterpret<f64>(x), b = reinterpret<f64>(y);
    let r: f64;
    switch (op) {
      case OP_ADD: r = a + b; break;
      case OP_SUB: r = a - b; break;
      case OP_MUL: r = a * b; break;
      case OP_DIV: r = a / b; break;
      default: r = sqrt<f64>(b); break;
    }
    const z = reinterpret<u64>(r);
    if (normal64(z)) {
      if ((sfFlags & PE) == 0 && inexact64(op, a, b, r)) sfFlags |= PE;
      return z;
    }
    if (z << 1 == 0 && trueZero(op, x, y)) return z;
  }
  return soft64(op, x, y);
}

/** As op64, for f32. */
export function op32(op: u32, x: u32, y: u32): u32 {
  if (op <= OP_SQRT && sfRounding == 0 && plain32(x) && plain32(y)) {
    const a = reinterpret<f32>(x), b = reinterpret<f32>(y);
    let r: f32;
    switch (op) {
      case OP_ADD: r = a + b; break;
      case OP_SUB: r = a - b; break;
      case OP_MUL: r = a * b; break;
      case OP_DIV: r = a / b; break;
      default: r = sqrt<f32>(b); break;
    }
    const z = reinterpret<u32>(r);
    if (normal32(z)) {
      if ((sfFlags & PE) == 0 && inexact32(op, <f64>a, <f64>b, <f64>r)) sfFlags |= PE;
      return z;
    }
    if (z << 1 == 0 && trueZero(op, <u64>x << 32, <u64>y << 32)) return z;
  }
  return soft32(op, x, y);
}

/** An f64 rounded to f32, between fpBegin() and fpEnd(). */
export function narrow64(x: u64): u32 {
  if (sfRounding == 0 && plain64(x)) {
    const a = reinterpret<f64>(x);
    const r = <f32>a;
    const z = reinterpret<u32>(r);
    if (normal32(z)) {
      if (<f64>r != a) sfFlags |= PE;
      return z;
    }
  }
  return f64_to_f32(x);
}

/** Performs `op` on the f64 at `at` and w, and stores the result there. */
export function scalar64(op: u32, at: u32, v: u64, w: u64): u32 {
  fpBegin();
  const r = op64(op, v, w);
  if (!fpEnd()) return R_FAULT;
  store<u64>(at, r);
  return R_NEXT;
}

/** Performs `op` on the f32 at `at` and w, and stores the result there. */
export function scalar32(op: u32, at: u32, v: u32, w: u32): u32 {
  fpBegin();
  const r = op32(op, v, w);
  if (!fpEnd()) return R_FAULT;
  store<u32>(at, r);
  return R_NEXT;
}

/** Elements of the operands at 0 and 16, of the result at 32. */
const LANES = <u32>memory.data(48, 16);

/** Performs `op` on all elements (T is f32 or f64) and stores the result in V. */
export function packed<T>(op: u32, p: u32, v: v128, w: v128): u32 {
  v128.store(LANES, v);
  v128.store(LANES, w, 16);
  fpBegin();
  for (let at = LANES, end = LANES + 16, odd: u32 = 0; at < end; at += sizeof<T>(), odd ^= 1) {
    const one = op == OP_ADDSUB ? odd ^ OP_SUB : op;
    if (sizeof<T>() == 4) store<u32>(at, op32(one, load<u32>(at), load<u32>(at, 16)), 32);
    else store<u64>(at, op64(one, load<u64>(at), load<u64>(at, 16)), 32);
  }
  if (!fpEnd()) return R_FAULT;
  return wrV(p, v128.load(LANES, 32));
}
