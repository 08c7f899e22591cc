/** CMC CLC STC CLD STD LAHF SAHF SALC (SDM vol. 2, under these names; SALC: AMD64 opcode map). */
import { FLAGS } from "../state.gen";
import { R_NEXT } from "../fault";
import { CF, DF, OF, arithFlags, getCf, setCcExplicit } from "../flags";
import { RAX } from "./regs";

/** CMC. */
export function cmc(p: u32): u32 {
  setCcExplicit(arithFlags() ^ CF);
  return R_NEXT;
}

/** CLC. */
export function clc(p: u32): u32 {
  setCcExplicit(arithFlags() & ~CF);
  return R_NEXT;
}

/** STC. */
export function stc(p: u32): u32 {
  setCcExplicit(arithFlags() | CF);
  return R_NEXT;
}

/** CLD. */
export function cld(p: u32): u32 {
  store<u64>(FLAGS, load<u64>(FLAGS) & ~DF);
  return R_NEXT;
}

/** STD. */
export function std(p: u32): u32 {
  store<u64>(FLAGS, load<u64>(FLAGS) | DF);
  return R_NEXT;
}

/** AH = SF ZF AF PF CF, with bit 1 set. */
export function lahf(p: u32): u32 {
  store<u8>(RAX, <u8>arithFlags() | 2, 1);
  return R_NEXT;
}

/** SAHF. */
export function sahf(p: u32): u32 {
  setCcExplicit((arithFlags() & OF) | load<u8>(RAX, 1));
  return R_NEXT;
}

/** SALC. */
export function salc(p: u32): u32 {
  store<u8>(RAX, getCf() ? 0xff : 0);
  return R_NEXT;
}
