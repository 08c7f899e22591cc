/**
 * The transcendental functions with their special operands (tables of FPATAN, FYL2X, FYL2XP1 and the
 * others in Intel SDM volume 2), on unpacked operands; conventions as in f80.ts. a is ST(0), b is ST(1).
 */
import {
  setZ, zTiny, aClass, aSign, aExp, aSig, bClass, bSign, swapAB, C_ZERO, C_DENORMAL, C_INF, C_QNAN, DE, PE,
  UE, ZE, TOP_BIT,
} from "./unpacked";
import { sfFlags } from "./softfloat";
import { finish80, nanOne, nanTwo, setFromA, setInf, setR, setZero, stopped, xInvalid } from "./f80";
import { atan2Z, cosZ, sinZ, tanZ } from "./trig";
import { exp2m1Z, ylog2xZ, ylog2xp1Z } from "./explog";

/** sin80() and its kin: the argument is too large (C2), and nothing was done. */
export let tooLarge: bool = false;

const SIN: u32 = 0;
const COS: u32 = 1;
const TAN: u32 = 2;

/** finish80() of a result that counts as inexact even when it happens not to be, as in the hardware. */
function inexact80(): bool {
  if (!finish80(64)) return false;
  sfFlags |= zTiny ? PE | UE : PE;
  return true;
}

function trig(which: u32): bool {
  tooLarge = false;
  if (aClass >= C_QNAN) return nanOne();
  if (aClass == C_INF) return xInvalid();
  if (aClass == C_ZERO) {
    if (which == COS) setR(TOP_BIT, 0x3fff);
    else setZero(aSign);
    return true;
  }
  if (aExp >= 63) {
    tooLarge = true;
    return false;
  }
  if (aClass == C_DENORMAL) sfFlags |= DE;
  if (stopped()) return false;
  if (which != COS && aExp < -68) {
    // The hardware gives the argument itself, and calls it inexact.
    setZ(aSign, aExp, aSig, 0);
    return inexact80();
  }
  if (which == SIN) sinZ();
  else if (which == COS) cosZ();
  else tanZ();
  return finish80(64);
}

/** FSIN. */
export function sin80(): bool {
  return trig(SIN);
}
/** FCOS. */
export function cos80(): bool {
  return trig(COS);
}
/** FPTAN, without the 1 that is pushed. */
export function tan80(): bool {
  return trig(TAN);
}

/** F2XM1: 2^a - 1. Outside of -1..1, where the result is undefined, a stays. */
export function exp2m1(): bool {
  if (aClass >= C_QNAN) return nanOne();
  if (aClass == C_DENORMAL) sfFlags |= DE;
  if (aClass == C_INF && aSign) setR(TOP_BIT, 0xbfff);
  else if (aClass == C_INF) setInf(0);
  else if (aClass == C_ZERO) setZero(aSign);
  else if (aExp >= 0) {
    setFromA();
    sfFlags |= PE;
    if (aExp == 0 && aSig == TOP_BIT && aSign) setR(TOP_BIT, 0xbffe);
  } else {
    if (stopped()) return false;
    exp2m1Z();
    return finish80(64);
  }
  return !stopped();
}

/** An angle that does not depend on the operands' values: `eighths` of pi. */
function angle(sign: u32, eighths: u32): bool {
  // pi / 4, and so on, with the bits that follow in zLo
  if (eighths == 6) setZ(sign, 1, 0x96cbe3f9990e91a7, 0x9394c9e8a0a5159d);
  else setZ(sign, eighths == 8 ? 1 : eighths == 4 ? 0 : -1, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1);
  return finish80(64);
}

/** FPATAN: the angle of the point (a, b), a along the x axis. */
export function atan80(): bool {
  if (aClass >= C_QNAN || bClass >= C_QNAN) return nanTwo();
  if (aClass == C_DENORMAL || bClass == C_DENORMAL) sfFlags |= DE;
  if (stopped()) return false;
  if (bClass == C_INF) return angle(bSign, aClass != C_INF ? 4 : aSign ? 6 : 2);
  if (bClass == C_ZERO || aClass == C_INF) {
    if (aSign) return angle(bSign, 8);
    setZero(bSign);
    return true;
  }
  if (aClass == C_ZERO) return angle(bSign, 4);
  // atan2Z() wants the y coordinate in a.
  swapAB();
  atan2Z();
  return inexact80();
}

/** b times an infinite logarithm with sign `sign`. */
function timesInfinity(sign: u32): bool {
  if (bClass == C_ZERO) return xInvalid();
  if (bClass == C_DENORMAL) sfFlags |= DE;
  setInf(bSign ^ sign);
  return !stopped();
}

/** FYL2X: b * log2(a). */
export function ylog2x(): bool {
  if (aClass >= C_QNAN || bClass >= C_QNAN) return nanTwo();
  if (aClass == C_ZERO) {
    if (bClass == C_ZERO) return xInvalid();
    if (bClass != C_INF) sfFlags |= ZE;
    setInf(bSign ^ 1);
    return !stopped();
  }
  if (aSign) return xInvalid();
  if (aClass == C_INF) return timesInfinity(0);
  const one = aExp == 0 && aSig == TOP_BIT;
  if (bClass == C_INF && one) return xInvalid();
  if (aClass == C_DENORMAL || bClass == C_DENORMAL) sfFlags |= DE;
  if (stopped()) return false;
  if (bClass == C_INF) setInf(bSign ^ <u32>(aExp < 0));
  else if (one) setZero(bSign);
  else if (bClass == C_ZERO) setZero(bSign ^ <u32>(aExp < 0));
  else {
    ylog2xZ();
    return inexact80();
  }
  return true;
}

/**
 * FYL2XP1: b * log2(a + 1). As in the hardware the range does not end at 1 - sqrt(1/2); up to -1, where the
 * result is undefined, a stays.
 */
export function ylog2xp1(): bool {
  if (aClass >= C_QNAN || bClass >= C_QNAN) return nanTwo();
  if (aClass == C_INF) return aSign ? xInvalid() : timesInfinity(0);
  if (bClass == C_INF && aClass == C_ZERO) return xInvalid();
  if (aClass == C_DENORMAL || bClass == C_DENORMAL) sfFlags |= DE;
  if (stopped()) return false;
  if (bClass == C_INF) setInf(bSign ^ aSign);
  else if (aClass == C_ZERO || bClass == C_ZERO) setZero(bSign ^ aSign);
  else if (aSign && aExp >= 0) {
    setFromA();
    sfFlags |= PE;
  } else {
    ylog2xp1Z();
    return inexact80();
  }
  return true;
}
