import { describe, expect, it } from "vitest";
import { Errno } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";

const { EFAULT, EINVAL, EOPNOTSUPP, EPERM, ESRCH } = Errno;
const [INCREASE, DECREASE, CURRENT, MAXIMUM, POPULATE, EXCHANGE] = [0, 1, 3, 4, 6, 11] as const;
const SELF = 0x7ff0;
/** Where the tests put the structure, and the frame list. */
const AT = 0x5000;
const LIST = 0x6000;
const PAGES = 4096;

interface Request {
  readonly frames: readonly number[];
  readonly order?: number;
  readonly flags?: number;
  readonly domid?: number;
  readonly count?: number;
  readonly start?: number;
  readonly compat?: boolean;
}

function setUp() {
  const test = makeDomain();
  const { memory } = test.domain;
  const put = (at: number, request: Request): void => {
    const { frames, order = 0, flags = 0, domid = SELF, count = frames.length } = request;
    const word = (offset: number, value: number): void => {
      if (request.compat) memory.writeU32(at + offset / 2, value);
      else memory.writeU64(at + offset, BigInt(value));
    };
    word(0, LIST);
    word(8, count);
    const rest = at + (request.compat ? 8 : 16);
    memory.writeU32(rest, order);
    memory.writeU32(rest + 4, flags);
    memory.writeU16(rest + 8, domid);
    frames.forEach((frame, i) => {
      if (request.compat) memory.writeU32(LIST + 4 * i, frame);
      else memory.writeU64(LIST + 8 * i, BigInt(frame));
    });
  };
  const change = (op: number, request: Request): number => {
    put(AT, request);
    const cmd = op | ((request.start ?? 0) << 6);
    return test.call(12, [cmd, AT], { compat: request.compat === true });
  };
  const count = (op: number): number => {
    memory.writeU16(AT, SELF);
    return test.call(12, [op, AT]);
  };
  return { ...test, memory, put, change, count };
}

describe("memory_op, reservation changes", () => {
  it("gives frames back, which become holes, and gets cleared pages", () => {
    const { change, count, memory } = setUp();
    memory.writeU32(0x20 * 4096, 0x12345678);
    expect(change(DECREASE, { frames: [0x20, 0x21, 0x100] })).toBe(3);
    expect(memory.readU32(0x20 * 4096)).toBeUndefined();
    expect([count(CURRENT), count(MAXIMUM)]).toEqual([PAGES - 3, PAGES]);
    expect(change(POPULATE, { frames: [0x20, 0x8000], compat: true })).toBe(2);
    expect(memory.readU32(0x20 * 4096)).toBe(0);
    expect(memory.readU32(0x8000 * 4096)).toBe(0);
    expect(count(CURRENT)).toBe(PAGES - 1);
  });

  it("answers how much was done, and counts from the first extent", () => {
    const { change, count } = setUp();
    expect(change(DECREASE, { frames: [0x20, 0x9999, 0x21] })).toBe(1);
    expect(change(DECREASE, { frames: [0x20, 0x9999, 0x21], start: 2 })).toBe(3);
    expect(count(CURRENT)).toBe(PAGES - 2);
    expect(change(POPULATE, { frames: [0x20, 0x21, 0x22] })).toBe(2);
    expect(change(INCREASE, { frames: [0], start: 7 })).toBe(7);
    expect(change(DECREASE, { frames: [0x30], count: 2 ** 26 })).toBe(0);
  });

  it("knows extents of several pages", () => {
    const { change, count, memory } = setUp();
    expect(change(DECREASE, { frames: [0x200, 0x400], order: 9 })).toBe(2);
    expect(count(CURRENT)).toBe(PAGES - 1024);
    expect(memory.readU8(0x3ff * 4096)).toBeUndefined();
    expect(memory.readU8(0x600 * 4096)).toBe(0);
    expect(change(DECREASE, { frames: [0x800], order: 10 })).toBe(0);
    expect(change(INCREASE, { frames: [0], order: 9 })).toBe(1);
    expect(change(POPULATE, { frames: [0x400, 0x600], order: 9 })).toBe(1);
    expect(change(INCREASE, { frames: [0] })).toBe(0);
    expect(count(CURRENT)).toBe(PAGES);
  });

  it("does nothing for others, bad pointers and what only a tool stack may ask", () => {
    const { change, call, count } = setUp();
    expect(change(DECREASE, { frames: [0x20], domid: 0 })).toBe(0);
    expect(call(12, [DECREASE, 2n ** 40n])).toBe(0);
    expect(call(12, [CURRENT, 2n ** 40n])).toBe(-EFAULT);
    expect(call(12, [CURRENT | 64, AT])).toBe(-EINVAL);
    change(DECREASE, { frames: [0x20] });
    expect(change(POPULATE, { frames: [0x20], flags: 1 << 16 })).toBe(0);
    expect(change(POPULATE, { frames: [0x20], flags: 1 << 17 })).toBe(0);
    expect(change(POPULATE, { frames: [0x20], flags: 12 })).toBe(0);
    expect(change(POPULATE, { frames: [0x20], flags: 32 })).toBe(1);
    expect(count(CURRENT)).toBe(PAGES);
  });

  it("takes what is laid over a frame away with it", () => {
    const { change, domain, count } = setUp();
    expect(domain.mapSharedInfo(0x10, true)).toBe(0);
    expect(change(DECREASE, { frames: [0x10] })).toBe(1);
    expect(domain.physmap.isBacked(0x10)).toBe(false);
    expect(count(CURRENT)).toBe(PAGES - 1);
  });
});

