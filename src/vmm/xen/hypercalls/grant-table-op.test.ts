import { describe, expect, it } from "vitest";
import { Errno } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, addToPhysmap, type Field, put, SELF } from "./arguments.fixture.js";

const { EINVAL, ENOSYS, EPERM, ESRCH } = Errno;

describe("grant_table_op", () => {
  it("answers sizes and versions", () => {
    const { call, domain } = makeDomain();
    expect(call(20, [6, put(domain, [[2, SELF]]), 1])).toBe(0);
    expect(domain.memory.readU32(AT + 8)).toBe(64);
    expect(call(20, [6, AT, 2])).toBe(-EINVAL);
    expect(call(20, [8, put(domain, [[4, 2]]), 1])).toBe(-ENOSYS);
    expect(domain.memory.readU32(AT)).toBe(1);
    expect(call(20, [8, put(domain, [[4, 1]]), 1])).toBe(0);
    expect(call(20, [8, put(domain, [[4, 3]]), 1])).toBe(-EINVAL);
    expect(call(20, [10, put(domain, [[2, SELF]]), 1])).toBe(0);
    expect(domain.memory.readU32(AT + 4)).toBe(1);
    expect(call(20, [10, put(domain, [[2, 0]]), 1])).toBe(-EPERM);
    expect(call(20, [10, put(domain, [[2, 9]]), 1])).toBe(-ESRCH);
    expect(call(20, [6, AT, 2 ** 31])).toBe(-EINVAL);
  });

  // Dumps, transfers, replaced mappings, status frames, caches; and a command with bits above the number.
  it.each([3, 4, 7, 9, 12, 13, 6 | 0x1000, 0x8000_0006])("%i is kept from HVM guests", (cmd) => {
    const { call, domain } = makeDomain();
    const before = domain.memory.read(AT, 64);
    for (const count of [0, 1, 2 ** 31]) expect(call(20, [cmd, AT, count])).toBe(-ENOSYS);
    expect(domain.memory.read(AT, 64)).toEqual(before);
  });

  it("has nothing to map or unmap", () => {
    const { call, domain } = makeDomain();
    const status = (offset: number): number =>
      ((domain.memory.readU16(AT + offset) ?? 0) << 16) >> 16;
    const map = (flags: number, ref: number, dom: number): number => {
      const fields: Field[] = [
        [8, 0x20000],
        [4, flags],
        [4, ref],
        [2, dom],
      ];
      expect(call(20, [0, put(domain, fields), 1])).toBe(0);
      return status(18);
    };
    expect(map(0, 8, 0)).toBe(-3);
    expect(map(1, 8, 0)).toBe(-1);
    expect(map(2, 8, 0)).toBe(-3);
    expect(map(2, 8, 9)).toBe(-2);
    expect(map(2, 8, SELF)).toBe(-2);
    expect(map(2, 8, 1)).toBe(-1);
    expect(map(2, 1 << 20, 1)).toBe(-3);
    expect(call(20, [1, AT, 1])).toBe(0);
    expect(status(20)).toBe(-4);
  });

  it("swaps entries that nobody uses", () => {
    const { call, domain } = makeDomain();
    const swap = (a: number, b: number): number => {
      const fields: Field[] = [
        [4, a],
        [4, b],
      ];
      expect(call(20, [11, put(domain, fields), 1])).toBe(0);
      return ((domain.memory.readU16(AT + 8) ?? 0) << 16) >> 16;
    };
    expect(swap(1, 9)).toBe(0);
    expect(domain.grantTable.begin(1, 0, true)).toBe(-1);
    const use = domain.grantTable.begin(9, 0, true);
    expect(use).toMatchObject({ gfn: 0xfeff9 });
    expect(swap(9, 1)).toBe(-12);
    expect(swap(9, 9)).toBe(0);
    expect(swap(9, 1 << 20)).toBe(-3);
  });

  it("copies between own frames and own grants", () => {
    const test = makeDomain();
    const { call, domain } = test;
    addToPhysmap(test, 1, 0, 0x100000);
    const entry = 0x100000 * 4096 + 8 * 8;
    domain.memory.write(entry, Uint8Array.of(1, 0, 1, 0, 0x20, 0, 0, 0));
    domain.memory.write(0x7010, Uint8Array.of(1, 2, 3));
    const copy = (fromOffset: number, ref: number, len: number): number => {
      put(domain, [
        [8, 7],
        [2, SELF],
        [2, fromOffset],
        [8, ref],
        [2, SELF],
        [2, 0x100],
        [8, 0],
      ]);
      domain.memory.writeU16(AT + 32, len);
      domain.memory.writeU16(AT + 34, 2);
      expect(call(20, [5, AT, 1])).toBe(0);
      return ((domain.memory.readU16(AT + 36) ?? 0) << 16) >> 16;
    };
    expect(copy(0x10, 8, 3)).toBe(0);
    expect([...(domain.memory.read(0x20100, 3) ?? [])]).toEqual([1, 2, 3]);
    expect(copy(0xfff, 8, 3)).toBe(-10);
    expect(copy(0x10, 9, 3)).toBe(-1);
    expect(copy(0x10, 1 << 20, 3)).toBe(-3);
  });
});

