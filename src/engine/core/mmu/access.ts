/**
 * Memory accesses that miss the inline TLB check of mem.ts: misses, accesses that cross a page,
 * pages that hold code, memory-mapped devices, alignment checks and data breakpoints. Each raises
 * what the access raises; the caller looks at faulted().
 */
import { count } from "../count";
import { PAGE_MASK } from "../layout";
import { codeWritten } from "../smc";
import { F_RETRY, V_AC, V_GP, X_INTERNAL, X_MEMORY, X_MMIO, faulted, raiseErr, raiseExit, raisePf } from "../fault";
import { ACCESS_CHECKS, CODE_SIZE, CPL, CR0, CR4, EFER, EXIT, EXIT_ADDR, EXIT_AUX, EXIT_DATA, EXIT_SIZE, EXIT_WRITE, FAULT, FLAGS } from "../state.gen";
import { MMU_HALF, N_CONFLICT, N_FILL_READ, PAGE_ACCESS_AT, PAGE_FLAGS_AT, REPLAY, REPLAY_COUNT, REPLAY_NEXT } from "../state.gen";
import { dataTag, fetchTag } from "../breakpoints";
import { CHECK_DATA, noteDataAccess } from "../cpu/debug";
import { CHECK_ALIGNED } from "../cpu/mode";
import { SLOT_READONLY, findSlot, gpaToLin, logWrite, slotLin } from "./slots";
import { TE_GLOBAL, TE_SIZE_SHIFT, TE_WRITE, absentIn, fetchEntry, holdsOther, tagFits, tlbEntry, useEntry } from "./tlb";
import { PTE_D, PTE_G, PTE_U, PTE_W, WALK_GONE, WALK_OK, touchLeaf, walk, walkGone, walkGpa, walkNx, walkPerm, walkSize } from "./walk";

/** Kinds of access. */
export const READ: u32 = 0;
export const WRITE: u32 = 1;
export const FETCH: u32 = 2;

/** TLB halves: whose rights an access has. */
export const HALF_USER: u32 = 0;
export const HALF_SMAP: u32 = 1;
export const HALF_SUPER: u32 = 2;

/** EXIT_DATA of X_INTERNAL: code is in device memory (at EXIT_ADDR). */
export const INTERNAL_DEVICE_CODE: u64 = 1;
/** EXIT_DATA of X_INTERNAL: an instruction makes more device accesses than REPLAY can hold. */
export const INTERNAL_REPLAY_FULL: u64 = 2;
/** EXIT_DATA of X_INTERNAL: KVM's emulator does not know the instruction whose operand is in device memory (at EXIT_ADDR). */
export const INTERNAL_NOT_EMULATED: u64 = 3;

/** After translate() gave 0 without a fault: the guest-physical address, which no slot serves. */
let deviceGpa: u64 = 0;

/** Rights of an access at privilege level `cpl` that honours RFLAGS.AC (a data access). */
export function halfFor(cpl: u32): u32 {
  if (cpl == 3) return HALF_USER;
  return (load<u32>(CR4) & 0x200000) != 0 && (load<u32>(FLAGS) & 0x40000) == 0 ? HALF_SMAP : HALF_SUPER;
}

/** Rights of the processor's own accesses to descriptor tables and TSS: RFLAGS.AC does not count. */
export function systemHalf(): u32 {
  return (load<u32>(CR4) & 0x200000) != 0 ? HALF_SMAP : HALF_SUPER;
}

/**
 * Linear memory address of guest address `va` for an access of a kind with the rights of a half; 0
 * when it faults (raised), or when no slot serves it (deviceGpa is set).
 */
