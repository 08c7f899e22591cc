/** Pointers that lead nowhere: Xen answers -EFAULT whenever a copy from or to the guest's memory fails. */
import { describe, expect, it } from "vitest";
import { Errno } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, addToPhysmap, type Field, put, SELF } from "./arguments.fixture.js";

const { EFAULT } = Errno;
/** Where the domain's memory ends. */
const END = 16 << 20;

/** Numbers of hypercalls, and those of their sub-operations that take a structure. */
const taking: [name: string, nr: number, subOps: readonly number[]][] = [
  ["memory_op", 12, [3, 4, 7, 9, 11, 14, 15, 23]],
  ["xen_version", 17, [1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14]],
  ["sched_op", 29, [2, 5, 6]],
  ["event_channel_op", 32, [0, 1, 3, 4, 5, 6, 7, 8, 9, 10]],
  ["hvm_op", 34, [0, 1, 10, 15, 23]],
];

describe.each([false, true])("a structure that is not in memory, 32-bit guest: %s", (compat) => {
  const rows = taking.flatMap(([name, nr, ops]) => ops.map((op) => [name, op, nr] as const));
  it.each(rows)("%s %i", (_, op, nr) => {
    const { call } = makeDomain();
    expect(call(nr, [op, END], { compat })).toBe(-EFAULT);
    expect(call(nr, [op, END - 1], { compat })).toBe(-EFAULT);
  });

  it.each([0, 4, 5, 6, 8, 10, 13, 14, 15])("vcpu_op %i", (op) => {
    const { call } = makeDomain();
    expect(call(24, [op, 0, END - 1], { compat })).toBe(-EFAULT);
  });

  it.each([0, 1, 2, 5, 6, 8, 10, 11])("grant_table_op %i", (op) => {
    const { call } = makeDomain();
    expect(call(20, [op, END - 1, 1], { compat })).toBe(-EFAULT);
  });

  it("console_io and multicall", () => {
    const { call } = makeDomain();
    expect(call(18, [0, 2, END - 1], { compat })).toBe(-EFAULT);
    expect(call(13, [END - 1, 1], { compat })).toBe(-EFAULT);
  });
});

describe("a pointer inside of a structure", () => {
  it("XENMEM_memory_map: the buffer", () => {
    const { call, domain } = makeDomain();
    const fields: Field[] = [
      [4, 2],
      [8, END - 20],
    ];
    expect(call(12, [9, put(domain, fields)])).toBe(-EFAULT);
    // The answer is not there either.
    expect(domain.memory.readU32(AT)).toBe(2);
  });

  it("XENMEM_add_to_physmap_batch: each of its three lists", () => {
    for (const bad of [0, 1, 2]) {
      const { call, domain } = makeDomain();
      const lists = [0x6000, 0x7000, 0x8000].map((at, i): Field => [8, i === bad ? END - 4 : at]);
      if (bad === 2) lists[2] = [8, END - 3];
      const fields: Field[] = [[2, SELF], [2, 1], [2, 1], [2, 0], ...lists];
      expect(call(12, [23, put(domain, fields)])).toBe(-EFAULT);
    }
  });

  it("a frame of all ones takes a grant frame away (as Linux's INVALID_P2M_ENTRY does)", () => {
    const test = makeDomain();
    const { physmap, grantFrames } = test.domain;
    expect(addToPhysmap(test, 1, 0, 0x300)).toBe(0);
    expect(physmap.frameOf(grantFrames[0]?.hva as never)).toBe(0x300);
    expect(addToPhysmap(test, 1, 0, 2n ** 64n - 1n)).toBe(0);
    expect(physmap.frameOf(grantFrames[0]?.hva as never)).toBeUndefined();
  });

  it("XENVER_extraversion2: the text behind its buffer's length", () => {
    const { call, domain } = makeDomain();
    domain.memory.writeU32(END - 4, 100);
    expect(call(17, [11, END - 4])).toBe(-EFAULT);
  });

  it("GNTTABOP_setup_table: the list of frames", () => {
    const { call, domain } = makeDomain();
    const fields: Field[] = [
      [2, SELF],
      [4, 2],
      [2, 0],
      [8, END - 8],
    ];
    expect(call(20, [2, put(domain, fields), 1])).toBe(0);
    // GNTST_bad_virt_addr
    expect(domain.memory.readU16(AT + 8)).toBe(0x10000 - 5);
  });

  it("XENMEM_exchange: the list of frames to give", () => {
    const { call, domain } = makeDomain();
    const reservation = (list: number): Field[] => [
      [8, list],
      [8, 1],
      [4, 0],
      [4, 0],
      [2, SELF],
    ];
    const exchange: Field[] = [...reservation(END), ...reservation(0x6000), [8, 0]];
    expect(call(12, [11, put(domain, exchange)])).toBe(-EFAULT);
  });

  it("VCPUOP_register_*: areas that are not in memory, or not in one piece", () => {
    const { call, domain } = makeDomain();
    for (const op of [5, 13]) {
      expect(call(24, [op, 0, put(domain, [[8, END]])])).toBe(-EFAULT);
      expect(call(24, [op, 0, put(domain, [[8, 0x3fffffff]])])).toBe(-EFAULT);
    }
    expect(call(24, [14, 0, put(domain, [[8, END]])])).toBe(-Errno.EINVAL);
    expect(call(24, [15, 0, put(domain, [[8, END]])])).toBe(-Errno.EINVAL);
  });

  it("the last bytes of memory are as good as the first", () => {
    const test = makeDomain();
    const { call, domain } = test;
    expect(call(34, [10, END - 8])).toBe(0);
    domain.memory.writeU32(END - 8, 0);
    expect(call(17, [6, END - 8])).toBe(0);
    domain.memory.write(END - 1, Uint8Array.of(10));
    expect(call(18, [0, 1, END - 1])).toBe(0);
    expect(addToPhysmap(test, 1, 0, 0x300)).toBe(0);
  });
});
