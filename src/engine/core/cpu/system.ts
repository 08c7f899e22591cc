/**
 * LGDT LIDT SGDT SIDT, INVLPG, INVPCID, CPUID, RDTSC, RDTSCP, RDPID, RDPMC, RDRAND, RDSEED, STAC, CLAC,
 * MONITOR, MWAIT, and the register forms of 0F 01 (AMD64 manual volume 3, under these names).
 */
import {
  CODE_SIZE, CPL, CR4, EXIT_AUX, EXIT_SIZE, FLAGS, GDT_BASE, GDT_LIMIT, GPR, HIDDEN, IDT_BASE, IDT_LIMIT, RNG, SEG, TSC_AUX,
} from "../state.gen";
import { R_FAULT, R_NEXT, V_GP, V_UD, X_CPUID, X_HYPERCALL, X_MWAIT, faulted, raise, raiseErr, raiseExit } from "../fault";
import { AC, CF, setCcExplicit } from "../flags";
import { Rec } from "../record";
import { eaLinear, eaOffset, linear, rdG, wrReg } from "../operands";
import { ld, st } from "../mem";
import { isCanonical } from "../mmu/access";
import { flushAll, flushNonGlobal, flushPage } from "../mmu/tlb";
import { tscNow } from "./clock";
import { umip, xgetbv, xsetbv } from "./control";
import { leaveTo } from "./ip";
import { CR4_SMAP, CR4_TSD, is64, updateTlb } from "./mode";
import { swapgs } from "./syscall";

const RAX: u32 = GPR;
const RCX: u32 = GPR + 8;
const RDX: u32 = GPR + 16;

const HIDDEN_RDTSCP: u32 = 1;
const HIDDEN_INVPCID: u32 = 2;
const HIDDEN_RDPID: u32 = 4;

/**
 * Whether the guest's CPUID hides an instruction, which is #UD then. A hypervisor does that by intercept,
 * which the processor looks at behind the checks of privilege.
 */
function isHidden(instruction: u32): bool {
  return (load<u32>(HIDDEN) & instruction) != 0;
}

function privileged(): bool {
  if (load<u32>(CPL) == 0) return true;
  raiseErr(V_GP, 0);
  return false;
}

/** Linear address of the base in a table operand; its limit is the word before it. */
function tableBase(p: u32, write: bool): u64 {
  const mask: u64 = Rec.asize(p) == 2 ? ~0 : Rec.asize(p) == 1 ? 0xffffffff : 0xffff;
  return linear(Rec.seg(p), (eaOffset(p) + 2) & mask, is64() ? 8 : 4, write);
}

function storeTable(p: u32, base: u64, limit: u32): u32 {
  if (umip()) return R_FAULT;
  const at = eaLinear(p, 2, true);
  if (faulted()) return R_FAULT;
  const at2 = tableBase(p, true);
  if (faulted()) return R_FAULT;
  st<u16>(at, <u16>limit);
  if (faulted()) return R_FAULT;
  if (is64()) st<u64>(at2, base);
  else st<u32>(at2, <u32>base);
  return faulted() ? R_FAULT : R_NEXT;
}

export function sgdt(p: u32): u32 {
  return storeTable(p, load<u64>(GDT_BASE), load<u32>(GDT_LIMIT));
}
export function sidt(p: u32): u32 {
  return storeTable(p, load<u64>(IDT_BASE), load<u32>(IDT_LIMIT));
}

/** LGDT and LIDT: with 16-bit operands the base has 24 bits. */
function loadTable<T>(p: u32, base: u32, limit: u32): u32 {
  if (!privileged()) return R_FAULT;
  const at = eaLinear(p, 2, false);
  if (faulted()) return R_FAULT;
  const at2 = tableBase(p, false);
  if (faulted()) return R_FAULT;
  const bytes: u32 = ld<u16>(at);
  if (faulted()) return R_FAULT;
  let value: u64 = is64() ? ld<u64>(at2) : <u64>ld<u32>(at2);
  if (faulted()) return R_FAULT;
  if (is64()) {
    if (!isCanonical(value)) return raiseErr(V_GP, 0);
  } else if (sizeof<T>() == 2) value &= 0xffffff;
  store<u64>(base, value);
  store<u32>(limit, bytes);
  return R_NEXT;
}

export function lgdt<T>(p: u32): u32 {
  return loadTable<T>(p, GDT_BASE, GDT_LIMIT);
}
export function lidt<T>(p: u32): u32 {
  return loadTable<T>(p, IDT_BASE, IDT_LIMIT);
}

/** INVLPG: no limit or type check; an address that is not canonical does nothing. */
export function invlpg(p: u32): u32 {
  if (!privileged()) return R_FAULT;
  let va = eaOffset(p);
  const seg = Rec.seg(p);
  if (!is64()) va = (va + load<u64>(SEG + (seg << 4), 8)) & 0xffffffff;
  else if (seg >= 4) va += load<u64>(SEG + (seg << 4), 8);
  if (isCanonical(va)) flushPage(va);
  return leaveTo(p);
}

