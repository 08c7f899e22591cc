/**
 * Memory slots: ranges of guest-physical addresses and the linear memory behind them. The table is
 * at SLOTS_AT, sorted by address, without overlaps. A record has 32 bytes:
 *
 *   0 first gpa u64 | 8 gpa after the last u64 | 16 linear address of the first byte u32
 *  20 flags u32 | 24 dirty bitmap, linear address or 0, u32
 */
import { SLOTS_AT, SLOTS_SIZE } from "../state.gen";

/** flags: writes leave run() with X_MMIO. */
export const SLOT_READONLY: u32 = 1;
/** How many slots the table can hold. */
export const MAX_SLOTS: u32 = SLOTS_SIZE / 32;

let slotCount: u32 = 0;
let lastSlot: u32 = SLOTS_AT;

/**
 * Fills entry `i` of the table, which must be in ascending order of `gpa`. Takes effect with
 * setSlotCount(). `dirty`: bitmap with a bit per page for written pages, or 0.
 */
export function setSlot(i: u32, gpa: u64, size: u64, lin: u32, flags: u32, dirty: u32): void {
  if (i >= MAX_SLOTS) return;
  const at: u32 = SLOTS_AT + (i << 5);
  store<u64>(at, gpa);
  store<u64>(at, gpa + size, 8);
  store<u32>(at, lin, 16);
  store<u32>(at, flags, 20);
  store<u32>(at, dirty, 24);
  store<u32>(at, 0, 28);
}

/** Says how many entries are valid (at most MAX_SLOTS). Every TLB must be flushed afterwards. */
export function setSlotCount(n: u32): void {
  slotCount = min<u32>(n, MAX_SLOTS);
  lastSlot = SLOTS_AT;
  if (slotCount == 0) memory.fill(SLOTS_AT, 0, 32);
}

/** The record of the slot that holds `gpa`, or 0. */
export function findSlot(gpa: u64): u32 {
  const last = lastSlot;
  if (gpa - load<u64>(last) < load<u64>(last, 8) - load<u64>(last)) return last;
  let low: u32 = 0;
  let high: u32 = slotCount;
  while (low < high) {
    const mid = (low + high) >> 1;
    const at: u32 = SLOTS_AT + (mid << 5);
    if (gpa < load<u64>(at)) high = mid;
    else if (gpa >= load<u64>(at, 8)) low = mid + 1;
    else {
      lastSlot = at;
      return at;
    }
  }
  return 0;
}

/** Linear address of `gpa`, which the slot holds. */
export function slotLin(slot: u32, gpa: u64): u32 {
  return load<u32>(slot, 16) + <u32>(gpa - load<u64>(slot));
}

/** Linear address of `gpa`, or 0 when no slot holds it. */
export function gpaToLin(gpa: u64): u32 {
  const slot = findSlot(gpa);
  return slot == 0 ? 0 : slotLin(slot, gpa);
}

/** Records a write to `gpa` in the slot's dirty bitmap, if it has one. */
export function logWrite(slot: u32, gpa: u64): void {
  const bitmap = load<u32>(slot, 24);
  if (bitmap == 0) return;
  const page = <u32>((gpa - load<u64>(slot)) >> 12);
  const at = bitmap + (page >> 3);
  store<u8>(at, load<u8>(at) | <u8>(<u32>1 << (page & 7)));
}
