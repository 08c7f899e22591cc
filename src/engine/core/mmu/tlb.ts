/**
 * The software TLB of a vCPU: three halves, for user mode, for supervisor mode with SMAP in force,
 * and for supervisor mode without it. A half has TLB_ENTRIES entries for data and FETCH_ENTRIES for code, of
 * 32 bytes; tlbAt() and fetchAt() say which of them an address belongs to:
 *
 *   0 tag for reads u64 | 8 tag for writes u64 | 16 addend u32 | 20 flags u32 | 24 tag for fetches u64
 *
 * A tag is the page's linear address when that kind of access may go ahead, else absentTag(). Linear
 * memory address = guest address + addend. Behind the halves are two logs, of the entries in use and of
 * those that a load of CR3 empties, so that a flush costs what was filled, and what INVLPG needs for pages
 * that fill many entries.
 */
import { count, countBy } from "../count";
import { FETCH_ENTRIES, TLB_ENTRIES, PAGE_MASK, fetchAt, tlbAt } from "../layout";
import { EMPTY_TLB_AT, EMPTY_TLB_SIZE, N_FLUSH, N_FLUSHED, N_SWEPT, TLB_ALL } from "../state.gen";

const HALF_ENTRIES: u32 = TLB_ENTRIES + FETCH_ENTRIES;
export const HALF_BYTES: u32 = HALF_ENTRIES * 32;
/** Bits of a page number that take it far away from its entry, for data and for code. */
const FAR: u32 = (TLB_ENTRIES / 2) | (FETCH_ENTRIES / 2);
/**
 * In a tag: no page is meant. No comparison leaves this bit of an address standing: those of aligned
 * accesses keep bits 0 to 3 below the page number, all others none.
 */
export const TAG_ABSENT: u64 = 0x400;
/** The last page that 32 bits can address. The memory never grows to it, so that an access there traps. */
const NOWHERE: u32 = 0xfffff000;

/**
 * The tag of entry `number` of an area when it permits nothing. It can equal no address that is looked up in the
 * entry, canonical or not, in whichever way the two are compared: it is no page at all, and its page, one of
 * the lowest, belongs into another entry.
 */
export function absentTag(number: u32): u64 {
  return (<u64>(((number % HALF_ENTRIES) ^ FAR) & (TLB_ENTRIES - 1)) << 12) | TAG_ABSENT;
}

/** In a tag: there are breakpoints in the page. */
const TAG_SLOW: u64 = 0x800;

/** The tag of a page with breakpoints: no fast comparison matches it, only translate() does. */
export function slowTag(page: u64): u64 {
  return page ^ ((<u64>FAR << 12) | TAG_SLOW);
}

/** The page of a tag that is not absent. */
function pageOfTag(tag: u64): u64 {
  return (tag & TAG_SLOW) != 0 ? slowTag(tag) : tag;
}

/** flags: the entry is in use and in the log. */
export const TE_USED: u32 = 1;
/** flags: global, survives CR3 loads. */
export const TE_GLOBAL: u32 = 2;
/** flags: writes are allowed, and if their tag is missing it is because the page holds code. */
export const TE_WRITE: u32 = 4;
/** flags: the entry is in the log of those that a load of CR3 empties. */
const TE_LOCAL: u32 = 8;
/** flags: log2 of the size of the guest's page, in bits 8 to 15. */
export const TE_SIZE_SHIFT: u32 = 8;

// Behind the halves: lengths of the logs u32, epoch u32 of the walk cache, bloom filters of large pages that
// are global and that are not, the walk cache, and the logs (u16 each: number of the entry in the area).
const COUNT: u32 = HALF_BYTES * 3;
const EPOCH: u32 = COUNT + 4;
const LOCAL_COUNT: u32 = COUNT + 8;
const BLOOM: u32 = COUNT + 0x40;
const BLOOM_BYTES: u32 = 512;
const LOCAL_BLOOM: u32 = BLOOM + BLOOM_BYTES;
/** Offset of the walk cache (see walk.ts) in the area: WALK_ENTRIES of 32 bytes. */
export const WALK_CACHE: u32 = LOCAL_BLOOM + BLOOM_BYTES;
export const WALK_ENTRIES: u32 = 64;
const LOG: u32 = WALK_CACHE + WALK_ENTRIES * 32;
const LOCAL_LOG: u32 = LOG + HALF_ENTRIES * 3 * 2;

