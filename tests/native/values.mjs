// @ts-check
/**
 * Operand values at which instructions go wrong: borders, signs, denormals, infinities, NaNs.
 * @typedef {[exponent: number, significand: bigint]} F80 an extended real; the exponent with the sign
 */

const mask = (/** @type {number} */ bytes) => BigInt.asUintN(8 * bytes, -1n);

/**
 * An unsigned integer of `bytes` (1 2 4 8).
 * @param {import("./prng.mjs").Prng} rng
 * @param {number} bytes
 */
export function interestingInt(rng, bytes) {
  const bits = bytes * 8;
  const top = 1n << BigInt(bits - 1);
  switch (rng.below(12)) {
    case 0:
      return 0n;
    case 1:
      return mask(bytes);
    case 2:
      return BigInt(rng.below(20));
    case 3:
      return (mask(bytes) - BigInt(rng.below(20))) & mask(bytes);
    case 4:
      return (top + BigInt(rng.range(-2, 2))) & mask(bytes);
    case 5:
      return 1n << BigInt(rng.below(bits));
    case 6:
      return (1n << BigInt(rng.below(bits))) - 1n;
    case 7: {
      const byte = BigInt(rng.below(256));
      return (0x0101010101010101n * byte) & mask(bytes);
    }
    case 8: {
      // A narrow value, sign-extended: fits what divides or is shifted.
      const narrow = BigInt.asIntN(rng.range(1, bits), rng.u64());
      return narrow & mask(bytes);
    }
    default:
      return rng.u64() & mask(bytes);
  }
}

const F32 = [
  0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x40000000, 0x3f000000, 0x7f800000, 0xff800000,
  0x7fc00000, 0xffc00000, 0x7f800001, 0xffbfffff, 0x7fc12345, 0x00000001, 0x80000001, 0x007fffff,
  0x00800000, 0x80800000, 0x00800001, 0x7f7fffff, 0xff7fffff, 0x4b000000, 0x4b7fffff, 0x4affffff,
  0x4f000000, 0xcf000000, 0x4effffff, 0x5f000000, 0xdf000000, 0x5effffff, 0x3effffff, 0x3f7fffff,
  0x3f800001, 0x40490fdb, 0x3fc00000, 0x40200000, 0x34000000, 0x33800000,
];

/**
 * Bits of a single, as a Number.
 * @param {import("./prng.mjs").Prng} rng
 */
export function interestingF32(rng) {
  switch (rng.below(8)) {
    case 0:
    case 1:
      return rng.pick(F32);
    case 2:
      return rng.u32();
    case 3: {
      // A small integer or half.
      const f = new Float32Array([rng.range(-2000, 2000) / 2]);
      return new Uint32Array(f.buffer)[0] ?? 0;
    }
    case 4:
      // Near the underflow or overflow border.
      return (
        ((rng.below(2) << 31) |
          ((rng.chance(50) ? rng.below(30) : 254 - rng.below(30)) << 23) |
          rng.below(1 << 23)) >>>
        0
      );
    case 5:
      // Few significant bits, exponent near 1.
      return ((rng.below(2) << 31) | (rng.range(120, 160) << 23) | (rng.below(16) << 19)) >>> 0;
    default:
      return ((rng.below(2) << 31) | (rng.range(100, 155) << 23) | rng.below(1 << 23)) >>> 0;
  }
}

