/**
 * Describes a C structure of Xen's public interface once, for both kinds of guest. 64-bit guests
 * have 8-byte longs and pointers and align u64 to 8; 32-bit ("compat") guests have 4-byte ones and
 * align u64 to 4, as the i386 ABI does.
 */

/** Register width of the guest that made a hypercall. */
export type GuestWidth = 32 | 64;

/** C types that occur in the structures. `ulong` and `handle` have the width of the guest. */
export type FieldType = "u8" | "u16" | "s16" | "u32" | "s32" | "u64" | "ulong" | "handle";

/** What a field is in TypeScript: 64-bit and guest-wide fields are bigint, all others number. */
export type FieldValue<T extends FieldType> = T extends "u64" | "ulong" | "handle"
  ? bigint
  : number;

/** Names and types of the fields, in memory order. */
export type Fields = Readonly<Record<string, FieldType>>;

/** Values of all fields. */
export type StructValue<F extends Fields> = { [K in keyof F]: FieldValue<F[K]> };

/** A structure with its two memory layouts. */
export interface Layout<F extends Fields> {
  /** Name in the public header, without `struct`. */
  readonly name: string;
  /** Bytes, trailing padding included. */
  size(width: GuestWidth): number;
  /** Offset of a field in bytes. */
  offset(field: keyof F & string, width: GuestWidth): number;
  /** Reads all fields; `bytes` must hold at least {@link size} bytes. */
  decode(bytes: Uint8Array, width: GuestWidth): StructValue<F>;
  /** All fields as bytes, padding zero; values are cut to the width of their field. */
  encode(value: StructValue<F>, width: GuestWidth): Uint8Array;
}

const FIXED_SIZE = { u8: 1, u16: 2, s16: 2, u32: 4, s32: 4, u64: 8 } as const;

function fieldSize(type: FieldType, width: GuestWidth): number {
  return type === "ulong" || type === "handle" ? width / 8 : FIXED_SIZE[type];
}

/** A field at its place. */
interface Placed {
  readonly field: string;
  readonly type: FieldType;
  readonly offset: number;
}

/** Fields in memory order, for hypercalls with long lists: nothing is looked up. */
function place(
  fields: Fields,
  width: GuestWidth,
): { readonly list: readonly Placed[]; readonly size: number } {
  const list: Placed[] = [];
  let end = 0;
  let structAlign = 1;
  for (const [field, type] of Object.entries(fields)) {
    const size = fieldSize(type, width);
    const align = Math.min(size, width / 8);
    structAlign = Math.max(structAlign, align);
    const offset = Math.ceil(end / align) * align;
    list.push({ field, type, offset });
    end = offset + size;
  }
  return { list, size: Math.ceil(end / structAlign) * structAlign };
}

function load(view: DataView, offset: number, type: FieldType, width: GuestWidth): number | bigint {
  switch (type) {
    case "u8":
      return view.getUint8(offset);
    case "u16":
      return view.getUint16(offset, true);
    case "s16":
      return view.getInt16(offset, true);
    case "u32":
      return view.getUint32(offset, true);
    case "s32":
      return view.getInt32(offset, true);
    case "u64":
      return view.getBigUint64(offset, true);
    case "ulong":
    case "handle":
      return width === 64 ? view.getBigUint64(offset, true) : BigInt(view.getUint32(offset, true));
  }
}

function store(
  view: DataView,
  offset: number,
  type: FieldType,
  width: GuestWidth,
  value: number | bigint,
): void {
  const size = fieldSize(type, width);
  if (size === 1) view.setUint8(offset, Number(value));
  else if (size === 2) view.setUint16(offset, Number(value), true);
  else if (size === 8) view.setBigUint64(offset, BigInt(value), true);
  else if (typeof value === "number") view.setUint32(offset, value, true);
  else view.setUint32(offset, Number(BigInt.asUintN(32, value)), true);
}

/** Declares a structure. `fields` is in memory order; padding follows from the C rules. */
export function layout<const F extends Fields>(name: string, fields: F): Layout<F> {
  const placed = { 32: place(fields, 32), 64: place(fields, 64) };
  return {
    name,
    size: (width) => placed[width].size,
    offset: (field, width) =>
      placed[width].list.find((one) => one.field === field)?.offset as number,
    decode(bytes, width) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const value: Record<string, number | bigint> = {};
      for (const { field, type, offset } of placed[width].list) {
        value[field] = load(view, offset, type, width);
      }
      return value as StructValue<F>;
    },
    encode(value, width) {
      const bytes = new Uint8Array(placed[width].size);
      const view = new DataView(bytes.buffer);
      for (const { field, type, offset } of placed[width].list) {
        store(view, offset, type, width, value[field] as number | bigint);
      }
      return bytes;
    },
  };
}
