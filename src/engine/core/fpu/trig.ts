/**
 * Sine, cosine, tangent and arctangent of 80-bit numbers, correctly rounded but for the period: as the
 * hardware does, arguments are reduced by pi rounded to 66 bits (Intel SDM volume 1, 8.3.8).
 * A function takes finite operands a (and b) that are not zero and leaves the result in z.
 */
import { setZ, normalizeZ, aExp, aSig, aSign, bExp, bSig, bSign, zExp, zHi, zLo, zSign } from "./unpacked";
import {
  mulFixed, divSmall, complement, addFixed, subFixed, divFixed, setShifted, oddSeries, fHi, fLo, fRest,
} from "./fixed";

/** pi / 2 to 66 bits is (2^64 * PI_TOP + PI_LOW) / 2^65. */
const PI_TOP: u64 = 3;
const PI_LOW: u64 = 0x243f6a8885a308d3;

/** The reduced argument, from 0 to pi / 4: rHi:rLo / 2^127 * 2^rExp with bit 63 of rHi set, or 0. */
let rHi: u64 = 0;
let rLo: u64 = 0;
let rExp: i32 = 0;
let rSign: u32 = 0;
/** The multiple of pi / 2 that was taken away, modulo 4 (of the magnitude of a). */
let quadrant: u32 = 0;

/** Splits |a| into a multiple of pi / 2 and the nearest rest. */
function reduce(): void {
  quadrant = 0;
  rSign = 0;
  rHi = aSig;
  rLo = 0;
  rExp = aExp;
  if (aExp < -1) return;
  // Long division of sig * 2^(exp + 2), in units of 2^-65, by pi / 2.
  let hi: u64 = 0, lo: u64 = 0;
  for (let i = aExp + 65; i >= 0; i--) {
    hi = (hi << 1) | (lo >> 63);
    lo <<= 1;
    const bit = i - (aExp + 2);
    if (bit >= 0) lo |= (aSig >> <u64>bit) & 1;
    quadrant <<= 1;
    if (hi > PI_TOP || (hi == PI_TOP && lo >= PI_LOW)) {
      hi -= PI_TOP + <u64>(lo < PI_LOW);
      lo -= PI_LOW;
      quadrant |= 1;
    }
  }
  // Above pi / 4: take it from the other side.
  const twice = (hi << 1) | (lo >> 63);
  if (twice > PI_TOP || (twice == PI_TOP && lo << 1 > PI_LOW)) {
    hi = PI_TOP - hi - <u64>(PI_LOW < lo);
    lo = PI_LOW - lo;
    rSign = 1;
    quadrant++;
  }
  quadrant &= 3;
  setZ(0, -65 + 127, hi, lo);
  if (hi | lo) normalizeZ();
  rHi = zHi;
  rLo = zLo;
  rExp = zExp;
}

/** f = sum of (-u)^k / ((2k + first)! / first!), u the square of the reduced argument: sin(r)/r or cos(r). */
function series(first: u64): void {
  // The square as a fixed-point number; what is lost of a tiny one does not matter beside 1.
  mulFixed(rHi, rLo, rHi, rLo);
  setShifted(fHi, fLo, <u32>(-2 * (rExp + 1)));
  const uh = fHi, ul = fLo;
  fHi = <u64>-1;
  fLo = <u64>-1;
  for (let k: u64 = 17; k > 0; k--) {
    mulFixed(fHi, fLo, uh, ul);
    divSmall((2 * k + first) * (2 * k + first - 1));
    complement();
  }
}

/** z = sine of the reduced argument, with sign `sign`. */
function sineZ(sign: u32): void {
  series(1);
  mulFixed(fHi, fLo, rHi, rLo);
  setZ(sign, rExp, fHi, fLo);
  if (fHi | fLo) normalizeZ();
  zLo |= 1;
}

/** z = cosine of the reduced argument. */
function cosineZ(sign: u32): void {
  series(0);
  setZ(sign, -1, fHi, fLo);
  normalizeZ();
  zLo |= 1;
}

/** z = sin(a). */
export function sinZ(): void {
  reduce();
  const sign = aSign ^ (quadrant >> 1);
  if (quadrant & 1) cosineZ(sign);
  else sineZ(sign ^ rSign);
}

/** z = cos(a). */
export function cosZ(): void {
  reduce();
  if (quadrant & 1) sineZ(((quadrant >> 1) ^ 1) ^ rSign);
  else cosineZ(quadrant >> 1);
}

/** z = tan(a). */
export function tanZ(): void {
  reduce();
  cosineZ(0);
  const ch = zHi, cl = zLo, ce = zExp;
  sineZ(0);
  const sign = aSign ^ rSign ^ (quadrant & 1);
  if (quadrant & 1) divideZ(ch, cl, ce, zHi, zLo, zExp);
  else divideZ(zHi, zLo, zExp, ch, cl, ce);
  zSign = sign;
  // The tangent of a tiny argument is just above it, but the hardware has it just below, like the sine.
  if (!(quadrant & 1) && rExp < -33) {
    const borrow = <u64>(rLo == 0);
    setZ(sign, rExp, rHi - borrow, rLo - 1);
    normalizeZ();
    zLo |= 1;
  }
}

/** z = a / b for normalised 128-bit significands with their exponents. */
export function divideZ(ah: u64, al: u64, ae: i32, bh: u64, bl: u64, be: i32): void {
  // Both halved if need be, so that a < b.
  const big = ah > bh || (ah == bh && al >= bl);
  if (big) divFixed(ah >> 1, (al >> 1) | (ah << 63), bh, bl);
  else divFixed(ah, al, bh, bl);
  setZ(0, ae - be - <i32>!big, fHi, fLo);
  normalizeZ();
  if (fRest) zLo |= 1;
}

