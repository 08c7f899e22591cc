/** Walks what a module of src/abi exports, and says for each number how the header calls it. */
import type { Width } from "./gcc.js";

/** What is known of one export, where its own name does not say it. */
export type Rule =
  /** An object of numbers: key K is the header's `prefix` + K. */
  | {
      readonly prefix: string;
      /** Keys whose name in the header is another C expression. */
      readonly names?: Readonly<Record<string, string>>;
      /** Keys that no header has, each with the reason. */
      readonly ours?: Readonly<Record<string, string>>;
      /** Only compiled for this width. */
      readonly width?: Width;
      /** The same, for single keys. */
      readonly widths?: Readonly<Record<string, Width>>;
    }
  /** A number, or an array of them, as C expressions. */
  | { readonly is: string | readonly string[]; readonly width?: Width }
  /** A layout whose name or fields differ from the header's; a field `undefined` stands alone. */
  | {
      readonly struct: string;
      readonly fields?: Readonly<Record<string, string | undefined>>;
    }
  /** Not in any header, for this reason. */
  | { readonly ours: string };

/** The rules of one module, by export. */
export type Rules = Readonly<Record<string, Rule>>;

/** A number of ours, and the C expression that has to have the same value. */
export interface Claim {
  /** Where it is, such as `xen/vcpu Vcpuop.up`. */
  readonly label: string;
  readonly expression: string;
  readonly value: bigint;
  readonly width: Width;
}

/** What walking a module gave. */
export interface Walk {
  readonly claims: Claim[];
  /** `label: reason` for what no header has. */
  readonly ours: string[];
  /** Exports that no rule explains. */
  readonly unexplained: string[];
}

/** A layout as src/abi declares them. */
interface LayoutLike {
  readonly name: string;
  size(width: Width): number;
  offset(field: string, width: Width): number;
  decode(bytes: Uint8Array, width: Width): Record<string, unknown>;
  encode(value: Record<string, unknown>, width: Width): Uint8Array;
}

/** A structure of `src/abi/layout.ts`: laid out for 64-bit code only. */
interface StructLike {
  readonly name: string;
  readonly size: number;
  readonly members: readonly {
    readonly path: string;
    readonly offset: number;
    readonly size: number;
  }[];
}

const isStruct = (value: unknown): value is StructLike =>
  typeof value === "object" &&
  value !== null &&
  Array.isArray((value as Partial<StructLike>).members) &&
  typeof (value as Partial<StructLike>).size === "number";

const isLayout = (value: unknown): value is LayoutLike =>
  typeof value === "object" &&
  value !== null &&
  typeof (value as Partial<LayoutLike>).decode === "function" &&
  typeof (value as Partial<LayoutLike>).size === "function";

const isNumber = (value: unknown): value is number | bigint =>
  typeof value === "number" || typeof value === "bigint";

/** Numbers as gcc answers them. JavaScript's `1 << 31` is negative, a header's is not. */
const asU64 = (value: number | bigint): bigint => BigInt.asUintN(64, BigInt(value));

const BOTH: readonly Width[] = [64, 32];

/** A walk under way. */
interface Walking extends Walk {
  readonly widths: readonly Width[];
}

/**
 * Walks the exports of one module.
 * @param file what labels begin with
 * @param widths for which code the header means the same numbers
 */
export function walk(
  module: Readonly<Record<string, unknown>>,
  file: string,
  rules: Rules,
  widths = BOTH,
): Walk {
  const result: Walking = { claims: [], ours: [], unexplained: [], widths };
  for (const [name, value] of Object.entries(module)) {
    const label = `${file} ${name}`;
    if (typeof value === "function") continue;
    const rule = rules[name];
    if (rule !== undefined && "ours" in rule && !("prefix" in rule)) {
      result.ours.push(`${label}: ${rule.ours}`);
    } else if (isLayout(value) || isStruct(value)) {
      if (rule !== undefined && !("struct" in rule)) result.unexplained.push(label);
      else if (isLayout(value)) layoutClaims(result, label, value, rule);
      else structClaims(result, label, value, rule);
    } else if (isNumber(value) || Array.isArray(value)) {
      numberClaims(result, label, name, value, rule);
    } else if (typeof value === "object" && value !== null && rule && "prefix" in rule) {
      objectClaims(result, label, value as Record<string, unknown>, rule);
    } else {
      result.unexplained.push(label);
    }
  }
  for (const name of Object.keys(rules)) {
    if (!(name in module)) result.unexplained.push(`${file} ${name} (a rule for no export)`);
  }
  return result;
}