/** Size of a vCPU's TLB area; a multiple of 4096. */
export const TLB_AREA_BYTES: u32 = (LOCAL_LOG + HALF_ENTRIES * 3 * 2 + 0xfff) & ~0xfff;

/** Highest number of vCPUs of a VM. */
export const MAX_VCPUS: u32 = 4096;
const AREAS: u32 = <u32>memory.data(16384);
let areaCount: u32 = 0;

/** Prepares what must exist before any vCPU: the TLB that never hits. */
export function initMmu(): void {
  for (let i: u32 = 0; i < EMPTY_TLB_SIZE / 32; i++) clearEntry(EMPTY_TLB_AT, i);
  areaCount = 0;
}

/** How many bytes setTlbArea() needs. */
export function tlbAreaBytes(): u32 {
  return TLB_AREA_BYTES;
}

/**
 * Gives vCPU `index` (below MAX_VCPUS) its TLB: TLB_AREA_BYTES of zeros at `address`, aligned to 64.
 * Its entries are touched by prepareTlbArea(), which must come before the vCPU's first run().
 */
export function setTlbArea(index: u32, address: u32): void {
  if (index >= MAX_VCPUS) return;
  store<u32>(AREAS + (index << 2), address);
  if (index >= areaCount) areaCount = index + 1;
  store<u32>(address, 1, EPOCH);
}

/** Empties the entries of a new TLB: zeros would be translations of page 0. */
export function prepareTlbArea(address: u32): void {
  for (let i: u32 = 0; i < HALF_ENTRIES * 3; i++) clearEntry(address, i);
}

/** Empties entry `number` of an area. Even if a comparison with its tags succeeded, its addend would lead nowhere. */
function clearEntry(area: u32, number: u32): void {
  const e = area + (number << 5);
  const absent = absentTag(number);
  store<u64>(e, absent);
  store<u64>(e, absent, 8);
  store<u32>(e, NOWHERE - (<u32>absent & ~0xfff), 16);
  store<u32>(e, 0, 20);
  store<u64>(e, absent, 24);
}

/** The entry that would hold `va` for reads and writes, in half 0, 1 or 2 of the running vCPU. */
export function tlbEntry(half: u32, va: u64): u32 {
  return load<u32>(TLB_ALL) + half * HALF_BYTES + tlbAt(va);
}

/** The entry that would hold `va` for fetches. */
export function fetchEntry(half: u32, va: u64): u32 {
  return load<u32>(TLB_ALL) + half * HALF_BYTES + fetchAt(va);
}

/** The tag of the running vCPU's entry `e` when it permits nothing. */
export function absentIn(e: u32): u64 {
  return absentTag((e - load<u32>(TLB_ALL)) >> 5);
}

/** Takes an entry into use: logs it, and notes a large page for INVLPG. The tags are the caller's. */
export function useEntry(e: u32, va: u64, flags: u32): void {
  const area = load<u32>(TLB_ALL);
  const before = load<u32>(e, 20);
  if ((before & TE_USED) == 0) {
    const n = load<u32>(area, COUNT);
    store<u16>(area + (n << 1), (e - area) >> 5, LOG);
    store<u32>(area, n + 1, COUNT);
  }
  let local = before & TE_LOCAL;
  if (local == 0 && (flags & TE_GLOBAL) == 0) {
    local = TE_LOCAL;
    const n = load<u32>(area, LOCAL_COUNT);
    store<u16>(area + (n << 1), (e - area) >> 5, LOCAL_LOG);
    store<u32>(area, n + 1, LOCAL_COUNT);
  }
  store<u32>(e, flags | local | TE_USED, 20);
  noteLarge(area, va, flags);
}

