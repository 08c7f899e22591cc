/**
 * Page walks: AMD64 manual volume 2, chapter 5. Two levels (4 KiB and 4 MiB pages, PSE-36), PAE,
 * and four levels (4 KiB, 2 MiB, 1 GiB). A page table outside of every slot reads as not present,
 * which is what KVM's software walker makes of it.
 */
import { count } from "../count";
import { CR0, CR3, CR4, EFER, N_WALK, PDPTE, TLB_ALL } from "../state.gen";
import { PAGE_ACCESS_AT, PAGE_FLAGS_AT } from "../state.gen";
import { codeWritten } from "../smc";
import { findSlot, slotLin, logWrite, SLOT_READONLY } from "./slots";
import { walkEpoch, WALK_CACHE, WALK_ENTRIES } from "./tlb";

/** Entry bits of every format. */
export const PTE_P: u64 = 1;
export const PTE_W: u64 = 2;
export const PTE_U: u64 = 4;
export const PTE_A: u64 = 0x20;
export const PTE_D: u64 = 0x40;
export const PTE_PS: u64 = 0x80;
export const PTE_G: u64 = 0x100;
export const PTE_NX: u64 = 0x8000_0000_0000_0000;

/** Physical address bits, as CPUID says. */
export const MAX_PHYS_BITS: u32 = 48;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/** Reserved between MAX_PHYS_BITS and bit 51. */
const RSVD_HIGH: u64 = 0x000f_0000_0000_0000;
/** PAE without long mode: bits 52 to 62 are reserved too. */
const RSVD_PAE: u64 = 0x7ff0_0000_0000_0000;

/** Results of walk(). */
export const WALK_OK: u32 = 0;
export const WALK_ABSENT: u32 = 0x100;
export const WALK_RSVD: u32 = 0x109;
/** The client cannot access the table: see walkGone. */
export const WALK_GONE: u32 = 0x200;

/** After WALK_OK: guest-physical address of the 4 KiB page that holds the address. */
export let walkGpa: u64 = 0;
/** After WALK_OK: PTE_W and PTE_U as all levels allow together, PTE_G and PTE_D of the leaf. */
export let walkPerm: u32 = 0;
/** After WALK_OK: whether some level forbids fetches. */
export let walkNx: bool = false;
/** After WALK_OK: log2 of the size of the page. */
export let walkSize: u32 = 0;

/** After WALK_GONE: guest-physical address of the entry. */
export let walkGone: u64 = 0;

let leafLin: u32 = 0;
let leafGpa: u64 = 0;
let touching: bool = false;
/** What the walk answers when entryAt() has given 0. */
let absent: u32 = WALK_ABSENT;

/** Linear address of an entry, or 0 when there is no memory, or (noted) none that can be used. */
function entryAt(gpa: u64): u32 {
  const slot = findSlot(gpa);
  if (slot == 0) return 0;
  const lin = slotLin(slot, gpa);
  const access = load<u8>(PAGE_ACCESS_AT + (lin >> 12));
  // With nested paging, walks count as writes.
  if (access == 0 || (!touching && access == 1)) return lin;
  if (touching) {
    absent = WALK_GONE;
    walkGone = gpa;
  }
  return 0;
}

/** Sets bits in the entry at `lin`, which is at `gpa`. Entries in read-only slots stay as they are. */
function setBits(lin: u32, gpa: u64, bits: u32): void {
  const slot = findSlot(gpa);
  if (slot == 0 || (load<u32>(slot, 20) & SLOT_READONLY) != 0) return;
  logWrite(slot, gpa);
  // Tables can share a page with code. The bits themselves are hardly ever executed: whoever runs
  // there now goes on with what was decoded, as a prefetching processor would.
  if (load<u8>(PAGE_FLAGS_AT + (lin >> 12)) != 0) codeWritten(lin, 1);
  store<u8>(lin, load<u8>(lin) | <u8>bits);
}

/** Sets the accessed bit of the leaf of the last walk, and the dirty bit for a write. */
export function touchLeaf(write: bool): void {
  if (leafLin == 0) return;
  const want: u32 = write ? <u32>(PTE_A | PTE_D) : <u32>PTE_A;
  if ((load<u8>(leafLin) & want) != want) setBits(leafLin, leafGpa, want);
  if (write) walkPerm |= <u32>PTE_D;
}

/**
 * Translates `va`, which is canonical, or below 4 GiB outside of long mode. With `touch`, accessed
 * bits of the upper levels are set; the leaf's are touchLeaf()'s business, after the checks.
 */