describe("GNTTABOP_setup_table", () => {
  /** Asks for the frames of a table; its status. */
  function setup(
    { call, domain }: ReturnType<typeof makeDomain>,
    [dom, frames]: readonly [number, number],
    compat = false,
  ): number {
    const list: Field = compat ? [4, 0x6000] : [8, 0x6000];
    const fields: Field[] = [[2, dom], [4, frames], [2, 0], list];
    expect(call(20, [2, put(domain, fields), 1], { compat })).toBe(0);
    return ((domain.memory.readU16(AT + 8) as number) << 16) >> 16;
  }

  it.each([
    false,
    true,
  ])("lists where frames are, all ones where they are not; 32-bit guest: %s", (compat) => {
    const test = makeDomain();
    const { domain } = test;
    addToPhysmap(test, 1, 0, 0x300);
    addToPhysmap(test, 1, 2, 0x302);
    domain.memory.write(0x6000, new Uint8Array(64).fill(0xee));
    expect(setup(test, [SELF, 3], compat)).toBe(0);
    const size = compat ? 4 : 8;
    const entry = (i: number): bigint => {
      const bytes = domain.memory.read(0x6000 + i * size, size) as Uint8Array;
      return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    };
    const none = 2n ** BigInt(8 * size) - 1n;
    expect([entry(0), entry(1), entry(2)]).toEqual([0x300n, none, 0x302n]);
    expect(domain.memory.readU8(0x6000 + 3 * size)).toBe(0xee);
  });

  it("is about the caller, whose table has 64 frames", () => {
    const test = makeDomain();
    expect([setup(test, [SELF, 64]), setup(test, [1, 0])]).toEqual([0, 0]);
    // GNTST_general_error, GNTST_permission_denied, GNTST_bad_domain
    expect([setup(test, [SELF, 65]), setup(test, [0, 1]), setup(test, [9, 1])]).toEqual([
      ...[-1, -8, -2],
    ]);
  });
});

it("GNTTABOP_query_size is about the caller", () => {
  const { call, domain } = makeDomain();
  const size = (dom: number): number[] => {
    expect(call(20, [6, put(domain, [[2, dom]]), 1])).toBe(0);
    return [4, 8, 12].map((offset) => domain.memory.readU16(AT + offset) as number);
  };
  expect(size(1)).toEqual([64, 64, 0]);
  expect([size(0)[2], size(9)[2]]).toEqual([0x10000 - 8, 0x10000 - 2]);
});

it("operations on one element take exactly one", () => {
  const { call } = makeDomain();
  for (const op of [2, 6])
    for (const count of [0, 2]) expect(call(20, [op, AT, count])).toBe(-EINVAL);
  for (const op of [0, 1, 5, 11]) expect(call(20, [op, AT, 0])).toBe(0);
});
