import { assert } from "../base/index.js";

/**
 * C structures as x86 Linux lays them out: declared once, with sizes and offsets from the rules of the ABI, for
 * 64-bit code and, as `of(32)`, for 32-bit code ("compat"), whose longs and pointers have 4 bytes and whose `u64` is
 * aligned to 4. Nested structures, arrays and unions are types like any other. Values are plain objects and the same
 * for both; what a caller leaves out when encoding is zero.
 */

/** Width of the registers, pointers and longs of the code that a structure is laid out for. */
export type Width = 32 | 64;

/** A C type with a TypeScript value, in one of its two layouts. All integers are little-endian. */
export interface CType<T, I = T> {
  /** Bytes, trailing padding included; a flexible array has 0. */
  readonly size: number;
  /** Alignment in bytes. */
  readonly align: number;
  /** Fields by path below this type, as `offsetof` takes them; none for a scalar. */
  readonly members: readonly Member[];
  /** Reads the value at an offset. */
  read(view: DataView, at: number): T;
  /** Writes a value at an offset; integers are cut to their width. */
  write(view: DataView, at: number, value: I): void;
  /** A scalar's name in the methods of DataView, such as `Uint32`. */
  readonly accessor?: string;
  /** The same type as code of that width has it. */
  of(width: Width): CType<T, I>;
}

/** A field of a structure, possibly inside nested ones. */
export interface Member {
  /** Path as `offsetof` takes it, such as `io.data_offset`. */
  readonly path: string;
  readonly offset: number;
  readonly size: number;
}

/** The value of a C type. */
export type ValueOf<C> = C extends CType<infer T, never> ? T : never;
/** What can be written as that type: anything may be left out. */
export type InputOf<C> = C extends { write(view: DataView, at: number, value: infer I): void }
  ? I
  : never;

type AnyType = CType<unknown, never>;
/** Names and types of the fields, in memory order. */
export type Fields = Readonly<Record<string, AnyType>>;
/** What a structure is in TypeScript. */
export type Values<F extends Fields> = { -readonly [K in keyof F]: ValueOf<F[K]> };
/** What can be written as a structure. */
export type Inputs<F extends Fields> = { readonly [K in keyof F]?: InputOf<F[K]> | undefined };

/** A structure or union. */
export interface Struct<F extends Fields> extends CType<Values<F>, Inputs<F>> {
  /** Name in the header, without `struct`; empty for one without a name. */
  readonly name: string;
  readonly fields: F;
  /** `offsetof`: of a field, or of one inside nested structures by its path. */
  offset(path: string): number;
  /** Reads all fields. `bytes` must hold {@link CType.size} bytes. */
  decode(bytes: Uint8Array): Values<F>;
  /** The bytes of a value; fields that are left out and padding are zero. */
  encode(value: Inputs<F>): Uint8Array;
  of(width: Width): Struct<F>;
}

/** A type with both of its layouts; the second is made when it is asked for. The result is that of 64-bit code. */
function both<C extends { of(width: Width): C }>(make: (width: Width) => Omit<C, "of">): C {
  let compat: C | undefined;
  const lay = (width: Width): C => ({ ...make(width), of }) as C;
  const of = (width: Width): C => {
    if (width === 64) return wide;
    compat ??= lay(32);
    return compat;
  };
  const wide = lay(64);
  return wide;
}

function scalar<T>(
  size: number,
  accessor: string,
  read: (view: DataView, at: number) => T,
  write: (view: DataView, at: number, value: T) => void,
): CType<T> {
  const members: readonly Member[] = [];
  return both((width) => {
    const align = Math.min(size, width / 8);
    return { size, align, members, read, write, accessor };
  });
}

