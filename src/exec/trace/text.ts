/** Elements of an array that a line shows: as many as strace does of structures, fewer of plain numbers. */
const STRUCTURES_SHOWN = 32;
const NUMBERS_SHOWN = 8;
/** Bytes that a line shows. */
const BYTES_SHOWN = 16;

/** Fields that say nothing. */
export const isPadding = (name: string): boolean => /^(pad|padding|reserved)\d*$/.test(name);

/**
 * The fields of a structure that say something. A union without a name (`$` and a word here) counts as its first
 * member, as it does in C: what applies of the others, argument.ts picks before.
 */
function fieldsOf(value: object): [string, unknown][] {
  return Object.entries(value).flatMap(([name, field]: [string, unknown]) => {
    if (isPadding(name)) return [];
    if (!name.startsWith("$") || typeof field !== "object" || field === null)
      return [[name, field]];
    return fieldsOf(field).slice(0, 1);
  });
}

/** Bytes as hexadecimal digits, lowest address first. */
export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/**
 * A value as text: structures as `{field=value, ...}`, numbers in hexadecimal from 10 on, names as they
 * are, bytes in quotes, long arrays cut.
 */
export function show(value: unknown): string {
  if (typeof value === "number") return value > 9 ? `0x${value.toString(16)}` : String(value);
  if (typeof value === "bigint") return value > 9n ? `0x${value.toString(16)}` : String(value);
  if (value instanceof Uint8Array) {
    const more = value.length > BYTES_SHOWN ? "..." : "";
    return `"${hex(value.subarray(0, BYTES_SHOWN))}${more}"`;
  }
  if (Array.isArray(value)) {
    const shown = typeof value[0] === "object" ? STRUCTURES_SHOWN : NUMBERS_SHOWN;
    const rest = value.length > shown ? ", ..." : "";
    return `[${value.slice(0, shown).map(show).join(", ")}${rest}]`;
  }
  if (typeof value !== "object" || value === null) return String(value);
  return `{${fieldsOf(value)
    .map(([name, field]) => `${name}=${show(field)}`)
    .join(", ")}}`;
}

/**
 * A value as JSON has it: numbers of up to 32 bits are numbers, those of 64 bits are texts such as `"0x1000"`
 * (JSON's numbers would lose bits), bytes are hexadecimal digits, nothing is cut.
 */
export function toJson(value: unknown): unknown {
  if (typeof value === "bigint") return `0x${BigInt.asUintN(64, value).toString(16)}`;
  if (value instanceof Uint8Array) return hex(value);
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(fieldsOf(value).map(([name, field]) => [name, toJson(field)]));
}
