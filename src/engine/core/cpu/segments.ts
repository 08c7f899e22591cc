/**
 * Segment registers and descriptors: AMD64 manual volume 2, chapter 4. MOV to and POP of segment
 * registers, LDS LES LSS LFS LGS, and the checks of segmented addresses.
 *
 * A segment is 16 bytes in SEG: selector u16, attributes u16 (bits 40 to 47 and 52 to 55 of the
 * descriptor, as a VMCB has them), limit u32 in bytes, base u64. A null segment is not present.
 */
import { CPL, FLAT, GDT_BASE, GDT_LIMIT, GPR, SEG, SHADOW } from "../state.gen";
import { R_FAULT, R_NEXT, V_GP, V_NP, V_SS, V_UD, faulted, raise, raiseErr } from "../fault";
import { eaOffset, linear, rdE, wrG } from "../operands";
import { Rec } from "../record";
import { ld } from "../mem";
import { sysLd, sysSpan, sysSt } from "../mmu/system";
import { SHADOW_SS } from "./debug";
import { leaveTo } from "./ip";
import { is64, isProtected, isReal, isVm86, updateMode } from "./mode";
import { moveStack, peek } from "./stack";

export const ES: u32 = 0;
export const CS: u32 = 1;
export const SS: u32 = 2;
export const DS: u32 = 3;
export const FS: u32 = 4;
export const GS: u32 = 5;
export const LDTR: u32 = 6;
export const TR: u32 = 7;

/** Attribute bits. Type: data 0 accessed, 1 writable, 2 expand-down; code 1 readable, 2 conforming, 3 code. */
export const A_TYPE: u32 = 0xf;
export const A_ACCESSED: u32 = 1;
export const A_WRITABLE: u32 = 2;
export const A_DOWN: u32 = 4;
export const A_CODE: u32 = 8;
/** Code or data, not a system segment. */
export const A_S: u32 = 0x10;
export const A_DPL: u32 = 0x60;
export const A_P: u32 = 0x80;
export const A_AVL: u32 = 0x100;
export const A_L: u32 = 0x200;
export const A_DB: u32 = 0x400;
export const A_G: u32 = 0x800;

/** Types of system descriptors. */
export const T_TSS16: u32 = 1;
export const T_LDT: u32 = 2;
export const T_TSS16_BUSY: u32 = 3;
export const T_CALL16: u32 = 4;
export const T_TASK: u32 = 5;
export const T_TSS: u32 = 9;
export const T_TSS_BUSY: u32 = 11;
export const T_CALL: u32 = 12;

export function segSelector(seg: u32): u32 {
  return load<u16>(SEG + (seg << 4));
}
export function segAttr(seg: u32): u32 {
  return load<u16>(SEG + (seg << 4), 2);
}
export function segLimit(seg: u32): u32 {
  return load<u32>(SEG + (seg << 4), 4);
}
export function segBase(seg: u32): u64 {
  return load<u64>(SEG + (seg << 4), 8);
}

/** Sets a segment register with its hidden part; the caller calls updateMode(). */
export function putSeg(seg: u32, selector: u32, attr: u32, limit: u32, base: u64): void {
  const at = SEG + (seg << 4);
  store<u16>(at, selector);
  store<u16>(at, attr, 2);
  store<u32>(at, limit, 4);
  store<u64>(at, base, 8);
}

/**
 * Linear address of `size` bytes at `offset` in segment `seg`, outside of 64-bit code. Raises #SS(0)
 * for the stack segment and #GP(0) for others when the segment forbids the access.
 */
export function segLinear(seg: u32, offset: u64, size: u32, write: bool): u64 {
  if (load<u32>(FLAT) != 0 && seg < 4 && seg != CS) return offset;
  const at = SEG + (seg << 4);
  const attr: u32 = load<u16>(at, 2);
  const limit: u64 = load<u32>(at, 4);
  let bad = false;
  if (isProtected() && !isVm86()) {
    bad = (attr & A_P) == 0;
    if ((attr & A_CODE) != 0) bad = bad || write || (attr & A_WRITABLE) == 0;
    else if (write) bad = bad || (attr & A_WRITABLE) == 0;
  }
  const last = offset + size - 1;
  if ((attr & (A_S | A_CODE | A_DOWN)) == (A_S | A_DOWN)) {
    const top: u64 = (attr & A_DB) != 0 ? 0xffffffff : 0xffff;
    bad = bad || offset <= limit || last > top;
  } else if (last > limit && limit != 0xffffffff) bad = true;
  if (bad) raiseErr(seg == SS ? V_SS : V_GP, 0);
  return (load<u64>(at, 8) + offset) & 0xffffffff;
}

/** The descriptor read last, and where it is. */
export let descLow: u32 = 0;
export let descHigh: u32 = 0;
let descAt: u64 = 0;

