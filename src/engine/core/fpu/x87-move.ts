/**
 * FLD FST FSTP FILD FIST FISTP FISTTP FBLD FBSTP FXCH FCMOVcc, the constants, FFREE FINCSTP FDECSTP
 * (Intel SDM volume 1, 8.3.3, 8.3.4).
 */
import { R_FAULT, faulted } from "../fault";
import { Rec } from "../record";
import { getCf, getPf, getZf } from "../flags";
import { eaLinear } from "../operands";
import { ld, probeWrite, st as stMem } from "../mem";
import { NEAR, UP } from "./unpacked";
import { sfFlags, sfRounding } from "./softfloat";
import { load80, store32, store64, storeInt, setFromA, setR, setZero, integerToA, rSig, rSe } from "./f80";
import { fromBcd, toBcd80 } from "./f80-more";
import {
  begin, end, endPlain, isEmpty, loadA, loadOperand, storeR, setSt, pushR, pop, rotate, free, underflow,
  overflow, st, keepC1, eaTail,
} from "./regs";

/** Pushes the result if `go`, or the masked answer when the register is in use. */
function pushEnd(p: u32, go: bool): u32 {
  if (!isEmpty(7)) {
    sfFlags = 0;
    go = overflow();
  }
  if (go) pushR();
  return end(p);
}

/** FLD m32, FLD m64, FILD m16, FILD m32. */
export function fld_mem(p: u32): u32 {
  if (!begin() || !loadOperand(p)) return R_FAULT;
  return pushEnd(p, load80());
}

/** FILD m64. */
export function fild_m64(p: u32): u32 {
  if (!begin()) return R_FAULT;
  const va = eaLinear(p, 8, false);
  if (faulted()) return R_FAULT;
  integerToA(<i64>ld<u64>(va));
  if (faulted()) return R_FAULT;
  setFromA();
  return pushEnd(p, true);
}

/** Loads the 10 bytes of the memory operand to rSig and rSe; false when that faults. */
function loadTen(p: u32): bool {
  const va = eaLinear(p, 8, false);
  if (faulted()) return false;
  const sig = ld<u64>(va);
  if (faulted()) return false;
  const tail = eaTail(p, false);
  if (faulted()) return false;
  setR(sig, ld<u16>(tail));
  return !faulted();
}

/** FLD m80: no exception but of the stack. */
export function fld_m80(p: u32): u32 {
  if (!begin()) return R_FAULT;
  if (!loadTen(p)) return R_FAULT;
  return pushEnd(p, true);
}

/** FBLD. */
export function fbld(p: u32): u32 {
  if (!begin()) return R_FAULT;
  if (!loadTen(p)) return R_FAULT;
  const high = rSe;
  integerToA(<i64>fromBcd(rSig, high & 0xff));
  setFromA();
  setR(rSig, rSe | (high & 0x8000));
  return pushEnd(p, true);
}

/** FLD ST(i). */
export function fld_st(p: u32): u32 {
  if (!begin()) return R_FAULT;
  const i = Rec.rm3(p);
  if (isEmpty(i)) {
    if (underflow()) pushR();
    return end(p);
  }
  const at = st(i);
  setR(load<u64>(at), load<u16>(at, 8));
  return pushEnd(p, true);
}

/** FLD1 FLDL2T FLDL2E FLDPI FLDLG2 FLDLN2 FLDZ: D9 E8 to D9 EE. Rounded by FCW.RC, without PE. */
export function fld_const(p: u32): u32 {
  if (!begin()) return R_FAULT;
  const up = sfRounding == UP, nearUp = up || sfRounding == NEAR;
  switch (Rec.rm3(p)) {
    case 0: setR(0x8000000000000000, 0x3fff); break;
    case 1: setR(0xd49a784bcd1b8afe + <u64>up, 0x4000); break;
    case 2: setR(0xb8aa3b295c17f0bb + <u64>nearUp, 0x3fff); break;
    case 3: setR(0xc90fdaa22168c234 + <u64>nearUp, 0x4000); break;
    case 4: setR(0x9a209a84fbcff798 + <u64>nearUp, 0x3ffd); break;
    case 5: setR(0xb17217f7d1cf79ab + <u64>nearUp, 0x3ffe); break;
    default: setZero(0); break;
  }
  return pushEnd(p, true);
}

/** Writes the low `size` bytes of the result to memory, all or none; false when that faults. */
function storeMemory(p: u32, size: u32): bool {
  const va = eaLinear(p, size == 10 ? 8 : size, true);
  if (faulted()) return false;
  if (size == 2) stMem<u16>(va, <u16>rSig);
  else if (size == 4) stMem<u32>(va, <u32>rSig);
  else if (size == 8) stMem<u64>(va, rSig);
  else {
    if (!probeMemory(p, size)) return false;
    stMem<u64>(va, rSig);
    if (!faulted()) stMem<u16>(eaTail(p, true), <u16>rSe);
  }
  return !faulted();
}

/** Raises what storeMemory() would raise, and writes nothing. */
function probeMemory(p: u32, size: u32): bool {
  const first = size == 10 ? 8 : size;
  const va = eaLinear(p, first, true);
  if (!faulted()) probeWrite(va, first);
  if (faulted() || size != 10) return !faulted();
  const tail = eaTail(p, true);
  if (!faulted()) probeWrite(tail, 2);
  return !faulted();
}

/**
 * Stores the result if `go`, and pops. An unmasked exception writes nothing, but memory that cannot be
 * written faults before it is noted, as on AMD's processors.
 */
function storeEnd(p: u32, go: bool, size: u32, popIt: bool): u32 {
  if (!(go ? storeMemory(p, size) : probeMemory(p, size))) return R_FAULT;
  if (go && popIt) pop();
  return end(p);
}