const F64 = [
  0n,
  0x8000000000000000n,
  0x3ff0000000000000n,
  0xbff0000000000000n,
  0x4000000000000000n,
  0x3fe0000000000000n,
  0x7ff0000000000000n,
  0xfff0000000000000n,
  0x7ff8000000000000n,
  0xfff8000000000000n,
  0x7ff0000000000001n,
  0xfff7ffffffffffffn,
  0x7ff8123456789abcn,
  1n,
  0x8000000000000001n,
  0x000fffffffffffffn,
  0x0010000000000000n,
  0x8010000000000000n,
  0x0010000000000001n,
  0x7fefffffffffffffn,
  0xffefffffffffffffn,
  0x4330000000000000n,
  0x433fffffffffffffn,
  0x432fffffffffffffn,
  0x41e0000000000000n,
  0xc1e0000000000000n,
  0x41dfffffffc00000n,
  0x41dfffffffe00000n,
  0xc1e0000000100000n,
  0xc1e0000000200000n,
  0x43e0000000000000n,
  0xc3e0000000000000n,
  0x43dfffffffffffffn,
  0x3fdfffffffffffffn,
  0x3fefffffffffffffn,
  0x3ff0000000000001n,
  0x400921fb54442d18n,
  0x3ff8000000000000n,
  0x4004000000000000n,
  0x47efffffe0000000n,
  0x47efffffefffffffn,
  0x47effffff0000000n,
  0x36a0000000000000n,
  0x3690000000000000n,
  0x3810000000000000n,
  0x380fffffffffffffn,
  0x3cb0000000000000n,
];

/**
 * Bits of a double, as a BigInt.
 * @param {import("./prng.mjs").Prng} rng
 */
export function interestingF64(rng) {
  const sign = BigInt(rng.below(2)) << 63n;
  const fraction = rng.u64() & 0xfffffffffffffn;
  switch (rng.below(9)) {
    case 0:
    case 1:
      return rng.pick(F64);
    case 2:
      return rng.u64();
    case 3: {
      const f = new Float64Array([rng.range(-100000, 100000) / 2]);
      return new BigUint64Array(f.buffer)[0] ?? 0n;
    }
    case 4:
      return (
        sign | (BigInt(rng.chance(50) ? rng.below(60) : 2046 - rng.below(60)) << 52n) | fraction
      );
    case 5:
      return sign | (BigInt(rng.range(1015, 1090)) << 52n) | (BigInt(rng.below(16)) << 48n);
    case 6:
      // In the range of singles' borders.
      return (
        sign |
        (BigInt(rng.chance(50) ? rng.range(870, 900) : rng.range(1145, 1155)) << 52n) |
        fraction
      );
    default:
      return sign | (BigInt(rng.range(1000, 1080)) << 52n) | fraction;
  }
}

/** @type {F80[]} */
const F80 = [
  [0, 0n],
  [0x8000, 0n],
  [0x3fff, 0x8000000000000000n],
  [0xbfff, 0x8000000000000000n],
  [0x4000, 0x8000000000000000n],
  [0x3ffe, 0x8000000000000000n],
  [0x7fff, 0x8000000000000000n],
  [0xffff, 0x8000000000000000n],
  [0x7fff, 0xc000000000000000n],
  [0xffff, 0xc000000000000000n],
  [0x7fff, 0x8000000000000001n],
  [0xffff, 0xbfffffffffffffffn],
  [0x7fff, 0xc123456789abcdefn],
  [0, 1n],
  [0x8000, 1n],
  [0, 0x7fffffffffffffffn],
  [0, 0x8000000000000000n],
  [1, 0x8000000000000000n],
  [1, 0x8000000000000001n],
  [0x7ffe, 0xffffffffffffffffn],
  [0xfffe, 0xffffffffffffffffn],
  [0x403e, 0x8000000000000000n],
  [0xc03e, 0x8000000000000000n],
  [0x403d, 0xffffffffffffffffn],
  [0x401e, 0x8000000000000000n],
  [0xc01e, 0x8000000000000000n],
  [0x400e, 0x8000000000000000n],
  [0xc00e, 0x8000000000000000n],
  [0x4000, 0xc90fdaa22168c235n],
  [0x3fff, 0xc90fdaa22168c235n],
  [0x3ffe, 0xffffffffffffffffn],
  [0x3fff, 0x8000000000000001n],
  [0x43fe, 0xfffffffffffff800n],
  [0x407e, 0xffffff0000000000n],
  [0x3c00, 0x8000000000000000n],
  [0x3f80, 0x8000000000000000n],
  [0x3ffd, 0xb504f333f9de6484n],
  [0x403b, 0xde0b6b3a763fffffn],
];
/**
 * Encodings that no instruction makes: unnormal, pseudo-infinity, pseudo-NaN.
 * @type {F80[]}
 */
