/**
 * FLDCW FNSTCW FNSTSW FNCLEX FNINIT FWAIT, and the environment and state in memory: FNSTENV FLDENV FNSAVE
 * FRSTOR (Intel SDM volume 1, 8.1.8 to 8.1.10).
 */
import { ACCESS_CHECKS, CR0, FCW, FDP, FDS, FIP, FCS, FLAGS, FOP, FPR, FSW, FTW, GPR } from "../state.gen";
import { R_FAULT, R_NEXT, V_MF, V_NM, faulted, raise } from "../fault";
import { Rec, RF_O16, RF_W } from "../record";
import { VM } from "../flags";
import { eaLinear } from "../operands";
import { ld, st as stMem, probeWrite } from "../mem";
import { addressFits } from "../mmu/access";
import { CHECK_ALIGNED } from "../cpu/mode";
import { unpack80, aClass, C_ZERO, C_NORMAL } from "./unpacked";
import { available, begin, st, SW_SUMMARY } from "./regs";

const CR0_PE: u64 = 1;
const CR0_MP_TS: u64 = 10;

/** Writes FCW: bit 6 reads as 1, the other reserved bits as 0. The summary bits of FSW follow the masks. */
export function setControl(cw: u32): void {
  store<u32>(FCW, (cw & 0x1f3f) | 0x40);
  setStatus(load<u32>(FSW));
}

/** Writes FSW with its summary bits as exceptions and masks say. */
export function setStatus(sw: u32): void {
  sw &= 0xffff & ~SW_SUMMARY;
  store<u32>(FSW, sw & ~load<u32>(FCW) & 0x3f ? sw | SW_SUMMARY : sw);
}

/** The state after FNINIT. */
export function initFpu(): void {
  store<u32>(FCW, 0x37f);
  store<u32>(FSW, 0);
  store<u32>(FTW, 0);
  store<u32>(FOP, 0);
  store<u64>(FIP, 0);
  store<u64>(FDP, 0);
  store<u32>(FCS, 0);
  store<u32>(FDS, 0);
}

/** FLDCW. */
export function fldcw(p: u32): u32 {
  if (!begin()) return R_FAULT;
  const va = eaLinear(p, 2, false);
  if (faulted()) return R_FAULT;
  const cw: u32 = ld<u16>(va);
  if (faulted()) return R_FAULT;
  setControl(cw);
  return R_NEXT;
}

function storeWord(p: u32, word: u32): u32 {
  const va = eaLinear(p, 2, true);
  if (faulted()) return R_FAULT;
  stMem<u16>(va, <u16>word);
  return faulted() ? R_FAULT : R_NEXT;
}

/** FNSTCW. */
export function fnstcw(p: u32): u32 {
  return available() ? storeWord(p, load<u32>(FCW)) : R_FAULT;
}

/** FNSTSW m16. */
export function fnstsw_mem(p: u32): u32 {
  return available() ? storeWord(p, load<u32>(FSW)) : R_FAULT;
}

/** FNSTSW AX. */
export function fnstsw_ax(p: u32): u32 {
  if (!available()) return R_FAULT;
  store<u16>(GPR, <u16>load<u32>(FSW));
  return R_NEXT;
}

/** FNCLEX. */
export function fnclex(p: u32): u32 {
  if (!available()) return R_FAULT;
  store<u32>(FSW, load<u32>(FSW) & 0x7f00);
  return R_NEXT;
}

/** FNINIT. */
export function fninit(p: u32): u32 {
  if (!available()) return R_FAULT;
  initFpu();
  return R_NEXT;
}

/** FENI, FDISI, FSETPM: nothing since the 387. */
export function fnop_control(p: u32): u32 {
  return available() ? R_NEXT : R_FAULT;
}

/** FWAIT. */
export function fwait(p: u32): u32 {
  if ((load<u64>(CR0) & CR0_MP_TS) == CR0_MP_TS) return raise(V_NM);
  return load<u32>(FSW) & 0x80 ? raise(V_MF) : R_NEXT;
}

