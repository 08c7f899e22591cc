// @ts-check
/** Instructions whose results are approximations by definition, and how far apart two may be. */

/**
 * RCPPS and the others promise a relative error of at most 1.5 * 2^-12 (Intel SDM vol. 2), so two
 * correct answers differ by at most twice that.
 */
const APPROXIMATE_F32 = /^(rcp|rsqrt)[ps]s$/;
const F32_RELATIVE = 3 / 4096;

/**
 * Transcendental x87 instructions: error below one unit in the last place (Intel SDM vol. 1, 8.3.10),
 * so two correct answers differ by at most one.
 */
const TRANSCENDENTAL = /^(fsin|fcos|fsincos|fptan|fpatan|f2xm1|fyl2x|fyl2xp1)$/;
const F80_UNITS = 1n;

const exact = { st: () => false, xmm: () => false, codes: () => 0, status: () => 0 };

/** Status word: IE, DE, and an unmasked exception. */
const NO_QUOTIENT = 0x83;
const UNDERFLOW = 0x10;

/** C0, C1 and C3 are bits of the quotient, and mean nothing after an exception. */
const REMAINDER = /^fprem1?$/;

/** Which NaN of several is their result depends on the vendor: see vendor.mjs. */
const DOT_PRODUCT = /^dpp[sd]$/;

/**
 * Whether part of an instruction's result may differ: then nothing may follow it in a case.
 * @param {string} mnemonic
 */
export function isApproximate(mnemonic) {
  return [APPROXIMATE_F32, TRANSCENDENTAL, REMAINDER, DOT_PRODUCT].some((p) => p.test(mnemonic));
}

/**
 * @param {number} a
 * @param {number} b
 */
function closeF32(a, b) {
  if (Number.isNaN(a) || Number.isNaN(b) || !Number.isFinite(a) || !Number.isFinite(b))
    return false;
  return Math.abs(a - b) <= Math.abs(a) * F32_RELATIVE;
}

/**
 * @param {DataView} e
 * @param {DataView} g
 * @param {number} at
 */
function closeLanes(e, g, at) {
  for (let i = 0; i < 16; i += 4) {
    if (
      e.getUint32(at + i, true) !== g.getUint32(at + i, true) &&
      !closeF32(e.getFloat32(at + i, true), g.getFloat32(at + i, true))
    )
      return false;
  }
  return true;
}

/** Magnitude as one integer, so that neighbours differ by one across powers of two as well. */
const magnitude = (/** @type {DataView} */ view, /** @type {number} */ at) =>
  (BigInt(view.getUint16(at + 8, true) & 0x7fff) << 63n) +
  (view.getBigUint64(at, true) & 0x7fffffffffffffffn);

/**
 * @param {DataView} e
 * @param {DataView} g
 * @param {number} at
 */
function closeF80(e, g, at) {
  const [ea, eb] = [e.getUint16(at + 8, true), g.getUint16(at + 8, true)];
  if ((ea ^ eb) & 0x8000 || (ea & 0x7fff) === 0x7fff) return false;
  const difference = magnitude(e, at) - magnitude(g, at);
  return difference >= -F80_UNITS && difference <= F80_UNITS;
}

/**
 * All codes when there is no quotient: an exception, or a NaN handed through.
 * @param {DataView} e
 */
function remainderCodes(e) {
  const nan = (e.getUint16(40, true) & 0x7fff) === 0x7fff;
  return nan || e.getUint16(2, true) & NO_QUOTIENT ? 15 : 0;
}

/**
 * Underflow of ST(0) or, by FSINCOS, ST(1), where one unit decides whether there is any.
 * @param {DataView} e
 */
function tinyStatus(e) {
  const tiny = [40, 56].some((at) => (e.getUint16(at, true) & 0x7fff) <= 1);
  return tiny ? UNDERFLOW : 0;
}

/**
 * What may differ in a case, on FXSAVE images: st(expected, got, at) and xmm(expected, got, at) say
 * whether registers are close enough, codes(expected) which condition codes are free (bit n for Cn),
 * status(expected) which bits of the status word.
 * @param {import("./types.js").TestCase} testCase
 * @returns {import("./types.js").Tolerance}
 */
export function toleranceOf(testCase) {
  const last = testCase.insns[testCase.insns.length - 1]?.row.mnemonic ?? "";
  if (APPROXIMATE_F32.test(last)) return { ...exact, xmm: closeLanes };
  if (REMAINDER.test(last)) return { ...exact, codes: remainderCodes };
  if (TRANSCENDENTAL.test(last)) return { ...exact, st: closeF80, status: tinyStatus };
  return exact;
}