export function translate(va: u64, kind: u32, half: u32): u32 {
  const e = kind == FETCH ? fetchEntry(half, va) : tlbEntry(half, va);
  const page = va & PAGE_MASK;
  if (kind == READ) {
    if (tagFits(load<u64>(e), page)) return <u32>va + load<u32>(e, 16);
  } else if (kind == WRITE) {
    if (tagFits(load<u64>(e, 8), page)) return <u32>va + load<u32>(e, 16);
    if (tagFits(load<u64>(e), page) && (load<u32>(e, 20) & TE_WRITE) != 0) {
      const lin = <u32>va + load<u32>(e, 16);
      if (load<u8>(PAGE_FLAGS_AT + (lin >> 12)) == 0) store<u64>(e, load<u64>(e), 8);
      return lin;
    }
  } else if (tagFits(load<u64>(e, 24), page)) return <u32>va + load<u32>(e, 16);
  return fill(va, kind, half, e);
}

/** In PAGE_ACCESS: the client has nothing there that can be accessed. */
const ACCESS_NONE: u32 = 2;

const MAY_READ: u32 = 1;
const MAY_WRITE: u32 = 2;
const MAY_FETCH: u32 = 4;

/** What the page of the last walk allows a half, before the dirty bit is looked at. */
function rights(half: u32): u32 {
  if ((load<u32>(CR0) & 0x80000000) == 0) return MAY_READ | MAY_WRITE | MAY_FETCH;
  const user = (walkPerm & <u32>PTE_U) != 0;
  if (half == HALF_USER) {
    if (!user) return 0;
    return MAY_READ | (walkPerm & <u32>PTE_W) | (walkNx ? 0 : MAY_FETCH);
  }
  let may: u32 = walkNx || (user && (load<u32>(CR4) & 0x100000) != 0) ? 0 : MAY_FETCH;
  if (half == HALF_SMAP && user) return may;
  may |= MAY_READ;
  // Without CR0.WP a supervisor may write everywhere.
  if ((walkPerm & <u32>PTE_W) != 0 || (load<u32>(CR0) & 0x10000) == 0) may |= MAY_WRITE;
  return may;
}

/** Walks, checks, and fills TLB entry `e`; results as translate(). */
function fill(va: u64, kind: u32, half: u32, e: u32): u32 {
  if (!isCanonical(va)) {
    raiseErr(V_GP, 0);
    return 0;
  }
  const outcome = walk(va, true);
  if (outcome == WALK_GONE) {
    memoryExit(walkGone);
    return 0;
  }
  if (outcome != WALK_OK) {
    raisePf(va, (outcome & 0xff) | accessCode(kind, half));
    return 0;
  }
  const may = rights(half);
  if ((may & (1 << kind)) == 0) {
    raisePf(va, 1 | accessCode(kind, half));
    return 0;
  }
  touchLeaf(kind == WRITE);
  count(N_FILL_READ + (kind << 3));
  if (holdsOther(e, va & PAGE_MASK)) count(N_CONFLICT);
  return enter(va, kind, may, e);
}

/** KVM emulates the current instruction, and takes what the client cannot access for a device. */
let emulated: bool = false;
/** Says whether the current instruction is such a one. */
export function setEmulated(yes: bool): void {
  emulated = yes;
}

/** Leaves run(): the client cannot access the memory at `gpa` as the guest wants to. */
function memoryExit(gpa: u64): void {
  store<u64>(EXIT_ADDR, gpa);
  raiseExit(X_MEMORY);
}

