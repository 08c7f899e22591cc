/**
 * FXSAVE FXRSTOR XSAVE XSAVEOPT XRSTOR for the x87 and SSE state (Intel SDM volume 1, 10.5 and chapter 13;
 * volume 2). XSAVEOPT leaves out what is in its initial state, and nothing else. The compacted format
 * (XSAVEC, XSAVES) does not exist.
 */
import {
  CODE_SIZE, CR0, CR4, FCS, FCW, FDP, FDS, FIP, FOP, FPR, FSW, FTW, GPR, MXCSR, XCR0, XMM,
} from "../state.gen";
import { R_FAULT, R_NEXT, V_GP, V_NM, V_UD, faulted, raise, raiseErr } from "../fault";
import { Rec, RF_W } from "../record";
import { eaLinear } from "../operands";
import { ld, st as stMem, ld128, st128, probeWrite } from "../mem";
import { addressFits } from "../mmu/access";
import { st } from "./regs";
import { initFpu, setStatus } from "./x87-control";

const CR0_TS: u64 = 8;
const CR0_EM_TS: u64 = 12;
const CR4_OSFXSR: u64 = 0x200;
const CR4_OSXSAVE: u64 = 0x40000;
/** Bits of MXCSR that may be set. */
export const MXCSR_MASK: u32 = 0xffff;
const X87: u64 = 1;
const SSE: u64 = 2;

/** XMM registers that the code size can name. */
function xmmCount(): u32 {
  return load<u32>(CODE_SIZE) == 2 ? 16 : 8;
}

/** Stores, unless a store before has left run() for device memory: those must be repeated one by one. */
function put64(va: u64, value: u64): void {
  if (!faulted()) stMem<u64>(va, value);
}

/** As put64(), 16 bytes. */
function put128(va: u64, value: v128): void {
  if (!faulted()) st128(va, value);
}

/** As put64(), a load. */
function get64(va: u64): u64 {
  return faulted() ? 0 : ld<u64>(va);
}

/** Stores control words, pointers and the x87 registers. */
function putX87(va: u64, wide: bool): void {
  const words: u64 = <u64>load<u32>(FCW) | (<u64>load<u32>(FSW) << 16);
  put64(va, words | (<u64>load<u32>(FTW) << 32) | (<u64>load<u32>(FOP) << 48));
  if (wide) {
    put64(va + 8, load<u64>(FIP));
    put64(va + 16, load<u64>(FDP));
  } else {
    put64(va + 8, <u64>load<u32>(FIP) | (<u64>load<u32>(FCS) << 32));
    put64(va + 16, <u64>load<u32>(FDP) | (<u64>load<u32>(FDS) << 32));
  }
  for (let i: u32 = 0; i < 8; i++) put128(va + 32 + i * 16, v128.load(st(i)));
}

function putMxcsr(va: u64): void {
  put64(va + 24, <u64>load<u32>(MXCSR) | (<u64>MXCSR_MASK << 32));
}

function putXmm(va: u64): void {
  const count = xmmCount();
  for (let i: u32 = 0; i < count; i++) put128(va + 160 + i * 16, v128.load(XMM + (i << 4)));
}

/** FIP as the FPU keeps it: 57 bits, sign-extended, as processors with 5-level paging do. */
function extend57(va: u64): u64 {
  return <u64>((<i64>va << 7) >> 7);
}

/** Loads what putX87() stores. */
function getX87(va: u64, wide: bool): void {
  const head = get64(va);
  store<u32>(FCW, (<u32>head & 0x1f3f) | 0x40);
  setStatus(<u32>head >> 16);
  store<u32>(FTW, <u32>(head >> 32) & 0xff);
  store<u32>(FOP, <u32>(head >> 48) & 0x7ff);
  const ip = get64(va + 8), dp = get64(va + 16);
  store<u64>(FIP, wide ? extend57(ip) : ip & 0xffffffff);
  store<u64>(FDP, wide ? dp : dp & 0xffffffff);
  for (let i: u32 = 0; i < 8; i++) {
    store<u64>(st(i), get64(va + 32 + i * 16));
    store<u64>(st(i), get64(va + 40 + i * 16) & 0xffff, 8);
  }
}

function getXmm(va: u64): void {
  const count = xmmCount();
  for (let i: u32 = 0; i < count; i++) {
    if (faulted()) return;
    v128.store(XMM + (i << 4), ld128(va + 160 + i * 16));
  }
}

/** Makes the access to one byte fault before anything has changed. */
function probe(va: u64, write: bool): void {
  if (faulted()) return;
  if (write) probeWrite(va, 1);
  else ld<u8>(va);
}

/**
 * The area's address after the checks that all of these share; check faulted(). As AMD's processors do it,
 * FXSAVE and FXRSTOR check alignments to 4 (#AC) before that to 16 (#GP), and fault at the last byte
 * first; the others do neither.
 */
