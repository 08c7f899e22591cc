/**
 * Returns through a far pointer on the stack: RET far and IRET (AMD64 manual volume 3 under these
 * names, and volume 2, 8.9). The checks are shared; everything is checked before anything changes.
 */
import { CODE_SIZE, CPL, FLAGS, GPR, IRET_EXIT, RIP } from "../state.gen";
import { R_FAULT, R_JUMP, V_GP, V_NP, X_IRET, faulted, raiseErr, raiseExit } from "../fault";
import { AC, ARITH, DF, ID, IF, IOPL, NT, RF, TF, VIF, VIP, VM, setFlags } from "../flags";
import { Rec } from "../record";
import { isCanonical } from "../mmu/access";
import { readSpan } from "../mem";
import { loadedRf } from "./debug";
import { isLong, isReal, isVm86, updateMode, updateTlb } from "./mode";
import {
  A_ACCESSED, A_CODE, A_DB, A_DOWN, A_L, A_P, A_S, A_WRITABLE, CS, DS, ES, FS, GS, SS, checkStackSeg, descAttr, descBase, descLimit,
  dplOf, isLoaded, markAccessed, putParagraph, putSeg, readDescriptor, segAttr, segBase, segLimit,
} from "./segments";
import { moveStack, peek } from "./stack";
import { returnFromTask } from "./task";

const RSP: u32 = GPR + 32;

// The code and stack segment that are returned to, once checked.
let codeSelector: u32 = 0;
let codeAttr: u32 = 0;
let codeLimit: u32 = 0;
let codeBase: u32 = 0;
let to64: bool = false;
let stackSelector: u32 = 0;
let stackAttr: u32 = 0;
let stackLimit: u32 = 0;
let stackBase: u32 = 0;

/** Checks the code segment that a return pops. */
function checkCode(selector: u32): bool {
  if ((selector & 0xfffc) == 0) {
    raiseErr(V_GP, 0);
    return false;
  }
  if (!readDescriptor(selector, V_GP, 0)) return false;
  const attr = descAttr();
  const rpl = selector & 3;
  const dpl = dplOf(attr);
  to64 = isLong() && (attr & A_L) != 0;
  let bad = (attr & (A_S | A_CODE)) != (A_S | A_CODE) || rpl < load<u32>(CPL) || (to64 && (attr & A_DB) != 0);
  bad = bad || ((attr & A_DOWN) != 0 ? dpl > rpl : dpl != rpl);
  if (bad) {
    raiseErr(V_GP, selector & 0xfffc);
    return false;
  }
  if ((attr & A_P) == 0) {
    raiseErr(V_NP, selector & 0xfffc);
    return false;
  }
  codeSelector = selector;
  codeLimit = descLimit();
  codeBase = descBase();
  if (!markAccessed()) return false;
  codeAttr = descAttr();
  return true;
}

/** Checks the instruction pointer that a return pops: last, after the stack on the way to an outer level. */
function checkTarget(ip: u64): bool {
  if (to64 ? isCanonical(ip) : ip <= codeLimit) return true;
  raiseErr(V_GP, 0);
  return false;
}

/** Checks the stack segment that a return pops, after checkCode(). */
function checkStack(selector: u32): bool {
  const rpl = codeSelector & 3;
  stackSelector = selector;
  if ((selector & 0xfffc) == 0) {
    if (!to64 || rpl == 3 || (selector & 3) != rpl) {
      raiseErr(V_GP, 0);
      return false;
    }
    stackAttr = rpl << 5;
    stackLimit = 0;
    stackBase = 0;
    return true;
  }
  if (!checkStackSeg(selector, rpl, V_GP, 0) || !markAccessed()) return false;
  stackAttr = descAttr();
  stackLimit = descLimit();
  stackBase = descBase();
  return true;
}

/** Loads the checked code segment. */
function commitCode(ip: u64): void {
  putSeg(CS, codeSelector, codeAttr, codeLimit, codeBase);
  store<u64>(RIP, ip);
}

/** Loads the checked stack segment and the stack pointer; `sp` is as wide as the new stack. */
function commitStack(sp: u64): void {
  putSeg(SS, stackSelector, stackAttr, stackLimit, stackBase);
  if (to64) store<u64>(RSP, sp);
  else if ((stackAttr & A_DB) != 0) store<u64>(RSP, sp & 0xffffffff);
  else store<u16>(RSP, <u16>sp);
}