/** Finds the memory behind the last walk and makes the entry. */
function enter(va: u64, kind: u32, may: u32, e: u32): u32 {
  const slot = findSlot(walkGpa);
  if (slot == 0) {
    deviceGpa = walkGpa | (va & 0xfff);
    return 0;
  }
  const lin = slotLin(slot, walkGpa);
  const page = va & PAGE_MASK;
  const readOnly = (load<u32>(slot, 20) & SLOT_READONLY) != 0;
  const access = load<u8>(PAGE_ACCESS_AT + (lin >> 12));
  if (access != 0 && (access == ACCESS_NONE || (kind == WRITE && !readOnly))) {
    if (emulated) deviceGpa = walkGpa | (va & 0xfff);
    else memoryExit(walkGpa | (va & 0xfff));
    return 0;
  }
  if (kind == WRITE && !readOnly) logWrite(slot, walkGpa);
  let flags: u32 = walkSize << TE_SIZE_SHIFT;
  if ((walkPerm & <u32>PTE_G) != 0 && (load<u32>(CR4) & 0x80) != 0) flags |= TE_GLOBAL;
  const tag = dataTag(page);
  const absent = absentIn(e);
  let writeTag = absent;
  if ((may & MAY_WRITE) != 0 && (walkPerm & <u32>PTE_D) != 0 && access == 0 && writesAreFree(slot, walkGpa)) {
    flags |= TE_WRITE;
    if (load<u8>(PAGE_FLAGS_AT + (lin >> 12)) == 0) writeTag = tag;
  }
  const code = kind == FETCH;
  store<u64>(e, !code && (may & MAY_READ) != 0 ? tag : absent);
  store<u64>(e, code ? absent : writeTag, 8);
  store<u32>(e, lin - <u32>page, 16);
  store<u64>(e, code ? fetchTag(page) : absent, 24);
  useEntry(e, va, flags);
  if (kind == WRITE && readOnly) {
    deviceGpa = walkGpa | (va & 0xfff);
    return 0;
  }
  return lin + (<u32>va & 0xfff);
}

/** Whether further writes to the page need no look: not read-only, and logged already. */
function writesAreFree(slot: u32, gpa: u64): bool {
  if ((load<u32>(slot, 20) & SLOT_READONLY) != 0) return false;
  const bitmap = load<u32>(slot, 24);
  if (bitmap == 0) return true;
  const page = <u32>((gpa - load<u64>(slot)) >> 12);
  return (load<u8>(bitmap + (page >> 3)) & (1 << (page & 7))) != 0;
}

/** Whether bits 48 to 63 of an address repeat bit 47; always true outside of long mode. */
export function isCanonical(va: u64): bool {
  return <u64>((<i64>va << 16) >> 16) == va || (load<u32>(EFER) & 0x400) == 0;
}

/** W, U and I of a page fault's error code. */
function accessCode(kind: u32, half: u32): u32 {
  let code: u32 = half == HALF_USER ? 4 : 0;
  if (kind == WRITE) code |= 2;
  if (kind == FETCH) {
    const nx = (load<u32>(EFER) & 0x800) != 0 && (load<u32>(CR4) & 0x20) != 0;
    if (nx || (load<u32>(CR4) & 0x100000) != 0) code |= 0x10;
  }
  return code;
}

/** The first byte of the page after the one of `va`; wraps at 4 GiB outside of 64-bit code. */
function nextPage(va: u64): u64 {
  const next = (va | 0xfff) + 1;
  return next == 0x100000000 && load<u32>(CODE_SIZE) != 2 ? 0 : next;
}

function crosses(va: u64, size: u32): bool {
  return (<u32>va & 0xfff) + size > 0x1000;
}

/**
 * What an access of `size` bytes is refused for before the page tables are looked at, in this order: #GP(0)
 * when one of them has no canonical address, #AC when alignments are checked and `va` is no multiple of
 * `align`. False when one is raised.
 */
export function addressFits(va: u64, size: u32, align: u32): bool {
  if (!isCanonical(va) || !isCanonical(va + (size - 1))) raiseErr(V_GP, 0);
  else if ((load<u32>(ACCESS_CHECKS) & CHECK_ALIGNED) != 0 && (<u32>va & (align - 1)) != 0) raiseErr(V_AC, 0);
  else return true;
  return false;
}

/** addressFits() and data breakpoints. False when something or F_RETRY is raised. */
function checked(va: u64, size: u32, write: bool): bool {
  if (!addressFits(va, size, size)) return false;
  return (load<u32>(ACCESS_CHECKS) & CHECK_DATA) == 0 || noteDataAccess(va, size, write);
}

/** Loads 1, 2, 4 or 8 bytes, zero-extended. */
export function ldSlow(va: u64, size: u32): u64 {
  return checked(va, size, false) ? ldAs(va, size, load<u32>(MMU_HALF)) : 0;
}

