/**
 * What the string instructions share: repetition with a state that can be resumed after each
 * element, the index registers, and direct access to the pages that hold the elements. (SDM vol. 2:
 * REP/REPE/REPNE.)
 *
 * A repeated instruction commits its registers after each element, so that a fault, or an
 * interrupt after QUANTUM units of work, finds it restartable at the same RIP.
 */
import { EMPTY_TLB_AT, FAULT, FLAGS, MMU_HALF, PAGE_FLAGS_AT, REPLAY_COUNT, REPLAY_NEXT, TLB } from "../state.gen";
import { dataTag } from "../breakpoints";
import { trapNoted, unfinishedRepetition } from "../cpu/debug";
import { Rec, RF_REP, RF_REPNE } from "../record";
import { R_JUMP, R_NEXT, faulted } from "../fault";
import { PAGE_MASK } from "../layout";
import { READ, WRITE, translate } from "../mmu/access";
import { linear } from "../operands";
import { chargeWork } from "../run";
import { DF, TF } from "../flags";
import { RCX, addressMask, setByAddressSize } from "./regs";

/** Work units before interrupts are let in: one for each element, or for 16 bytes moved at once. */
const QUANTUM: i32 = 4096;

/** Whether the instruction has a repeat prefix. */
export function repeats(p: u32): bool {
  return (Rec.flags(p) & (RF_REP | RF_REPNE)) != 0;
}

/** Work units for one execution: a single element when a trap follows each. */
export function quantum(): i32 {
  return (load<u64>(FLAGS) & TF) != 0 ? 1 : QUANTUM;
}

/**
 * After a quantum: goes on later with what remains. The pause is charged to the time slice, so that a
 * long repetition does not keep timers and other vCPUs waiting.
 */
export function rest(p: u32): u32 {
  if (remaining(p) == 0) return R_NEXT;
  unfinishedRepetition();
  if (quantum() == QUANTUM && !trapNoted()) chargeWork(QUANTUM / 2);
  return R_JUMP;
}

/** Elements that remain to be done. */
export function remaining(p: u32): u64 {
  return load<u64>(RCX) & addressMask(Rec.asize(p));
}

/** Distance to the next element: the size, or minus the size with DF. */
export function stepOf<T>(): i64 {
  return (load<u64>(FLAGS) & DF) != 0 ? -<i64>sizeof<T>() : <i64>sizeof<T>();
}

/** Moves index register `at` by `bytes`. */
export function advance(p: u32, at: u32, bytes: i64): void {
  setByAddressSize(at, Rec.asize(p), load<u64>(at) + bytes);
}

/** Counts `n` elements as done. */
export function countDone(p: u32, n: u64): void {
  setByAddressSize(RCX, Rec.asize(p), load<u64>(RCX) - n);
}

/**
 * Ends an element whose registers are committed: device accesses that it consumed must not be
 * replayed to the next one when that leaves run().
 */
export function elementDone(): void {
  store<u32>(REPLAY_COUNT, 0);
  store<u32>(REPLAY_NEXT, 0);
}

/** Offset that index register `at` holds. */
export function offsetIn(p: u32, at: u32): u64 {
  return load<u64>(at) & addressMask(Rec.asize(p));
}

/**
 * Linear address of `bytes` at `offset`, all of it inside the segment and before the offset wraps;
 * all ones otherwise, without a fault.
 */
function spanLinear(p: u32, seg: u32, offset: u64, bytes: u32, write: bool): u64 {
  if (addressMask(Rec.asize(p)) - offset < bytes - 1) return NOWHERE;
  const va = linear(seg, offset, bytes, write);
  if (!faulted()) return va;
  store<u32>(FAULT, 0);
  return NOWHERE;
}

const NOWHERE: u64 = ~(<u64>0);

/**
 * How many of `count` elements of `size` bytes at `offset`, going up, lie in one page that can be
 * accessed without a look; `spanHost` is where they lie in linear memory.
 */
export function span(p: u32, seg: u32, offset: u64, count: u64, size: u32, write: bool): u32 {
  const va = spanLinear(p, seg, offset, size, write);
  if (va == NOWHERE) return 0;
  // Not only what the TLB holds: source and destination may compete for one entry.
  if (load<u32>(TLB) == EMPTY_TLB_AT) return 0;
  const lin = translate(va, write ? WRITE : READ, load<u32>(MMU_HALF));
  if (faulted()) store<u32>(FAULT, 0);
  if (lin == 0 || dataTag(va & PAGE_MASK) != (va & PAGE_MASK) || (write && load<u8>(PAGE_FLAGS_AT + (lin >> 12)) != 0)) return 0;
  const fit = (0x1000 - (<u32>va & 0xfff)) / size;
  const n = count < <u64>fit ? <u32>count : fit;
  if (n == 0 || spanLinear(p, seg, offset, n * size, write) != va) return 0;
  spanHost = lin;
  return n;
}

/** Set by span(). */
export let spanHost: u32 = 0;
