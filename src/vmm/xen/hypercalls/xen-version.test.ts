/** xen_version by public/version.h. */
import { describe, expect, it } from "vitest";
import { Errno } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, put } from "./arguments.fixture.js";

const { EINVAL } = Errno;
/** ENOBUFS of Xen's public/errno.h. */
const ENOBUFS = 105;

function setUp() {
  const test = makeDomain();
  const { domain } = test;
  const bytes = (length: number): Uint8Array => domain.memory.read(AT, length) as Uint8Array;
  const text = (at: number, length: number): string => {
    const field = bytes(at + length).subarray(at);
    const end = field.indexOf(0);
    // All behind the end of the text is zero.
    expect(field.subarray(end).every((byte) => byte === 0)).toBe(true);
    return new TextDecoder().decode(field.subarray(0, end));
  };
  domain.memory.write(AT, new Uint8Array(2048).fill(0xee));
  return { ...test, bytes, text };
}

describe("texts of a fixed size", () => {
  it.each([
    ["extraversion", 1, 16, /^\.\d/],
    ["capabilities", 3, 1024, /^hvm-3\.0-x86_32 hvm-3\.0-x86_32p hvm-3\.0-x86_64$/],
    ["changeset", 4, 64, /^[\w-]+$/],
    ["commandline", 9, 1024, /^<denied>$/],
  ])("%s", (_, op, size, expected) => {
    const { call, text, bytes } = setUp();
    expect(call(17, [op, AT])).toBe(0);
    expect(text(0, size)).toMatch(expected);
    expect(bytes(size + 1)[size]).toBe(0xee);
  });

  it("compile_info: compiler, who, where, when, of 64, 16, 32 and 32 bytes", () => {
    const { call, text, bytes } = setUp();
    expect(call(17, [2, AT])).toBe(0);
    expect(text(0, 64)).not.toBe("");
    expect([text(64, 16), text(80, 32), text(112, 32)]).toEqual(["", "", ""]);
    expect(bytes(145)[144]).toBe(0xee);
  });
});

describe.each([false, true])("numbers, 32-bit guest: %s", (compat) => {
  it("platform_parameters: there is no hypervisor in the guest's addresses", () => {
    const { call, bytes } = setUp();
    expect(call(17, [5, AT], { compat })).toBe(0);
    const size = compat ? 4 : 8;
    expect([...bytes(size + 1)]).toEqual([...new Array(size).fill(0), 0xee]);
  });

  it("version and page size", () => {
    const { call } = setUp();
    expect(call(17, [0, 0], { compat })).toBe((4 << 16) | 17);
    expect(call(17, [7, 0], { compat })).toBe(4096);
    expect(call(17, [7, 1], { compat })).toBe(-EINVAL);
  });

  it("features: those of a PVH guest (public/features.h), in submap 0", () => {
    const { call, domain } = setUp();
    expect(call(17, [6, put(domain, [[4, 0]])], { compat })).toBe(0);
    const map = domain.memory.readU32(AT + 4) as number;
    const bits = Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => (map >>> bit) & 1);
    // No supervisor_mode_kernel, no hvm_pirqs, no dom0.
    expect(bits).toEqual([0, 2, 8, 9, 13, 16, 18, 19]);
    expect(call(17, [6, put(domain, [[4, 1]])], { compat })).toBe(-EINVAL);
  });

  it.each([
    ["extraversion", 1, 11],
    ["capabilities", 3, 12],
    ["changeset", 4, 13],
    ["commandline", 9, 14],
  ])("%s2: the length without a buffer, the text without NUL in one", (_, old, op) => {
    const { call, domain, text, bytes } = setUp();
    expect(call(17, [old, AT])).toBe(0);
    const expected = text(0, op === 11 ? 16 : 64);
    const { length } = expected;
    domain.memory.write(AT, new Uint8Array(2048).fill(0xee));
    expect(call(17, [op, 0], { compat })).toBe(length);
    const ask = (len: number): number => call(17, [op, put(domain, [[4, len]])], { compat });
    expect([ask(0), ask(length - 1)]).toEqual([-EINVAL, -ENOBUFS]);
    expect(bytes(5)[4]).toBe(0xee);
    expect(ask(length)).toBe(length);
    expect(new TextDecoder().decode(bytes(4 + length).subarray(4))).toBe(expected);
    expect(bytes(5 + length)[4 + length]).toBe(0xee);
  });
});
