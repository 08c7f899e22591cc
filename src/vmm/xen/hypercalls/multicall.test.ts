/** The hypercall table and multicall, by public/xen.h. */
import { describe, expect, it } from "vitest";
import { Errno } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, type Field, put } from "./arguments.fixture.js";

const { EFAULT, EINVAL, ENOSYS, EPERM } = Errno;
const [XEN_VERSION, MULTICALL, CONSOLE_IO, VCPU_OP] = [17, 13, 18, 24] as const;
const VERSION = 0x40011;
/** Where the domain's memory ends. */
const END = 16 << 20;

describe("a hypercall", () => {
  it.each([
    [0, VERSION],
    [1, -EPERM],
    [2, -EPERM],
    [3, -EPERM],
  ])("is for the guest's kernel: at CPL %i it answers %i", (cpl, result) => {
    expect(makeDomain().call(XEN_VERSION, [0], { cpl })).toBe(result);
  });

  it.each([
    0,
    1,
    2,
    4,
    5,
    9,
    25,
    26,
    28,
    30,
    31,
    33,
    39,
    48,
    63,
    2 ** 31,
    2 ** 32 - 1,
  ])("%i is not there, which is said once", (nr) => {
    const { call, lines } = makeDomain();
    expect([call(nr, []), call(nr, [1])]).toEqual([-ENOSYS, -ENOSYS]);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("-ENOSYS");
  });

  it("has a number of 32 bits", () => {
    expect(makeDomain().call(XEN_VERSION, [2n ** 32n])).toBe(VERSION);
  });

  it("without such a sub-operation is told of once for each, with its name; not when it fails otherwise", () => {
    const { call, lines } = makeDomain();
    for (const op of [77, 78, 77, 78]) expect(call(VCPU_OP, [op, 0])).toBe(-ENOSYS);
    expect(call(VCPU_OP, [10, 0, END])).toBe(-EFAULT);
    const [first, second, ...others] = lines;
    expect([first, second]).toEqual([
      expect.stringContaining("vcpu_op sub-operation 77"),
      expect.stringContaining("vcpu_op sub-operation 78"),
    ]);
    expect(others).toEqual([]);
  });

  it("that are not there do not fill the log: 256 are told of", () => {
    const { call, lines } = makeDomain();
    for (let op = 0; op < 300; op++) call(VCPU_OP, [1000 + op, 0]);
    expect(lines).toHaveLength(256);
    expect(lines[255]).toContain("1255");
  });
});

describe.each([
  ["64", false, 8],
  ["32", true, 4],
] as const)("a multicall of a %s-bit guest", (_, compat, size) => {
  /** Entries: number, result, six arguments. */
  const list = (calls: readonly (readonly number[])[]): Field[] =>
    calls.flatMap(([nr = 0, ...args]) =>
      Array.from({ length: 8 }, (_entry, i): Field => {
        const value = i === 0 ? nr : i === 1 ? 0x5555 : (args[i - 2] ?? 0);
        return [size, value];
      }),
    );
  function run(calls: readonly (readonly number[])[], count = calls.length) {
    const test = makeDomain();
    const { call, domain } = test;
    const result = call(MULTICALL, [put(domain, list(calls)), count], { compat });
    const word = (i: number): number => {
      const at = AT + size * i;
      return compat
        ? (domain.memory.readU32(at) ?? 0) | 0
        : Number(BigInt.asIntN(64, domain.memory.readU64(at) ?? 0n));
    };
    const results = calls.map((_call, i) => word(8 * i + 1));
    return { ...test, result, results, word };
  }

  it("answers each call in its entry, and leaves the rest of the entry", () => {
    const calls = [
      [XEN_VERSION, 0, 1, 2, 3, 4, 5],
      [99, 6],
      [VCPU_OP, 3, 0],
      [VCPU_OP, 3, 9],
      [MULTICALL, AT, 1],
    ];
    const { result, results, word } = run(calls);
    expect(result).toBe(0);
    expect(results).toEqual([VERSION, -ENOSYS, 1, -Errno.ENOENT, -EINVAL]);
    expect([0, 2, 3, 4, 5, 6, 7].map(word)).toEqual([XEN_VERSION, 0, 1, 2, 3, 4, 5]);
  });

  it("hands each argument on", () => {
    const { domain, lines, call } = run([]);
    domain.memory.write(0x6000, Uint8Array.of(0x68, 0x69, 10));
    put(domain, list([[CONSOLE_IO, 0, 3, 0x6000]]));
    expect(call(MULTICALL, [AT, 1], { compat })).toBe(0);
    expect(lines).toEqual(["console_io: hi"]);
  });

  it("makes as many calls as it says", () => {
    const calls = [[XEN_VERSION], [XEN_VERSION], [XEN_VERSION]];
    expect(run(calls, 0)).toMatchObject({ result: 0, results: [0x5555, 0x5555, 0x5555] });
    expect(run(calls, 2)).toMatchObject({ result: 0, results: [VERSION, VERSION, 0x5555] });
  });

  it("ends at an entry that is not in memory, behind those that are done", () => {
    const { call, domain } = makeDomain();
    const at = END - 8 * size;
    const { memory } = domain;
    memory.write(at, new Uint8Array(8 * size));
    memory.writeU32(at, XEN_VERSION);
    expect(call(MULTICALL, [at, 2], { compat })).toBe(-EFAULT);
    expect(memory.readU32(at + size)).toBe(VERSION);
    expect(call(MULTICALL, [END, 0], { compat })).toBe(0);
  });
});