/** `__u8`, `char`. */
export const u8 = scalar<number>(
  1,
  "Uint8",
  (v, at) => v.getUint8(at),
  (v, at, x) => v.setUint8(at, x),
);
/** `__s8`. */
export const s8 = scalar<number>(
  1,
  "Int8",
  (v, at) => v.getInt8(at),
  (v, at, x) => v.setInt8(at, x),
);
/** `__u16`. */
export const u16 = scalar<number>(
  2,
  "Uint16",
  (v, at) => v.getUint16(at, true),
  (v, at, x) => v.setUint16(at, x, true),
);
/** `__u32`. */
export const u32 = scalar<number>(
  4,
  "Uint32",
  (v, at) => v.getUint32(at, true),
  (v, at, x) => v.setUint32(at, x, true),
);
/** `__s32`, `int`. */
export const s32 = scalar<number>(
  4,
  "Int32",
  (v, at) => v.getInt32(at, true),
  (v, at, x) => v.setInt32(at, x, true),
);
/** `__s16`. */
export const s16 = scalar<number>(
  2,
  "Int16",
  (v, at) => v.getInt16(at, true),
  (v, at, x) => v.setInt16(at, x, true),
);
/** `__u64`. */
export const u64 = scalar<bigint>(
  8,
  "BigUint64",
  (v, at) => v.getBigUint64(at, true),
  (v, at, x) => v.setBigUint64(at, x, true),
);
/** `__s64`. */
export const s64 = scalar<bigint>(
  8,
  "BigInt64",
  (v, at) => v.getBigInt64(at, true),
  (v, at, x) => v.setBigInt64(at, x, true),
);
/** `unsigned long`, which 32-bit code has as 4 bytes. */
export const ulong: CType<bigint> = both((width) =>
  width === 64
    ? u64
    : {
        size: 4,
        align: 4,
        members: [],
        read: (v, at) => BigInt(v.getUint32(at, true)),
        write: (v, at, x) => v.setUint32(at, Number(BigInt.asUintN(32, x)), true),
      },
);
/** A pointer. */
export const pointer: CType<bigint> = ulong;

/** `__u8 name[length]` or `char name[length]`, as bytes. Shorter input leaves the rest as it is. */
export function bytes(length: number): CType<Uint8Array> {
  return both(() => ({
    size: length,
    align: 1,
    members: [],
    read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, length).slice(),
    write: (view, at, value) =>
      new Uint8Array(view.buffer, view.byteOffset + at, length).set(value.subarray(0, length)),
  }));
}

/** `type name[length]`. */
export function array<T, I>(element: CType<T, I>, length: number): CType<T[], readonly I[]> {
  return both((width) => {
    const { size, align, read, write } = element.of(width);
    return {
      size: size * length,
      align,
      members: [],
      read(view, at) {
        const values: T[] = [];
        for (let i = 0; i < length; i++) values.push(read(view, at + i * size));
        return values;
      },
      write(view, at, value) {
        for (let i = 0; i < Math.min(length, value.length); i++) {
          write(view, at + i * size, value[i] as I);
        }
      },
    };
  });
}

/** What 64-bit and 32-bit code declare differently. */
export function perWidth<T, I>(wide: CType<T, I>, compat: CType<T, I>): CType<T, I> {
  return both((width) => (width === 64 ? wide.of(64) : compat.of(32)));
}

/** `type name[]` at the end of a structure: takes no room; its elements follow the structure. */
export function flexible<T, I>(element: CType<T, I>): CType<T[], readonly I[]> {
  return array(element, 0);
}

function describe(fields: Fields, offsets: ReadonlyMap<string, number>): Member[] {
  return Object.entries(fields).flatMap(([name, type]) => {
    const offset = offsets.get(name) as number;
    // A field whose name begins with `$` has none in C: its members belong to the outer structure.
    const hidden = name.startsWith("$");
    const inner = type.members.map((member) => ({
      path: hidden ? member.path : `${name}.${member.path}`,
      offset: offset + member.offset,
      size: member.size,
    }));
    return hidden ? inner : [{ path: name, offset, size: type.size }, ...inner];
  });
}

type Entry = readonly [field: string, type: AnyType, offset: number];

interface Codec<F extends Fields> {
  read(view: DataView, at: number): Values<F>;
  write(view: DataView, at: number, value: Inputs<F>): void;
}

