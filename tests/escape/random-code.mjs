// @ts-check
/** Random code: instructions of all rows with operands in memory more often than not, and plain noise. */
import { encode } from "./encode.mjs";

/** @typedef {import("../native/types.js").Row} Row */
/** @typedef {import("../native/prng.mjs").Prng} Prng */

const PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf0, 0xf2, 0xf3, 0x66, 0x67];
/** Instructions that only leave run(): they would take the place of others. */
const DULL =
  /^(hlt|cpuid|rdmsr|wrmsr|in|out|vmcall|vmmcall|pause|monitor|mwait|ud\d|int|int3|int1|into)\b/;

/** @param {readonly Row[]} rows */
export function interesting(rows) {
  return rows.filter((row) => !DULL.test(row.mnemonic));
}

/**
 * `bytes` bytes of code.
 * @param {Prng} rng
 * @param {readonly Row[]} rows
 * @param {number} bytes
 * @param {32 | 64} [bits] the code it is for
 */
export function randomCode(rng, rows, bytes, bits = 64) {
  const code = new Uint8Array(bytes);
  let at = 0;
  while (at < bytes) {
    const next = rng.chance(6) ? noise(rng) : instruction(rng, rng.pick(rows), bits);
    code.set(next.slice(0, bytes - at), at);
    at += next.length;
  }
  return code;
}

/** @param {Prng} rng */
function noise(rng) {
  return Array.from({ length: rng.range(1, 8) }, () => rng.below(256));
}

/**
 * @param {Prng} rng
 * @param {Row} row
 * @param {32 | 64} bits
 * @returns {number[]}
 */
function instruction(rng, row, bits) {
  const rm = rng.pick(["base", "base", "base", "index", "register"]);
  const form = {
    rm,
    base: rng.pick(bits === 64 ? [0, 1, 2, 3, 5, 6, 7] : [0, 1, 2, 3, 4, 5, 6, 7]),
    reg: rng.below(8),
    wide: bits === 64 && rng.chance(40),
    bits,
    short: rng.chance(8),
    addr32: rng.chance(5),
    to: rng.range(-100, 100),
  };
  const bytes = encode(row, form) ?? encode(row, { ...form, rm: "register" });
  if (bytes === undefined) return [];
  // Another displacement or immediate: the last byte is one of them, or ModRM.
  if (row.imm !== "none" && rng.chance(50)) bytes[bytes.length - 1] = rng.below(256);
  if (rng.chance(6)) bytes.unshift(rng.pick(PREFIXES));
  return bytes;
}
