/**
 * Numbers as the C library reads them. A scenario's answers were recorded by a C program, so what
 * `strtoul` makes of a strange word is part of the format.
 */

/** @nolimit the width of a number */
const ULONG_MAX = 0xffffffffffffffffn;
/** What `isspace` accepts in the C locale, except the end of the line. */
const SPACE = " \t\n\v\f\r";

/** A number that was read, and how many characters it took (0: there is no number). */
export interface Scanned {
  readonly value: bigint;
  readonly length: number;
}

const digitOf = (text: string, at: number): number => {
  const code = text.charCodeAt(at);
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x7a ? letter - 0x61 + 10 : Number.NaN;
};

const isDigit = (text: string, at: number, base: number): boolean => digitOf(text, at) < base;

/**
 * Reads a number at the start of `text` as `strtoul` does: spaces and a sign before it are skipped,
 * base 0 means a prefix decides (`0x`, `0`), a negative number is taken modulo 2^64, and too large a
 * one becomes 2^64 - 1.
 */
export function scanUnsigned(text: string, base: 0 | 10 | 16): Scanned {
  let at = 0;
  while (at < text.length && SPACE.includes(text.charAt(at))) at++;
  const negative = text[at] === "-";
  if (negative || text[at] === "+") at++;
  const prefix = base !== 10 && /^0[xX]/.test(text.slice(at, at + 2)) && isDigit(text, at + 2, 16);
  if (prefix) at += 2;
  const radix = base !== 0 ? base : prefix ? 16 : text[at] === "0" ? 8 : 10;
  const first = at;
  let value = 0n;
  for (; isDigit(text, at, radix); at++) {
    if (value <= ULONG_MAX) value = value * BigInt(radix) + BigInt(digitOf(text, at));
  }
  if (at === first) return { value: 0n, length: 0 };
  if (value > ULONG_MAX) return { value: ULONG_MAX, length: at };
  return { value: BigInt.asUintN(64, negative ? -value : value), length: at };
}

/** `strtoul(text, NULL, 0)`; what is no number is 0, and what follows a number does not matter. */
export function strtoul(text: string): bigint {
  return scanUnsigned(text, 0).value;
}

/** `strtoul` assigned to an `unsigned int`. */
export function strtou32(text: string): number {
  return Number(BigInt.asUintN(32, strtoul(text)));
}

/**
 * `sscanf` with `count` times `%u` (base 10) or `%x` (base 16), colons between them: the numbers up
 * to the first thing that does not match, cut to 32 bits.
 */
export function scanFields(text: string, base: 10 | 16, count: number): number[] {
  const fields: number[] = [];
  let rest = text;
  while (fields.length < count) {
    const { value, length } = scanUnsigned(rest, base);
    if (length === 0) break;
    fields.push(Number(BigInt.asUintN(32, value)));
    if (rest[length] !== ":") break;
    rest = rest.slice(length + 1);
  }
  return fields;
}

/**
 * A run of bytes in hexadecimal, two characters each, at most `max` of them. A pair is read by
 * `strtoul`, so a pair that is no number is 0; a single character at the end does not count.
 */
export function unhex(text: string, max: number): Uint8Array {
  const bytes = new Uint8Array(Math.min(text.length >> 1, max));
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = Number(scanUnsigned(text.slice(i * 2, i * 2 + 2), 16).value & 0xffn);
  }
  return bytes;
}

/** Bytes in hexadecimal, lowest address first. */
export function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}
