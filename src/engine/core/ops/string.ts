/**
 * MOVS STOS LODS, alone and repeated (SDM vol. 2, under these names). Upwards, what lies in one
 * page of ordinary memory is moved at once, as soon as its first element has filled the TLB.
 */
import { trapNoted } from "../cpu/debug";
import { Rec } from "../record";
import { R_FAULT, R_NEXT, faulted } from "../fault";
import { linear, wrReg } from "../operands";
import { ld, st } from "../mem";
import {
  advance, broken, countDone, elementDone, offsetIn, pauseAt, remaining, repeats, rest, span, spanHost, stepOf,
} from "./repeat";
import { RAX, RDI, RSI, bits } from "./regs";

/** The element at rSI. May raise. */
export function source<T>(p: u32): T {
  const va = linear(Rec.seg(p), offsetIn(p, RSI), sizeof<T>(), false);
  if (faulted()) return <T>0;
  return ld<T>(va);
}

/** Writes the element at ES:rDI. May raise. */
function destination<T>(p: u32, value: T): void {
  const va = linear(0, offsetIn(p, RDI), sizeof<T>(), true);
  if (!faulted()) st<T>(va, value);
}

/** MOVS [rDI],[rSI]. */
export function movs<T>(p: u32): u32 {
  if (!repeats(p)) return moveOne<T>(p) ? R_NEXT : R_FAULT;
  const before = remaining(p);
  if (before == 0) return R_NEXT;
  const stop = pauseAt(before);
  for (let left = before; left > stop; left = remaining(p)) {
    if (!moveOne<T>(p)) return broken(p, before, true);
    countDone(p, 1);
    elementDone();
    if (trapNoted()) break;
    moveSpan<T>(p, left - 1 - stop);
  }
  return rest(p, before, true);
}

function moveOne<T>(p: u32): bool {
  const v = source<T>(p);
  if (faulted()) return false;
  destination<T>(p, v);
  if (faulted()) return false;
  const step = stepOf<T>();
  advance(p, RSI, step);
  advance(p, RDI, step);
  return true;
}

/** Moves up to `count` elements inside one page of either side. */
function moveSpan<T>(p: u32, count: u64): void {
  if (count == 0 || stepOf<T>() < 0) return;
  let n = span(p, Rec.seg(p), offsetIn(p, RSI), count, sizeof<T>(), false);
  if (n == 0) return;
  const from = spanHost;
  n = span(p, 0, offsetIn(p, RDI), n, sizeof<T>(), true);
  if (n == 0) return;
  const bytes = n * <u32>sizeof<T>();
  copyUpwards<T>(spanHost, from, bytes);
  advance(p, RSI, bytes);
  advance(p, RDI, bytes);
  countDone(p, n);
}

/** Copies element by element from low to high addresses, as seen when the ranges overlap. */
function copyUpwards<T>(to: u32, from: u32, bytes: u32): void {
  const distance = to - from;
  if (to <= from || distance >= bytes) memory.copy(to, from, bytes);
  else if (distance < 16) {
    for (let i: u32 = 0; i < bytes; i += <u32>sizeof<T>()) store<T>(to + i, load<T>(from + i));
  } else {
    // The source repeats itself with this distance; each piece reads only what is final.
    for (let i: u32 = 0; i < bytes; i += distance) {
      memory.copy(to + i, from + i, min(distance, bytes - i));
    }
  }
}

/** STOS [rDI],rAX. */
export function stos<T>(p: u32): u32 {
  const v = load<T>(RAX);
  if (!repeats(p)) return storeOne<T>(p, v) ? R_NEXT : R_FAULT;
  const before = remaining(p);
  if (before == 0) return R_NEXT;
  const stop = pauseAt(before);
  for (let left = before; left > stop; left = remaining(p)) {
    if (!storeOne<T>(p, v)) return broken(p, before, true);
    countDone(p, 1);
    elementDone();
    if (trapNoted()) break;
    storeSpan<T>(p, left - 1 - stop, v);
  }
  return rest(p, before, true);
}

function storeOne<T>(p: u32, value: T): bool {
  destination<T>(p, value);
  if (faulted()) return false;
  advance(p, RDI, stepOf<T>());
  return true;
}

/** Stores up to `count` elements inside one page. */
function storeSpan<T>(p: u32, count: u64, value: T): void {
  if (count == 0 || stepOf<T>() < 0) return;
  const n = span(p, 0, offsetIn(p, RDI), count, sizeof<T>(), true);
  if (n == 0) return;
  const bytes = n * <u32>sizeof<T>();
  fill<T>(spanHost, value, bytes);
  advance(p, RDI, bytes);
  countDone(p, n);
}

/** Fills with copies of `value`, at once when all its bytes are the same. */
function fill<T>(at: u32, value: T, bytes: u32): void {
  const byte = <u8>value;
  const same = <T>(byte * (<u64>0x0101010101010101 >> (64 - bits<T>())));
  if (same == value) memory.fill(at, byte, bytes);
  else for (let i: u32 = 0; i < bytes; i += <u32>sizeof<T>()) store<T>(at + i, value);
}

/** LODS rAX,[rSI]. */
export function lods<T>(p: u32): u32 {
  if (!repeats(p)) return loadOne<T>(p) ? R_NEXT : R_FAULT;
  const before = remaining(p);
  if (before == 0) return R_NEXT;
  const stop = pauseAt(before);
  for (let left = before; left > stop; left = remaining(p)) {
    if (!loadOne<T>(p)) return broken(p, before, false);
    countDone(p, 1);
    elementDone();
    if (trapNoted()) break;
  }
  return rest(p, before, false);
}

function loadOne<T>(p: u32): bool {
  const v = source<T>(p);
  if (faulted()) return false;
  wrReg<T>(RAX, v);
  advance(p, RSI, stepOf<T>());
  return true;
}
