/** What memory_op does with a guest's frames, by public/memory.h: elements, frames and indices at their limits. */
import { describe, expect, it } from "vitest";
import { Errno } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, addToPhysmap, type Field, put, SELF } from "./arguments.fixture.js";

const { EDOM, EILSEQ, EINVAL, ENOENT, ENOSYS, EOPNOTSUPP, EPERM, ESRCH } = Errno;
const MEMORY_OP = 12;
const [MAXIMUM_RAM_PAGE, ADD, MEMORY_MAP, MAXIMUM_GPFN, REMOVE, BATCH] = [
  2, 7, 9, 14, 15, 23,
] as const;
const [SHARED_INFO, GRANT_TABLE] = [0, 1] as const;
const [IDXS, GPFNS, ERRS] = [0x6000, 0x6100, 0x6200] as const;

type Test = ReturnType<typeof makeDomain>;

/** add_to_physmap_batch of grant frames, from an element on. */
function batch(test: Test, gpfns: readonly number[], start = 0, domid = SELF): number {
  const { memory } = test.domain;
  for (const [i, gpfn] of gpfns.entries()) {
    memory.writeU64(IDXS + 8 * i, BigInt(i));
    memory.writeU64(GPFNS + 8 * i, BigInt(gpfn));
    memory.writeU32(ERRS + 4 * i, 0x5555);
  }
  const fields: Field[] = [
    [2, domid],
    [2, GRANT_TABLE],
    [2, gpfns.length],
    [2, 0],
    [8, IDXS],
    [8, GPFNS],
    [8, ERRS],
  ];
  return test.call(MEMORY_OP, [BATCH | (start << 6), put(test.domain, fields)]);
}

describe("add_to_physmap", () => {
  it.each([
    ["shared_info", SHARED_INFO, 0, 0],
    ["another shared_info", SHARED_INFO, 1, -EINVAL],
    ["shared_info with the bit of a status frame", SHARED_INFO, 2 ** 31, -EINVAL],
    ["the first grant frame", GRANT_TABLE, 0, 0],
    ["the last grant frame", GRANT_TABLE, 63, 0],
    ["one more grant frame", GRANT_TABLE, 64, -EINVAL],
    ["a status frame", GRANT_TABLE, 2 ** 31, -EINVAL],
    ["a grant frame of 33 bits", GRANT_TABLE, 2n ** 32n, -EINVAL],
    ["gmfn", 2, 0, -EOPNOTSUPP],
    ["gmfn_range", 3, 0, -EOPNOTSUPP],
    ["gmfn_foreign", 4, 0, -EPERM],
    ["dev_mmio", 5, 0, -EPERM],
    ["no space", 6, 0, -ENOSYS],
  ])("%s", (_, space, idx, result) => {
    const test = makeDomain();
    expect(test.domain.physmap.isBacked(0x9000)).toBe(false);
    expect(addToPhysmap(test, space, idx, 0x9000)).toBe(result);
    expect(test.domain.physmap.isBacked(0x9000)).toBe(result === 0);
  });

  it("shows the frame that is asked for", () => {
    const test = makeDomain();
    const { grantFrames, memory } = test.domain;
    grantFrames[63]?.write(8, Uint8Array.of(0x63));
    expect(addToPhysmap(test, GRANT_TABLE, 63, 0x9000)).toBe(0);
    expect(memory.readU32(0x9000008)).toBe(0x63);
  });

  it.each([
    [2n ** 40n - 1n, false, true],
    [2n ** 40n, false, false],
    [2n ** 64n - 1n, false, false],
    [2n ** 32n - 1n, false, true],
  ])("lays a page over frame %d, and over none without such a frame", (gpfn, _, isThere) => {
    const test = makeDomain();
    const { domain } = test;
    expect(addToPhysmap(test, GRANT_TABLE, 0, 0x9000)).toBe(0);
    expect(addToPhysmap(test, GRANT_TABLE, 0, gpfn)).toBe(0);
    expect(domain.physmap.isBacked(0x9000)).toBe(false);
    expect(domain.physmap.isBacked(Number(gpfn))).toBe(isThere);
  });

  it("the last number of 32 bits is no frame of a 32-bit guest", () => {
    const { call, domain } = makeDomain();
    const fields = (gpfn: number): Field[] => [
      [2, SELF],
      [2, 0],
      [4, GRANT_TABLE],
      [4, 0],
      [4, gpfn],
    ];
    for (const [gpfn, isThere] of [
      [2 ** 32 - 2, true],
      [2 ** 32 - 1, false],
    ] as const) {
      expect(call(MEMORY_OP, [ADD, put(domain, fields(gpfn))], { compat: true })).toBe(0);
      expect(domain.physmap.isBacked(gpfn)).toBe(isThere);
    }
  });

  it.each([
    [0xffff, 0],
    [0x10000, -EDOM],
    [2 ** 26 - 1, -EDOM],
  ])("goes on at element %i: %i", (start, result) => {
    const { call, domain } = makeDomain();
    const fields: Field[] = [
      [2, SELF],
      [2, 0],
      [4, GRANT_TABLE],
      [8, 0],
      [8, 0x9000],
    ];
    expect(call(MEMORY_OP, [ADD + start * 64, put(domain, fields)])).toBe(result);
  });
});

