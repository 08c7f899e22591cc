/**
 * Lazy flags. CC_OP says how OF SF ZF AF PF CF follow from CC_DST (the result, zero-extended) and
 * CC_SRC; RFLAGS' other bits are in FLAGS.
 *
 *   K_EXPLICIT  CC_SRC holds all six flags at their places in RFLAGS
 *   K_ADD       CC_DST = a + b, CC_SRC = b           K_SUB  CC_DST = a - b, CC_SRC = b
 *   K_LOGIC     CC_DST = result; CF = OF = AF = 0
 *   K_RESULT    SF ZF PF from CC_DST; CF AF OF at their places in CC_SRC
 */
import { CC_OP, CC_DST, CC_SRC, FLAGS } from "./state.gen";

export const K_EXPLICIT: u32 = 0;
export const K_ADD: u32 = 4;
export const K_SUB: u32 = 8;
export const K_LOGIC: u32 = 12;
export const K_RESULT: u32 = 16;

export const CF: u64 = 1;
export const PF: u64 = 4;
export const AF: u64 = 0x10;
export const ZF: u64 = 0x40;
export const SF: u64 = 0x80;
export const TF: u64 = 0x100;
export const IF: u64 = 0x200;
export const DF: u64 = 0x400;
export const OF: u64 = 0x800;
export const IOPL: u64 = 0x3000;
export const NT: u64 = 0x4000;
export const RF: u64 = 0x10000;
export const VM: u64 = 0x20000;
export const AC: u64 = 0x40000;
export const VIF: u64 = 0x80000;
export const VIP: u64 = 0x100000;
export const ID: u64 = 0x200000;
/** The six flags that CC_OP represents. */
export const ARITH: u64 = 0x8d5;

/** log2 of a size in bytes. */
export function lg<T>(): u32 {
  return sizeof<T>() == 8 ? 3 : sizeof<T>() == 4 ? 2 : sizeof<T>() == 2 ? 1 : 0;
}

/** Sets the flags lazily: `kind` one of K_*, `dst` and `src` zero-extended. */
export function setCc<T>(kind: u32, dst: T, src: T): void {
  store<u32>(CC_OP, kind | lg<T>());
  store<u64>(CC_DST, <u64>dst);
  store<u64>(CC_SRC, <u64>src);
}

/** Flags from a result, with explicit CF, AF, OF (bits of RFLAGS) in `caoBits`. */
export function setCcResult<T>(dst: T, caoBits: u64): void {
  store<u32>(CC_OP, K_RESULT | lg<T>());
  store<u64>(CC_DST, <u64>dst);
  store<u64>(CC_SRC, caoBits);
}

/** Sets CF, and OF too if `setsOf`; the other flags stay. `carry` and `overflow` are 0 or 1. */
export function setCcRotate(carry: u64, overflow: u64, setsOf: bool): void {
  const op = load<u32>(CC_OP);
  const keep: u64 = setsOf ? ~(CF | OF) : ~CF;
  const add: u64 = carry | (setsOf ? overflow << 11 : 0);
  if (op >> 2 == 0 || op >> 2 == 4) {
    store<u64>(CC_SRC, (load<u64>(CC_SRC) & keep) | add);
    return;
  }
  const old: u64 = (<u64>getAf() << 4) | (<u64>getOf() << 11);
  store<u64>(CC_SRC, (old & keep) | add);
  store<u32>(CC_OP, K_RESULT | (op & 3)); // CC_DST is the result still
}

/** Sets all six flags from bits of RFLAGS. */
export function setCcExplicit(bits: u64): void {
  store<u32>(CC_OP, K_EXPLICIT);
  store<u64>(CC_SRC, bits & ARITH);
}

export function getCf(): bool {
  const op = load<u32>(CC_OP);
  const dst = load<u64>(CC_DST), src = load<u64>(CC_SRC);
  switch (op >> 2) {
    case 1: return dst < src;
    case 2: {
      const mask: u64 = ~(<u64>0) >> (64 - (<u64>8 << (op & 3)));
      return ((dst + src) & mask) < src;
    }
    case 3: return false;
    default: return (src & CF) != 0;
  }
}

export function getOf(): bool {
  const op = load<u32>(CC_OP);
  const dst = load<u64>(CC_DST), src = load<u64>(CC_SRC);
  const sign: u64 = (<u64>8 << (op & 3)) - 1;
  switch (op >> 2) {
    case 1: { const a = dst - src; return ((((a ^ src ^ -1) & (a ^ dst)) >> sign) & 1) != 0; }
    case 2: { const a = dst + src; return ((((a ^ src) & (a ^ dst)) >> sign) & 1) != 0; }
    case 3: return false;
    default: return (src & OF) != 0;
  }
}

export function getAf(): bool {
  const op = load<u32>(CC_OP);
  const dst = load<u64>(CC_DST), src = load<u64>(CC_SRC);
  switch (op >> 2) {
    case 1: return (((dst - src) ^ src ^ dst) & AF) != 0;
    case 2: return (((dst + src) ^ src ^ dst) & AF) != 0;
    case 3: return false;
    default: return (src & AF) != 0;
  }
}

export function getZf(): bool {
  const op = load<u32>(CC_OP);
  return op >> 2 == 0 ? (load<u64>(CC_SRC) & ZF) != 0 : load<u64>(CC_DST) == 0;
}

export function getSf(): bool {
  const op = load<u32>(CC_OP);
  if (op >> 2 == 0) return (load<u64>(CC_SRC) & SF) != 0;
  return ((load<u64>(CC_DST) >> ((<u64>8 << (op & 3)) - 1)) & 1) != 0;
}

export function getPf(): bool {
  const op = load<u32>(CC_OP);
  if (op >> 2 == 0) return (load<u64>(CC_SRC) & PF) != 0;
  return (popcnt<u32>(load<u8>(CC_DST)) & 1) == 0;
}

/** The six arithmetic flags at their places in RFLAGS. */
export function arithFlags(): u64 {
  if (load<u32>(CC_OP) >> 2 == 0) return load<u64>(CC_SRC);
  return (
    <u64>getCf() | (<u64>getPf() << 2) | (<u64>getAf() << 4) | (<u64>getZf() << 6) | (<u64>getSf() << 7) | (<u64>getOf() << 11)
  );
}

/** RFLAGS, all of it. */
export function getFlags(): u64 {
  return load<u64>(FLAGS) | arithFlags() | 2;
}

/** Replaces all of RFLAGS; no checks. */
export function setFlags(value: u64): void {
  setCcExplicit(value);
  store<u64>(FLAGS, value & ~ARITH & ~(<u64>2));
}

/** Condition `cc` of Jcc, SETcc, CMOVcc: the low four bits of the opcode. */
export function cond(cc: u32): bool {
  let yes: bool;
  switch ((cc >> 1) & 7) {
    case 0: yes = getOf(); break;
    case 1: yes = getCf(); break;
    case 2: yes = getZf(); break;
    case 3: yes = getCf() || getZf(); break;
    case 4: yes = getSf(); break;
    case 5: yes = getPf(); break;
    case 6: yes = getSf() != getOf(); break;
    default: yes = getZf() || getSf() != getOf(); break;
  }
  return (cc & 1) != 0 ? !yes : yes;
}