/** FST, FSTP (odd ModRM.reg) m32 or m64. */
export function fst_mem(p: u32): u32 {
  if (!begin()) return R_FAULT;
  const wide = (Rec.opcode(p) & 4) != 0;
  let go: bool;
  if (isEmpty(0)) {
    go = underflow();
    rSig = wide ? 0xfff8000000000000 : 0xffc00000;
  } else {
    loadA(0);
    go = wide ? store64() : store32();
  }
  return storeEnd(p, go, wide ? 8 : 4, (Rec.reg3(p) & 1) != 0);
}

/** FSTP m80. */
export function fstp_m80(p: u32): u32 {
  if (!begin()) return R_FAULT;
  let go = true;
  if (isEmpty(0)) go = underflow();
  else setR(load<u64>(st(0)), load<u16>(st(0), 8));
  return storeEnd(p, go, 10, true);
}

/** Stores ST(0) as an integer of `size` bytes. */
function storeInteger(p: u32, size: u32, chop: bool, popIt: bool): u32 {
  if (!begin()) return R_FAULT;
  let go: bool;
  if (isEmpty(0)) {
    go = underflow();
    rSig = (<u64>1) << (size * 8 - 1);
  } else {
    loadA(0);
    go = storeInt(size * 8, chop);
  }
  return storeEnd(p, go, size, popIt);
}

/** FIST, FISTP (odd ModRM.reg) m16 (DF) or m32 (DB). */
export function fist_mem(p: u32): u32 {
  return storeInteger(p, Rec.opcode(p) & 4 ? 2 : 4, false, (Rec.reg3(p) & 1) != 0);
}

/** FISTP m64. */
export function fistp_m64(p: u32): u32 {
  return storeInteger(p, 8, false, true);
}

/** FISTTP m16 (DF), m32 (DB), m64 (DD). */
export function fisttp_mem(p: u32): u32 {
  const opcode = Rec.opcode(p) & 7;
  return storeInteger(p, opcode == 7 ? 2 : opcode == 3 ? 4 : 8, true, true);
}

/** FBSTP. */
export function fbstp(p: u32): u32 {
  if (!begin()) return R_FAULT;
  let go: bool;
  if (isEmpty(0)) go = underflow();
  else {
    loadA(0);
    go = toBcd80();
  }
  return storeEnd(p, go, 10, true);
}

function storeStack(p: u32, popIt: bool): u32 {
  if (!begin()) return R_FAULT;
  let go = true;
  if (isEmpty(0)) go = underflow();
  else setR(load<u64>(st(0)), load<u16>(st(0), 8));
  if (go) {
    storeR(Rec.rm3(p));
    if (popIt) pop();
  }
  return end(p);
}

/** FST ST(i). */
export function fst_st(p: u32): u32 {
  return storeStack(p, false);
}
/** FSTP ST(i). */
export function fstp_st(p: u32): u32 {
  return storeStack(p, true);
}

/** D9 D8+i, also called FSTPNCE: FSTP ST(i) that only pops when ST(0) is empty. */
export function fstpnce(p: u32): u32 {
  if (!begin()) return R_FAULT;
  if (!isEmpty(0)) {
    setR(load<u64>(st(0)), load<u16>(st(0), 8));
    storeR(Rec.rm3(p));
  }
  pop();
  return end(p);
}

/** FXCH ST(i). An empty register counts as the default NaN when IE is masked. */
export function fxch(p: u32): u32 {
  if (!begin()) return R_FAULT;
  const i = Rec.rm3(p);
  const bad0 = isEmpty(0), badI = isEmpty(i);
  if (bad0 || badI) {
    if (!underflow()) return end(p);
    if (bad0) storeR(0);
    if (badI) storeR(i);
  }
  const sig = load<u64>(st(0)), se: u32 = load<u16>(st(0), 8);
  setSt(0, load<u64>(st(i)), load<u16>(st(i), 8));
  setSt(i, sig, se);
  return end(p);
}

/** FCMOVcc: DA B E BE U, DB their opposites, by ModRM.reg. */
export function fcmov(p: u32): u32 {
  if (!begin()) return R_FAULT;
  const i = Rec.rm3(p);
  if (isEmpty(0) || isEmpty(i)) {
    if (underflow()) storeR(0);
    return end(p);
  }
  keepC1();
  let yes: bool;
  switch (Rec.reg3(p)) {
    case 0: yes = getCf(); break;
    case 1: yes = getZf(); break;
    case 2: yes = getCf() || getZf(); break;
    default: yes = getPf(); break;
  }
  if (yes != ((Rec.opcode(p) & 1) != 0)) setSt(0, load<u64>(st(i)), load<u16>(st(i), 8));
  return end(p);
}

/** FFREE ST(i). Clears C1, as AMD's processors do. */
export function ffree(p: u32): u32 {
  if (!begin()) return R_FAULT;
  free(Rec.rm3(p));
  return end(p);
}

/** FFREEP ST(i): frees it and pops. */
export function ffreep(p: u32): u32 {
  if (!begin()) return R_FAULT;
  free(Rec.rm3(p));
  pop();
  return end(p);
}

/** FNOP, and FENI, FDISI, FSETPM, which the 387 and later ignore. */
export function fnop(p: u32): u32 {
  if (!begin()) return R_FAULT;
  return endPlain();
}

/** FINCSTP (D9 F7), FDECSTP (D9 F6). */
export function fincstp(p: u32): u32 {
  if (!begin()) return R_FAULT;
  rotate(Rec.rm3(p) == 7 ? 1 : 7);
  return end(p);
}
