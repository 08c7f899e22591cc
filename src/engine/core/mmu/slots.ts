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

/** Finds memory for the slot in entry `i`, which has none so far: its linear address, or 0. */
@external("env", "hostBackSlot")
declare function hostBackSlot(i: u32): u32;

/**
 * Puts a slot into entry `i` of the table, which must stay in ascending order of `gpa`; later ones
 * move up. `lin` 0: its memory is asked for when it is first needed. `dirty`: bitmap with a bit per
 * page for written pages, or 0. No translation becomes wrong by it: only slots have any.
 */
export function insertSlot(i: u32, gpa: u64, size: u64, lin: u32, flags: u32, dirty: u32): void {
  if (i > slotCount || slotCount >= MAX_SLOTS) return;
  const at: u32 = SLOTS_AT + (i << 5);
  memory.copy(at + 32, at, (slotCount - i) << 5);
  slotCount++;
  lastSlot = SLOTS_AT;
  store<u64>(at, gpa);
  store<u64>(at, gpa + size, 8);
  store<u32>(at, lin, 16);
  store<u32>(at, flags, 20);
  store<u32>(at, dirty, 24);
  store<u32>(at, 0, 28);
}

/** Takes entry `i` out of the table. Every TLB must be flushed afterwards. */
export function removeSlot(i: u32): void {
  if (i >= slotCount) return;
  const at: u32 = SLOTS_AT + (i << 5);
  slotCount--;
  memory.copy(at, at + 32, (slotCount - i) << 5);
  memory.fill(SLOTS_AT + (slotCount << 5), 0, 32);
  lastSlot = SLOTS_AT;
}

/** The record of the slot that holds `gpa`, with memory behind it; or 0. */
export function findSlot(gpa: u64): u32 {
  const last = lastSlot;
  if (gpa - load<u64>(last) < load<u64>(last, 8) - load<u64>(last) && load<u32>(last, 16) != 0) return last;
  let low: u32 = 0;
  let high: u32 = slotCount;
  while (low < high) {
    const mid = (low + high) >> 1;
    const at: u32 = SLOTS_AT + (mid << 5);
    if (gpa < load<u64>(at)) high = mid;
    else if (gpa >= load<u64>(at, 8)) low = mid + 1;
    else {
      if (load<u32>(at, 16) == 0 && !backed(at, mid)) return 0;
      lastSlot = at;
      return at;
    }
  }
  return 0;
}

/** Gets memory for the slot in the record at `at`, entry `i`. */
function backed(at: u32, i: u32): bool {
  const lin = hostBackSlot(i);
  store<u32>(at, lin, 16);
  return lin != 0;
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