/** Base of the descriptor read last. */
export function descBase(): u32 {
  return (descLow >> 16) | ((descHigh & 0xff) << 16) | (descHigh & 0xff000000);
}
/** Limit in bytes of the descriptor read last. */
export function descLimit(): u32 {
  const raw = (descLow & 0xffff) | (descHigh & 0xf0000);
  return (descHigh & 0x800000) != 0 ? (raw << 12) | 0xfff : raw;
}
/** Attributes of the descriptor read last. */
export function descAttr(): u32 {
  return ((descHigh >> 8) & 0xff) | ((descHigh >> 12) & 0xf00);
}
/** DPL of attributes. */
export function dplOf(attr: u32): u32 {
  return (attr >> 5) & 3;
}

/**
 * Reads the descriptor that `selector` (not null) names. False with a fault raised: `vector` with
 * the selector and `ext` as error code when it is outside of its table.
 */
export function readDescriptor(selector: u32, vector: u32, ext: u32): bool {
  let limit = load<u32>(GDT_LIMIT);
  let base = load<u64>(GDT_BASE);
  if ((selector & 4) != 0) {
    if ((segAttr(LDTR) & A_P) == 0) {
      raiseErr(vector, (selector & 0xfffc) | ext);
      return false;
    }
    limit = segLimit(LDTR);
    base = segBase(LDTR);
  }
  if ((selector | 7) > limit) {
    raiseErr(vector, (selector & 0xfffc) | ext);
    return false;
  }
  descAt = base + (selector & 0xfff8);
  const value = sysLd<u64>(descAt);
  if (faulted()) return false;
  descLow = <u32>value;
  descHigh = <u32>(value >> 32);
  return true;
}

/** The upper eight bytes of a 16-byte descriptor whose lower ones were read last. May raise. */
export function readDescriptorTop(): u64 {
  return sysLd<u64>(descAt + 8);
}

/** Whether a 16-byte descriptor at `selector` is inside of its table. */
export function wideFits(selector: u32): bool {
  return (selector | 15) <= ((selector & 4) != 0 ? segLimit(LDTR) : load<u32>(GDT_LIMIT));
}

/** Sets the accessed bit of the descriptor read last, in memory and here. False with a fault raised. */
export function markAccessed(): bool {
  if ((descHigh & 0x100) != 0) return true;
  descHigh |= 0x100;
  sysSt<u8>(descAt + 5, <u8>(descHigh >> 8));
  return !faulted();
}

/** Sets or clears the busy bit of the task state segment descriptor that `selector` names. */
export function markBusy(selector: u32, busy: bool): void {
  const at = load<u64>(GDT_BASE) + (selector & 0xfff8) + 5;
  const type = sysLd<u8>(at);
  if (!faulted()) sysSt<u8>(at, busy ? type | 2 : type & ~2);
}

/**
 * Whether loading `selector` into `seg` would change nothing, with attributes that are `wanted` in the bits
 * of `mask` and their DPL. False too when the descriptor is not at hand: the TLB does not know the table.
 */
export function isLoaded(seg: u32, selector: u32, mask: u32, wanted: u32): bool {
  if (selector != segSelector(seg) || (selector & 4) != 0 || selector < 4 || (selector | 7) > load<u32>(GDT_LIMIT)) return false;
  const attr = segAttr(seg);
  if ((attr & (mask | A_DPL)) != wanted) return false;
  const at = sysSpan(load<u64>(GDT_BASE) + (selector & 0xfff8), 8);
  if (at == 0) return false;
  descLow = load<u32>(at);
  descHigh = load<u32>(at, 4);
  return descAttr() == attr && descLimit() == segLimit(seg) && <u64>descBase() == segBase(seg);
}

/** Loads segment register `seg` from the descriptor read last. */
export function putFromDescriptor(seg: u32, selector: u32): void {
  putSeg(seg, selector, descAttr(), descLimit(), descBase());
}

/** Real and virtual-8086 mode: a segment register is a paragraph number. */
export function putParagraph(seg: u32, selector: u32): void {
  const at = SEG + (seg << 4);
  store<u16>(at, selector);
  store<u64>(at, selector << 4, 8);
  if (!isVm86()) return; // real mode keeps limit and attributes
  store<u16>(at, 0xf3, 2);
  store<u32>(at, 0xffff, 4);
}

function refuse(vector: u32, selector: u32): void {
  raiseErr(vector, selector & 0xfffc);
}

/**
 * Loads ES, SS, DS, FS or GS as MOV does, with all checks. On a fault nothing has changed. The
 * caller calls updateMode() when SS, DS or ES was loaded outside of 64-bit code.
 */
export function loadSeg(seg: u32, selector: u32): void {
  if (isReal()) {
    putParagraph(seg, selector);
    return;
  }
  if (seg == SS) {
    loadStackSeg(selector, load<u32>(CPL), V_GP, 0);
    return;
  }
  if ((selector & 0xfffc) == 0) {
    putSeg(seg, selector, 0, 0, 0);
    return;
  }
  if (!readDescriptor(selector, V_GP, 0)) return;
  const attr = descAttr();
  const code = (attr & A_CODE) != 0;
  if ((attr & A_S) == 0 || (code && (attr & A_WRITABLE) == 0)) return refuse(V_GP, selector);
  if (!code || (attr & A_DOWN) == 0) {
    const dpl = dplOf(attr);
    if ((selector & 3) > dpl || load<u32>(CPL) > dpl) return refuse(V_GP, selector);
  }
  if ((attr & A_P) == 0) return refuse(V_NP, selector);
  if (markAccessed()) putFromDescriptor(seg, selector);
}