/** The full tag word: two bits for each physical register. */
export function fullTags(): u32 {
  let tags: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) {
    let tag: u32 = 3;
    if ((load<u32>(FTW) >> i) & 1) {
      const at = FPR + (i << 4);
      unpack80(load<u64>(at), load<u16>(at, 8));
      tag = aClass == C_NORMAL ? 0 : aClass == C_ZERO ? 1 : 2;
    }
    tags |= tag << (i * 2);
  }
  return tags;
}

/** Sets the tags from a full tag word: only empty or not matters. */
function setFullTags(tags: u32): void {
  let some: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) {
    if (((tags >> (i * 2)) & 3) != 3) some |= 1 << i;
  }
  store<u32>(FTW, some);
}

/** Whether the environment has 16-bit fields. */
function short(p: u32): bool {
  if (Rec.flags(p) & RF_W) return false;
  return (Rec.code(p) == 0) != ((Rec.flags(p) & RF_O16) != 0);
}

/** Whether addresses are saved as in real mode: linear, without selectors. */
function realFormat(): bool {
  return !(load<u64>(CR0) & CR0_PE) || (load<u64>(FLAGS) & VM) != 0;
}

/** Stores one field of the environment: `size` bytes, upper half of a long field all ones. */
function putWord(va: u64, index: u32, size: u32, word: u32): void {
  if (size != 2) putLong(va, index, word | 0xffff0000);
  else if (!faulted()) stMem<u16>(va + index * 2, <u16>word);
}

function putLong(va: u64, index: u32, value: u32): void {
  if (!faulted()) stMem<u32>(va + index * 4, value);
}

/** Makes an access to an area with fields of `field` bytes fault before anything has changed; it touches at most two pages. */
function probeArea(va: u64, size: u32, field: u32, write: bool): void {
  if (!addressFits(va, field, field)) return;
  if (write) probeWrite(va, 1);
  else ld<u8>(va);
  if (faulted()) return;
  if (write) probeWrite(va + size - 1, 1);
  else ld<u8>(va + size - 1);
}

/** Whether accesses to registers in the area, which have 10 bytes each, are made of smaller ones: they are not aligned. */
function inPieces(): bool {
  return (load<u32>(ACCESS_CHECKS) & CHECK_ALIGNED) != 0;
}

/** Eight bytes of the area. */
function get64(va: u64): u64 {
  if (!inPieces()) return faulted() ? 0 : ld<u64>(va);
  let value: u64 = 0;
  for (let i: u64 = 0; i < 8; i += 2) value |= <u64>word(va + i) << (i << 3);
  return value;
}

/** As get64(), a store. */
function put64(va: u64, value: u64): void {
  if (!inPieces()) {
    if (!faulted()) stMem<u64>(va, value);
    return;
  }
  for (let i: u64 = 0; i < 8; i += 2) {
    if (!faulted()) stMem<u16>(va + i, <u16>(value >> (i << 3)));
  }
}

/** Stores the environment at `va`, which can be written. */
function putEnvironment(va: u64, size: u32): void {
  putWord(va, 0, size, load<u32>(FCW));
  putWord(va, 1, size, load<u32>(FSW));
  putWord(va, 2, size, fullTags());
  const real = realFormat();
  const ip: u32 = <u32>load<u64>(FIP) + (real ? load<u32>(FCS) << 4 : 0);
  const dp: u32 = <u32>load<u64>(FDP) + (real ? load<u32>(FDS) << 4 : 0);
  const op = load<u32>(FOP);
  if (size == 2) {
    putWord(va, 3, 2, ip);
    putWord(va, 4, 2, real ? ((ip >> 4) & 0xf000) | op : load<u32>(FCS));
    putWord(va, 5, 2, dp);
    putWord(va, 6, 2, real ? (dp >> 4) & 0xf000 : load<u32>(FDS));
  } else if (real) {
    putWord(va, 3, 4, ip & 0xffff);
    putLong(va, 4, ((ip >> 4) & 0xffff000) | op);
    putWord(va, 5, 4, dp & 0xffff);
    putLong(va, 6, (dp >> 4) & 0xffff000);
  } else {
    putLong(va, 3, ip);
    putLong(va, 4, (op << 16) | load<u32>(FCS));
    putLong(va, 5, dp);
    putWord(va, 6, 4, load<u32>(FDS));
  }
}