/** atan(k / 16) for k from 1, each as two halves. */
const ATAN: usize = memory.data<u64>([
  0x0ffaaddb967ef4e3, 0x6cb2792dc0e2e0d5, // 1/16
  0x1fd5ba9aac2f6dc6, 0x5912f313e7d111de, // 2/16
  0x2f72f6979cb6044d, 0x1ec2d3e207271d21, // 3/16
  0x3eb6ebf25901bac5, 0x5b71e7bd7de885f9, // 4/16
  0x4d89dcdc1faf2f34, 0xe2d5da4c693d7994, // 5/16
  0x5bd86507937bc239, 0xc55190916e7f2241, // 6/16
  0x6993bb0f308ff2db, 0x213e4af4800f389b, // 7/16
  0x76b19c1586ed3da2, 0xb7f222f65e1d4681, // 8/16
  0x832bf4a6d9867e2a, 0x4b6a09cb61a515c0, // 9/16
  0x8f005d5ef7f59f9b, 0x5c835e1665c43747, // 10/16
  0x9a2f80e671bdda20, 0x4226f8e2204ff3bc, // 11/16
  0xa4bc7d1934f70924, 0x19a87f2a457dac9e, // 12/16
  0xaeac4c38b4d8c080, 0x14725e2f3e52070a, // 13/16
  0xb8053e2bc2319e73, 0xcb2da55210a4443d, // 14/16
  0xc0ce85b8ac526640, 0x89dd62c46e92fa24, // 15/16
  0xc90fdaa22168c234, 0xc4c6628b80dc1cd1, // 16/16
]);
/** pi in units of 2^-126. */
const PI_HI: u64 = 0xc90fdaa22168c234;
const PI_LO: u64 = 0xc4c6628b80dc1cd1;

/** f = atan(z), with 2^-5 <= z < 1. */
function atanFixed(): void {
  setShifted(zHi, zLo, <u32>(-1 - zExp));
  const vh = fHi, vl = fLo;
  const k = (vh + 0x0800000000000000) >> 60;
  // t = (v - k/16) / (1 + v * k/16), both halved
  const carry = vh >= 0xf800000000000000;
  const index: u64 = carry ? 16 : k;
  mulFixed(vh, vl, index << 59, 0);
  if (carry) setShifted(vh, vl, 1);
  addFixed(0x8000000000000000, 0);
  const dh = fHi, dl = fLo;
  const ch: u64 = carry ? 0 : index << 60;
  const below = carry || vh < ch;
  fHi = vh;
  fLo = vl;
  if (below) {
    fHi = ch;
    fLo = 0;
    subFixed(vh, vl);
  } else subFixed(ch, 0);
  setShifted(fHi, fLo, 1);
  divFixed(fHi, fLo, dh, dl);
  const th = fHi, tl = fLo;
  mulFixed(th, tl, th, tl);
  oddSeries(fHi, fLo, 14, false);
  mulFixed(fHi, fLo, th, tl);
  const at = ATAN + <u32>(index - 1) * 16;
  const hi = load<u64>(at), lo = load<u64>(at, 8);
  if (below) {
    const sh = fHi, sl = fLo;
    fHi = hi;
    fLo = lo;
    subFixed(sh, sl);
  } else addFixed(hi, lo);
}

/** z = atan(z) for z < 2^-5; as in the hardware z itself below 2^-40. */
function smallAtanZ(): void {
  const h = zHi, l = zLo, e = zExp;
  if (e < -40) return;
  // z * (1 - z^2 / 3 + ...)
  mulFixed(h, l, h, l);
  setShifted(fHi, fLo, <u32>(-2 * (e + 1)));
  oddSeries(fHi, fLo, 14, false);
  mulFixed(fHi, fLo, h, l);
  setZ(0, e, fHi, fLo);
  normalizeZ();
  zLo |= 1;
}

/** z = the angle of the point (b, a), between -pi and pi: FPATAN. a and b are finite and not zero. */
export function atan2Z(): void {
  const swap = aExp > bExp || (aExp == bExp && aSig > bSig);
  const equal = aExp == bExp && aSig == bSig;
  if (swap) divideZ(bSig, 0, bExp, aSig, 0, aExp);
  else if (!equal) divideZ(aSig, 0, aExp, bSig, 0, bExp);
  if (!equal && zExp < -5) {
    smallAtanZ();
    zSign = aSign;
    if (!swap && !bSign) return;
    // In units of 2^-126: the number is zHi:zLo * 2^(zExp + 1) / 2^128.
    setShifted(zHi, zLo, <u32>(1 - zExp));
  } else {
    if (equal) {
      fHi = load<u64>(ATAN, 240);
      fLo = load<u64>(ATAN, 248);
    } else atanFixed();
    setShifted(fHi, fLo, 2);
  }
  // The angle to the x axis, in units of 2^-126; then the right octant.
  if (swap) {
    if (bSign) addFixed(PI_HI >> 1, (PI_LO >> 1) | (PI_HI << 63));
    else subtractFrom(PI_HI >> 1, (PI_LO >> 1) | (PI_HI << 63));
  } else if (bSign) subtractFrom(PI_HI, PI_LO);
  setZ(aSign, 1, fHi, fLo);
  normalizeZ();
  zLo |= 1;
}

/** f = hi:lo - f. */
function subtractFrom(hi: u64, lo: u64): void {
  const h = fHi, l = fLo;
  fHi = hi;
  fLo = lo;
  subFixed(h, l);
}