/**
 * Enters the privilege level of the checked code segment; data segments that it may not use become null: of
 * them, the selector and the present bit are cleared, base and limit stay. (The manuals say "null" only; the
 * processors that KVM was recorded on do this.)
 */
function commitOuter(): void {
  const cpl = codeSelector & 3;
  store<u32>(CPL, cpl);
  dropInner(ES, cpl);
  dropInner(DS, cpl);
  dropInner(FS, cpl);
  dropInner(GS, cpl);
}

function dropInner(seg: u32, cpl: u32): void {
  const attr = segAttr(seg);
  const conforming = (attr & (A_CODE | A_DOWN)) == (A_CODE | A_DOWN);
  if ((attr & A_P) != 0 && !conforming && dplOf(attr) < cpl) putSeg(seg, 0, attr & ~A_P, segLimit(seg), segBase(seg));
}

/** RET far, in real and virtual-8086 mode: pops the pointer, then `extra` bytes. */
function returnReal<T>(extra: u32): u32 {
  const ip = <u64>peek<T>(0);
  if (faulted()) return R_FAULT;
  const selector = <u32>peek<T>(sizeof<T>()) & 0xffff;
  if (faulted()) return R_FAULT;
  if (ip > segLimit(CS)) return raiseErr(V_GP, 0);
  moveStack(2 * sizeof<T>() + extra);
  putParagraph(CS, selector);
  store<u64>(RIP, ip);
  updateMode();
  return R_JUMP;
}

function returnFar<T>(extra: u32): u32 {
  if (isReal()) return returnReal<T>(extra);
  const ip = <u64>peek<T>(0);
  if (faulted()) return R_FAULT;
  const selector = <u32>peek<T>(sizeof<T>()) & 0xffff;
  if (faulted()) return R_FAULT;
  const outer = (selector & 3) != load<u32>(CPL);
  if (!outer) {
    if (!checkCode(selector) || !checkTarget(ip)) return R_FAULT;
    moveStack(2 * sizeof<T>() + extra);
    commitCode(ip);
  } else {
    // The whole frame is read before any of it is looked at, even on the way inwards, which is refused.
    const sp = <u64>peek<T>(2 * <u32>sizeof<T>() + extra);
    if (faulted()) return R_FAULT;
    const ss = <u32>peek<T>(3 * <u32>sizeof<T>() + extra) & 0xffff;
    if (faulted() || !checkCode(selector) || !checkStack(ss) || !checkTarget(ip)) return R_FAULT;
    commitCode(ip);
    commitStack(sp + extra);
    commitOuter();
  }
  updateMode();
  return R_JUMP;
}

export function retf<T>(p: u32): u32 {
  return returnFar<T>(0);
}

/** RET far imm16: the immediate is unsigned. */
export function retf_I<T>(p: u32): u32 {
  return returnFar<T>(Rec.imm(p) & 0xffff);
}

/** Replaces the bits of RFLAGS that IRET may change at the current privilege level. */
function popFlags<T>(value: u64): void {
  const old = load<u64>(FLAGS); // the arithmetic flags are all replaced
  const cpl: u64 = load<u32>(CPL);
  let mask = ARITH | TF | DF | NT;
  if (sizeof<T>() != 2) mask |= RF | AC | ID;
  if (cpl <= (old & IOPL) >> 12) mask |= IF;
  if (cpl == 0) mask |= sizeof<T>() != 2 ? IOPL | VIF | VIP : IOPL;
  setFlags((old & ~(mask | RF)) | (value & mask));
  loadedRf();
}

function iretReal<T>(): u32 {
  const ip = <u64>peek<T>(0);
  if (faulted()) return R_FAULT;
  const selector = <u32>peek<T>(sizeof<T>()) & 0xffff;
  if (faulted()) return R_FAULT;
  const value = <u64>peek<T>(2 * <u32>sizeof<T>());
  if (faulted()) return R_FAULT;
  if (ip > segLimit(CS)) return raiseErr(V_GP, 0);
  moveStack(3 * sizeof<T>());
  putParagraph(CS, selector);
  store<u64>(RIP, ip);
  popFlags<T>(value);
  updateMode();
  return R_JUMP;
}