/** Loads the environment from `va`, which can be read. */
function getEnvironment(va: u64, size: u32): void {
  const step = <u64>size;
  const cw = word(va), sw = word(va + step), tags = word(va + 2 * step);
  const ip = field(va, 3, size), cs = field(va, 4, size), dp = field(va, 5, size), ds = field(va, 6, size);
  if (faulted()) return;
  setFullTags(tags);
  store<u32>(FCW, (cw & 0x1f3f) | 0x40);
  setStatus(sw);
  if (realFormat()) {
    const high: u32 = size == 2 ? 0xf000 : 0xffff000;
    store<u64>(FIP, <u64>((ip & 0xffff) | ((cs & high) << 4)));
    store<u64>(FDP, <u64>((dp & 0xffff) | ((ds & high) << 4)));
    store<u32>(FOP, cs & 0x7ff);
  } else {
    store<u64>(FIP, <u64>ip);
    store<u64>(FDP, <u64>dp);
    if (size == 4) store<u32>(FOP, (cs >> 16) & 0x7ff);
    else store<u32>(FOP, 0);
  }
}

/** Loads, unless an access before has faulted: the first fault is the one to report. */
function word(va: u64): u32 {
  return faulted() ? 0 : ld<u16>(va);
}

function field(va: u64, index: u32, size: u32): u32 {
  if (size == 2) return word(va + index * 2);
  return faulted() ? 0 : ld<u32>(va + index * 4);
}

/** FNSTENV: stores the environment, then masks all exceptions. */
export function fnstenv(p: u32): u32 {
  if (!available()) return R_FAULT;
  const size: u32 = short(p) ? 2 : 4;
  const va = eaLinear(p, size * 7, true);
  if (faulted()) return R_FAULT;
  probeArea(va, size * 7, size, true);
  if (faulted()) return R_FAULT;
  putEnvironment(va, size);
  if (faulted()) return R_FAULT;
  setControl(load<u32>(FCW) | 0x3f);
  return R_NEXT;
}

/** FLDENV. */
export function fldenv(p: u32): u32 {
  if (!begin()) return R_FAULT;
  const size: u32 = short(p) ? 2 : 4;
  const va = eaLinear(p, size * 7, false);
  if (!faulted()) probeArea(va, size * 7, size, false);
  if (faulted()) return R_FAULT;
  getEnvironment(va, size);
  return faulted() ? R_FAULT : R_NEXT;
}

/** FNSAVE: stores environment and registers, then FNINIT. */
export function fnsave(p: u32): u32 {
  if (!available()) return R_FAULT;
  const size: u32 = short(p) ? 2 : 4;
  const va = eaLinear(p, size * 7 + 80, true);
  if (faulted()) return R_FAULT;
  probeArea(va, size * 7 + 80, size, true);
  if (faulted()) return R_FAULT;
  putEnvironment(va, size);
  for (let i: u32 = 0; i < 8; i++) {
    const at = va + size * 7 + i * 10;
    put64(at, load<u64>(st(i)));
    if (!faulted()) stMem<u16>(at + 8, load<u16>(st(i), 8));
  }
  if (faulted()) return R_FAULT;
  initFpu();
  return R_NEXT;
}

/** The registers of an FRSTOR, as they lie in memory. */
const BUFFER: u32 = <u32>memory.data(80);

/** FRSTOR. */
export function frstor(p: u32): u32 {
  if (!begin()) return R_FAULT;
  const size: u32 = short(p) ? 2 : 4;
  const va = eaLinear(p, size * 7 + 80, false);
  if (!faulted()) probeArea(va, size * 7 + 80, size, false);
  if (faulted()) return R_FAULT;
  // Everything is read before anything changes: the end may fault.
  const base = va + size * 7;
  for (let i: u32 = 0; i < 80; i += 8) {
    store<u64>(BUFFER + i, get64(base + i));
    if (faulted()) return R_FAULT;
  }
  getEnvironment(va, size);
  if (faulted()) return R_FAULT;
  for (let i: u32 = 0; i < 8; i++) {
    store<u64>(st(i), load<u64>(BUFFER + i * 10));
    store<u64>(st(i), <u64>load<u16>(BUFFER + i * 10, 8), 8);
  }
  return R_NEXT;
}