describe("memory_op, exchange", () => {
  it("is not for guests of this kind", () => {
    const { put, call, memory } = setUp();
    const ask = (from: Request, to: Request, done = 0): number => {
      put(AT + 32, to);
      put(AT, from);
      memory.writeU64(AT + 64, BigInt(done));
      return call(12, [EXCHANGE, AT]);
    };
    const one = { frames: [0x20] };
    expect(ask(one, one)).toBe(-EOPNOTSUPP);
    expect(ask(one, one, 1)).toBe(0);
    expect(ask({ frames: [0x99999] }, { frames: [0x99999] })).toBe(-EINVAL);
    expect(ask(one, { frames: [0x20], order: 1 })).toBe(-EINVAL);
    expect(ask({ ...one, order: 10 }, { ...one, order: 10 })).toBe(-EPERM);
    expect(ask({ ...one, domid: 0 }, { ...one, domid: 0 })).toBe(-EPERM);
    expect(ask({ ...one, domid: 5 }, { ...one, domid: 5 })).toBe(-ESRCH);
    expect(call(12, [EXCHANGE, 2n ** 40n])).toBe(-EFAULT);
  });

  const one: Request = { frames: [0x20] };
  /** Its three structures one behind the other; `done` is how many have been exchanged already. */
  function ask([from, to, done = 0]: readonly [Request, Request, number?], compat = false): number {
    const { put, call, memory } = setUp();
    const size = compat ? 20 : 32;
    put(AT + size, { ...to, compat });
    put(AT, { ...from, compat });
    if (compat) memory.writeU32(AT + 2 * size, done);
    else memory.writeU64(AT + 2 * size, BigInt(done));
    const before = memory.read(AT, 128);
    const result = call(12, [EXCHANGE, AT], { compat });
    expect(memory.read(AT, 128)).toEqual(before);
    return result;
  }

  // Xen's memory_exchange: orders first, then whether both lists are sound, then whether all is done, then whose they are.
  it.each<readonly [string, readonly [Request, Request, number?], number]>([
    ["a page of the guest", [one, one], -EOPNOTSUPP],
    [
      "the largest order",
      [
        { ...one, order: 9 },
        { ...one, order: 9 },
      ],
      -EOPNOTSUPP,
    ],
    [
      "one order too large",
      [
        { ...one, order: 10 },
        { ...one, order: 0 },
      ],
      -EPERM,
    ],
    [
      "the other order too large",
      [
        { ...one, order: 0 },
        { ...one, order: 10 },
      ],
      -EPERM,
    ],
    [
      "as many pages in larger extents",
      [
        { ...one, count: 8 },
        { ...one, order: 3 },
      ],
      -EOPNOTSUPP,
    ],
    [
      "as many pages in smaller extents",
      [
        { ...one, order: 3 },
        { ...one, count: 8 },
      ],
      -EOPNOTSUPP,
    ],
    ["more pages", [one, { ...one, count: 2 }], -EINVAL],
    ["fewer pages", [{ ...one, count: 2 }, one], -EINVAL],
    ["more done than there are", [one, one, 2], -EINVAL],
    ["all done", [one, one, 1], 0],
    ["all done of another domain", [{ ...one, domid: 5 }, { ...one, domid: 5 }, 1], 0],
    [
      "the rest, which is no frame",
      [{ frames: [0x20, 0x9999] }, { frames: [0x20, 0x9999] }, 1],
      -EINVAL,
    ],
    [
      "the rest, which is a frame",
      [{ frames: [0x9999, 0x20] }, { frames: [0x9999, 0x20] }, 1],
      -EOPNOTSUPP,
    ],
    [
      "one domain with another",
      [
        { ...one, domid: 0 },
        { ...one, domid: 5 },
      ],
      -EINVAL,
    ],
    ["with itself under two names", [{ ...one, domid: 1 }, one], -EINVAL],
    [
      "itself by its number",
      [
        { ...one, domid: 1 },
        { ...one, domid: 1 },
      ],
      -EOPNOTSUPP,
    ],
    [
      "domain 0",
      [
        { ...one, domid: 0 },
        { ...one, domid: 0 },
      ],
      -EPERM,
    ],
    [
      "no domain",
      [
        { ...one, domid: 5 },
        { ...one, domid: 5 },
      ],
      -ESRCH,
    ],
    ["a frame beyond all addresses", [{ frames: [2 ** 40] }, { frames: [2 ** 40] }], -EINVAL],
    ["no pages at all", [{ frames: [] }, { frames: [] }], 0],
  ])("of %s is answered", (_, request, result) => {
    expect(ask(request)).toBe(result);
    const isWide = request.some(
      (part) => typeof part === "object" && (part.frames[0] ?? 0) >= 2 ** 32,
    );
    if (!isWide) expect(ask(request, true)).toBe(result);
  });

  it("has no more pages than a long can count", () => {
    const of = (count: number, order: number): readonly [Request, Request] => [
      { ...one, count, order },
      { ...one, count, order },
    ];
    expect([ask(of(2 ** 31 - 1, 1), true), ask(of(2 ** 31, 1), true)]).toEqual([
      ...[-EOPNOTSUPP, -EINVAL],
    ]);
    expect([ask(of(2 ** 53, 8)), ask(of(2 ** 60, 4))]).toEqual([-EOPNOTSUPP, -EINVAL]);
  });

  it.each([
    ["the first structure", 16],
    ["the second structure", 32 + 16],
    ["how many are done", 64],
  ])("of lists that end in the middle is a fault: %s", (_, length) => {
    const { memory, call } = setUp();
    const end = 16 << 20;
    memory.write(end - length, new Uint8Array(length));
    expect(call(12, [EXCHANGE, end - length])).toBe(-EFAULT);
  });
});