describe("add_to_physmap_batch", () => {
  it.each([
    [0, 2, 0],
    [1, 2, 0],
    [2, 2, -EILSEQ],
    [3, 2, -EILSEQ],
    [0xffff, 2, -EILSEQ],
    [0x10000, 2, -EDOM],
    [0, 0, 0],
    [1, 0, -EILSEQ],
  ])("from element %i of %i: %i", (start, size, result) => {
    const test = makeDomain();
    const { memory, physmap } = test.domain;
    const gpfns = [0x9000, 0x9001].slice(0, size);
    expect(batch(test, gpfns, start)).toBe(result);
    for (const [i, gpfn] of gpfns.entries()) {
      const isDone = result === 0 && i >= start;
      expect(physmap.isBacked(gpfn)).toBe(isDone);
      expect(memory.readU32(ERRS + 4 * i)).toBe(isDone ? 0 : 0x5555);
    }
  });

  it("is of this domain", () => {
    const test = makeDomain();
    expect([batch(test, [0x9000], 0, 0), batch(test, [0x9000], 0, test.domain.domid)]).toEqual([
      ...[-ESRCH, 0],
    ]);
  });

  it("answers each element by itself", () => {
    const test = makeDomain();
    const gpfns = Array.from({ length: 66 }, (_, i) => 0x9000 + i);
    // The lists do not overlap: 66 elements of 8 bytes are more than 256 bytes.
    const { memory } = test.domain;
    const [idxs, frames, errs] = [0x10000, 0x11000, 0x12000];
    for (const [i, gpfn] of gpfns.entries()) {
      memory.writeU64(idxs + 8 * i, BigInt(i));
      memory.writeU64(frames + 8 * i, BigInt(gpfn));
    }
    const fields: Field[] = [
      [2, SELF],
      [2, GRANT_TABLE],
      [2, gpfns.length],
      [2, 0],
      [8, idxs],
      [8, frames],
      [8, errs],
    ];
    expect(test.call(MEMORY_OP, [BATCH, put(test.domain, fields)])).toBe(0);
    const errors = gpfns.map((_, i) => (memory.readU32(errs + 4 * i) ?? 0) | 0);
    expect(errors).toEqual(gpfns.map((_, i) => (i < 64 ? 0 : -EINVAL)));
  });
});

describe("remove_from_physmap", () => {
  it.each([
    [0x20n, 0],
    [4095n, 0],
    [4096n, -ENOENT],
    [2n ** 40n, -ENOENT],
    [2n ** 64n - 1n, -ENOENT],
  ])("of frame %d: %i, once", (gpfn, result) => {
    const { call, domain } = makeDomain();
    const ask = (domid: number): number => {
      const fields: Field[] = [
        [2, domid],
        [8, gpfn],
      ];
      return call(MEMORY_OP, [REMOVE, put(domain, fields)]);
    };
    expect([ask(0), ask(SELF), ask(SELF)]).toEqual([-ESRCH, result, -ENOENT]);
  });
});

describe("memory_map", () => {
  it.each([
    0, 1, 3, 5, 99,
  ])("writes as many entries as there is room for (%i), and how many", (room) => {
    const { call, domain } = makeDomain();
    const { memory, config } = domain;
    memory.write(0x6000, new Uint8Array(200).fill(0xee));
    const fields: Field[] = [
      [4, room],
      [8, 0x6000],
    ];
    expect(call(MEMORY_OP, [MEMORY_MAP, put(domain, fields)])).toBe(0);
    const written = Math.min(room, config.memmap.length);
    expect(memory.readU32(AT)).toBe(written);
    expect(memory.readU64(AT + 8)).toBe(0x6000n);
    // An e820 entry: address and size of 64 bits, type of 32, packed.
    const entries = Array.from({ length: written }, (_, i) => ({
      addr: Number(memory.readU64(0x6000 + 20 * i)),
      size: Number(memory.readU64(0x6008 + 20 * i)),
      type: memory.readU32(0x6010 + 20 * i),
    }));
    expect(entries).toEqual(config.memmap.slice(0, written));
    expect(memory.readU8(0x6000 + 20 * written)).toBe(0xee);
  });
});

describe("numbers about the domain", () => {
  it("are those of a guest of 16 MiB, and its rings' frames", () => {
    const { call, domain } = makeDomain();
    put(domain, [[2, SELF]]);
    expect([call(MEMORY_OP, [MAXIMUM_RAM_PAGE]), call(MEMORY_OP, [MAXIMUM_GPFN, AT])]).toEqual([
      ...[4096, 0xfeff9],
    ]);
  });

  it.each([3, 4, MAXIMUM_GPFN])("operation %i is about this domain", (op) => {
    const { call, domain } = makeDomain();
    const ask = (domid: number): number => call(MEMORY_OP, [op, put(domain, [[2, domid]])]);
    expect(ask(domain.domid)).toBe(ask(SELF));
    expect(ask(SELF)).toBeGreaterThan(0);
    expect([ask(0), ask(domain.domid + 1)]).toEqual([-EPERM, -ESRCH]);
  });

  it.each([
    2,
    3,
    4,
    MEMORY_MAP,
    11,
    MAXIMUM_GPFN,
    REMOVE,
    28,
  ])("operation %i cannot be told where to go on", (op) => {
    const { call } = makeDomain();
    for (const start of [1, 2 ** 25]) expect(call(MEMORY_OP, [op + start * 64, AT])).toBe(-EINVAL);
  });

  it("operations that there are not stay so, wherever they go on", () => {
    const { call } = makeDomain();
    for (const op of [5, 8, 10, 12, 13, 16, 63, 63 + 64])
      expect(call(MEMORY_OP, [op, AT])).toBe(-ENOSYS);
  });
});