export function walk(va: u64, touch: bool): u32 {
  touching = touch;
  absent = WALK_ABSENT;
  if ((load<u32>(CR0) & 0x80000000) == 0) {
    walkGpa = va & ~0xfff;
    walkPerm = <u32>(PTE_W | PTE_U | PTE_D);
    walkNx = false;
    walkSize = 12;
    leafLin = 0;
    return WALK_OK;
  }
  if ((load<u32>(EFER) & 0x400) != 0) return walkLong(va);
  return (load<u32>(CR4) & 0x20) != 0 ? walkPae(<u32>va) : walk32(<u32>va);
}

/** Ends a walk at a leaf. */
function leaf(lin: u32, gpa: u64, entry: u64, va: u64, size: u32, perm: u64, nx: bool): u32 {
  const offset: u64 = (1 << <u64>size) - 1;
  walkGpa = (entry & ADDRESS & ~offset) | (va & offset & ~0xfff);
  walkPerm = <u32>(perm & entry & (PTE_W | PTE_U)) | <u32>(entry & (PTE_G | PTE_D));
  walkNx = nx || (entry & PTE_NX) != 0;
  walkSize = size;
  leafLin = lin;
  leafGpa = gpa;
  return WALK_OK;
}

/** Bits that must be zero in every entry of four-level tables. */
function reservedLong(): u64 {
  return (load<u32>(EFER) & 0x800) != 0 ? RSVD_HIGH : RSVD_HIGH | PTE_NX;
}

function walkLong(va: u64): u32 {
  const cached = walkSlot(va);
  if (load<u64>(cached) == walkKey(va)) {
    const bits = load<u32>(cached, 12);
    if ((bits & CACHED_LEAF) == 0) return lastLevel(va, load<u32>(cached, 8), load<u64>(cached, 16), bits);
    if (cachedLeaf(va, load<u32>(cached, 8), load<u64>(cached, 16), bits)) return WALK_OK;
  }
  count(N_WALK);
  const reserved = reservedLong();
  let perm: u64 = PTE_W | PTE_U;
  let nx: u64 = 0;
  let table: u64 = load<u64>(CR3) & ADDRESS;
  for (let shift: u64 = 39; shift > 12; shift -= 9) {
    const gpa = table | (((va >> shift) & 511) << 3);
    const lin = entryAt(gpa);
    if (lin == 0) return absent;
    const entry = load<u64>(lin);
    if ((entry & PTE_P) == 0) return WALK_ABSENT;
    if ((entry & reserved) != 0) return WALK_RSVD;
    if ((entry & PTE_PS) != 0) {
      if (shift == 39 || (entry & ((1 << shift) - 0x2000)) != 0) return WALK_RSVD;
      if (touching) cacheWalk(va, lin, gpa, perm, nx != 0, CACHED_LEAF | (<u32>shift << CACHED_SIZE_SHIFT));
      return leaf(lin, gpa, entry, va, <u32>shift, perm, nx != 0);
    }
    if (touching && (entry & PTE_A) == 0) setBits(lin, gpa, <u32>PTE_A);
    perm &= entry;
    nx |= entry & PTE_NX;
    table = entry & ADDRESS;
  }
  return cacheAndFinish(va, table, perm, nx != 0);
}

function walkSlot(va: u64): u32 {
  return load<u32>(TLB_ALL) + WALK_CACHE + ((<u32>(va >> 21) & (WALK_ENTRIES - 1)) << 5);
}

function walkKey(va: u64): u64 {
  return (va >> 21) | (<u64>walkEpoch(load<u32>(TLB_ALL)) << 43);
}

const CACHED_NX: u32 = 0x80000000;
/** What is cached is a leaf of 2 MiB or 1 GiB; log2 of its size is in bits 16 to 23. */
const CACHED_LEAF: u32 = 0x40000000;
const CACHED_SIZE_SHIFT: u32 = 16;

/**
 * Remembers where the walk for the 2 MiB around `va` goes on: at the table or leaf at `lin`. Without side effects
 * no accessed bits were set, so that later walks may not skip these levels: only when `touching`.
 */
function cacheWalk(va: u64, lin: u32, gpa: u64, perm: u64, nx: bool, more: u32): void {
  const at = walkSlot(va);
  store<u64>(at, walkKey(va));
  store<u32>(at, lin, 8);
  store<u32>(at, <u32>(perm & (PTE_W | PTE_U)) | (nx ? CACHED_NX : 0) | more, 12);
  store<u64>(at, gpa, 16);
}

/** Ends a walk at a cached leaf, as it is now. False when it is none any more. */
function cachedLeaf(va: u64, lin: u32, gpa: u64, bits: u32): bool {
  const entry = load<u64>(lin);
  const size = (bits >> CACHED_SIZE_SHIFT) & 0xff;
  const reserved = reservedLong() | ((<u64>1 << size) - 0x2000);
  if ((entry & (PTE_P | PTE_PS | reserved)) != (PTE_P | PTE_PS)) return false;
  leaf(lin, gpa, entry, va, size, <u64>bits, (bits & CACHED_NX) != 0);
  return true;
}