/** Raises what a load of one byte would raise; device memory raises nothing. */
export function touch(va: u64): void {
  if (checked(va, 1, false)) translate(va, READ, load<u32>(MMU_HALF));
}

/** Stores the low 1, 2, 4 or 8 bytes of `value`. */
export function stSlow(va: u64, value: u64, size: u32): void {
  if (checked(va, size, true)) stAs(va, value, size, load<u32>(MMU_HALF));
}

/** Loads 16 bytes, at any alignment. */
export function ldSlow128(va: u64): v128 {
  const zero = i64x2.splat(0);
  if (!checked(va, 16, false)) return zero;
  const half = load<u32>(MMU_HALF);
  if (!crosses(va, 16)) {
    const lin = translate(va, READ, half);
    if (lin != 0) return v128.load(lin);
    if (faulted()) return zero;
  }
  const low = ldAs(va, 8, half);
  if (faulted()) return zero;
  const high = ldAs(nextBytes(va), 8, half);
  if (faulted()) return zero;
  return i64x2.replace_lane(i64x2.splat(low), 1, high);
}

/** Stores 16 bytes, at any alignment: all or nothing. */
export function stSlow128(va: u64, value: v128): void {
  if (!checked(va, 16, true)) return;
  const half = load<u32>(MMU_HALF);
  if (!crosses(va, 16)) {
    const lin = translate(va, WRITE, half);
    if (lin != 0) {
      if (mayStore(lin, 16)) v128.store(lin, value);
      return;
    }
    if (faulted()) return;
  } else {
    probeAs(va, 16, half);
    if (faulted()) return;
  }
  const high = nextBytes(va);
  // Only the second half in device memory: it goes first, as it may leave run(), and nothing may be
  // stored before that.
  const swap = translate(va, WRITE, half) != 0 && translate(high, WRITE, half) == 0;
  if (swap) stAs(high, i64x2.extract_lane(value, 1), 8, half);
  if (faulted()) return;
  stAs(va, i64x2.extract_lane(value, 0), 8, half);
  if (faulted() || swap) return;
  stAs(high, i64x2.extract_lane(value, 1), 8, half);
}

function nextBytes(va: u64): u64 {
  const next = va + 8;
  return next >> 32 == 1 && va >> 32 == 0 && load<u32>(CODE_SIZE) != 2 ? next & 0xffffffff : next;
}

/** Raises what a write of `size` bytes (at most a page) would raise; device memory raises nothing. */
export function probeSlow(va: u64, size: u32): void {
  if (addressFits(va, size, size <= 16 ? size : 1)) probeAs(va, size, load<u32>(MMU_HALF));
}

/** As probeSlow, with the rights of a half and without an alignment check. */
export function probeAs(va: u64, size: u32, half: u32): void {
  if (translate(va, WRITE, half) == 0 && faulted()) return;
  if (crosses(va, size)) translate(nextPage(va), WRITE, half);
}

/** Loads 1, 2, 4 or 8 bytes with the rights of a half. */
export function ldAs(va: u64, size: u32, half: u32): u64 {
  if (crosses(va, size)) return loadCrossing(va, size, half);
  const lin = translate(va, READ, half);
  if (lin == 0) return faulted() ? 0 : deviceLoad(deviceGpa, size);
  if (load<u32>(REPLAY_COUNT) != 0 && wasDevice(va, size, 0)) return deviceLoad(0, size);
  return loadBytes(lin, size);
}

/** Stores 1, 2, 4 or 8 bytes with the rights of a half. */
export function stAs(va: u64, value: u64, size: u32, half: u32): void {
  if (crosses(va, size)) {
    storeCrossing(va, value, size, half);
    return;
  }
  const lin = translate(va, WRITE, half);
  if (lin == 0) {
    if (!faulted()) deviceStore(deviceGpa, value, size);
    return;
  }
  if (load<u32>(REPLAY_COUNT) != 0 && wasDevice(va, size, 1)) {
    takeReplay();
    return;
  }
  if (mayStore(lin, size)) storeBytes(lin, value, size);
}

