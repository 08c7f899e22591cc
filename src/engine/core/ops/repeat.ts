/**
 * What the string instructions share: repetition with a state that can be resumed after each
 * element, the index registers, and direct access to the pages that hold the elements. (SDM vol. 2:
 * REP/REPE/REPNE.)
 *
 * A repeated instruction commits its registers after each element, so that a fault, or an
 * interrupt at a pause, finds it restartable at the same RIP.
 *
 * Where it pauses and how much work it counts follow from the number of elements that are left, and
 * not from where it began: they do not depend on how it was executed (elements moved at once or one by
 * one, begun anew behind a fault or behind a write to decoded code).
 */
import { EMPTY_TLB_AT, FAULT, FLAGS, MMU_HALF, PAGE_FLAGS_AT, REPLAY_COUNT, REPLAY_NEXT, TLB } from "../state.gen";
import { dataTag } from "../breakpoints";
import { unfinishedRepetition } from "../cpu/debug";
import { Rec, RF_REP, RF_REPNE } from "../record";
import { R_FAULT, R_JUMP, R_NEXT, faulted } from "../fault";
import { leaveTo } from "../cpu/ip";
import { PAGE_MASK } from "../layout";
import { READ, WRITE, translate } from "../mmu/access";
import { linear } from "../operands";
import { chargeWork } from "../run";
import { DF, TF } from "../flags";
import { RCX, addressMask, setByAddressSize } from "./regs";

/** Interrupts are let in whenever the number of elements that are left is a multiple of this. */
const PAUSE: u64 = 16384;

/** Logarithm of the elements that count as one unit of work: of those moved at once, and of others. */
const AT_ONCE: u32 = 6;
const ONE_BY_ONE: u32 = 5;

/** Whether the instruction has a repeat prefix. */
export function repeats(p: u32): bool {
  return (Rec.flags(p) & (RF_REP | RF_REPNE)) != 0;
}

/** How many of `left` elements are left at the next pause: all but one when a trap follows each. */
export function pauseAt(left: u64): u64 {
  return (load<u64>(FLAGS) & TF) != 0 ? left - 1 : (left - 1) & ~(PAUSE - 1);
}

/** Counts the work since `before` elements were left. Gives how much it was. */
function count(p: u32, before: u64, bulk: bool): i32 {
  const shift: u32 = bulk && (load<u64>(FLAGS) & DF) == 0 ? AT_ONCE : ONE_BY_ONE;
  const work = <i32>((before >> shift) - (remaining(p) >> shift));
  if (work != 0) chargeWork(work);
  return work;
}

/**
 * Ends the instruction, whose last execution began with `before` elements left. `bulk` says that
 * upwards it does many elements at once.
 */
export function finished(p: u32, before: u64, bulk: bool): u32 {
  // When the budget has changed, a block of decoded code must not go on with its own.
  return count(p, before, bulk) == 0 ? R_NEXT : leaveTo(p);
}

/** As {@link finished}, when it goes on later unless no element is left. */
export function rest(p: u32, before: u64, bulk: bool): u32 {
  if (remaining(p) == 0) return finished(p, before, bulk);
  unfinishedRepetition();
  count(p, before, bulk);
  return R_JUMP;
}

/** As {@link finished}, for a fault in an element. */
export function broken(p: u32, before: u64, bulk: bool): u32 {
  count(p, before, bulk);
  return R_FAULT;
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
