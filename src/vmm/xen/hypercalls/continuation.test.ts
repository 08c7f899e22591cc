import { describe, expect, it } from "vitest";
import { Errno } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, type Field, put, SELF } from "./arguments.fixture.js";
import { CONTINUED_AFTER, ELEMENT } from "./effort.js";

const { EDOM, EFAULT, EILSEQ, EINVAL, ENOSYS } = Errno;

/** Where lists are. */
const LIST = 0x100000;
const PER_TURN = CONTINUED_AFTER / ELEMENT;

type Test = ReturnType<typeof makeDomain>;

const batch = (test: Test, size: number, idxs = LIST, errs = LIST + 0x200000): number =>
  put(test.domain, [
    [2, SELF],
    [2, 1],
    [2, size],
    [2, 0],
    [8, idxs],
    [8, LIST + 0x100000],
    [8, errs],
  ]);

const reservation = (test: Test, extents: number, order = 0): number =>
  put(test.domain, [
    [8, LIST],
    [8, extents],
    [4, order],
    [4, 0],
    [2, SELF],
  ]);

/** Fills a list of longs. */
function longs(test: Test, at: number, values: readonly number[]): void {
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) view.setBigUint64(i * 8, BigInt(value), true);
  expect(test.domain.memory.write(at, bytes)).toBe(true);
}

const range = (count: number, value: (i: number) => number): number[] =>
  Array.from({ length: count }, (_, i) => value(i));

/** Puts that many frames of the guest's memory on the list. */
function listFrames(test: Test, count: number): void {
  const frames = range(count, (i) => 0x800 + i);
  longs(test, LIST, frames);
}

/** The guest has given them back already. */
function giveBack(test: Test, count: number): void {
  listFrames(test, count);
  expect(test.call(12, [1, reservation(test, count)])).toBe(count);
  test.continuations.length = 0;
}

/** Every hypercall that goes through a list whose length the guest chooses. */
interface Row {
  readonly name: string;
  readonly nr: number;
  /** Arguments for that many elements, after whatever has to be in memory. */
  readonly args: (test: Test, count: number) => number[];
  /** The answer after all of them. */
  readonly result: (count: number) => number;
  /** Arguments of the continuation with `done` of `count` elements behind it. */
  readonly rest: (args: readonly number[], done: number, count: number) => number[];
}

const memoryRest = ([cmd = 0]: readonly number[], done: number) => [cmd | (done << 6)];
const grants = (op: number, size: number): Omit<Row, "name"> => ({
  nr: 20,
  args: (_, count) => [op, LIST, count],
  result: () => 0,
  rest: (_, done, count) => [op, LIST + done * size, count - done],
});

const rows: Row[] = [
  { name: "map_grant_ref", ...grants(0, 32) },
  { name: "unmap_grant_ref", ...grants(1, 24) },
  { name: "copy", ...grants(5, 40) },
  { name: "swap_grant_ref", ...grants(11, 12) },
  {
    name: "add_to_physmap_batch",
    nr: 12,
    args: (test, count) => {
      longs(
        test,
        LIST + 0x100000,
        range(count, (i) => 0x300 + (i % 5)),
      );
      return [23, batch(test, count)];
    },
    result: () => 0,
    rest: memoryRest,
  },
  {
    name: "decrease_reservation",
    nr: 12,
    args: (test, count) => {
      listFrames(test, count);
      return [1, reservation(test, count)];
    },
    result: (count) => count,
    rest: memoryRest,
  },
  {
    name: "populate_physmap",
    nr: 12,
    args: (test, count) => {
      giveBack(test, count);
      return [6, reservation(test, count)];
    },
    result: (count) => count,
    rest: memoryRest,
  },
  {
    name: "increase_reservation",
    nr: 12,
    args: (test, count) => {
      giveBack(test, count);
      return [0, reservation(test, count)];
    },
    result: (count) => count,
    rest: memoryRest,
  },
  {
    name: "multicall",
    nr: 13,
    args: (_, count) => [LIST, count],
    result: () => 0,
    rest: (_, done, count) => [LIST + done * 64, count - done],
  },
  {
    name: "console_io",
    nr: 18,
    args: (_, count) => [0, count * 127, LIST],
    result: () => 0,
    rest: (_, done, count) => [0, (count - done) * 127, LIST + done * 127],
  },
];

