/**
 * Breakpoints and cached code. What DR7 enables is kept in a form that the paths which look at it can
 * test quickly:
 *
 *   BREAKPOINTS     bits 0 to 3: enabled on code; bits 4 to 7: enabled on data
 *   BREAK_AT        their addresses
 *   BREAK_VARIANT   of those on code: the number of the set of places in a page that have one
 *
 * Decoded blocks belong to places in linear memory and to all vCPUs, breakpoints to one vCPU and to
 * linear addresses. So a page with breakpoints on code has blocks of its own for each set of places,
 * which end before these, and leaves all other blocks alone. The number of the set is part of the
 * blocks' key; equal sets have the same number, whoever has them and wherever the page is mapped.
 */
import { BREAKPOINTS, BREAK_AT, BREAK_EPOCH, BREAK_VARIANT } from "./state.gen";
import { dropBlocks } from "./blocks";
import { BREAK_CODE, BREAK_PORT, addressesInForce, dr7InForce } from "./cpu/debug";
import { updateTlb } from "./cpu/mode";
import { PAGE_MASK } from "./layout";
import { forgetPage, slowTag } from "./mmu/tlb";

/** BREAKPOINTS: those on code. */
export const ON_CODE: u32 = 0x0f;
/** BREAKPOINTS: those on data. */
export const ON_DATA: u32 = 0xf0;

/** How many sets are known before all blocks are dropped and numbers start anew. */
const MAX_SETS: u32 = 1023;
/** In a set: no place. */
const NO_PLACE: u64 = 0xffff;

const SETS: u32 = <u32>memory.data(8192);
let sets: u32 = 0;
/** Changes when numbers start anew. */
let epoch: u32 = 1;

/** To be called after a change of the breakpoints in force. */
export function updateBreakpoints(): void {
  forgetPages();
  const dr7 = dr7InForce();
  const addresses = addressesInForce();
  let on: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    const kind = (dr7 >> (16 + (i << 2))) & 3;
    if (((dr7 >> (i << 1)) & 3) == 0 || kind == BREAK_PORT) continue;
    on |= (kind == BREAK_CODE ? 1 : 16) << i;
    store<u64>(BREAK_AT + (i << 3), load<u64>(addresses + (i << 3)));
  }
  store<u32>(BREAKPOINTS, on);
  if ((on & ON_CODE) != 0) number();
  forgetPages();
  updateTlb();
}

/** Translations of the pages that have breakpoints are made anew, with the tags that fit. */
function forgetPages(): void {
  const on = load<u32>(BREAKPOINTS);
  if (on == 0) return;
  for (let i: u32 = 0; i < 4; i++) {
    if ((on & (0x11 << i)) != 0) forgetPage(load<u64>(BREAK_AT + (i << 3)));
  }
}

/** Gives the breakpoints on code the numbers of their pages' sets. */
function number(): void {
  if (sets + 4 > MAX_SETS) {
    sets = 0;
    epoch++;
    dropBlocks();
  }
  for (let i: u32 = 0; i < 4; i++) {
    if (!isOnCode(i)) continue;
    store<u32>(BREAK_VARIANT + (i << 2), numberOf(placesIn(load<u64>(BREAK_AT + (i << 3)) & PAGE_MASK)));
  }
  store<u32>(BREAK_EPOCH, epoch);
}

function isOnCode(i: u32): bool {
  return (load<u32>(BREAKPOINTS) & (1 << i)) != 0;
}

/** The places of a page that have breakpoints: 16 bits each, ascending, NO_PLACE in the rest. */
function placesIn(page: u64): u64 {
  let set: u64 = ~0;
  for (let i: u32 = 0; i < 4; i++) {
    const at = load<u64>(BREAK_AT + (i << 3));
    if (isOnCode(i) && (at & PAGE_MASK) == page) set = withPlace(set, at & 0xfff);
  }
  return set;
}

function withPlace(set: u64, place: u64): u64 {
  let k: u64 = 0;
  while (((set >> k) & NO_PLACE) < place) k += 16;
  if (((set >> k) & NO_PLACE) == place) return set;
  const below = ((<u64>1) << k) - 1;
  return (set & below) | (place << k) | ((set & ~below) << 16);
}

function numberOf(set: u64): u32 {
  for (let n: u32 = 0; n < sets; n++) {
    if (load<u64>(SETS + (n << 3)) == set) return n + 1;
  }
  store<u64>(SETS + (sets << 3), set);
  return ++sets;
}

/** Whether set `n` has a place of its page. */
export function setHas(n: u32, place: u32): bool {
  const set = load<u64>(SETS + ((n - 1) << 3));
  for (let k: u64 = 0; k < 64; k += 16) {
    if (((set >> k) & NO_PLACE) == <u64>place) return true;
  }
  return false;
}

/** variantAt(): the address itself has a breakpoint. */
export const AT_BREAKPOINT: u32 = 0xffffffff;

/** Which blocks code at linear address `va` comes from: 0 the common ones, a set's number, or AT_BREAKPOINT. */
export function variantAt(va: u64): u32 {
  if ((load<u32>(BREAKPOINTS) & ON_CODE) == 0) return 0;
  if (load<u32>(BREAK_EPOCH) != epoch) number();
  let variant: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    const at = load<u64>(BREAK_AT + (i << 3));
    if (!isOnCode(i) || ((at ^ va) & PAGE_MASK) != 0) continue;
    if (at == va) return AT_BREAKPOINT;
    variant = load<u32>(BREAK_VARIANT + (i << 2));
  }
  return variant;
}

/** Tag for fetches from a page: one that only slow paths match where there are breakpoints on code. */
export function fetchTag(page: u64): u64 {
  return tagFor(page, ON_CODE);
}

/** Tag for data accesses to a page: one that only slow paths match where there are breakpoints on data. */
export function dataTag(page: u64): u64 {
  return tagFor(page, ON_DATA);
}

function tagFor(page: u64, kind: u32): u64 {
  const on = load<u32>(BREAKPOINTS) & kind;
  if (on == 0) return page;
  for (let i: u32 = 0; i < 4; i++) {
    if ((on & (0x11 << i)) != 0 && (load<u64>(BREAK_AT + (i << 3)) & PAGE_MASK) == page) return slowTag(page);
  }
  return page;
}
