/**
 * CMPS SCAS, alone and repeated while equal (F3) or unequal (F2) (SDM vol. 2, under these names).
 * The flags are those of the last comparison, also when a fault in a later element or a pause stops the
 * repetition: so do AMD's processors, while Intel's then leave those from before (SDM vol. 2, CMPS). But when
 * an element comes from a device, KVM emulates all that is left, and sets the flags behind the last one.
 */
import { trapNoted } from "../cpu/debug";
import { REPLAY_COUNT } from "../state.gen";
import { RF_REP, Rec } from "../record";
import { R_FAULT, R_NEXT, faulted } from "../fault";
import { linear } from "../operands";
import { ld } from "../mem";
import { K_SUB, setCc } from "../flags";
import {
  advance, broken, countDone, elementDone, finished, offsetIn, pauseAt, remaining, repeats, rest, span, spanHost, stepOf,
} from "./repeat";
import { source } from "./string";
import { RAX, RDI, RSI } from "./regs";

/** Whether this run of the instruction goes on with what a device answered. */
function isReplayed(): bool {
  return load<u32>(REPLAY_COUNT) != 0;
}

/** Ends with the flags of comparing `a` with `b`. */
function compared<T>(a: T, b: T): u32 {
  setCc<T>(K_SUB, <T>(a - b), b);
  return R_NEXT;
}

/** Ends with result `r`, and the flags of comparing `a` with `b` if `some` were compared. */
function stopped<T>(r: u32, some: bool, a: T, b: T): u32 {
  if (some) compared<T>(a, b);
  return r;
}

/** A fault in an element: the flags are those of `a` and `b` if `some` were compared. */
function interrupted<T>(p: u32, before: u64, bulk: bool, some: bool, a: T, b: T): u32 {
  if (repeats(p)) broken(p, before, bulk);
  return stopped<T>(R_FAULT, some, a, b);
}

/** The element at ES:rDI. May raise. */
function target<T>(p: u32): T {
  const va = linear(0, offsetIn(p, RDI), sizeof<T>(), false);
  if (faulted()) return <T>0;
  return ld<T>(va);
}

/** CMPS [rSI],[rDI]. */
export function cmps<T>(p: u32): u32 {
  const repeated = repeats(p);
  const goOn = (Rec.flags(p) & RF_REP) != 0;
  const before = remaining(p);
  if (repeated && before == 0) return R_NEXT;
  const shows = !isReplayed();
  const stop = pauseAt(before);
  let some = false, a: T = 0, b: T = 0;
  while (true) {
    const one = source<T>(p);
    if (faulted()) return interrupted<T>(p, before, goOn, some && shows, a, b);
    const other = target<T>(p);
    if (faulted()) return interrupted<T>(p, before, goOn, some && shows, a, b);
    a = one;
    b = other;
    some = true;
    const step = stepOf<T>();
    advance(p, RSI, step);
    advance(p, RDI, step);
    if (!repeated) return compared<T>(a, b);
    countDone(p, 1);
    elementDone();
    const left = remaining(p);
    if ((a == b) != goOn || left == 0) return stopped<T>(finished(p, before, goOn), some, a, b);
    if (left == stop || trapNoted()) return stopped<T>(rest(p, before, goOn), some, a, b);
    // Those it passes compare like this one.
    if (goOn) passEqual<T>(p, left - 1 - stop);
  }
}

/** Passes up to `count` elements that are equal, inside one page of each side. */
function passEqual<T>(p: u32, count: u64): void {
  if (stepOf<T>() < 0) return;
  let n = span(p, Rec.seg(p), offsetIn(p, RSI), count, sizeof<T>(), false);
  if (n == 0) return;
  const one = spanHost;
  n = span(p, 0, offsetIn(p, RDI), n, sizeof<T>(), false);
  const other = spanHost;
  let i: u32 = 0;
  while (i < n && load<T>(one + i * <u32>sizeof<T>()) == load<T>(other + i * <u32>sizeof<T>())) i++;
  advance(p, RSI, i * <u32>sizeof<T>());
  advance(p, RDI, i * <u32>sizeof<T>());
  countDone(p, i);
}

/** SCAS rAX,[rDI]. */
export function scas<T>(p: u32): u32 {
  const a = load<T>(RAX);
  const repeated = repeats(p);
  const goOn = (Rec.flags(p) & RF_REP) != 0;
  const before = remaining(p);
  if (repeated && before == 0) return R_NEXT;
  const shows = !isReplayed();
  const stop = pauseAt(before);
  let some = false, b: T = 0;
  while (true) {
    const other = target<T>(p);
    if (faulted()) return interrupted<T>(p, before, true, some && shows, a, b);
    b = other;
    some = true;
    advance(p, RDI, stepOf<T>());
    if (!repeated) return compared<T>(a, b);
    countDone(p, 1);
    elementDone();
    const left = remaining(p);
    if ((a == b) != goOn || left == 0) return stopped<T>(finished(p, before, true), some, a, b);
    if (left == stop || trapNoted()) return stopped<T>(rest(p, before, true), some, a, b);
    const passed = passWhile<T>(p, a, goOn, left - 1 - stop);
    if (passed > 0) b = load<T>(spanHost + (passed - 1) * <u32>sizeof<T>());
  }
}

/** Passes up to `count` elements whose equality with `a` is `equal`, inside one page from `spanHost`. Returns how many. */
function passWhile<T>(p: u32, a: T, equal: bool, count: u64): u32 {
  if (stepOf<T>() < 0) return 0;
  const n = span(p, 0, offsetIn(p, RDI), count, sizeof<T>(), false);
  let i: u32 = 0;
  while (i < n && (load<T>(spanHost + i * <u32>sizeof<T>()) == a) == equal) i++;
  advance(p, RDI, i * <u32>sizeof<T>());
  countDone(p, i);
  return i;
}