/** IRET from privilege level 0 with VM set in the frame: nine doublewords. */
function iretToVm86(ip: u32, cs: u32, flags: u32): u32 {
  for (let i: u32 = 3; i < 9; i++) {
    peek<u32>(i * 4);
    if (faulted()) return R_FAULT;
  }
  const sp = peek<u32>(12);
  const ss = peek<u32>(16) & 0xffff;
  const es = peek<u32>(20) & 0xffff;
  const ds = peek<u32>(24) & 0xffff;
  const fs = peek<u32>(28) & 0xffff;
  const gs = peek<u32>(32) & 0xffff;
  setFlags(<u64>(flags & 0x3f7fd5));
  loadedRf();
  putParagraph(CS, cs);
  putParagraph(SS, ss);
  putParagraph(ES, es);
  putParagraph(DS, ds);
  putParagraph(FS, fs);
  putParagraph(GS, gs);
  store<u64>(RSP, sp);
  store<u64>(RIP, ip);
  store<u32>(CPL, 3);
  updateMode();
  return R_JUMP;
}

function iretProtected<T>(): u32 {
  const size: u32 = sizeof<T>();
  const ip = <u64>peek<T>(0);
  if (faulted()) return R_FAULT;
  const selector = <u32>peek<T>(size) & 0xffff;
  if (faulted()) return R_FAULT;
  const flags = <u64>peek<T>(2 * size);
  if (faulted()) return R_FAULT;
  const cpl = load<u32>(CPL);
  if (sizeof<T>() == 4 && (flags & VM) != 0 && cpl == 0 && !isLong()) return iretToVm86(<u32>ip, selector, <u32>flags);
  if (!checkCode(selector)) return R_FAULT;
  const outer = (selector & 3) != cpl;
  // 64-bit code always pops a stack; others only on the way to an outer level.
  const withStack = outer || load<u32>(CODE_SIZE) == 2;
  let sp: u64 = 0;
  if (withStack) {
    sp = <u64>peek<T>(3 * size);
    if (faulted()) return R_FAULT;
    const ss = <u32>peek<T>(4 * size) & 0xffff;
    if (faulted() || !checkStack(ss) || !checkTarget(ip)) return R_FAULT;
  } else {
    if (!checkTarget(ip)) return R_FAULT;
    moveStack(3 * size);
  }
  popFlags<T>(flags);
  commitCode(ip);
  if (withStack) commitStack(sp);
  if (outer) commitOuter();
  updateMode();
  return R_JUMP;
}

/** What the attributes of 64-bit code have, and of a writable stack, with the DPL as it should be. */
const CODE64: u32 = A_S | A_CODE | A_P | A_L | A_ACCESSED;
const CODE64_MASK: u32 = CODE64 | A_DOWN | A_DB;
const STACK: u32 = A_S | A_WRITABLE | A_P | A_ACCESSED;
const STACK_MASK: u32 = STACK | A_CODE;

/**
 * IRETQ of 64-bit code to 64-bit code with the same segments, as from a handler that interrupted a kernel.
 * False, with nothing changed, when it may be anything else or may fault.
 */
function iretSame(): bool {
  if (load<u32>(CODE_SIZE) != 2) return false;
  const frame = readSpan(load<u64>(RSP), 40);
  if (frame == 0) return false;
  const cpl = load<u32>(CPL);
  const ip = load<u64>(frame);
  const cs: u32 = load<u16>(frame, 8);
  if ((cs & 3) != cpl || !isCanonical(ip)) return false;
  if (!isLoaded(CS, cs, CODE64_MASK, CODE64 | (cpl << 5))) return false;
  if (!isLoaded(SS, load<u16>(frame, 32), STACK_MASK, STACK | (cpl << 5))) return false;
  const sp = load<u64>(frame, 24);
  const before = load<u64>(FLAGS);
  popFlags<u64>(load<u64>(frame, 16));
  store<u64>(RIP, ip);
  store<u64>(RSP, sp);
  if (((load<u64>(FLAGS) ^ before) & AC) != 0) updateTlb();
  return true;
}

/** IRET, IRETD, IRETQ. Its intercept comes before everything that it checks. */
export function iret<T>(p: u32): u32 {
  if (load<u32>(IRET_EXIT) != 0) {
    raiseExit(X_IRET);
    return R_FAULT;
  }
  if (isVm86() && (load<u64>(FLAGS) & IOPL) != IOPL) return raiseErr(V_GP, 0);
  if (isReal()) return iretReal<T>();
  if ((load<u64>(FLAGS) & NT) == 0) return sizeof<T>() == 8 && iretSame() ? R_JUMP : iretProtected<T>();
  return isLong() ? raiseErr(V_GP, 0) : returnFromTask(p);
}
