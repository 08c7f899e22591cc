/**
 * MOV CR, MOV DR, CLTS, LMSW, SMSW, XGETBV, XSETBV (AMD64 manual volume 2, 3.1, 13.1 and 11.5): the
 * control registers with all checks, and what changes with them.
 */
import { CODE_SIZE, CPL, CR0, CR2, CR3, CR4, CR4_HIDDEN, CR8, DR0, DR6, DR7, EFER, EXIT, GPR, XCR0, XCR0_HIDDEN } from "../state.gen";
import { R_EXIT, R_FAULT, R_NEXT, V_GP, V_UD, X_CR8_WRITE, faulted, raise, raiseErr } from "../fault";
import { RF_MEM, Rec } from "../record";
import { rdE, rdReg, wrE, wrReg } from "../operands";
import { flushAll, flushNonGlobal } from "../mmu/tlb";
import { MAX_PHYS_BITS, loadPdptes } from "../mmu/walk";
import { updateBreakpoints } from "../breakpoints";
import { DR6_BD, DR6_FIXED, DR7_GD, dr7InForce, raiseDebug } from "./debug";
import { leaveTo } from "./ip";
import {
  CR0_CD, CR0_EM, CR0_ET, CR0_MP, CR0_NE, CR0_NW, CR0_PE, CR0_PG, CR0_TS, CR0_WP, CR0_AM, CR4_FSGSBASE, CR4_OSXSAVE, CR4_PAE, CR4_PGE,
  CR4_PSE, CR4_SMAP, CR4_SMEP, CR4_UMIP, EFER_LMA, EFER_LME, isLong, updateMode, updateTlb,
} from "./mode";
import { A_L, CS, segAttr } from "./segments";

const CR0_KNOWN: u32 = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;
/**
 * VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT, and those named; PCIDE, LA57, PKE are not offered. Nor are VME
 * and PVI, but every guest may set them: without effect.
 */
const CR4_KNOWN: u64 = 0x7ff | CR4_UMIP | CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP;
/** A change of these flushes global entries too. */
const CR4_FLUSHES: u64 = CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP;
/** XCR0: x87 and SSE. */
const XCR0_KNOWN: u64 = 3;

/** Writes CR0 as the guest does. False with #GP(0) raised. */
function setCr0(value: u64): bool {
  const old = load<u32>(CR0);
  const next = (<u32>value & CR0_KNOWN) | CR0_ET;
  let bad = value >> 32 != 0 || ((next & CR0_PG) != 0 && (next & CR0_PE) == 0) || ((next & CR0_NW) != 0 && (next & CR0_CD) == 0);
  const changed = old ^ next;
  let efer = load<u64>(EFER);
  if ((changed & next & CR0_PG) != 0) {
    const pae = (load<u32>(CR4) & CR4_PAE) != 0;
    if ((efer & EFER_LME) != 0) {
      bad = bad || !pae || (segAttr(CS) & A_L) != 0;
      efer |= EFER_LMA;
    } else if (pae && !bad) bad = !loadPdptes(load<u64>(CR3));
  } else if ((changed & CR0_PG) != 0) {
    bad = bad || load<u32>(CODE_SIZE) == 2;
    efer &= ~(<u64>EFER_LMA);
  }
  if (bad) {
    raiseErr(V_GP, 0);
    return false;
  }
  store<u64>(CR0, next);
  store<u64>(EFER, efer);
  if ((changed & (CR0_PE | CR0_PG | CR0_WP)) != 0) flushAll();
  updateMode();
  return true;
}

function setCr3(value: u64): bool {
  if (isLong()) {
    if (value >> MAX_PHYS_BITS != 0) {
      raiseErr(V_GP, 0);
      return false;
    }
  } else {
    value &= 0xffffffff;
    const pae = (load<u32>(CR4) & CR4_PAE) != 0 && (load<u32>(CR0) & CR0_PG) != 0;
    if (pae && !loadPdptes(value)) {
      raiseErr(V_GP, 0);
      return false;
    }
  }
  store<u64>(CR3, value);
  flushNonGlobal();
  return true;
}

function setCr4(value: u64): bool {
  const old = load<u64>(CR4);
  const changed = old ^ value;
  let bad = (value & (~CR4_KNOWN | load<u64>(CR4_HIDDEN))) != 0;
  if (isLong()) bad = bad || (value & CR4_PAE) == 0;
  else if (!bad && (load<u32>(CR0) & CR0_PG) != 0 && (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP)) != 0 && (value & CR4_PAE) != 0) {
    bad = !loadPdptes(load<u64>(CR3));
  }
  if (bad) {
    raiseErr(V_GP, 0);
    return false;
  }
  store<u64>(CR4, value);
  if ((changed & CR4_FLUSHES) != 0) flushAll();
  updateTlb();
  return true;
}

/** MOV reg,CRn: 64 bits in 64-bit code, else 32. */
export function mov_RC(p: u32): u32 {
  let at: u32;
  switch (Rec.a(p)) {
    case 0: at = CR0; break;
    case 2: at = CR2; break;
    case 3: at = CR3; break;
    case 4: at = CR4; break;
    case 8: at = CR8; break;
    default: return raise(V_UD);
  }
  if (load<u32>(CPL) != 0) return raiseErr(V_GP, 0);
  store<u64>(Rec.b(p), wide() ? load<u64>(at) : load<u32>(at));
  return R_NEXT;
}