/**
 * Reads and writes fields one after the other. Compiled from text, which is ten times as fast as a loop
 * over them: all values have one shape, and each access has a place of its own. Where text may
 * not be compiled (a web page's Content-Security-Policy), the loop does it.
 */
function codec<F extends Fields>(entries: readonly Entry[]): Codec<F> {
  const types = entries.map(([, type]) => type);
  const reads = entries.map(([field, { accessor }, offset], i) => {
    const at = `at + ${offset}`;
    const value = accessor ? `view.get${accessor}(${at}, true)` : `types[${i}].read(view, ${at})`;
    return `${JSON.stringify(field)}: ${value}`;
  });
  const writes = entries.map(([field, { accessor }, offset], i) => {
    const at = `at + ${offset}`;
    const write = accessor
      ? `view.set${accessor}(${at}, part, true)`
      : `types[${i}].write(view, ${at}, part)`;
    return `part = value[${JSON.stringify(field)}]; if (part !== undefined) ${write};`;
  });
  const text = `return {
    read(view, at) { return { ${reads.join(", ")} }; },
    write(view, at, value) { let part; ${writes.join(" ")} },
  };`;
  try {
    return new Function("types", text)(types) as Codec<F>;
  } catch {
    return loopingCodec(entries);
  }
}

function loopingCodec<F extends Fields>(entries: readonly Entry[]): Codec<F> {
  return {
    read(view, at) {
      const value: Record<string, unknown> = {};
      for (const [field, type, offset] of entries) value[field] = type.read(view, at + offset);
      return value as Values<F>;
    },
    write(view, at, value) {
      for (const [field, type, offset] of entries) {
        const part = value[field];
        if (part !== undefined) type.write(view, at + offset, part as never);
      }
    },
  };
}

/** How fields lie: one after the other, without padding, or all at the beginning. */
type Kind = "struct" | "packed" | "union";

function compose<F extends Fields>(
  name: string,
  declared: F,
  kind: Kind,
  width: Width,
): Omit<Struct<F>, "of"> {
  const fields = Object.fromEntries(
    Object.entries(declared).map(([field, type]) => [field, type.of(width)]),
  ) as F;
  const offsets = new Map<string, number>();
  let end = 0;
  let size = 0;
  let align = 1;
  for (const [field, type] of Object.entries(fields)) {
    const unit = kind === "packed" ? 1 : type.align;
    const offset = kind === "union" ? 0 : Math.ceil(end / unit) * unit;
    offsets.set(field, offset);
    end = offset + type.size;
    size = Math.max(size, end);
    align = Math.max(align, unit);
  }
  size = Math.ceil(size / align) * align;
  const members = describe(fields, offsets);
  const byPath = new Map(members.map((member) => [member.path, member.offset]));
  const { read, write } = codec<F>(
    Object.entries(fields).map(([field, type]) => [field, type, offsets.get(field) as number]),
  );
  return {
    name,
    fields,
    size,
    align,
    members,
    read,
    write,
    offset(path) {
      const offset = byPath.get(path);
      assert(offset !== undefined, `struct ${name} has no ${path}`);
      return offset;
    },
    decode: (data) => read(new DataView(data.buffer, data.byteOffset, data.byteLength), 0),
    encode(value) {
      const data = new Uint8Array(size);
      write(new DataView(data.buffer), 0, value);
      return data;
    },
  };
}

/**
 * Declares `struct name`; fields are in memory order. A field whose name begins with `$` is an
 * unnamed union or structure: its members are reached by their own names in paths.
 */
export function struct<const F extends Fields>(name: string, fields: F): Struct<F> {
  return both((width) => compose(name, fields, "struct", width));
}

/** The same with `__attribute__((packed))`: no padding. */
export function packed<const F extends Fields>(name: string, fields: F): Struct<F> {
  return both((width) => compose(name, fields, "packed", width));
}

/** A union: all members at offset 0. Decoding reads every member; encode one. */
export function union<const F extends Fields>(fields: F): Struct<F> {
  return both((width) => compose("", fields, "union", width));
}
