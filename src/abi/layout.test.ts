import { afterEach, describe, expect, it, vi } from "vitest";
import {
  array,
  bytes,
  flexible,
  packed,
  perWidth,
  pointer,
  s8,
  s16,
  s32,
  s64,
  struct,
  u8,
  u16,
  u32,
  u64,
  ulong,
  union,
} from "./layout.js";

const inner = struct("inner", { a: u8, b: u64 });

describe("C layouts", () => {
  it("pads as the x86-64 ABI does", () => {
    const s = struct("s", { a: u8, b: u16, c: u8, d: u32, e: u8, f: u64, g: u8 });
    expect(["a", "b", "c", "d", "e", "f", "g"].map((name) => s.offset(name))).toEqual([
      0, 2, 4, 8, 12, 16, 24,
    ]);
    expect([s.size, s.align]).toEqual([32, 8]);
  });

  it("nests, with paths as offsetof takes them", () => {
    const s = struct("s", { n: u8, x: inner, list: array(inner, 2), tail: bytes(3) });
    expect(s.offset("x.b")).toBe(16);
    expect(s.offset("list")).toBe(24);
    expect(s.size).toBe(64);
    expect(() => s.offset("x.c")).toThrow("struct s has no x.c");
  });

  it("unions overlay; members of unnamed ones belong to the outer structure", () => {
    const s = struct("s", { head: u32, $u: union({ irq: u32, status: s32 }), end: u8 });
    expect([s.offset("irq"), s.offset("status"), s.offset("end"), s.size]).toEqual([4, 4, 8, 12]);
    const data = s.encode({ head: 1, $u: { status: -1 }, end: 5 });
    expect(s.decode(data)).toEqual({ head: 1, $u: { irq: 0xffffffff, status: -1 }, end: 5 });
  });

  it("packed ones have no padding", () => {
    const s = packed("s", { a: u8, b: u32, c: u64 });
    expect([s.offset("b"), s.offset("c"), s.size, s.align]).toEqual([1, 5, 13, 1]);
    const outer = struct("outer", { x: s, end: u16 });
    expect([outer.offset("x.c"), outer.offset("end"), outer.size]).toEqual([5, 14, 16]);
  });

  it("a flexible array takes no room but its alignment", () => {
    const s = struct("s", { n: u32, list: flexible(u64) });
    expect([s.offset("list"), s.size]).toEqual([8, 8]);
  });

  it("encodes what is given, cut to its width, and zero for the rest", () => {
    const s = struct("s", { a: u8, list: array(u16, 3), raw: bytes(2), big: u64 });
    const data = s.encode({ a: 0x1ff, list: [1], raw: Uint8Array.of(9, 8, 7), big: -1n });
    expect(Buffer.from(data).toString("hex")).toBe(
      `ff000100000000000908000000000000${"ff".repeat(8)}`,
    );
    expect(s.decode(data).raw).toEqual(Uint8Array.of(9, 8));
  });

  it("decodes a view into a larger buffer without keeping it", () => {
    const s = struct("s", { raw: bytes(2), x: inner });
    const buffer = new Uint8Array(64).fill(3);
    const value = s.decode(buffer.subarray(8));
    buffer.fill(0);
    expect(value).toEqual({ raw: Uint8Array.of(3, 3), x: { a: 3, b: 0x0303030303030303n } });
  });
});

describe("for 32-bit code", () => {
  it("longs and pointers have 4 bytes, and u64 is aligned to 4", () => {
    const s = struct("s", { a: u8, big: u64, n: ulong, p: pointer, end: u16 });
    const offsets = (of: typeof s) => ["a", "big", "n", "p", "end"].map((name) => of.offset(name));
    expect([...offsets(s), s.size, s.align]).toEqual([0, 8, 16, 24, 32, 40, 8]);
    const compat = s.of(32);
    expect([...offsets(compat), compat.size, compat.align]).toEqual([0, 4, 12, 16, 20, 24, 4]);
    expect([s.of(64), compat.of(64), compat.of(32)]).toEqual([s, s, compat]);
  });

  it("so have arrays, unions and structures inside", () => {
    const pair = struct("pair", { c: u8, n: ulong });
    const s = struct("s", { list: array(pair, 2), $u: union({ n: ulong, b: bytes(6) }), last: s8 });
    expect([s.offset("b"), s.offset("last"), s.size]).toEqual([32, 40, 48]);
    const compat = s.of(32);
    expect([compat.offset("b"), compat.offset("last"), compat.size]).toEqual([16, 24, 28]);
    expect(compat.fields.list.size).toBe(16);
  });

  it("values are the same, cut to the width of their field", () => {
    const s = struct("s", { a: u8, b: s16, c: u64, d: ulong, e: s32, f: array(ulong, 2) });
    const value = { a: 0x12, b: -3, c: 0xfedcba9876543210n, d: 0x89abcdefn, e: -2, f: [1n, 2n] };
    for (const width of [32, 64] as const) {
      expect(s.of(width).decode(s.of(width).encode(value))).toEqual(value);
    }
    const wide = { a: 0x1ff, c: -1n, d: (1n << 40n) + 5n, e: 2 ** 32 + 5, f: [-1n] };
    expect(s.of(32).decode(s.of(32).encode(wide))).toEqual({
      ...{ a: 0xff, b: 0, c: 2n ** 64n - 1n, d: 5n, e: 5, f: [0xffffffffn, 0n] },
    });
  });

  it("what is declared differently is its own", () => {
    const s = struct("s", { list: perWidth(array(ulong, 1), array(ulong, 5)), end: u8 });
    expect([s.offset("end"), s.of(32).offset("end")]).toEqual([8, 20]);
  });
});

describe("where text may not be compiled", () => {
  afterEach(() => vi.unstubAllGlobals());

  it("structures read and write the same", () => {
    const fields = {
      a: s16,
      list: array(inner, 2),
      raw: bytes(3),
      $u: union({ irq: u32, status: s32 }),
      big: s64,
      none: flexible(u16),
    };
    const compiled = struct("s", fields);
    let refused = 0;
    class NoFunction {
      constructor() {
        refused++;
        throw new EvalError("unsafe-eval");
      }
    }
    vi.stubGlobal("Function", NoFunction);
    const looping = struct("s", fields);
    expect(refused).toBeGreaterThan(0);
    const data = Uint8Array.from({ length: compiled.size }, (_, i) => (i * 37 + 129) & 0xff);
    const value = compiled.decode(data);
    expect(looping.decode(data)).toEqual(value);
    expect(looping.encode(value)).toEqual(compiled.encode(value));
    expect(looping.encode({ big: -2n, raw: Uint8Array.of(7) })).toEqual(
      compiled.encode({ big: -2n, raw: Uint8Array.of(7) }),
    );
  });
});