/** Tells the code cache of a write. False, with F_RETRY raised, when the running code is hit. */
function mayStore(lin: u32, size: u32): bool {
  if (load<u8>(PAGE_FLAGS_AT + (lin >> 12)) == 0 || !codeWritten(lin, size)) return true;
  store<u32>(FAULT, F_RETRY);
  return false;
}

/** Loads `size` (1 to 8) bytes that lie in one page of linear memory. */
function loadBytes(lin: u32, size: u32): u64 {
  switch (size) {
    case 1: return load<u8>(lin);
    case 2: return load<u16>(lin);
    case 4: return load<u32>(lin);
    case 8: return load<u64>(lin);
  }
  let value: u64 = 0;
  for (let i: u32 = 0; i < size; i++) value |= <u64>load<u8>(lin + i) << (i << 3);
  return value;
}

function storeBytes(lin: u32, value: u64, size: u32): void {
  switch (size) {
    case 1: store<u8>(lin, value); return;
    case 2: store<u16>(lin, value); return;
    case 4: store<u32>(lin, value); return;
    case 8: store<u64>(lin, value); return;
  }
  for (let i: u32 = 0; i < size; i++) store<u8>(lin + i, value >> (i << 3));
}

function loadCrossing(va: u64, size: u32, half: u32): u64 {
  const first: u32 = 0x1000 - (<u32>va & 0xfff);
  const lin1 = translate(va, READ, half);
  if (lin1 == 0 && faulted()) return 0;
  const gpa1 = deviceGpa;
  const lin2 = translate(nextPage(va), READ, half);
  if (lin2 == 0 && faulted()) return 0;
  const gpa2 = deviceGpa;
  const low = lin1 != 0 ? loadBytes(lin1, first) : deviceLoadAny(gpa1, first);
  if (faulted()) return 0;
  const high = lin2 != 0 ? loadBytes(lin2, size - first) : deviceLoadAny(gpa2, size - first);
  return low | (high << (first << 3));
}

function storeCrossing(va: u64, value: u64, size: u32, half: u32): void {
  const first: u32 = 0x1000 - (<u32>va & 0xfff);
  const rest = size - first;
  const lin1 = translate(va, WRITE, half);
  if (lin1 == 0 && faulted()) return;
  const gpa1 = deviceGpa;
  const lin2 = translate(nextPage(va), WRITE, half);
  if (lin2 == 0 && faulted()) return;
  const gpa2 = deviceGpa;
  // Everything that may still leave the instruction comes before the first byte is stored.
  if (lin1 != 0 && !mayStore(lin1, first)) return;
  if (lin2 != 0 && !mayStore(lin2, rest)) return;
  if (lin1 == 0) deviceStoreAny(gpa1, value, first);
  if (faulted()) return;
  if (lin2 == 0) deviceStoreAny(gpa2, value >> (first << 3), rest);
  if (faulted()) return;
  if (lin1 != 0) storeBytes(lin1, value, first);
  if (lin2 != 0) storeBytes(lin2, value >> (first << 3), rest);
}

/** Whether the next device access of this instruction was completed outside. */
export function replayReady(): bool {
  return load<u32>(REPLAY_NEXT) < load<u32>(REPLAY_COUNT);
}

/** Consumes a completed device access. */
export function takeReplay(): u64 {
  const n = load<u32>(REPLAY_NEXT);
  store<u32>(REPLAY_NEXT, n + 1);
  return load<u64>(REPLAY + (n << 3));
}

/** Whether REPLAY has room for one more; an instruction with more device accesses cannot go on. */
export function replayFull(): bool {
  return load<u32>(REPLAY_COUNT) >= 64;
}

/**
 * Whether an access that hits memory is the one that last left run() as a device access: memory has
 * come there since, but the instruction ends with what the device said, as with KVM.
 */