describe("hypercalls with lists are continued", () => {
  it.each(rows)("$name", ({ nr, args, result, rest }) => {
    const count = PER_TURN * 3 + 7;
    const test = makeDomain();
    const first = args(test, count);
    const { work } = test.vcpus[0] as (typeof test.vcpus)[0];
    expect(test.call(nr, first)).toBe(result(count));
    // Slots that change count too: then it is fewer elements at a time.
    const steps = test.continuations;
    expect(steps.length).toBeGreaterThanOrEqual(3);
    const doneAt = (step: readonly number[]) =>
      range(count, (done) => done).find((done) => `${rest(first, done, count)}` === `${step}`);
    const done = steps.map(doneAt) as number[];
    expect(done.every((at) => at > 0 && at < count)).toBe(true);
    expect(Math.max(...done.map((at, i) => at - (done[i - 1] ?? 0)))).toBeLessThanOrEqual(PER_TURN);
    const charged = (test.vcpus[0]?.work ?? 0) - work;
    expect(charged).toBeGreaterThanOrEqual(count * ELEMENT);
    expect(charged % ELEMENT).toBe(0);
  });

  it("as often in every run", () => {
    const steps = () =>
      ["copy", "decrease_reservation", "multicall"].map((kind) => {
        const { nr, args } = rows.find(({ name }) => name === kind) as Row;
        const test = makeDomain();
        test.call(nr, args(test, PER_TURN + 10));
        return test.continuations;
      });
    expect(steps()).toEqual(steps());
  });
});

describe("a continued call", () => {
  it("inside a multicall is changed in the list", () => {
    const test = makeDomain();
    const count = PER_TURN + 10;
    const entry: Field[] = [20, 0, 1, LIST, count, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0].map((v) => [
      8,
      v,
    ]);
    expect(test.call(13, [put(test.domain, entry), 2])).toBe(0);
    // The entry itself counts one.
    expect(test.continuations).toEqual([[AT, 2]]);
    expect(test.domain.memory.readU64(AT + 24)).toBe(BigInt(LIST + 24 * (PER_TURN - 1)));
    expect(test.domain.memory.readU64(AT + 32)).toBe(11n);
    expect(test.domain.memory.readU64(AT + 8)).toBe(0n);
    expect(test.domain.memory.readU64(AT + 72)).toBe(0x40011n);
    const status = (i: number) => test.domain.memory.readU16(LIST + 24 * i + 20);
    expect([status(0), status(count - 1), status(count)]).toEqual([0xfffc, 0xfffc, 0]);
  });

  it("has no limit in a list's length but the memory", () => {
    const test = makeDomain();
    const END = 16 << 20;
    expect(test.call(20, [1, LIST, 66_000])).toBe(0);
    expect(test.call(20, [1, END - 500 * 24, 2 ** 31 - 1])).toBe(-EFAULT);
    expect(test.call(13, [END - 500 * 64, 2 ** 32 - 1])).toBe(-EFAULT);
    expect(test.domain.memory.readU64(END - 56)).toBe(BigInt.asUintN(64, BigInt(-ENOSYS)));
  });

  it("goes on where its number says, and only where it can", () => {
    const test = makeDomain();
    longs(test, LIST + 0x100000, [0x300, 0x301]);
    expect(test.call(12, [23 | (1 << 6), batch(test, 2)])).toBe(0);
    const { physmap } = test.domain;
    const at = (gfn: number) =>
      test.domain.grantFrames.some(({ hva }) => physmap.frameOf(hva) === gfn);
    expect([at(0x300), at(0x301)]).toEqual([false, true]);
    expect(test.call(12, [23 | (3 << 6), batch(test, 2)])).toBe(-EILSEQ);
    expect(test.call(12, [23 | (2 << 6), batch(test, 2)])).toBe(-EILSEQ);
    expect(test.call(12, [23 | (0x10000 << 6), batch(test, 2)])).toBe(-EDOM);
    expect(test.call(12, [7 | (0x10000 << 6), AT])).toBe(-EDOM);
    expect(test.call(12, [15 | (1 << 6), AT])).toBe(-EINVAL);
  });

  it("finds its own list where that was laid over by an element before", () => {
    const test = makeDomain();
    const { domain } = test;
    // Element 0 puts a grant frame over the page with the errors, element 1 another one.
    longs(test, LIST + 0x100000, [LIST / 4096 + 0x200, 0x301]);
    domain.memory.write(LIST + 0x200000, new Uint8Array(8).fill(0x55));
    longs(test, LIST, [3, 4]);
    expect(test.call(12, [23, batch(test, 2)])).toBe(0);
    const [, , , frame] = domain.grantFrames;
    expect(domain.physmap.frameOf(frame?.hva as never)).toBe(LIST / 4096 + 0x200);
    // Both results are in the page that is there now.
    expect(domain.memory.readU64(LIST + 0x200000)).toBe(0n);
    domain.physmap.remove(frame?.hva as never);
    expect(domain.memory.readU64(LIST + 0x200000)).toBe(0x5555555555555555n);
  });
});
