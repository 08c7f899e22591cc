/**
 * BT BTS BTR BTC, BSF BSR, POPCNT, CRC32 (SDM vol. 2, under these names). BT and its kin change CF
 * only; a register bit offset reaches memory outside the operand, signed, in steps of its size.
 * BSF and BSR of zero leave the destination.
 */
import { Rec } from "../record";
import { R_FAULT, R_NEXT, faulted } from "../fault";
import { eaOffset, imm, linear, rdE, rdG, wrG, wrReg } from "../operands";
import { addressMask, bits, signed } from "./regs";
import { ld, probeWrite, readSpan, st, writeSpan } from "../mem";
import { PF, ZF, setCcExplicit, setCcRotate } from "../flags";

const TEST: u32 = 0;
const SET: u32 = 1;
const RESET: u32 = 2;
const FLIP: u32 = 3;

/** What operation `kind` makes of `a`. */
function applied<T>(kind: u32, a: T, bit: T): T {
  if (kind == SET) return <T>(a | bit);
  return kind == RESET ? <T>(a & ~bit) : <T>(a ^ bit);
}

function setCarry(on: bool): u32 {
  setCcRotate(<u64>on, 0, false);
  return R_NEXT;
}

/** Bit operation on a register. */
function onRegister<T>(p: u32, kind: u32, n: u64): u32 {
  const at = Rec.b(p);
  const a = load<T>(at);
  const bit = <T>(<u64>1 << (n & (bits<T>() - 1)));
  if (kind != TEST) wrReg<T>(at, applied<T>(kind, a, bit));
  return setCarry((a & bit) != 0);
}

/** Bit operation on the T that is `step` elements behind the operand. */
function onMemory<T>(p: u32, kind: u32, n: u64, step: i64): u32 {
  const offset = (eaOffset(p) + step * sizeof<T>()) & addressMask(Rec.asize(p));
  const va = linear(Rec.seg(p), offset, sizeof<T>(), kind != TEST);
  if (faulted()) return R_FAULT;
  const bit = <T>(<u64>1 << (n & (bits<T>() - 1)));
  const at = kind == TEST ? readSpan(va, sizeof<T>()) : writeSpan(va, sizeof<T>());
  if (at != 0) {
    const old = load<T>(at);
    if (kind != TEST) store<T>(at, applied<T>(kind, old, bit));
    return setCarry((old & bit) != 0);
  }
  if (kind != TEST) probeWrite(va, sizeof<T>());
  if (faulted()) return R_FAULT;
  const a = ld<T>(va);
  if (faulted()) return R_FAULT;
  if (kind != TEST) st<T>(va, applied<T>(kind, a, bit));
  return faulted() ? R_FAULT : setCarry((a & bit) != 0);
}

/** Bit offset in a register: reaches outside a memory operand. */
function byRegister<T>(p: u32, kind: u32): u32 {
  const n = signed<T>(rdG<T>(p));
  if (!Rec.isMem(p)) return onRegister<T>(p, kind, n);
  const shift: i64 = sizeof<T>() == 8 ? 6 : sizeof<T>() == 4 ? 5 : 4;
  return onMemory<T>(p, kind, n, n >> shift);
}

/** Bit offset in the immediate: stays inside. */
function byImmediate<T>(p: u32, kind: u32): u32 {
  return Rec.isMem(p) ? onMemory<T>(p, kind, imm<u64>(p), 0) : onRegister<T>(p, kind, imm<u64>(p));
}

/** BT r/m,reg. */
export function bt_EG<T>(p: u32): u32 {
  return byRegister<T>(p, TEST);
}

/** BTS r/m,reg. */
export function bts_EG<T>(p: u32): u32 {
  return byRegister<T>(p, SET);
}

/** BTR r/m,reg. */
export function btr_EG<T>(p: u32): u32 {
  return byRegister<T>(p, RESET);
}

/** BTC r/m,reg. */
export function btc_EG<T>(p: u32): u32 {
  return byRegister<T>(p, FLIP);
}

/** BT r/m,imm. */
export function bt_EI<T>(p: u32): u32 {
  return byImmediate<T>(p, TEST);
}

/** BTS r/m,imm. */
export function bts_EI<T>(p: u32): u32 {
  return byImmediate<T>(p, SET);
}

/** BTR r/m,imm. */
export function btr_EI<T>(p: u32): u32 {
  return byImmediate<T>(p, RESET);
}

/** BTC r/m,imm. */
export function btc_EI<T>(p: u32): u32 {
  return byImmediate<T>(p, FLIP);
}

/** Result of BSF and BSR; ZF says that the source was zero, and PF follows the result. */
function found<T>(p: u32, source: T, at: u64): u32 {
  if (source == 0) {
    setCcExplicit(ZF | PF);
    return R_NEXT;
  }
  wrG<T>(p, <T>at);
  setCcExplicit((popcnt<u64>(at) & 1) == 0 ? PF : 0);
  return R_NEXT;
}

/** BSF reg,r/m. */
export function bsf<T>(p: u32): u32 {
  const v = rdE<T>(p);
  return faulted() ? R_FAULT : found<T>(p, v, ctz<u64>(<u64>v));
}

/** BSR reg,r/m. */
export function bsr<T>(p: u32): u32 {
  const v = rdE<T>(p);
  return faulted() ? R_FAULT : found<T>(p, v, 63 - clz<u64>(<u64>v));
}

/** POPCNT clears all flags but ZF. */
export function popcnt_GE<T>(p: u32): u32 {
  const v = rdE<T>(p);
  if (faulted()) return R_FAULT;
  wrG<T>(p, <T>popcnt<u64>(<u64>v));
  setCcExplicit(v == 0 ? ZF : 0);
  return R_NEXT;
}

/** CRC-32C (polynomial 0x11edc6f41, reflected) of each value of four bits. */
const CRC_NIBBLE = memory.data<u32>([
  0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
  0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
]);

/** CRC32: accumulates E into the lower half of G and clears the upper. */
export function crc32<T>(p: u32): u32 {
  let v = <u64>rdE<T>(p);
  if (faulted()) return R_FAULT;
  let crc = load<u32>(Rec.a(p));
  for (let i: u32 = 0; i < bits<T>(); i += 8) {
    crc ^= <u32>v & 0xff;
    crc = (crc >> 4) ^ load<u32>(CRC_NIBBLE + ((crc & 15) << 2));
    crc = (crc >> 4) ^ load<u32>(CRC_NIBBLE + ((crc & 15) << 2));
    v >>= 8;
  }
  store<u64>(Rec.a(p), crc);
  return R_NEXT;
}
