/**
 * AAA AAS AAM AAD DAA DAS (SDM vol. 2, under these names). Flags that the manuals leave undefined
 * are as processors leave them.
 */
import { Rec } from "../record";
import { R_NEXT, V_DE, raise } from "../fault";
import { AF, CF, K_ADD, K_LOGIC, getAf, getCf, setCc, setCcResult } from "../flags";
import { RAX } from "./regs";

/** AAA (add) and AAS: adjusts AX by six and carries into AH. */
function asciiAdjust(add: bool): u32 {
  const ax = load<u16>(RAX);
  const adjust = (ax & 15) > 9 || getAf();
  if (adjust) store<u16>(RAX, add ? ax + 0x106 : ax - 0x106);
  const al: u8 = load<u8>(RAX) & 15;
  store<u8>(RAX, al);
  setCcResult<u8>(al, adjust ? AF | CF : 0);
  return R_NEXT;
}

/** AAA. */
export function aaa(p: u32): u32 {
  return asciiAdjust(true);
}

/** AAS. */
export function aas(p: u32): u32 {
  return asciiAdjust(false);
}

/** DAA. */
export function daa(p: u32): u32 {
  const old = load<u8>(RAX);
  const half = (old & 15) > 9 || getAf();
  const high = old > 0x99 || getCf();
  const al: u8 = old + (half ? 6 : 0) + (high ? 0x60 : 0);
  store<u8>(RAX, al);
  setCcResult<u8>(al, (half ? AF : 0) | (high ? CF : 0));
  return R_NEXT;
}

/** DAS. */
export function das(p: u32): u32 {
  const old = load<u8>(RAX);
  const half = (old & 15) > 9 || getAf();
  const high = old > 0x99 || getCf();
  const al: u8 = old - (half ? 6 : 0) - (high ? 0x60 : 0);
  store<u8>(RAX, al);
  // The borrow of the first subtraction counts even when the second does not happen.
  setCcResult<u8>(al, (half ? AF : 0) | (high || (half && old < 6) ? CF : 0));
  return R_NEXT;
}

/** AAM imm. */
export function aam(p: u32): u32 {
  const base: u32 = Rec.imm(p) & 0xff;
  if (base == 0) return raise(V_DE);
  const al: u32 = load<u8>(RAX);
  store<u16>(RAX, <u16>(((al / base) << 8) | al % base));
  setCc<u8>(K_LOGIC, <u8>(al % base), 0);
  return R_NEXT;
}

/** AAD imm. */
export function aad(p: u32): u32 {
  const high = <u8>(load<u8>(RAX, 1) * <u8>Rec.imm(p));
  const al = <u8>(load<u8>(RAX) + high);
  store<u16>(RAX, al);
  // CF, AF and OF, undefined in the manuals, are those of this addition.
  setCc<u8>(K_ADD, al, high);
  return R_NEXT;
}
