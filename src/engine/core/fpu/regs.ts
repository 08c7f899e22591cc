/**
 * The x87 register stack, and how every x87 instruction begins and ends (Intel SDM volume 1, 8.1, 8.5,
 * 8.7). An instruction calls begin(), does its work while sfFlags (softfloat.ts) collects the
 * exceptions, and returns end(p).
 *
 * As on processors with the CPUID bits FDP_EXCPTN_ONLY and "deprecates FCS and FDS": FIP follows each
 * instruction, FOP and FDP only those with an unmasked exception, and the selectors stay 0.
 * An unmasked exception is delivered as #MF by the next waiting instruction whatever CR0.NE says: there is
 * no FERR# line, as in a VMX guest.
 */
import { CR0, FPR, FSW, FTW, FIP, FDP, FOP, RIP } from "../state.gen";
import { R_NEXT, V_MF, V_NM, raise, faulted } from "../fault";
import { Rec } from "../record";
import { eaLinear, eaOffset, linear } from "../operands";
import { ld } from "../mem";
import { unpack32, unpack64, unpack80, aToB, IE } from "./unpacked";
import { sfFlags, sfMasks } from "./softfloat";
import { xBegin, xUp, rSig, rSe, setDefaultNan, integerToA } from "./f80";

/** Bits of the status word. */
export const SW_C0: u32 = 0x100;
export const SW_C1: u32 = 0x200;
export const SW_C2: u32 = 0x400;
export const SW_C3: u32 = 0x4000;
/** Stack fault; goes through sfFlags like an exception. */
export const SW_SF: u32 = 0x40;
/** Exception summary and its copy, the busy bit. */
export const SW_SUMMARY: u32 = 0x8080;
const SW_ES: u32 = 0x80;
const ALL: u32 = 0x3f;
const CR0_EM_TS: u64 = 0xc;

/** Checks of every x87 instruction, also those that do not wait: #NM. */
export function available(): bool {
  if (!(load<u64>(CR0) & CR0_EM_TS)) return true;
  raise(V_NM);
  return false;
}

/** Checks of a waiting instruction: #NM, #MF. Forgets the last instruction's exceptions. */
export function begin(): bool {
  if (!available()) return false;
  if (load<u32>(FSW) & SW_ES) {
    raise(V_MF);
    return false;
  }
  xBegin();
  return true;
}

/** Ends an instruction: exceptions and C1 into the status word, FIP, and FOP and FDP as needed. */
export function end(p: u32): u32 {
  let sw = (load<u32>(FSW) & ~SW_C1) | sfFlags;
  if (xUp) sw |= SW_C1;
  if (sfFlags & ~sfMasks & ALL) {
    sw |= SW_SUMMARY;
    store<u32>(FOP, ((Rec.opcode(p) & 7) << 8) | Rec.modrm(p));
    store<u64>(FDP, Rec.isMem(p) ? eaOffset(p) : 0);
  }
  store<u32>(FSW, sw);
  store<u64>(FIP, load<u64>(RIP));
  return R_NEXT;
}

/** Lets end() leave C1 as it is. */
export function keepC1(): void {
  xUp = (load<u32>(FSW) & SW_C1) != 0;
}

/** end() of an instruction that raises nothing and leaves C1 alone. */
export function endPlain(): u32 {
  store<u64>(FIP, load<u64>(RIP));
  return R_NEXT;
}

/** Replaces C0, C2 and C3. */
export function setCodes(bits: u32): void {
  store<u32>(FSW, (load<u32>(FSW) & ~(SW_C0 | SW_C2 | SW_C3)) | bits);
}

/** Clears C2. */
export function clearC2(): void {
  store<u32>(FSW, load<u32>(FSW) & ~SW_C2);
}

/** Number of the physical register ST(i). */
export function physical(i: u32): u32 {
  return ((load<u32>(FSW) >> 11) + i) & 7;
}

/** Address of ST(i). */
export function st(i: u32): u32 {
  return FPR + (physical(i) << 4);
}

export function isEmpty(i: u32): bool {
  return ((load<u32>(FTW) >> physical(i)) & 1) == 0;
}

/** Unpacks ST(i) to a. */
export function loadA(i: u32): void {
  const at = st(i);
  unpack80(load<u64>(at), load<u16>(at, 8));
}

/** Unpacks ST(i) to b; destroys a. */
export function loadB(i: u32): void {
  loadA(i);
  aToB();
}

/** Writes ST(i). */
export function setSt(i: u32, sig: u64, se: u32): void {
  const at = st(i);
  store<u64>(at, sig);
  store<u64>(at, <u64>(se & 0xffff), 8);
  store<u32>(FTW, load<u32>(FTW) | (1 << physical(i)));
}

/** Writes the result to ST(i). */
export function storeR(i: u32): void {
  setSt(i, rSig, rSe);
}

/** Tags ST(i) empty. */
export function free(i: u32): void {
  store<u32>(FTW, load<u32>(FTW) & ~(1 << physical(i)));
}

/** Adds n to TOP. */
export function rotate(n: u32): void {
  const sw = load<u32>(FSW);
  store<u32>(FSW, (sw & ~0x3800) | ((sw + (n << 11)) & 0x3800));
}

export function pop(): void {
  free(0);
  rotate(1);
}

/** Pushes the result. */
export function pushR(): void {
  rotate(7);
  storeR(0);
}

/** An empty register was to be read. The result is the default NaN; false when IE is not masked. */
export function underflow(): bool {
  sfFlags |= IE | SW_SF;
  xUp = false;
  setDefaultNan();
  return (sfMasks & IE) != 0;
}

/** A register that is not empty was to be pushed over. As underflow(), with C1 set. */
export function overflow(): bool {
  sfFlags |= IE | SW_SF;
  xUp = true;
  setDefaultNan();
  return (sfMasks & IE) != 0;
}

/**
 * Linear address of the last two bytes of an 80-bit memory operand. The hardware makes two accesses of it,
 * and checks the second one only when the first has not faulted.
 */
export function eaTail(p: u32, write: bool): u64 {
  const offset = eaOffset(p) + 8;
  const asize = Rec.asize(p);
  return linear(Rec.seg(p), asize == 2 ? offset : offset & (asize == 1 ? 0xffffffff : 0xffff), 2, write);
}

/**
 * Unpacks the memory operand to a: by bits 1 and 2 of the opcode an f32, i32, f64 or i16. False when
 * the access faults.
 */
export function loadOperand(p: u32): bool {
  const form = (Rec.opcode(p) >> 1) & 3;
  const va = eaLinear(p, form == 2 ? 8 : form == 3 ? 2 : 4, false);
  if (faulted()) return false;
  if (form == 0) unpack32(ld<u32>(va));
  else if (form == 1) integerToA(<i64>(<i32>ld<u32>(va)));
  else if (form == 2) unpack64(ld<u64>(va));
  else integerToA(<i64>(<i16>ld<u16>(va)));
  return !faulted();
}
