/**
 * String instructions of SSE4.2: PCMPESTRI PCMPESTRM PCMPISTRI PCMPISTRM (SDM vol. 2, 4.1). Sets of
 * elements are bit masks: bit i is element i of W.
 */
import { GPR, XMM } from "../state.gen";
import { Rec, RF_W } from "../record";
import { faulted, R_FAULT, R_NEXT } from "../fault";
import { CF, OF, SF, ZF, setCcExplicit } from "../flags";
import { imm } from "../operands";
import { rdV, rdWu } from "./operand";

/** Elements in V and W before their ends, at most 8 or 16. */
let lengthV: u32 = 0;
let lengthW: u32 = 0;

function wordsBits(x: v128): u32 {
  return i16x8.bitmask(x);
}

/** Elements of w equal to element j of V, whose address is `at`. */
function equalTo(w: v128, at: u32, j: u32, words: bool): u32 {
  if (words) return wordsBits(i16x8.eq(w, v128.load16_splat(at + (j << 1))));
  return i8x16.bitmask(i8x16.eq(w, v128.load8_splat(at + j)));
}

/** Elements of w from V's element j to its element j + 1. */
function between(w: v128, at: u32, j: u32, kind: u32): u32 {
  if ((kind & 1) != 0) {
    const low = v128.load16_splat(at + (j << 1)), high = v128.load16_splat(at + (j << 1), 2);
    if (kind == 1) return wordsBits(v128.and(i16x8.ge_u(w, low), i16x8.le_u(w, high)));
    return wordsBits(v128.and(i16x8.ge_s(w, low), i16x8.le_s(w, high)));
  }
  const low = v128.load8_splat(at + j), high = v128.load8_splat(at + j, 1);
  if (kind == 0) return i8x16.bitmask(v128.and(i8x16.ge_u(w, low), i8x16.le_u(w, high)));
  return i8x16.bitmask(v128.and(i8x16.ge_s(w, low), i8x16.le_s(w, high)));
}

/** IntRes1: what the aggregation in bits 2 and 3 of the control byte finds. */
function aggregate(p: u32, w: v128, control: u32): u32 {
  const words = (control & 1) != 0, at = Rec.a(p);
  const count: u32 = words ? 8 : 16;
  const full: u32 = (1 << count) - 1;
  const inV: u32 = (1 << lengthV) - 1, inW: u32 = (1 << lengthW) - 1;
  let r: u32 = 0;
  switch ((control >> 2) & 3) {
    case 0:
      for (let j: u32 = 0; j < lengthV; j++) r |= equalTo(w, at, j, words);
      return r & inW;
    case 1:
      for (let j: u32 = 0; j + 1 < lengthV; j += 2) r |= between(w, at, j, control & 3);
      return r & inW;
    case 2:
      r = words ? wordsBits(i16x8.eq(rdV(p), w)) : i8x16.bitmask(i8x16.eq(rdV(p), w));
      return (r & inV & inW) | (full & ~inV & ~inW);
    default:
      // Places beyond the register match: a substring may begin near its end.
      r = full;
      for (let j: u32 = 0; j < lengthV; j++) {
        const same = equalTo(w, at, j, words) & inW;
        r &= (same >> j) | (full << (count - j));
      }
      return r & full;
  }
}

/** IntRes2: the polarity in bits 4 and 5 applied; sets CF ZF SF OF. */
function compare(p: u32, w: v128, control: u32): u32 {
  const count: u32 = (control & 1) != 0 ? 8 : 16;
  let r = aggregate(p, w, control);
  if ((control & 0x10) != 0) r ^= (control & 0x20) != 0 ? (1 << lengthW) - 1 : (1 << count) - 1;
  let flags: u64 = 0;
  if (r != 0) flags |= CF;
  if (lengthW < count) flags |= ZF;
  if (lengthV < count) flags |= SF;
  if ((r & 1) != 0) flags |= OF;
  setCcExplicit(flags);
  return r;
}

/** ECX: number of the first or last element found, or 8 or 16. */
function putIndex(r: u32, control: u32): u32 {
  const none: u32 = (control & 1) != 0 ? 8 : 16;
  const found = (control & 0x40) != 0 ? 31 - clz<u32>(r) : ctz<u32>(r);
  store<u64>(GPR + 8, <u64>(r == 0 ? none : found));
  return R_NEXT;
}

/** XMM0: the set as bits, or as elements of all ones. */
function putMask(r: u32, control: u32): u32 {
  let mask: v128;
  if ((control & 0x40) == 0) mask = i32x4.replace_lane(i64x2.splat(0), 0, r);
  else if ((control & 1) != 0) {
    const bits = i16x8(1, 2, 4, 8, 16, 32, 64, 128);
    mask = i16x8.eq(v128.and(i16x8.splat(<i16>r), bits), bits);
  } else {
    const bits = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
    const halves = i8x16.swizzle(i32x4.splat(r), i8x16(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
    mask = i8x16.eq(v128.and(halves, bits), bits);
  }
  v128.store(XMM, mask);
  return R_NEXT;
}

/** Elements before the first zero one. */
function implicitLength(x: v128, words: bool): u32 {
  const zero = i64x2.splat(0);
  if (words) return ctz<u32>(wordsBits(i16x8.eq(x, zero)) | 0x100);
  return ctz<u32>(i8x16.bitmask(i8x16.eq(x, zero)) | 0x10000);
}

/** Magnitude of EAX or EDX (RAX, RDX with REX.W), at most 8 or 16. */
function explicitLength(p: u32, at: u32, count: u32): u32 {
  const x: i64 = (Rec.flags(p) & RF_W) != 0 ? load<i64>(at) : <i64>load<i32>(at);
  return <u32>min<u64>(x < 0 ? 0 - <u64>x : <u64>x, count);
}

function implicitStrings(p: u32, index: bool): u32 {
  const w = rdWu(p);
  if (faulted()) return R_FAULT;
  const control = imm<u32>(p), words = (control & 1) != 0;
  lengthV = implicitLength(rdV(p), words);
  lengthW = implicitLength(w, words);
  const r = compare(p, w, control);
  return index ? putIndex(r, control) : putMask(r, control);
}

function explicitStrings(p: u32, index: bool): u32 {
  const w = rdWu(p);
  if (faulted()) return R_FAULT;
  const control = imm<u32>(p);
  const count: u32 = (control & 1) != 0 ? 8 : 16;
  lengthV = explicitLength(p, GPR, count);
  lengthW = explicitLength(p, GPR + 16, count);
  const r = compare(p, w, control);
  return index ? putIndex(r, control) : putMask(r, control);
}

export function pcmpistri(p: u32): u32 {
  return implicitStrings(p, true);
}
export function pcmpistrm(p: u32): u32 {
  return implicitStrings(p, false);
}
export function pcmpestri(p: u32): u32 {
  return explicitStrings(p, true);
}
export function pcmpestrm(p: u32): u32 {
  return explicitStrings(p, false);
}