/** Remembers the page table at `table` as the one for the 2 MiB around `va`, and reads its entry. */
function cacheAndFinish(va: u64, table: u64, perm: u64, nx: bool): u32 {
  const lin = entryAt(table);
  if (lin == 0) return absent;
  if (touching) cacheWalk(va, lin, table, perm, nx, 0);
  return lastLevel(va, lin, table, <u32>(perm & (PTE_W | PTE_U)) | (nx ? CACHED_NX : 0));
}

/** Reads the page table entry of `va` in four-level and PAE tables. */
function lastLevel(va: u64, tableLin: u32, table: u64, bits: u32): u32 {
  const index: u32 = (<u32>(va >> 12) & 511) << 3;
  const lin = tableLin + index;
  const entry = load<u64>(lin);
  if ((entry & PTE_P) == 0) return WALK_ABSENT;
  const reserved = (load<u32>(EFER) & 0x400) != 0 ? reservedLong() : reservedPae();
  if ((entry & reserved) != 0) return WALK_RSVD;
  return leaf(lin, table + index, entry, va, 12, <u64>bits, (bits & CACHED_NX) != 0);
}

function reservedPae(): u64 {
  return reservedLong() | RSVD_PAE;
}

/** The entries of the top level were loaded into PDPTE with CR3. */
function walkPae(va: u32): u32 {
  const top = load<u64>(PDPTE + ((va >> 30) << 3));
  if ((top & PTE_P) == 0) return WALK_ABSENT;
  const gpa = (top & ADDRESS) | (<u64>((va >> 21) & 511) << 3);
  const lin = entryAt(gpa);
  if (lin == 0) return absent;
  const entry = load<u64>(lin);
  if ((entry & PTE_P) == 0) return WALK_ABSENT;
  if ((entry & reservedPae()) != 0) return WALK_RSVD;
  if ((entry & PTE_PS) != 0) {
    if ((entry & 0x1fe000) != 0) return WALK_RSVD;
    return leaf(lin, gpa, entry, va, 21, PTE_W | PTE_U, false);
  }
  if (touching && (entry & PTE_A) == 0) setBits(lin, gpa, <u32>PTE_A);
  return cacheAndFinish(va, entry & ADDRESS, entry, (entry & PTE_NX) != 0);
}

function walk32(va: u32): u32 {
  const gpa: u64 = <u64>(load<u32>(CR3) & 0xfffff000) | <u64>((va >> 22) << 2);
  const lin = entryAt(gpa);
  if (lin == 0) return absent;
  const entry: u64 = <u64>load<u32>(lin);
  if ((entry & PTE_P) == 0) return WALK_ABSENT;
  if ((entry & PTE_PS) != 0 && (load<u32>(CR4) & 0x10) != 0) {
    if ((entry & 0x200000) != 0) return WALK_RSVD;
    const wide: u64 = (entry & 0xffc00fff) | ((entry & 0x1fe000) << 19);
    return leaf(lin, gpa, wide, va, 22, PTE_W | PTE_U, false);
  }
  if (touching && (entry & PTE_A) == 0) setBits(lin, gpa, <u32>PTE_A);
  const gpa2: u64 = (entry & 0xfffff000) | <u64>(((va >> 12) & 1023) << 2);
  const lin2 = entryAt(gpa2);
  if (lin2 == 0) return absent;
  const entry2: u64 = <u64>load<u32>(lin2);
  if ((entry2 & PTE_P) == 0) return WALK_ABSENT;
  return leaf(lin2, gpa2, entry2, va, 12, entry, false);
}

/**
 * Reads the four top-level entries of PAE tables from the table at `cr3` into PDPTE, as loads of
 * CR3 do. False, with nothing changed, when a present one has reserved bits: the load gives #GP.
 */
export function loadPdptes(cr3: u64): bool {
  touching = false;
  const lin = entryAt(cr3 & 0xffffffe0);
  for (let i: u32 = 0; i < 4; i++) {
    const entry: u64 = lin == 0 ? 0 : load<u64>(lin + (i << 3));
    if ((entry & PTE_P) != 0 && (entry & (RSVD_HIGH | RSVD_PAE | PTE_NX | 0x1e6)) != 0) return false;
  }
  for (let i: u32 = 0; i < 4; i++) store<u64>(PDPTE + (i << 3), lin == 0 ? 0 : load<u64>(lin + (i << 3)));
  return true;
}