function wide(): bool {
  return load<u32>(CODE_SIZE) == 2;
}

/** MOV CRn,reg. */
export function mov_CR(p: u32): u32 {
  const n = Rec.a(p);
  if (n != 0 && n != 2 && n != 3 && n != 4 && n != 8) return raise(V_UD);
  if (load<u32>(CPL) != 0) return raiseErr(V_GP, 0);
  const value: u64 = wide() ? load<u64>(Rec.b(p)) : load<u32>(Rec.b(p));
  if (n == 2) {
    store<u64>(CR2, value);
    return R_NEXT;
  }
  if (n == 8) {
    if (value > 15) return raiseErr(V_GP, 0);
    store<u64>(CR8, value);
    leaveTo(p);
    store<u32>(EXIT, X_CR8_WRITE);
    return R_EXIT;
  }
  const ok = n == 0 ? setCr0(value) : n == 3 ? setCr3(value) : setCr4(value);
  return ok ? leaveTo(p) : R_FAULT;
}

export function clts(p: u32): u32 {
  if (load<u32>(CPL) != 0) return raiseErr(V_GP, 0);
  store<u64>(CR0, load<u64>(CR0) & ~(<u64>CR0_TS));
  updateTlb();
  return R_NEXT;
}

/** LMSW: PE, MP, EM, TS; PE can be set only. */
export function lmsw(p: u32): u32 {
  if (load<u32>(CPL) != 0) return raiseErr(V_GP, 0);
  const value: u32 = rdE<u16>(p);
  if (faulted()) return R_FAULT;
  const old = load<u32>(CR0);
  return setCr0((old & ~0xe) | (value & 0xf)) ? leaveTo(p) : R_FAULT;
}

/** Whether CR4.UMIP forbids an instruction that shows system state; raises #GP(0). */
export function umip(): bool {
  if ((load<u32>(CR4) & CR4_UMIP) == 0 || load<u32>(CPL) == 0) return false;
  raiseErr(V_GP, 0);
  return true;
}

/** SMSW: 16 bits to memory, as many as the operand has to a register. */
export function smsw<T>(p: u32): u32 {
  if (umip()) return R_FAULT;
  if ((Rec.flags(p) & RF_MEM) != 0) wrE<u16>(p, load<u16>(CR0));
  else wrReg<T>(Rec.b(p), load<T>(CR0));
  return faulted() ? R_FAULT : R_NEXT;
}

/** Address of the debug register an instruction names, or 0 with #UD, #GP or #DB raised. */
function debugRegister(n: u32): u32 {
  if (n > 7 || ((n == 4 || n == 5) && (load<u32>(CR4) & 8) != 0)) {
    raise(V_UD);
    return 0;
  }
  if (load<u32>(CPL) != 0) {
    raiseErr(V_GP, 0);
    return 0;
  }
  if ((dr7InForce() & DR7_GD) != 0) {
    raiseDebug(DR6_BD);
    return 0;
  }
  if (n < 4) return DR0 + (n << 3);
  return (n & 1) == 0 ? DR6 : DR7;
}

/** MOV reg,DRn. */
export function mov_RD(p: u32): u32 {
  const at = debugRegister(Rec.a(p));
  if (at == 0) return R_FAULT;
  store<u64>(Rec.b(p), wide() ? load<u64>(at) : load<u32>(at));
  return R_NEXT;
}

/** MOV DRn,reg. */
export function mov_DR(p: u32): u32 {
  const at = debugRegister(Rec.a(p));
  if (at == 0) return R_FAULT;
  let value: u64 = wide() ? load<u64>(Rec.b(p)) : load<u32>(Rec.b(p));
  if (at == DR6 || at == DR7) {
    if (value >> 32 != 0) return raiseErr(V_GP, 0);
    value = at == DR6 ? (value & 0xe00f) | DR6_FIXED : (value & 0xffff23ff) | 0x400;
  }
  store<u64>(at, value);
  if (at != DR6) updateBreakpoints();
  return leaveTo(p);
}

/** XGETBV: only XCR0 exists. */
export function xgetbv(): u32 {
  if ((load<u32>(CR4) & CR4_OSXSAVE) == 0) return raise(V_UD);
  if (rdReg<u32>(GPR + 8) != 0) return raiseErr(V_GP, 0);
  const value = load<u64>(XCR0);
  store<u64>(GPR, value & 0xffffffff);
  store<u64>(GPR + 16, value >> 32);
  return R_NEXT;
}

export function xsetbv(p: u32): u32 {
  if ((load<u32>(CR4) & CR4_OSXSAVE) == 0) return raise(V_UD);
  const value: u64 = <u64>load<u32>(GPR) | (<u64>load<u32>(GPR + 16) << 32);
  const reserved = ~XCR0_KNOWN | load<u64>(XCR0_HIDDEN);
  if (load<u32>(CPL) != 0 || rdReg<u32>(GPR + 8) != 0 || (value & 1) == 0 || (value & reserved) != 0) return raiseErr(V_GP, 0);
  store<u64>(XCR0, value);
  return leaveTo(p);
}
