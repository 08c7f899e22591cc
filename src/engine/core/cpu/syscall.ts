/**
 * SYSCALL SYSRET SYSENTER SYSEXIT SWAPGS RDFSBASE RDGSBASE WRFSBASE WRGSBASE (AMD64 manual volume 3,
 * under these names). As on AMD processors, SYSCALL also works in legacy and compatibility mode,
 * and SYSENTER and SYSEXIT do not in long mode.
 */
import {
  CPL, CR4, CSTAR, EFER, FLAGS, GPR, KERNEL_GS_BASE, LSTAR, RIP, SEG, SFMASK, STAR, SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP,
} from "../state.gen";
import { R_JUMP, R_NEXT, V_GP, V_UD, raise, raiseErr } from "../fault";
import { AC, ARITH, DF, ID, IF, IOPL, NT, RF, TF, VIF, VIP, VM, getFlags, setFlags } from "../flags";
import { Rec, RF_W } from "../record";
import { rdReg, wrReg } from "../operands";
import { trapByNewTf } from "./debug";
import { nextRip } from "./ip";
import { CR4_FSGSBASE, EFER_SCE, is64, isLong, isProtected, updateMode } from "./mode";
import { CS, FS, GS, SS, putSeg } from "./segments";

const RCX: u32 = GPR + 8;
const RDX: u32 = GPR + 16;
const RSP: u32 = GPR + 32;
const R11: u32 = GPR + 88;

// Attributes of the flat segments that these instructions load, without DPL.
const CODE64: u32 = 0xa9b;
const CODE32: u32 = 0xc9b;
const DATA: u32 = 0xc93;

/** Loads flat CS and SS at a privilege level; `attr` is CODE64 or CODE32. */
function flat(cs: u32, ss: u32, attr: u32, cpl: u32): void {
  putSeg(CS, (cs & 0xfffc) | cpl, attr | (cpl << 5), 0xffffffff, 0);
  putSeg(SS, (ss & 0xfffc) | cpl, DATA | (cpl << 5), 0xffffffff, 0);
  store<u32>(CPL, cpl);
}

export function syscall(p: u32): u32 {
  if ((load<u32>(EFER) & EFER_SCE) == 0 || !isProtected()) return raise(V_UD);
  const star = load<u64>(STAR);
  const cs = <u32>(star >> 32) & 0xffff;
  const next = nextRip(p);
  store<u64>(RCX, next);
  if (isLong()) {
    const flags = getFlags() & ~RF;
    store<u64>(R11, flags);
    store<u64>(RIP, is64() ? load<u64>(LSTAR) : load<u64>(CSTAR));
    setFlags(flags & ~load<u64>(SFMASK));
    flat(cs, cs + 8, CODE64, 0);
  } else {
    store<u64>(RIP, star & 0xffffffff);
    store<u64>(FLAGS, load<u64>(FLAGS) & ~(IF | RF | VM));
    flat(cs, cs + 8, CODE32, 0);
  }
  trapByNewTf();
  updateMode();
  return R_JUMP;
}

/** SYSRET: to 64-bit code with REX.W, else to 32-bit code. A return address that is not canonical faults there. */
export function sysret(p: u32): u32 {
  if ((load<u32>(EFER) & EFER_SCE) == 0 || !isProtected()) return raise(V_UD);
  if (load<u32>(CPL) != 0) return raiseErr(V_GP, 0);
  const cs = <u32>(load<u64>(STAR) >> 48);
  const wide = (Rec.flags(p) & RF_W) != 0;
  if (isLong()) {
    setFlags(load<u64>(R11) & (ARITH | TF | IF | DF | IOPL | NT | AC | VIF | VIP | ID));
    if (wide) {
      store<u64>(RIP, load<u64>(RCX));
      flat(cs + 16, cs + 8, CODE64, 3);
    } else {
      store<u64>(RIP, load<u32>(RCX));
      flat(cs, cs + 8, CODE32, 3);
    }
  } else {
    store<u64>(RIP, load<u32>(RCX));
    store<u64>(FLAGS, load<u64>(FLAGS) | IF);
    flat(cs, cs + 8, CODE32, 3);
  }
  trapByNewTf();
  updateMode();
  return R_JUMP;
}

export function sysenter(p: u32): u32 {
  if (isLong()) return raise(V_UD);
  const cs = load<u32>(SYSENTER_CS) & 0xffff;
  if (!isProtected() || (cs & 0xfffc) == 0) return raiseErr(V_GP, 0);
  store<u64>(FLAGS, load<u64>(FLAGS) & ~(IF | VM | RF));
  store<u64>(RSP, load<u32>(SYSENTER_ESP));
  store<u64>(RIP, load<u32>(SYSENTER_EIP));
  flat(cs, cs + 8, CODE32, 0);
  updateMode();
  return R_JUMP;
}

export function sysexit(p: u32): u32 {
  if (isLong()) return raise(V_UD);
  const cs = load<u32>(SYSENTER_CS) & 0xffff;
  if (!isProtected() || load<u32>(CPL) != 0 || (cs & 0xfffc) == 0) return raiseErr(V_GP, 0);
  store<u64>(RSP, load<u32>(RCX));
  store<u64>(RIP, load<u32>(RDX));
  flat(cs + 16, cs + 24, CODE32, 3);
  updateMode();
  return R_JUMP;
}

export function swapgs(): u32 {
  if (!is64()) return raise(V_UD);
  if (load<u32>(CPL) != 0) return raiseErr(V_GP, 0);
  const base = load<u64>(SEG + (GS << 4), 8);
  store<u64>(SEG + (GS << 4), load<u64>(KERNEL_GS_BASE), 8);
  store<u64>(KERNEL_GS_BASE, base);
  return R_NEXT;
}

function baseAllowed(): bool {
  return is64() && (load<u32>(CR4) & CR4_FSGSBASE) != 0;
}

function readBase<T>(p: u32, seg: u32): u32 {
  if (!baseAllowed()) return raise(V_UD);
  wrReg<T>(Rec.b(p), <T>load<u64>(SEG + (seg << 4), 8));
  return R_NEXT;
}

function writeBase<T>(p: u32, seg: u32): u32 {
  if (!baseAllowed()) return raise(V_UD);
  const value = <u64>rdReg<T>(Rec.b(p));
  if (<u64>((<i64>value << 16) >> 16) != value) return raiseErr(V_GP, 0);
  store<u64>(SEG + (seg << 4), value, 8);
  return R_NEXT;
}

export function rdfsbase<T>(p: u32): u32 {
  return readBase<T>(p, FS);
}
export function rdgsbase<T>(p: u32): u32 {
  return readBase<T>(p, GS);
}
export function wrfsbase<T>(p: u32): u32 {
  return writeBase<T>(p, FS);
}
export function wrgsbase<T>(p: u32): u32 {
  return writeBase<T>(p, GS);
}