function claim(
  result: Walking,
  label: string,
  expression: string,
  value: number | bigint,
  only: Width | undefined,
): void {
  for (const width of only === undefined ? result.widths : [only]) {
    result.claims.push({ label: `${label} -m${width}`, expression, value: asU64(value), width });
  }
}

function numberClaims(
  result: Walking,
  label: string,
  name: string,
  value: number | bigint | readonly unknown[],
  rule: Rule | undefined,
): void {
  if (rule !== undefined && !("is" in rule)) {
    result.unexplained.push(label);
    return;
  }
  const values = Array.isArray(value) ? value : [value];
  const expressions = rule === undefined ? [name] : [rule.is].flat();
  if (values.length !== expressions.length || !values.every(isNumber)) {
    result.unexplained.push(label);
    return;
  }
  values.forEach((number, i) => {
    claim(result, label, expressions[i] ?? "", number, rule?.width);
  });
}

function objectClaims(
  result: Walking,
  label: string,
  value: Record<string, unknown>,
  rule: Extract<Rule, { prefix: string }>,
): void {
  for (const [key, number] of Object.entries(value)) {
    const reason = rule.ours?.[key];
    if (reason !== undefined) result.ours.push(`${label}.${key}: ${reason}`);
    else if (!isNumber(number)) result.unexplained.push(`${label}.${key}`);
    else {
      const expression = rule.names?.[key] ?? `${rule.prefix}${key}`;
      claim(result, `${label}.${key}`, expression, number, rule.widths?.[key] ?? rule.width);
    }
  }
  for (const key of [...Object.keys(rule.names ?? {}), ...Object.keys(rule.ours ?? {})]) {
    if (!(key in value)) result.unexplained.push(`${label}.${key} (a rule for no key)`);
  }
}

/** Bytes that a field of a layout takes: as many as an all-ones value sets. */
function fieldBytes(layout: LayoutLike, field: string, width: Width): number | undefined {
  const zero = layout.decode(new Uint8Array(layout.size(width)), width);
  const old = zero[field];
  if (!isNumber(old)) return undefined;
  const ones = layout.encode({ ...zero, [field]: typeof old === "bigint" ? -1n : -1 }, width);
  return ones.filter((byte) => byte !== 0).length;
}

function layoutClaims(
  result: Walking,
  label: string,
  layout: LayoutLike,
  rule: Extract<Rule, { struct: string }> | undefined,
): void {
  const struct = rule?.struct ?? `struct ${layout.name}`;
  for (const width of BOTH) {
    const one = (what: string, expression: string, value: number): void =>
      claim(result, `${label}${what}`, expression, value, width);
    one("", `sizeof(${struct})`, layout.size(width));
    const fields = Object.keys(layout.decode(new Uint8Array(layout.size(width)), width));
    for (const field of fields) {
      const renamed = rule?.fields !== undefined && field in rule.fields;
      const path = renamed ? rule.fields?.[field] : field;
      if (path === undefined) {
        if (width === 64) result.ours.push(`${label}.${field}: a word of what is before it`);
        continue;
      }
      one(`.${field}`, `offsetof(${struct}, ${path})`, layout.offset(field, width));
      const bytes = fieldBytes(layout, field, width);
      if (bytes !== undefined && !renamed) {
        one(`.${field} size`, `sizeof(((${struct} *)0)->${path})`, bytes);
      }
    }
  }
}

function structClaims(
  result: Walking,
  label: string,
  layout: StructLike,
  rule: Extract<Rule, { struct: string }> | undefined,
): void {
  const struct = rule?.struct ?? `struct ${layout.name}`;
  const one = (what: string, expression: string, value: number): void =>
    claim(result, `${label}${what}`, expression, value, 64);
  one("", `sizeof(${struct})`, layout.size);
  for (const { path, offset, size } of layout.members) {
    const renamed = rule?.fields !== undefined && path in rule.fields;
    const name = renamed ? rule.fields?.[path] : path;
    if (name === undefined) {
      result.ours.push(`${label}.${path}: a word of what is before it`);
      continue;
    }
    one(`.${path}`, `offsetof(${struct}, ${name})`, offset);
    // A flexible array has no size.
    if (size > 0) one(`.${path} size`, `sizeof(((${struct} *)0)->${name})`, size);
  }
}
