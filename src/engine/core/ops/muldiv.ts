/**
 * MUL IMUL DIV IDIV (SDM vol. 2, under these names). Undefined flags: products set SF and PF from
 * the lower half and clear ZF and AF; quotients leave all flags.
 */
import { R_FAULT, R_NEXT, V_DE, faulted, raise } from "../fault";
import { imm, rdE, rdG, wrG, wrReg } from "../operands";
import { CF, OF, PF, SF, setCcExplicit } from "../flags";
import { RAX, RDX, bits, msb, signed } from "./regs";
import { divRemainder, divWide, mulHigh, mulHighSigned } from "./wide";

/** Flags of a product: CF and OF when the upper half counts. */
function productFlags<T>(low: T, large: bool): void {
  const parity: u64 = (popcnt<u32>(<u32>low & 0xff) & 1) == 0 ? PF : 0;
  setCcExplicit((large ? CF | OF : 0) | (msb<T>(low) != 0 ? SF : 0) | parity);
}

/** Writes a double-width value: AX, or rDX:rAX. */
function setPair<T>(low: T, high: T): void {
  if (sizeof<T>() == 1) store<u16>(RAX, <u16>((<u32>high << 8) | <u32>low));
  else {
    wrReg<T>(RAX, low);
    wrReg<T>(RDX, high);
  }
}

/** MUL r/m. */
export function mul_E<T>(p: u32): u32 {
  const b = rdE<T>(p);
  if (faulted()) return R_FAULT;
  const a = load<T>(RAX);
  const product = <u64>a * <u64>b;
  const low = <T>product;
  const high = sizeof<T>() == 8 ? <T>mulHigh(<u64>a, <u64>b) : <T>(product >> bits<T>());
  setPair<T>(low, high);
  productFlags<T>(low, high != 0);
  return R_NEXT;
}

/** IMUL r/m. */
export function imul_E<T>(p: u32): u32 {
  const b = signed<T>(rdE<T>(p));
  if (faulted()) return R_FAULT;
  const a = signed<T>(load<T>(RAX));
  const product = a * b;
  const low = <T>product;
  const high = sizeof<T>() == 8 ? <T>mulHighSigned(a, b) : <T>(product >> bits<T>());
  setPair<T>(low, high);
  productFlags<T>(low, signed<T>(high) != signed<T>(low) >> 63);
  return R_NEXT;
}

/** G = a * b, the two- and three-operand forms. */
function multiplyTo<T>(p: u32, a: i64, b: i64): u32 {
  const low = <T>(a * b);
  const fill = signed<T>(low) >> 63;
  const large = sizeof<T>() == 8 ? mulHighSigned(a, b) != fill : a * b != signed<T>(low);
  wrG<T>(p, low);
  productFlags<T>(low, large);
  return R_NEXT;
}

/** IMUL reg,r/m. */
export function imul_GE<T>(p: u32): u32 {
  const b = rdE<T>(p);
  if (faulted()) return R_FAULT;
  return multiplyTo<T>(p, signed<T>(rdG<T>(p)), signed<T>(b));
}

/** IMUL reg,r/m,imm. */
export function imul_GEI<T>(p: u32): u32 {
  const a = rdE<T>(p);
  if (faulted()) return R_FAULT;
  return multiplyTo<T>(p, signed<T>(a), imm<i64>(p));
}

/** DIV r/m. */
export function div_E<T>(p: u32): u32 {
  const d = <u64>rdE<T>(p);
  if (faulted()) return R_FAULT;
  if (sizeof<T>() == 8) {
    const high = load<u64>(RDX);
    if (high >= d) return raise(V_DE);
    const q = divWide(high, load<u64>(RAX), d);
    store<u64>(RAX, q);
    store<u64>(RDX, divRemainder);
    return R_NEXT;
  }
  const n = dividend<T>();
  if (n >> bits<T>() >= d) return raise(V_DE);
  setPair<T>(<T>(n / d), <T>(n % d));
  return R_NEXT;
}

/** The dividend of narrow divisions: AX, DX:AX or EDX:EAX. */
function dividend<T>(): u64 {
  if (sizeof<T>() == 1) return <u64>load<u16>(RAX);
  return (<u64>load<T>(RDX) << bits<T>()) | <u64>load<T>(RAX);
}

/** IDIV r/m. */
export function idiv_E<T>(p: u32): u32 {
  const d = signed<T>(rdE<T>(p));
  if (faulted()) return R_FAULT;
  if (d == 0) return raise(V_DE);
  if (sizeof<T>() == 8) return idiv64(d);
  const wide: i64 = 64 - (bits<T>() << 1);
  const n = (<i64>dividend<T>() << wide) >> wide;
  // Only -2^63 / -1 has no quotient in 64 bits.
  if (sizeof<T>() == 4 && d == -1 && n == i64.MIN_VALUE) return raise(V_DE);
  const q = n / d;
  if (signed<T>(<T>q) != q) return raise(V_DE);
  setPair<T>(<T>q, <T>(n % d));
  return R_NEXT;
}

function idiv64(d: i64): u32 {
  let low = load<u64>(RAX), high = load<u64>(RDX);
  const negative = <i64>high < 0;
  if (negative) {
    low = 0 - low;
    high = ~high + <u64>(low == 0);
  }
  const magnitude: u64 = d < 0 ? 0 - <u64>d : <u64>d;
  if (high >= magnitude) return raise(V_DE);
  const q = divWide(high, low, magnitude);
  const minus = negative != d < 0;
  if (q > (minus ? <u64>1 << 63 : i64.MAX_VALUE)) return raise(V_DE);
  store<u64>(RAX, minus ? 0 - q : q);
  store<u64>(RDX, negative ? 0 - divRemainder : divRemainder);
  return R_NEXT;
}
