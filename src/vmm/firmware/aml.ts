/**
 * Assembles ACPI Machine Language (ACPI specification 6.4, chapter 20 "ACPI Machine Language
 * Specification"): only the terms that a description of fixed devices needs. Every function
 * returns the encoding of one term.
 */
import { assert } from "../../base/index.js";

const Op = {
  ZERO: 0x00,
  ONE: 0x01,
  NAME: 0x08,
  BYTE: 0x0a,
  WORD: 0x0b,
  DWORD: 0x0c,
  STRING: 0x0d,
  SCOPE: 0x10,
  BUFFER: 0x11,
  PACKAGE: 0x12,
  METHOD: 0x14,
  EXT: 0x5b,
  EXT_DEVICE: 0x82,
  NOTIFY: 0x86,
} as const;

/** Encoded bytes of a term. */
export type Aml = readonly number[];

const ascii = (text: string): number[] => Array.from(text, (char) => char.charCodeAt(0));
const little = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);

/**
 * PkgLength (20.2.4): the length of what follows, its own bytes included. Up to 63 in one byte;
 * else the low nibble comes first, with the number of further bytes in bits 7:6.
 */
export function packageLength(contentBytes: number): Aml {
  if (contentBytes + 1 <= 63) return [contentBytes + 1];
  for (let extra = 1; extra <= 3; extra++) {
    const total = contentBytes + 1 + extra;
    if (total < 2 ** (4 + 8 * extra)) {
      return [(extra << 6) | (total & 0xf), ...little(Math.floor(total / 16), extra)];
    }
  }
  assert(false, "AML package is too long");
}

/** A name of four characters; shorter ones are padded with underscores. */
function nameSegment(name: string): number[] {
  assert(/^[A-Z_][A-Z0-9_]{0,3}$/.test(name), `not an AML name: ${name}`);
  return ascii(name.padEnd(4, "_"));
}

/** A path: an optional backslash, then one or two segments with a dot between them. */
function nameString(path: string): number[] {
  const root = path.startsWith("\\");
  const segments = (root ? path.slice(1) : path).split(".");
  assert(segments.length <= 2, "AML path is too long");
  const prefix = segments.length === 2 ? [0x2e] : [];
  return [...(root ? [0x5c] : []), ...prefix, ...segments.flatMap(nameSegment)];
}

const block = (op: readonly number[], content: readonly number[]): Aml => [
  ...op,
  ...packageLength(content.length),
  ...content,
];

/** An unsigned integer of up to 32 bits, in its shortest form. */
export function integer(value: number): Aml {
  assert(Number.isInteger(value) && value >= 0 && value < 2 ** 32, "AML integer out of range");
  if (value === 0) return [Op.ZERO];
  if (value === 1) return [Op.ONE];
  if (value < 0x100) return [Op.BYTE, value];
  if (value < 0x10000) return [Op.WORD, ...little(value, 2)];
  return [Op.DWORD, ...little(value, 4)];
}

/** An ASCII string. */
export const string = (text: string): Aml => [Op.STRING, ...ascii(text), 0];

/** `Name (path, value)`. */
export const name = (path: string, value: Aml): Aml => [Op.NAME, ...nameString(path), ...value];

/** `Scope (path) { ... }`. */
export const scope = (path: string, ...body: Aml[]): Aml =>
  block([Op.SCOPE], [...nameString(path), ...body.flat()]);

/** `Device (path) { ... }`. */
export const device = (path: string, ...body: Aml[]): Aml =>
  block([Op.EXT, Op.EXT_DEVICE], [...nameString(path), ...body.flat()]);

/** `Method (path, arguments) { ... }`. */
export const method = (path: string, argumentCount: number, ...body: Aml[]): Aml =>
  block([Op.METHOD], [...nameString(path), argumentCount, ...body.flat()]);

/** `Notify (path, value)`. */
export const notify = (path: string, value: Aml): Aml => [Op.NOTIFY, ...nameString(path), ...value];

/** `Package () { ... }`, at most 255 elements. */
export const pack = (...elements: Aml[]): Aml =>
  block([Op.PACKAGE], [elements.length, ...elements.flat()]);

/** `Buffer () { ... }`. */
export const buffer = (bytes: readonly number[]): Aml =>
  block([Op.BUFFER], [...integer(bytes.length), ...bytes]);

/** `EisaId ("PNP0501")`: three letters of 5 bits and four hexadecimal digits, big endian. */
export function eisaId(id: string): Aml {
  assert(/^[A-Z]{3}[0-9A-F]{4}$/.test(id), `not an EISA id: ${id}`);
  const [a, b, c] = ascii(id).map((code) => code - 0x40) as [number, number, number];
  const letters = (a << 10) | (b << 5) | c;
  const digits = Number.parseInt(id.slice(3), 16);
  return [Op.DWORD, letters >> 8, letters & 0xff, digits >> 8, digits & 0xff];
}

/** A resource descriptor inside {@link resources} (chapter 6.4). */
export type Descriptor = readonly number[];

/** I/O port range with 16-bit decoding at a fixed place (6.4.2.5). */
export const ioPorts = (first: number, count: number): Descriptor => [
  0x47,
  0x01,
  ...little(first, 2),
  ...little(first, 2),
  1,
  count,
];

/** An edge-triggered, active-high, exclusive interrupt (6.4.3.6). */
export const edgeInterrupt = (gsi: number): Descriptor => [0x89, 6, 0, 0x03, 1, ...little(gsi, 4)];

/** `ResourceTemplate () { ... }`; the checksum in the end tag is 0, "not used". */
export const resources = (...descriptors: Descriptor[]): Aml =>
  buffer([...descriptors.flat(), 0x79, 0x00]);