const F80_INVALID = [
  [0x3fff, 0x4000000000000000n],
  [0x7fff, 0n],
  [0x7fff, 0x4000000000000000n],
  [0x1234, 1n],
];

/**
 * An extended real.
 * @param {import("./prng.mjs").Prng} rng
 * @returns {F80}
 */
export function interestingF80(rng) {
  const sign = rng.below(2) << 15;
  const significand = rng.u64() | 0x8000000000000000n;
  switch (rng.below(12)) {
    case 0:
    case 1:
    case 2:
      return rng.pick(F80);
    case 3:
      return rng.chance(50) ? rng.pick(F80_INVALID) : [rng.below(0x10000), rng.u64()];
    case 4:
      return [sign, rng.u64() & 0x7fffffffffffffffn];
    case 5:
      return [sign | (rng.chance(50) ? rng.below(100) : 0x7ffe - rng.below(100)), significand];
    case 6: {
      // An integer.
      const bits = rng.range(1, 64);
      const n = BigInt.asUintN(64, significand >> BigInt(64 - bits)) << BigInt(64 - bits);
      return [sign | (0x3fff + bits - 1), n];
    }
    case 7:
      // Few significant bits.
      return [
        sign | rng.range(0x3ff0, 0x4010),
        0x8000000000000000n | (BigInt(rng.below(16)) << 59n),
      ];
    case 8:
      // Near the borders of doubles and singles.
      return [sign | (rng.pick([0x3c00, 0x3f80, 0x43ff, 0x407f]) + rng.range(-4, 4)), significand];
    default:
      return [sign | rng.range(0x3fff - 40, 0x3fff + 66), significand];
  }
}

/** Kinds of operand bytes: integers by size, reals, packed decimal, anything. */
export const KINDS = ["i1", "i2", "i4", "i8", "f4", "f8", "f10", "bcd", "raw"];

/**
 * Fills `length` bytes at `at` with values of `kind`.
 * @param {import("./prng.mjs").Prng} rng
 * @param {DataView} view
 * @param {number} at
 * @param {number} length
 * @param {string} kind
 */
export function fill(rng, view, at, length, kind) {
  const end = at + length;
  if (kind === "f10" || kind === "bcd") {
    for (; at + 10 <= end; at += kind === "bcd" ? 10 : 16) {
      if (kind === "f10") putF80(view, at, interestingF80(rng));
      else putBcd(rng, view, at);
    }
    return;
  }
  const step = kind === "raw" ? 1 : Number(kind[1]);
  for (; at < end; at += step) {
    if (at + step > end || kind === "raw") view.setUint8(at, rng.u32() & 255);
    else if (kind === "f4") view.setUint32(at, interestingF32(rng), true);
    else if (kind === "f8") view.setBigUint64(at, interestingF64(rng), true);
    else putInt(view, at, interestingInt(rng, step), step);
  }
}

/**
 * Writes an integer of `bytes`, little endian.
 * @param {DataView} view
 * @param {number} at
 * @param {bigint} value
 * @param {number} bytes
 */
export function putInt(view, at, value, bytes) {
  if (bytes === 8) view.setBigUint64(at, BigInt.asUintN(64, value), true);
  else if (bytes === 4) view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
  else if (bytes === 2) view.setUint16(at, Number(BigInt.asUintN(16, value)), true);
  else view.setUint8(at, Number(BigInt.asUintN(8, value)));
}

/**
 * Writes an extended real.
 * @param {DataView} view
 * @param {number} at
 * @param {F80} value
 */
export function putF80(view, at, [exponent, significand]) {
  view.setBigUint64(at, significand, true);
  view.setUint16(at + 8, exponent, true);
}

/**
 * @param {import("./prng.mjs").Prng} rng
 * @param {DataView} view
 * @param {number} at
 */
function putBcd(rng, view, at) {
  const digits = rng.below(19);
  for (let i = 0; i < 9; i++) {
    const low = 2 * i < digits ? rng.below(10) : 0;
    const high = 2 * i + 1 < digits ? rng.below(10) : 0;
    view.setUint8(at + i, (high << 4) | low);
  }
  view.setUint8(at + 9, rng.chance(50) ? 0x80 : 0);
}