/** Notes in a bloom filter that the page at `va`, if larger than 4 KiB, has an entry. */
function noteLarge(area: u32, va: u64, flags: u32): void {
  const size = (flags >> TE_SIZE_SHIFT) & 0xff;
  if (size <= 12) return;
  const bit = bloomBit(va >> size);
  const at = area + ((flags & TE_GLOBAL) != 0 ? BLOOM : LOCAL_BLOOM) + (bit >> 3);
  store<u8>(at, load<u8>(at) | <u8>(<u32>1 << (bit & 7)));
}

function bloomBit(number: u64): u32 {
  return <u32>(number ^ (number >> 12)) & (BLOOM_BYTES * 8 - 1);
}

function mayHaveLarge(area: u32, number: u64): bool {
  const bit = bloomBit(number);
  const at = area + (bit >> 3);
  return ((load<u8>(at, BLOOM) | load<u8>(at, LOCAL_BLOOM)) & (1 << (bit & 7))) != 0;
}

/** The number of the walk cache's current generation, at most 2^21 - 1. */
export function walkEpoch(area: u32): u32 {
  return load<u32>(area, EPOCH);
}

/** Forgets the cached page-directory entries of an area. */
function dropWalks(area: u32): void {
  const epoch = load<u32>(area, EPOCH) + 1;
  if (epoch < 1 << 21) {
    store<u32>(area, epoch, EPOCH);
    return;
  }
  memory.fill(area + WALK_CACHE, 0, WALK_ENTRIES * 32);
  store<u32>(area, 1, EPOCH);
}

function flushArea(area: u32): void {
  const n = load<u32>(area, COUNT);
  count(N_FLUSH);
  countBy(N_FLUSHED, n);
  if (n != 0) {
    for (let i: u32 = 0; i < n; i++) clearEntry(area, load<u16>(area + (i << 1), LOG));
    store<u32>(area, 0, COUNT);
    store<u32>(area, 0, LOCAL_COUNT);
    memory.fill(area + BLOOM, 0, BLOOM_BYTES * 2);
  }
  dropWalks(area);
}

/** Flushes everything of the running vCPU, global entries too. */
export function flushAll(): void {
  flushArea(load<u32>(TLB_ALL));
}

/** Flushes what a load of CR3 flushes: everything that is not global. */
export function flushNonGlobal(): void {
  const area = load<u32>(TLB_ALL);
  const n = load<u32>(area, LOCAL_COUNT);
  count(N_FLUSH);
  countBy(N_FLUSHED, n);
  memory.fill(area + LOCAL_BLOOM, 0, BLOOM_BYTES);
  for (let i: u32 = 0; i < n; i++) {
    const number = <u32>load<u16>(area + (i << 1), LOCAL_LOG);
    const at: u32 = area + (number << 5);
    const flags = load<u32>(at, 20);
    // The entry may have been taken by a global page since.
    if ((flags & TE_GLOBAL) == 0) clearEntry(area, number);
    store<u32>(at, ((flags & TE_GLOBAL) == 0 ? 0 : flags & ~TE_LOCAL) | TE_USED, 20);
  }
  store<u32>(area, 0, LOCAL_COUNT);
  dropWalks(area);
}

/** Whether a tag lets an access to `page` go ahead, if only by a slow path. */
export function tagFits(tag: u64, page: u64): bool {
  return tag == page || tag == slowTag(page);
}

function holds(e: u32, page: u64): bool {
  return tagFits(load<u64>(e), page) || tagFits(load<u64>(e, 8), page) || tagFits(load<u64>(e, 24), page);
}

/** Whether an entry translates a page other than `page`. */
export function holdsOther(e: u32, page: u64): bool {
  return (load<u64>(e) & load<u64>(e, 8) & load<u64>(e, 24) & TAG_ABSENT) == 0 && !holds(e, page);
}

