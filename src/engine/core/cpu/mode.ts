/**
 * What follows from control registers, CS, SS and privilege: code and stack size, TLB half, and
 * whether segments need checks. The one place that computes them.
 */
import { ACCESS_CHECKS, BLOCK_KEY, BREAKPOINTS, CODE_SIZE, CPL, CR0, CR3, CR4, EFER, EMPTY_TLB_AT, FLAGS, FLAT, MMU_HALF, SEG, SSE_OFF, STACK_SIZE, TLB, TLB_ALL } from "../state.gen";
import { KEY64, KEY_ANY, KEY_FLAT32, KEY_FS, KEY_GS, KEY_SIZE_SHIFT } from "../layout";
import { HALF_BYTES, flushAll } from "../mmu/tlb";
import { loadPdptes } from "../mmu/walk";
import { HALF_SMAP, HALF_SUPER, HALF_USER } from "../mmu/access";
import { ON_DATA } from "../breakpoints";
import { CHECK_DATA } from "./debug";
import { A_DB, A_L, CS, SS, segAttr } from "./segments";

export const CR0_PE: u32 = 1;
export const CR0_MP: u32 = 2;
export const CR0_EM: u32 = 4;
export const CR0_TS: u32 = 8;
export const CR0_ET: u32 = 0x10;
export const CR0_NE: u32 = 0x20;
export const CR0_WP: u32 = 0x10000;
export const CR0_AM: u32 = 0x40000;
export const CR0_NW: u32 = 0x20000000;
export const CR0_CD: u32 = 0x40000000;
export const CR0_PG: u32 = 0x80000000;

export const CR4_TSD: u32 = 4;
export const CR4_DE: u32 = 8;
export const CR4_PSE: u32 = 0x10;
export const CR4_PAE: u32 = 0x20;
export const CR4_PGE: u32 = 0x80;
export const CR4_PCE: u32 = 0x100;
export const CR4_OSFXSR: u32 = 0x200;
export const CR4_UMIP: u32 = 0x800;
export const CR4_FSGSBASE: u32 = 0x10000;
export const CR4_OSXSAVE: u32 = 0x40000;
export const CR4_SMEP: u32 = 0x100000;
export const CR4_SMAP: u32 = 0x200000;

export const EFER_SCE: u32 = 1;
export const EFER_LME: u32 = 0x100;
export const EFER_LMA: u32 = 0x400;
export const EFER_NXE: u32 = 0x800;
export const EFER_AUTOIBRS: u32 = 0x200000;

/** ACCESS_CHECKS: accesses have to be aligned. */
export const CHECK_ALIGNED: u32 = 1;

const FLAG_VM: u32 = 0x20000;
const FLAG_AC: u32 = 0x40000;

/** Protected mode, virtual-8086 mode included. */
export function isProtected(): bool {
  return (load<u32>(CR0) & CR0_PE) != 0;
}

/** Virtual-8086 mode. */
export function isVm86(): bool {
  return (load<u32>(FLAGS) & FLAG_VM) != 0;
}

/** Long mode is active: 64-bit or compatibility mode. */
export function isLong(): bool {
  return (load<u32>(EFER) & EFER_LMA) != 0;
}

/** 64-bit code runs. */
export function is64(): bool {
  return load<u32>(CODE_SIZE) == 2;
}

/** Real mode or virtual-8086 mode: segment registers are paragraphs. */
export function isReal(): bool {
  return !isProtected() || isVm86();
}

/** Recomputes everything after a change of mode, CPL, a segment register, RFLAGS.AC, CR4.SMAP or DR7. In 64-bit code only CS and SS count. */
export function updateMode(): void {
  const code = segAttr(CS);
  if ((code & A_L) != 0 && isLong()) {
    store<u32>(CODE_SIZE, 2);
    store<u32>(STACK_SIZE, 2);
    store<u32>(FLAT, 1);
    store<u64>(BLOCK_KEY, KEY64);
  } else {
    const size: u32 = (code & A_DB) != 0 ? 1 : 0;
    const stack: u32 = (segAttr(SS) & A_DB) != 0 ? 1 : 0;
    const flat = isFlat();
    store<u32>(CODE_SIZE, size);
    store<u32>(STACK_SIZE, stack);
    store<u32>(FLAT, flat ? 1 : 0);
    store<u64>(BLOCK_KEY, flat && (size & stack) != 0 && isProtected() && !isVm86() ? keyFlat() : KEY_ANY | (<u64>size << KEY_SIZE_SHIFT));
  }
  updateTlb();
}

/** Recomputes the TLB in use and SSE_OFF: enough after a change of CPL, RFLAGS.AC, CR0.AM EM TS, CR4.SMAP OSFXSR, or DR7. */
export function updateTlb(): void {
  const cpl = load<u32>(CPL);
  const flags = load<u32>(FLAGS);
  let half: u32 = HALF_SUPER;
  if (cpl == 3) half = HALF_USER;
  else if ((load<u32>(CR4) & CR4_SMAP) != 0 && (flags & FLAG_AC) == 0) half = HALF_SMAP;
  let checks: u32 = 0;
  if (cpl == 3 && (flags & FLAG_AC) != 0 && (load<u32>(CR0) & CR0_AM) != 0) checks = CHECK_ALIGNED;
  const looked = checks != 0;
  if ((load<u32>(BREAKPOINTS) & ON_DATA) != 0) checks |= CHECK_DATA;
  store<u32>(SSE_OFF, (load<u32>(CR0) & (CR0_EM | CR0_TS)) | (~load<u32>(CR4) & CR4_OSFXSR));
  store<u32>(MMU_HALF, half);
  store<u32>(ACCESS_CHECKS, checks);
  store<u32>(TLB, looked ? EMPTY_TLB_AT : load<u32>(TLB_ALL) + half * HALF_BYTES);
}

/** ES, SS and DS are writable data, and with CS start at 0 and end at 4 GiB. */
function isFlat(): bool {
  return flatData(0) && flatData(SS) && flatData(3) && load<u64>(SEG + (CS << 4), 8) == 0 && load<u32>(SEG + (CS << 4), 4) == 0xffffffff;
}

function flatData(seg: u32): bool {
  return load<u64>(SEG + (seg << 4), 8) == 0 && permitsAll(seg);
}

/** Whether a segment is present data that grows up, is writable, and has all offsets up to 4 GiB. */
function permitsAll(seg: u32): bool {
  const at = SEG + (seg << 4);
  return load<u32>(at, 4) == 0xffffffff && (load<u16>(at, 2) & 0x9e) == 0x92;
}

function keyFlat(): u64 {
  return KEY_FLAT32 | (permitsAll(4) ? KEY_FS : 0) | (permitsAll(5) ? KEY_GS : 0);
}

/** After registers were set from outside: CPL as SS says, everything that follows, an empty TLB. */
export function syncMode(): void {
  if (!isProtected()) store<u32>(CPL, 0);
  else store<u32>(CPL, isVm86() ? 3 : (segAttr(SS) >> 5) & 3);
  if (!isLong() && (load<u32>(CR0) & CR0_PG) != 0 && (load<u32>(CR4) & CR4_PAE) != 0) loadPdptes(load<u64>(CR3));
  updateMode();
  flushAll();
}