function wasDevice(va: u64, size: u32, write: u32): bool {
  if (load<u32>(REPLAY_NEXT) + 1 != load<u32>(REPLAY_COUNT) || load<u32>(EXIT) != X_MMIO) return false;
  if (load<u32>(EXIT_SIZE) != size || load<u32>(EXIT_WRITE) != write) return false;
  return walk(va, false) == WALK_OK && (walkGpa | (va & 0xfff)) == load<u64>(EXIT_ADDR);
}

function deviceExit(gpa: u64, size: u32, write: u32, data: u64): void {
  if (replayFull()) {
    store<u64>(EXIT_DATA, INTERNAL_REPLAY_FULL);
    raiseExit(X_INTERNAL);
    return;
  }
  store<u64>(EXIT_ADDR, gpa);
  store<u32>(EXIT_SIZE, size);
  store<u32>(EXIT_WRITE, write);
  store<u64>(EXIT_DATA, data);
  store<u32>(EXIT_AUX, 0);
  raiseExit(X_MMIO);
}

/** Reads a device register: gives the completed value, or leaves run() to get it. */
function deviceLoad(gpa: u64, size: u32): u64 {
  if (replayReady()) return takeReplay() & (~(<u64>0) >> (64 - (<u64>size << 3)));
  deviceExit(gpa, size, 0, 0);
  return 0;
}

function deviceStore(gpa: u64, value: u64, size: u32): void {
  if (replayReady()) takeReplay();
  else deviceExit(gpa, size, 1, value & (~(<u64>0) >> (64 - (<u64>size << 3))));
}

/** The largest power of two that is at most `size`. */
function chunk(size: u32): u32 {
  return size >= 4 ? 4 : size >= 2 ? 2 : 1;
}

function deviceLoadAny(gpa: u64, size: u32): u64 {
  let value: u64 = 0;
  for (let at: u32 = 0; at < size; ) {
    const n = chunk(size - at);
    value |= deviceLoad(gpa + at, n) << (at << 3);
    if (faulted()) return 0;
    at += n;
  }
  return value;
}

function deviceStoreAny(gpa: u64, value: u64, size: u32): void {
  for (let at: u32 = 0; at < size; ) {
    const n = chunk(size - at);
    deviceStore(gpa + at, value >> (at << 3), n);
    if (faulted()) return;
    at += n;
  }
}

/**
 * Linear memory address of the first byte of the page from which the instruction at `va` is
 * fetched; 0 when the fetch faults (raised). Also sets the TLB's fetch tag. Code in device memory
 * leaves run() with X_INTERNAL.
 */
export function fetchPage(va: u64): u32 {
  const lin = translate(va, FETCH, load<u32>(MMU_HALF));
  if (lin != 0) return lin & ~0xfff;
  if (!faulted()) {
    store<u64>(EXIT_ADDR, deviceGpa);
    store<u64>(EXIT_DATA, INTERNAL_DEVICE_CODE);
    raiseExit(X_INTERNAL);
  }
  return 0;
}

/**
 * Guest-physical address of `va` for an access of a kind (READ, WRITE, FETCH) at privilege level
 * `cpl`, or all ones when it would fault. Changes nothing, not even accessed bits.
 */
export function hostTranslate(va: u64, kind: u32, cpl: u32): u64 {
  if (!isCanonical(va) || walk(va, false) != WALK_OK) return ~0;
  if ((rights(halfFor(cpl)) & (1 << kind)) == 0) return ~0;
  return walkGpa | (va & 0xfff);
}

/** Linear memory address of `va` for an access of a kind at the current privilege level; 0 when there is none. Changes nothing. */
export function hostLinear(va: u64, kind: u32): u32 {
  const gpa = hostTranslate(va, kind, load<u32>(CPL));
  return gpa == ~0 ? 0 : gpaToLin(gpa);
}

/** As hostTranslate, for callers to whom 64-bit integers are expensive: -1 when it would fault. */
export function hostTranslateParts(low: u32, high: u32, kind: u32, cpl: u32): f64 {
  const gpa = hostTranslate(<u64>low | (<u64>high << 32), kind, cpl);
  return gpa == ~0 ? -1 : <f64>gpa;
}
