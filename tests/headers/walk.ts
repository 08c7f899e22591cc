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
  /** A structure whose name or fields differ from the header's; a field `undefined` has no name there. */
  | {
      readonly struct: string;
      readonly fields?: Readonly<Record<string, string | undefined>>;
      readonly width?: Width;
      /** Why it ends elsewhere than the header's: its size is not compared. */
      readonly end?: string;
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

/** A structure of `src/abi/layout.ts`. */
interface StructLike {
  readonly name: string;
  readonly size: number;
  readonly members: readonly {
    readonly path: string;
    readonly offset: number;
    readonly size: number;
  }[];
  of(width: Width): StructLike;
}

const isStruct = (value: unknown): value is StructLike =>
  typeof value === "object" &&
  value !== null &&
  Array.isArray((value as Partial<StructLike>).members) &&
  typeof (value as Partial<StructLike>).of === "function";

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
    } else if (isStruct(value)) {
      if (rule !== undefined && !("struct" in rule)) result.unexplained.push(label);
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

function structClaims(
  result: Walking,
  label: string,
  layout: StructLike,
  rule: Extract<Rule, { struct: string }> | undefined,
): void {
  const struct = rule?.struct ?? `struct ${layout.name}`;
  const compares = (path: string): boolean => {
    if (rule?.fields === undefined || !(path in rule.fields)) return true;
    return rule.fields[path] !== undefined;
  };
  const widths = rule?.width === undefined ? result.widths : [rule.width];
  for (const width of widths) {
    const one = (what: string, expression: string, value: number): void =>
      claim(result, `${label}${what}`, expression, value, width);
    const { size: whole, members } = layout.of(width);
    if (rule?.end === undefined) one("", `sizeof(${struct})`, whole);
    for (const { path, offset, size } of members.filter(({ path }) => compares(path))) {
      const name = rule?.fields?.[path] ?? path;
      one(`.${path}`, `offsetof(${struct}, ${name})`, offset);
      // A flexible array has no size.
      if (size > 0) one(`.${path} size`, `sizeof(((${struct} *)0)->${name})`, size);
    }
  }
  if (rule?.end !== undefined) result.ours.push(`${label} size: ${rule.end}`);
  for (const { path } of layout.members) {
    if (!compares(path)) result.ours.push(`${label}.${path}: no header has this name`);
  }
  for (const path of Object.keys(rule?.fields ?? {})) {
    if (!layout.members.some((member) => member.path === path)) {
      result.unexplained.push(`${label}.${path} (a rule for no field)`);
    }
  }
}