describe("memory_op, limits of extents", () => {
  it("an order of 9 is the largest, and 2^26 - 1 extents the most", () => {
    const { change, count } = setUp();
    expect(change(DECREASE, { frames: [0x200], order: 9 })).toBe(1);
    expect(change(DECREASE, { frames: [0x400], order: 10 })).toBe(0);
    expect(count(CURRENT)).toBe(PAGES - 512);
    // The second frame is 0, and then none.
    expect(change(DECREASE, { frames: [0x20, 0x20], count: 2 ** 26 - 1 })).toBe(1);
    expect(change(DECREASE, { frames: [0x30], count: 2 ** 26 })).toBe(0);
    expect(count(CURRENT)).toBe(PAGES - 513);
  });

  it("frames have 40 bits, and a list that ends is done so far", () => {
    const { change, memory, call, count } = setUp();
    change(DECREASE, { frames: [0x20, 0x21] });
    expect(change(POPULATE, { frames: [2 ** 40 - 1] })).toBe(1);
    expect(change(POPULATE, { frames: [2 ** 40] })).toBe(0);
    expect(count(CURRENT)).toBe(PAGES - 1);
    const list = (16 << 20) - 8;
    memory.writeU64(list, 0x20n);
    memory.writeU64(AT, BigInt(list));
    memory.writeU64(AT + 8, 2n);
    memory.write(AT + 16, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f));
    expect(call(12, [POPULATE, AT])).toBe(1);
    expect(count(CURRENT)).toBe(PAGES);
  });

  it("an extent that is more than what is left is not begun", () => {
    const { change, count } = setUp();
    change(DECREASE, { frames: [0x20, 0x21, 0x22] });
    expect(change(INCREASE, { frames: [0], order: 2 })).toBe(0);
    expect(change(POPULATE, { frames: [0x20], order: 2 })).toBe(0);
    expect(count(CURRENT)).toBe(PAGES - 3);
    expect(change(INCREASE, { frames: [0], order: 1 })).toBe(1);
    expect(count(CURRENT)).toBe(PAGES - 1);
  });

  it("a start behind the last extent is answered as it is", () => {
    const { change, count } = setUp();
    expect(change(DECREASE, { frames: [0x20], start: 1 })).toBe(1);
    expect(change(DECREASE, { frames: [0x20], start: 2 })).toBe(2);
    expect(count(CURRENT)).toBe(PAGES);
  });
});