function area(p: u32, size: u32, write: bool): u64 {
  const va = eaLinear(p, size, write);
  if (faulted()) return 0;
  const extended = size != 512;
  if (!addressFits(va, 1, extended ? 1 : 4)) return 0;
  if ((va & (extended ? 63 : 15)) != 0) {
    raiseErr(V_GP, 0);
    return 0;
  }
  const last = va + size - 1;
  probe(extended ? va : last, write);
  probe(extended ? last : va, write);
  return va;
}

/** FXSAVE, FXSAVE64. */
export function fxsave(p: u32): u32 {
  if (load<u64>(CR0) & CR0_EM_TS) return raise(V_NM);
  const va = area(p, 512, true);
  if (faulted()) return R_FAULT;
  putX87(va, (Rec.flags(p) & RF_W) != 0);
  putMxcsr(va);
  if (load<u64>(CR4) & CR4_OSFXSR) putXmm(va);
  return faulted() ? R_FAULT : R_NEXT;
}

/** FXRSTOR, FXRSTOR64. */
export function fxrstor(p: u32): u32 {
  if (load<u64>(CR0) & CR0_EM_TS) return raise(V_NM);
  const va = area(p, 512, false);
  if (faulted()) return R_FAULT;
  const sse = (load<u64>(CR4) & CR4_OSFXSR) != 0;
  const mxcsr = ld<u32>(va + 24);
  if (faulted()) return R_FAULT;
  if (mxcsr & ~MXCSR_MASK) return raiseErr(V_GP, 0);
  getX87(va, (Rec.flags(p) & RF_W) != 0);
  if (sse) {
    store<u32>(MXCSR, mxcsr);
    getXmm(va);
  }
  return faulted() ? R_FAULT : R_NEXT;
}

/** Checks of the XSAVE family. */
function xsaveAvailable(): bool {
  if (!(load<u64>(CR4) & CR4_OSXSAVE)) raise(V_UD);
  else if (load<u64>(CR0) & CR0_TS) raise(V_NM);
  return !faulted();
}

/** The components that EDX:EAX asks for and XCR0 allows. */
function requested(): u64 {
  return (<u64>load<u32>(GPR) | (<u64>load<u32>(GPR + 16) << 32)) & load<u64>(XCR0);
}

/** The components that are not in their initial state. */
function inUse(): u64 {
  let used: u64 = 0;
  let some: u64 = load<u64>(FIP) | load<u64>(FDP);
  for (let i: u32 = 0; i < 8; i++) some |= load<u64>(FPR + (i << 4)) | load<u64>(FPR + (i << 4), 8);
  if (some || load<u32>(FCW) != 0x37f || load<u32>(FSW) || load<u32>(FTW) || load<u32>(FOP)) used = X87;
  let xmm = i64x2.splat(0);
  const count = xmmCount();
  for (let i: u32 = 0; i < count; i++) xmm = v128.or(xmm, v128.load(XMM + (i << 4)));
  if (v128.any_true(xmm)) used |= SSE;
  return used;
}

/** XSAVE or XSAVEOPT: the components `write` of those asked for, and the header. */
function save(p: u32, optimise: bool): u32 {
  if (!xsaveAvailable()) return R_FAULT;
  const va = area(p, 576, true);
  if (faulted()) return R_FAULT;
  const asked = requested(), used = inUse();
  const write = optimise ? asked & used : asked;
  const before = ld<u64>(va + 512);
  if (faulted()) return R_FAULT;
  if (write & X87) putX87(va, (Rec.flags(p) & RF_W) != 0);
  if (write & SSE) putXmm(va);
  if (asked & SSE) putMxcsr(va);
  put64(va + 512, (before & ~asked) | (asked & used));
  return faulted() ? R_FAULT : R_NEXT;
}

/** XSAVE, XSAVE64. */
export function xsave(p: u32): u32 {
  return save(p, false);
}

/** XSAVEOPT, XSAVEOPT64. */
export function xsaveopt(p: u32): u32 {
  return save(p, true);
}

/** XRSTOR, XRSTOR64. */
export function xrstor(p: u32): u32 {
  if (!xsaveAvailable()) return R_FAULT;
  const va = area(p, 576, false);
  if (faulted()) return R_FAULT;
  const present = ld<u64>(va + 512);
  const rest = get64(va + 520) | get64(va + 528);
  const mxcsr: u32 = faulted() ? 0 : ld<u32>(va + 24);
  if (faulted()) return R_FAULT;
  const asked = requested();
  if (rest || present & ~load<u64>(XCR0) || (asked & SSE && mxcsr & ~MXCSR_MASK)) return raiseErr(V_GP, 0);
  if (asked & X87) {
    if (present & X87) getX87(va, (Rec.flags(p) & RF_W) != 0);
    else {
      initFpu();
      memory.fill(FPR, 0, 128);
    }
  }
  if (asked & SSE) {
    store<u32>(MXCSR, mxcsr);
    if (present & SSE) getXmm(va);
    else memory.fill(XMM, 0, xmmCount() << 4);
  }
  return faulted() ? R_FAULT : R_NEXT;
}
