/**
 * Values of a snapshot as JSON: each codec says once what a value may be, writes it, and reads it back with every
 * check. What comes from a file is whatever a stranger wrote: nothing is taken that a codec has not looked at.
 */
import { HostError } from "../../base/index.js";
import type { SavedValue } from "../xen/backends/backend.js";

/** One kind of value. */
export interface Codec<T> {
  write(value: T): SavedValue;
  /** @throws HostError SNAPSHOT_DAMAGED; `at` names the value. */
  read(data: SavedValue | undefined, at: string): T;
}

/** The value that a codec is for. */
export type ValueOf<C> = C extends Codec<infer T> ? T : never;

/** The error for a file that cannot be what was saved: `what` says where it is wrong. */
export function damaged(what: string, cause?: unknown): HostError {
  const message = `the snapshot is damaged (${what}): make it again`;
  return new HostError("SNAPSHOT_DAMAGED", message, cause === undefined ? undefined : { cause });
}

/** A whole number from `least` to `most`. */
export const integer = (least: number, most: number): Codec<number> => ({
  write: (value) => value,
  read(data, at) {
    const isIn = typeof data === "number" && Number.isInteger(data);
    if (!isIn || data < least || data > most) throw damaged(at);
    return data;
  },
});

/** Any finite number: a time, which may be far away. */
export const finite: Codec<number> = {
  write: (value) => value,
  read(data, at) {
    if (typeof data !== "number" || !Number.isFinite(data)) throw damaged(at);
    return data;
  },
};

export const u8 = integer(0, 0xff);
export const u16 = integer(0, 0xffff);
export const u32 = integer(0, 0xffffffff);

/** 64 bits, as decimal digits. */
export const u64: Codec<bigint> = {
  write: (value) => BigInt.asUintN(64, value).toString(),
  read(data, at) {
    if (typeof data !== "string" || !/^\d{1,20}$/.test(data)) throw damaged(at);
    const value = BigInt(data);
    if (value >> 64n !== 0n) throw damaged(at);
    return value;
  },
};

export const bool: Codec<boolean> = {
  write: (value) => value,
  read(data, at) {
    if (typeof data !== "boolean") throw damaged(at);
    return data;
  },
};

/** Text of at most so many UTF-16 units. */
export const text = (most: number): Codec<string> => ({
  write: (value) => value,
  read(data, at) {
    if (typeof data !== "string" || data.length > most) throw damaged(at);
    return data;
  },
});

/** One of some words. */
export const oneOf = <const W extends string>(...words: readonly W[]): Codec<W> => ({
  write: (value) => value,
  read(data, at) {
    const word = words.find((one) => one === data);
    if (word === undefined) throw damaged(at);
    return word;
  },
});

/** Bytes, as hexadecimal digits: from `least` to `most` of them. */
export const bytes = (least: number, most = least): Codec<Uint8Array> => ({
  write: (value) => Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join(""),
  read(data, at) {
    if (typeof data !== "string" || data.length % 2 !== 0) throw damaged(at);
    const length = data.length / 2;
    if (length < least || length > most || !/^[0-9a-f]*$/.test(data)) throw damaged(at);
    return Uint8Array.from({ length }, (_, i) => Number.parseInt(data.slice(2 * i, 2 * i + 2), 16));
  },
});

/** A list of at most so many. */
export const list = <T>(of: Codec<T>, most: number, least = 0): Codec<readonly T[]> => ({
  write: (values) => values.map((value) => of.write(value)),
  read(data, at) {
    if (!Array.isArray(data) || data.length > most || data.length < least) throw damaged(at);
    return data.map((one: SavedValue, i) => of.read(one, `${at}[${i}]`));
  },
});

/** A value that may be absent: null. */
export const optional = <T>(of: Codec<T>): Codec<T | undefined> => ({
  write: (value) => (value === undefined ? null : of.write(value)),
  read: (data, at) => (data === null ? undefined : of.read(data, at)),
});

type Fields = { readonly [name: string]: Codec<unknown> };
type Struct<F extends Fields> = { [N in keyof F]: ValueOf<F[N]> };

/** An object with exactly these members. */
export const struct = <F extends Fields>(fields: F): Codec<Struct<F>> => ({
  write: (value) =>
    Object.fromEntries(
      Object.entries(fields).map(([name, codec]) => [name, codec.write(value[name])]),
    ),
  read(data, at) {
    if (typeof data !== "object" || data === null || Array.isArray(data)) throw damaged(at);
    const given = data as { readonly [name: string]: SavedValue };
    for (const name of Object.keys(given)) {
      if (!Object.hasOwn(fields, name)) throw damaged(`${at}.${name.slice(0, 40)}`);
    }
    return Object.fromEntries(
      Object.entries(fields).map(([name, codec]) => [
        name,
        codec.read(Object.hasOwn(given, name) ? given[name] : undefined, `${at}.${name}`),
      ]),
    ) as Struct<F>;
  },
});

/** Some members, all of one kind. */
export const record = <T, const N extends string>(
  names: readonly N[],
  of: Codec<T>,
): Codec<Record<N, T>> =>
  struct(Object.fromEntries(names.map((name) => [name, of]))) as unknown as Codec<Record<N, T>>;

/** What JSON can hold, for whoever checks it himself: a backend. Nothing in it is nested deeper than `depth`. */
export const anything = (depth: number): Codec<SavedValue> => ({
  write: (value) => value,
  read(data, at) {
    if (data === undefined || isDeeper(data, depth)) throw damaged(at);
    return data;
  },
});

function isDeeper(data: SavedValue, depth: number): boolean {
  if (typeof data !== "object" || data === null) return false;
  return depth === 0 || Object.values(data).some((one) => isDeeper(one, depth - 1));
}