/** The page that an entry in use translates. */
function pageOf(e: u32): u64 {
  let tag = load<u64>(e);
  if ((tag & TAG_ABSENT) != 0) tag = (load<u64>(e, 24) & TAG_ABSENT) == 0 ? load<u64>(e, 24) : load<u64>(e, 8);
  return pageOfTag(tag);
}

/** Empties entry `number` of an area but leaves it in the logs, where a flush will find it. */
function dropEntry(area: u32, number: u32): void {
  const logged = load<u32>(area + (number << 5), 20) & (TE_USED | TE_LOCAL);
  clearEntry(area, number);
  store<u32>(area + (number << 5), logged, 20);
}

/** Drops the translations of the page of `va`, which are made anew from what the walk cache knows. */
export function forgetPage(va: u64): void {
  const area = load<u32>(TLB_ALL);
  for (let half: u32 = 0; half < 3; half++) {
    forgetIn(area, tlbEntry(half, va), va & PAGE_MASK);
    forgetIn(area, fetchEntry(half, va), va & PAGE_MASK);
  }
}

function forgetIn(area: u32, e: u32, page: u64): void {
  if (holds(e, page)) dropEntry(area, (e - area) >> 5);
}

/** INVLPG: flushes the page of `va`, whatever its size, global or not, in all halves. */
export function flushPage(va: u64): void {
  const area = load<u32>(TLB_ALL);
  forgetPage(va);
  dropWalks(area);
  if (mayHaveLarge(area, va >> 21) || mayHaveLarge(area, va >> 22) || mayHaveLarge(area, va >> 30)) {
    dropFragments(area, va);
  }
}

function dropFragments(area: u32, va: u64): void {
  const n = load<u32>(area, COUNT);
  countBy(N_SWEPT, n);
  for (let i: u32 = 0; i < n; i++) {
    const number = <u32>load<u16>(area + (i << 1), LOG);
    const e: u32 = area + (number << 5);
    const size = (load<u32>(e, 20) >> TE_SIZE_SHIFT) & 0xff;
    if (size > 12 && pageOf(e) >> size == va >> size) dropEntry(area, number);
  }
}

/** Flushes the TLBs of all vCPUs: the slot table changed. */
export function flushAllVcpus(): void {
  for (let i: u32 = 0; i < areaCount; i++) {
    const area = load<u32>(AREAS + (i << 2));
    if (area != 0) flushArea(area);
  }
}

/** Takes away all write tags of the page at linear address `lin`: it now holds decoded code. */
export function dropWriteTags(lin: u32): void {
  const target = lin & ~0xfff;
  for (let v: u32 = 0; v < areaCount; v++) {
    const area = load<u32>(AREAS + (v << 2));
    if (area == 0) continue;
    const n = load<u32>(area, COUNT);
    countBy(N_SWEPT, n);
    for (let i: u32 = 0; i < n; i++) {
      const number = <u32>load<u16>(area + (i << 1), LOG);
      const e: u32 = area + (number << 5);
      const tag = load<u64>(e, 8);
      if ((tag & TAG_ABSENT) == 0 && <u32>pageOfTag(tag) + load<u32>(e, 16) == target) store<u64>(e, absentTag(number), 8);
    }
  }
}

/** Takes away every write tag of every vCPU: writes must be logged again. */
export function dropAllWriteTags(): void {
  for (let v: u32 = 0; v < areaCount; v++) {
    const area = load<u32>(AREAS + (v << 2));
    if (area == 0) continue;
    const n = load<u32>(area, COUNT);
    for (let i: u32 = 0; i < n; i++) {
      const number = <u32>load<u16>(area + (i << 1), LOG);
      const e: u32 = area + (number << 5);
      store<u64>(e, absentTag(number), 8);
      store<u32>(e, load<u32>(e, 20) & ~TE_WRITE, 20);
    }
  }
}