/**
 * Loads SS for privilege level `cpl`. Faults are `vector` (#GP or #TS) with the selector and `ext`
 * as error code, and #SS when the segment is not present.
 */
export function loadStackSeg(selector: u32, cpl: u32, vector: u32, ext: u32): void {
  if ((selector & 0xfffc) == 0) {
    // Only 64-bit code below privilege level 3 may have a null stack segment.
    if (!is64() || cpl == 3 || (selector & 3) != cpl) {
      raiseErr(vector, ext);
      return;
    }
    putSeg(SS, selector, cpl << 5, 0, 0);
    return;
  }
  if (!checkStackSeg(selector, cpl, vector, ext)) return;
  if (markAccessed()) putFromDescriptor(SS, selector);
}

/** Reads and checks the descriptor of a stack segment that is not null; loads nothing. */
export function checkStackSeg(selector: u32, cpl: u32, vector: u32, ext: u32): bool {
  if (!readDescriptor(selector, vector, ext)) return false;
  const attr = descAttr();
  const code = (selector & 0xfffc) | ext;
  const data = (attr & (A_S | A_CODE | A_WRITABLE)) == (A_S | A_WRITABLE);
  if (!data || (selector & 3) != cpl || dplOf(attr) != cpl) raiseErr(vector, code);
  else if ((attr & A_P) == 0) raiseErr(V_SS, code);
  return !faulted();
}

/** Goes on after a segment load: by R_JUMP when code or stack may now behave differently. */
function loaded(p: u32, seg: u32): u32 {
  if (seg != SS && is64()) return R_NEXT;
  updateMode();
  return leaveTo(p);
}

/** After MOV and POP; LSS has no shadow. */
function loadedAlone(p: u32, seg: u32): u32 {
  if (seg == SS) store<u32>(SHADOW, SHADOW_SS);
  return loaded(p, seg);
}

/** MOV Sreg,r/m16. */
export function mov_SE(p: u32): u32 {
  const seg = Rec.a(p);
  if (seg == CS || seg > GS) return raise(V_UD);
  const selector = rdE<u16>(p);
  if (faulted()) return R_FAULT;
  loadSeg(seg, selector);
  return faulted() ? R_FAULT : loadedAlone(p, seg);
}

function popInto<T>(p: u32, seg: u32): u32 {
  const selector = <u32>(peek<T>(0)) & 0xffff;
  if (faulted()) return R_FAULT;
  const before = load<u64>(GPR + 32);
  moveStack(sizeof<T>());
  loadSeg(seg, selector);
  if (!faulted()) return loadedAlone(p, seg);
  store<u64>(GPR + 32, before);
  return R_FAULT;
}

/** POP ES, SS, DS: bits 3 and 4 of the opcode name the segment. */
export function pop_S<T>(p: u32): u32 {
  return popInto<T>(p, (Rec.opcode(p) >> 3) & 3);
}

export function pop_FS<T>(p: u32): u32 {
  return popInto<T>(p, FS);
}

export function pop_GS<T>(p: u32): u32 {
  return popInto<T>(p, GS);
}

/** A far pointer in memory, read by farPointer(). */
export let farOffset: u64 = 0;
export let farSelector: u32 = 0;

/** Reads offset (a T) and selector of a far pointer in memory. False with a fault raised. */
export function farPointer<T>(p: u32): bool {
  const at = eaOffset(p);
  const mask: u64 = Rec.asize(p) == 2 ? ~0 : Rec.asize(p) == 1 ? 0xffffffff : 0xffff;
  const va = linear(Rec.seg(p), at, sizeof<T>(), false);
  if (faulted()) return false;
  const va2 = linear(Rec.seg(p), (at + sizeof<T>()) & mask, 2, false);
  if (faulted()) return false;
  farOffset = <u64>ld<T>(va);
  if (faulted()) return false;
  farSelector = ld<u16>(va2);
  return !faulted();
}

/** REX.W widens the register, not the offset in memory (APM vol. 3, LDS LES LFS LGS LSS; Intel reads 64 bits). */
function loadPair<T>(p: u32, seg: u32): u32 {
  if (sizeof<T>() == 2 ? !farPointer<u16>(p) : !farPointer<u32>(p)) return R_FAULT;
  const offset = <T>farOffset;
  loadSeg(seg, farSelector);
  if (faulted()) return R_FAULT;
  wrG<T>(p, offset);
  return loaded(p, seg);
}

export function les<T>(p: u32): u32 {
  return loadPair<T>(p, ES);
}
export function lds<T>(p: u32): u32 {
  return loadPair<T>(p, DS);
}
export function lss<T>(p: u32): u32 {
  return loadPair<T>(p, SS);
}
export function lfs<T>(p: u32): u32 {
  return loadPair<T>(p, FS);
}
export function lgs<T>(p: u32): u32 {
  return loadPair<T>(p, GS);
}
