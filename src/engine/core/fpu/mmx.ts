/**
 * What all MMX instructions share: checks, operands, and the effect on the x87 state. Register MMn is the
 * significand of the physical x87 register n (Intel SDM volume 1, 9.5; volume 3, 13.2).
 */
import { CR0, FPR, FSW, FTW } from "../state.gen";
import { R_NEXT, V_MF, V_NM, V_UD, faulted, raise } from "../fault";
import { Rec, RF_MEM } from "../record";
import { eaLinear } from "../operands";
import { ld } from "../mem";

const CR0_EM: u64 = 4;
const CR0_TS: u64 = 8;

/** Address of MMn. */
export function mm(n: u32): u32 {
  return FPR + (n << 4);
}

/** Raises what an MMX instruction raises before it does anything: #UD, #NM, #MF. */
export function mmxAvailable(): bool {
  const cr0 = load<u64>(CR0);
  if (cr0 & CR0_EM) raise(V_UD);
  else if (cr0 & CR0_TS) raise(V_NM);
  else if (load<u32>(FSW) & 0x80) raise(V_MF);
  else return true;
  return false;
}

/** The effect of each MMX instruction but EMMS on the x87 state: TOP = 0, nothing empty. */
export function mmxTouch(): void {
  store<u32>(FSW, load<u32>(FSW) & ~0x3800);
  store<u32>(FTW, 0xff);
}

/** Writes MMn: sign and exponent become all ones. */
export function setMm(n: u32, value: u64): void {
  mmxTouch();
  store<u64>(mm(n), value);
  store<u64>(mm(n), 0xffff, 8);
}

/** Value of the Q operand, an MMX register or 64 bits in memory; check faulted(). */
export function rdQ(p: u32): u64 {
  if (!(Rec.flags(p) & RF_MEM)) return load<u64>(mm(Rec.b(p)));
  const va = eaLinear(p, 8, false);
  return faulted() ? 0 : ld<u64>(va);
}

/** The lower 32 bits of the Q operand, of which only they are read (PUNPCKL); check faulted(). */
export function rdQ32(p: u32): u64 {
  if (!(Rec.flags(p) & RF_MEM)) return load<u64>(mm(Rec.b(p)));
  const va = eaLinear(p, 4, false);
  return faulted() ? 0 : <u64>ld<u32>(va);
}

let source: u64 = 0;

/** Begins an instruction `P,Q`: checks, and reads Q. */
export function beginPQ(p: u32): bool {
  if (!mmxAvailable()) return false;
  source = rdQ(p);
  return !faulted();
}

/** beginPQ() for the instructions that read 32 bits of memory. */
export function beginPQ32(p: u32): bool {
  if (!mmxAvailable()) return false;
  source = rdQ32(p);
  return !faulted();
}

/** P as a vector whose halves are both P. */
export function vecP(p: u32): v128 {
  return v128.load64_splat(mm(Rec.a(p)));
}

/** Q as a vector whose halves are both Q. */
export function vecQ(): v128 {
  return i64x2.splat(<i64>source);
}

/** Q. */
export function valQ(): u64 {
  return source;
}

/** Ends an instruction: P gets the lower half of `value`. */
export function endP(p: u32, value: v128): u32 {
  setMm(Rec.a(p), <u64>i64x2.extract_lane(value, 0));
  return R_NEXT;
}

/** Ends an instruction: P gets `value`. */
export function endP64(p: u32, value: u64): u32 {
  setMm(Rec.a(p), value);
  return R_NEXT;
}