/** INVPCID with process-context identifiers off: only number 0 exists. */
export function invpcid(p: u32): u32 {
  if (!privileged()) return R_FAULT;
  if (isHidden(HIDDEN_INVPCID)) return raise(V_UD);
  const kind: u64 = load<u32>(CODE_SIZE) == 2 ? rdG<u64>(p) : <u64>rdG<u32>(p);
  const at = eaLinear(p, 16, false);
  if (faulted()) return R_FAULT;
  const id = ld<u64>(at);
  if (faulted()) return R_FAULT;
  const va = ld<u64>(at + 8);
  if (faulted()) return R_FAULT;
  if (kind > 3 || (kind < 2 && id != 0) || (kind == 0 && !isCanonical(va))) return raiseErr(V_GP, 0);
  if (kind == 0) flushPage(va);
  else if (kind == 2) flushAll();
  else flushNonGlobal();
  return leaveTo(p);
}

/** CPUID is answered outside. */
export function cpuid(p: u32): u32 {
  store<u32>(EXIT_SIZE, Rec.len(p));
  return raiseExit(X_CPUID);
}

function mayReadTsc(): bool {
  return (load<u32>(CR4) & CR4_TSD) == 0 || privileged();
}

function putTsc(p: u32): void {
  const now = tscNow(p);
  store<u64>(RAX, now & 0xffffffff);
  store<u64>(RDX, now >> 32);
}

export function rdtsc(p: u32): u32 {
  if (!mayReadTsc()) return R_FAULT;
  putTsc(p);
  return R_NEXT;
}

function rdtscp(p: u32): u32 {
  if (!mayReadTsc()) return R_FAULT;
  if (isHidden(HIDDEN_RDTSCP)) return raise(V_UD);
  putTsc(p);
  store<u64>(RCX, load<u32>(TSC_AUX));
  return R_NEXT;
}

/** RDPID: to a whole register, which has 64 bits in 64-bit code whatever REX.W says. */
export function rdpid(p: u32): u32 {
  if (isHidden(HIDDEN_RDPID)) return raise(V_UD);
  store<u64>(Rec.b(p), load<u32>(TSC_AUX));
  return R_NEXT;
}

/** RDPMC: there are no counters. */
export function rdpmc(p: u32): u32 {
  return raiseErr(V_GP, 0);
}

/** RDRAND, RDSEED: the next number of the vCPU's generator (splitmix64), always ready. */
export function rdrand<T>(p: u32): u32 {
  const state = load<u64>(RNG) + 0x9e3779b97f4a7c15;
  store<u64>(RNG, state);
  let z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  wrReg<T>(Rec.b(p), <T>(z ^ (z >> 31)));
  setCcExplicit(CF);
  return R_NEXT;
}

function setAc(p: u32, on: bool): u32 {
  if (load<u32>(CPL) != 0) return raise(V_UD);
  const flags = load<u64>(FLAGS);
  store<u64>(FLAGS, on ? flags | AC : flags & ~AC);
  if ((load<u32>(CR4) & CR4_SMAP) != 0) updateTlb();
  return R_NEXT;
}

function hypercall(kind: u32): u32 {
  store<u32>(EXIT_AUX, kind);
  return raiseExit(X_HYPERCALL);
}

/** 0F 01 /0 with a register: VMCALL. */
export function group_0(p: u32): u32 {
  return Rec.rm3(p) == 1 ? hypercall(0) : raise(V_UD);
}

/** MONITOR, MWAIT (no hint in ECX exists): what they do is decided outside. */
function idleHint(p: u32, kind: u32): u32 {
  if (load<u32>(CPL) != 0) return raise(V_UD);
  if (load<u32>(RCX) != 0) return raiseErr(V_GP, 0);
  store<u32>(EXIT_AUX, kind);
  store<u32>(EXIT_SIZE, Rec.len(p));
  return raiseExit(X_MWAIT);
}

/** 0F 01 /1 with a register: MONITOR, MWAIT, CLAC, STAC. */
export function group_1(p: u32): u32 {
  const n = Rec.rm3(p);
  if (n < 2) return idleHint(p, n);
  return n < 4 ? setAc(p, n == 3) : raise(V_UD);
}

/** 0F 01 /2 with a register: XGETBV, XSETBV. */
export function group_2(p: u32): u32 {
  const n = Rec.rm3(p);
  return n == 0 ? xgetbv() : n == 1 ? xsetbv(p) : raise(V_UD);
}

/** 0F 01 /3 with a register: VMMCALL; the other SVM instructions do not exist. */
export function group_3(p: u32): u32 {
  return Rec.rm3(p) == 1 ? hypercall(1) : raise(V_UD);
}

/** 0F 01 /7 with a register: SWAPGS, RDTSCP. */
export function group_7(p: u32): u32 {
  const n = Rec.rm3(p);
  return n == 0 ? swapgs() : n == 1 ? rdtscp(p) : raise(V_UD);
}
