/**
 * RDMSR and WRMSR (AMD64 manual volume 2, appendix A). The core keeps the registers that change
 * how instructions run; all others leave run() with X_RDMSR or X_WRMSR, as do those that MSR_EXITS says.
 */
import {
  CPL, CR0, EFER, EXIT_ADDR, EXIT_DATA, EXIT_SIZE, GPR, KERNEL_GS_BASE, LSTAR, CSTAR, MSR_EXITS, PAT, SEG, SFMASK, STAR, SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP,
  TSC_AUX,
} from "../state.gen";
import { R_NEXT, V_GP, X_RDMSR, X_WRMSR, raiseErr, raiseExit } from "../fault";
import { Rec } from "../record";
import { flushAll } from "../mmu/tlb";
import { leaveTo } from "./ip";
import { CR0_PG, EFER_AUTOIBRS, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE } from "./mode";

/** Automatic IBRS: kept, without effect, since nothing here speculates. */
const EFER_AIBRSE: u32 = 0x200000;

const RAX: u32 = GPR;
const RCX: u32 = GPR + 8;
const RDX: u32 = GPR + 16;

/** Automatic IBRS is accepted, as CPUID offers it: there is nothing to restrict. */
const EFER_KNOWN: u64 = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_AUTOIBRS;

const MSR_EFER: u32 = 0xc0000080;
const MSR_PAT: u32 = 0x277;
const MSR_SYSENTER_CS: u32 = 0x174;
const MSR_LSTAR: u32 = 0xc0000082;
const MSR_CSTAR: u32 = 0xc0000083;
const MSR_TSC_AUX: u32 = 0xc0000103;

/** Where an MSR lies in the state block; 0 for those the core does not keep. */
function place(index: u32): u32 {
  switch (index) {
    case 0x174: return SYSENTER_CS;
    case 0x175: return SYSENTER_ESP;
    case 0x176: return SYSENTER_EIP;
    case 0x277: return PAT;
    case 0xc0000080: return EFER;
    case 0xc0000081: return STAR;
    case 0xc0000082: return LSTAR;
    case 0xc0000083: return CSTAR;
    case 0xc0000084: return SFMASK;
    case 0xc0000100: return SEG + 4 * 16 + 8;
    case 0xc0000101: return SEG + 5 * 16 + 8;
    case 0xc0000102: return KERNEL_GS_BASE;
    case 0xc0000103: return TSC_AUX;
    default: return 0;
  }
}

/** All MSRs leave run(), or those whose values depend on the guest's CPUID. */
const EXITS_ALL: u32 = 1;
const EXITS_RULED: u32 = 2;

/** Whether the guest's access is decided outside. */
function leaves(index: u32): bool {
  const exits = load<u32>(MSR_EXITS);
  if (place(index) == 0 || (exits & EXITS_ALL) != 0) return true;
  return (exits & EXITS_RULED) != 0 && (index == MSR_EFER || index == MSR_TSC_AUX || index == 0x175 || index == 0x176);
}

/** Whether a value is one of the registers' that must be canonical addresses. On AMD's processors SYSENTER_ESP and _EIP need not be. */
function holdsAddress(index: u32): bool {
  return index == MSR_LSTAR || index == MSR_CSTAR || (index >= 0xc0000100 && index <= 0xc0000102);
}

function canonical(value: u64): bool {
  return <u64>((<i64>value << 16) >> 16) == value;
}

/** Memory types of PAT are 0, 1, 4, 5, 6, 7. */
function goodPat(value: u64): bool {
  for (let i: u64 = 0; i < 64; i += 8) {
    const type = <u32>(value >> i) & 0xff;
    if (type > 7 || type == 2 || type == 3) return false;
  }
  return true;
}

/** Writes EFER; LMA stays. False when the value is not allowed. */
function writeEfer(value: u64, fromGuest: bool): bool {
  const old = load<u64>(EFER);
  if ((value & ~(<u64>(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_AIBRSE))) != 0) return false;
  if (fromGuest && ((old ^ value) & EFER_LME) != 0 && (load<u32>(CR0) & CR0_PG) != 0) return false;
  const next = fromGuest ? (value & ~(<u64>EFER_LMA)) | (old & EFER_LMA) : value;
  store<u64>(EFER, next);
  if (((old ^ next) & EFER_NXE) != 0) flushAll();
  return true;
}

function writeMsr(index: u32, value: u64, fromGuest: bool): bool {
  if (index == MSR_EFER) return writeEfer(value, fromGuest);
  if (holdsAddress(index) && !canonical(value)) return false;
  if (index == MSR_PAT && !goodPat(value)) return false;
  if (index == MSR_TSC_AUX && value >> 32 != 0) return false;
  // Of a guest the processor keeps a selector: above it nothing is defined, and nothing faults (Linux 6.12 on AMD was asked).
  store<u64>(place(index), index == MSR_SYSENTER_CS && fromGuest ? value & 0xffff : value);
  return true;
}

/** Whether the core keeps this MSR. */
export function msrKnown(index: u32): bool {
  return place(index) != 0;
}

/** Value of an MSR the core keeps; 0 for others. */
export function hostReadMsr(index: u32): u64 {
  const at = place(index);
  return at == 0 ? 0 : load<u64>(at);
}

/** Sets an MSR from outside, LMA included. False when the core does not keep it, or the value is not allowed. */
export function hostWriteMsr(index: u32, value: u64): bool {
  return place(index) != 0 && writeMsr(index, value, false);
}

export function rdmsr(p: u32): u32 {
  if (load<u32>(CPL) != 0) return raiseErr(V_GP, 0);
  const index = load<u32>(RCX);
  if (leaves(index)) {
    store<u64>(EXIT_ADDR, index);
    store<u32>(EXIT_SIZE, Rec.len(p));
    return raiseExit(X_RDMSR);
  }
  const value = load<u64>(place(index));
  store<u64>(RAX, value & 0xffffffff);
  store<u64>(RDX, value >> 32);
  return R_NEXT;
}

export function wrmsr(p: u32): u32 {
  if (load<u32>(CPL) != 0) return raiseErr(V_GP, 0);
  const index = load<u32>(RCX);
  const value: u64 = <u64>load<u32>(RAX) | (<u64>load<u32>(RDX) << 32);
  if (leaves(index)) {
    store<u64>(EXIT_ADDR, index);
    store<u64>(EXIT_DATA, value);
    store<u32>(EXIT_SIZE, Rec.len(p));
    return raiseExit(X_WRMSR);
  }
  return writeMsr(index, value, true) ? leaveTo(p) : raiseErr(V_GP, 0);
}
