/**
 * 2^x - 1 and y * log2(x) of 80-bit numbers, correctly rounded. A function takes finite operands that are
 * not zero and leaves the result in z.
 */
import { setZ, normalizeZ, aExp, aSig, aSign, bExp, bSig, bSign, zExp, zHi, zLo, zSign, TOP_BIT } from "./unpacked";
import { mulFixed, divSmall, complement, addFixed, subFixed, setShifted, oddSeries, fHi, fLo } from "./fixed";
import { divideZ } from "./trig";

/** The natural logarithm of 2, as a fraction. */
const LN2_HI: u64 = 0xb17217f7d1cf79ab;
const LN2_LO: u64 = 0xc9e3b39803f2f6af;
/** 2 / ln 2, divided by 4. */
const TWO_LOG2E_HI: u64 = 0xb8aa3b295c17f0bb;
const TWO_LOG2E_LO: u64 = 0xbe87fed0691d3e88;

/** z = 2^a - 1 for -1 < a < 1. */
export function exp2m1Z(): void {
  // t = |a| * ln 2, normalised in z.
  mulFixed(aSig, 0, LN2_HI, LN2_LO);
  setZ(aSign, aExp, fHi, fLo);
  normalizeZ();
  const th = zHi, tl = zLo, te = zExp;
  setShifted(th, tl, <u32>(-1 - te));
  const uh = fHi, ul = fLo;
  // (e^t - 1) / t = 1 + t/2 * (1 + t/3 * (1 + ...)); the part behind the first 1 is kept.
  fHi = 0;
  fLo = 0;
  for (let k: u64 = 32; k > 1; k--) {
    // f = t / k * (1 +- f)
    if (aSign) {
      complement();
      mulFixed(fHi, fLo, uh, ul);
    } else {
      mulFixed(fHi, fLo, uh, ul);
      addFixed(uh, ul);
    }
    divSmall(k);
  }
  // t * (1 + f), or t * (1 - f)
  if (aSign) complement();
  mulFixed(fHi, fLo, th, tl);
  if (aSign) setZ(1, te, fHi, fLo);
  else addToSignificand(th, tl, te);
  normalizeZ();
  zLo |= 1;
}

/** z = hi:lo + f as significands with exponent `exp`, which may carry. */
function addToSignificand(hi: u64, lo: u64, exp: i32): void {
  const sl = lo + fLo;
  const c1 = <u64>(sl < lo);
  const sh = hi + fHi;
  const carry = sh < hi || sh + c1 < sh;
  const top = sh + c1;
  if (carry) setZ(0, exp + 1, (top >> 1) | TOP_BIT, (sl >> 1) | (top << 63));
  else setZ(0, exp, top, sl);
}

/** z = log2((1 + s) / (1 - s)) for the s in z, with |s| < 0.18; keeps its sign. */
function log2OfRatioZ(): void {
  const sh = zHi, sl = zLo, se = zExp, sign = zSign;
  mulFixed(sh, sl, sh, sl);
  setShifted(fHi, fLo, <u32>(-2 * (se + 1)));
  oddSeries(fHi, fLo, 27, true);
  mulFixed(fHi, fLo, sh, sl);
  addToSignificand(sh, sl, se);
  mulFixed(zHi, zLo, TWO_LOG2E_HI, TWO_LOG2E_LO);
  setZ(sign, zExp + 2, fHi, fLo);
  normalizeZ();
}

/** z = z * b. */
function timesB(): void {
  mulFixed(zHi, zLo, bSig, 0);
  setZ(zSign ^ bSign, zExp + bExp + 1, fHi, fLo);
  normalizeZ();
}

/** z = b * log2(a), a > 0 and not 1. */
export function ylog2xZ(): void {
  log2Z(aSig, 0, aExp);
  timesB();
}

/** z = log2 of hi:lo / 2^127 * 2^exp, which is not 1; exact for powers of two. */
function log2Z(hi: u64, lo: u64, exp: i32): void {
  if (hi == TOP_BIT && lo == 0) {
    integerZ(exp);
    return;
  }
  // m * 2^exp with m between sqrt(1/2) and sqrt(2); then s = (m - 1) / (m + 1).
  const high = hi > 0xb504f333f9de6484;
  if (high) {
    // m = hi:lo / 2^128: its distance to 1, and the sum as hi:lo / 2 + 2^127
    exp++;
    setZ(1, -1, ~hi + <u64>(lo == 0), 0 - lo);
    normalizeZ();
    divideZ(zHi, zLo, zExp, (hi >> 1) | TOP_BIT, (lo >> 1) | (hi << 63), 0);
    zSign = 1;
  } else {
    setZ(0, 0, hi ^ TOP_BIT, lo);
    normalizeZ();
    const d = hi ^ TOP_BIT;
    divideZ(zHi, zLo, zExp, TOP_BIT + (d >> 1), (lo >> 1) | (d << 63), 1);
  }
  log2OfRatioZ();
  if (exp != 0) addInteger(exp);
  zLo |= 1;
}

/** z = e. */
function integerZ(e: i32): void {
  const m: u64 = e < 0 ? <u64>-e : <u64>e;
  const n = clz<u64>(m);
  setZ(<u32>(e < 0), 63 - <i32>n, m << n, 0);
}

/** z = z + e, |z| <= 1/2 and e not 0. */
function addInteger(e: i32): void {
  const sign = <u32>(e < 0);
  const m: u64 = e < 0 ? <u64>-e : <u64>e;
  // 16 bits before the point
  setShifted(zHi, zLo, <u32>(15 - zExp));
  if (zSign == sign) addFixed(m << 48, 0);
  else {
    const h = fHi, l = fLo;
    fHi = m << 48;
    fLo = 0;
    subFixed(h, l);
  }
  setZ(sign, 15, fHi, fLo);
  normalizeZ();
}

/** z = b * log2(a + 1), a > -1. */
export function ylog2xp1Z(): void {
  if (aExp >= -2) {
    onePlusA();
    log2Z(zHi, zLo, zExp);
    timesB();
    return;
  }
  // s = a / (a + 2)
  setShifted(aSig, 0, <u32>(1 - aExp));
  const h = fHi, l = fLo;
  fHi = TOP_BIT;
  fLo = 0;
  if (aSign) subFixed(h, l);
  else addFixed(h, l);
  // a + 2 = f * 4
  setZ(0, 1, fHi, fLo);
  normalizeZ();
  divideZ(aSig, 0, aExp, zHi, zLo, zExp);
  zSign = aSign;
  log2OfRatioZ();
  timesB();
  zLo |= 1;
}

/** z = 1 + a for |a| >= 1/4. */
function onePlusA(): void {
  if (aSign) {
    // a has at most two bits below 2^-64.
    setShifted(aSig, 0, <u32>(-1 - aExp));
    complement();
    addFixed(0, 1);
    setZ(0, -1, fHi, fLo);
  } else if (aExp < 0) {
    setShifted(aSig, 0, <u32>-aExp);
    setZ(0, 0, fHi | TOP_BIT, fLo);
  } else {
    setShifted(TOP_BIT, 0, <u32>aExp);
    const lo = fLo, hi = fHi;
    const sum = aSig + hi;
    if (sum < aSig) setZ(0, aExp + 1, (sum >> 1) | TOP_BIT, (lo >> 1) | (sum << 63));
    else setZ(0, aExp, sum, lo);
  }
  normalizeZ();
}
