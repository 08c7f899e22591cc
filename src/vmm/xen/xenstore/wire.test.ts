import { describe, expect, it } from "vitest";
import {
  decodeHeader,
  directoryPart,
  encodeMessage,
  joinStrings,
  onlyString,
  readNumber,
  splitStrings,
  toBytes,
  toText,
} from "./wire.js";

describe("a message", () => {
  it("is four little-endian words and its payload (public/io/xs_wire.h)", () => {
    const payload = Uint8Array.of(0xff, 0, 0x41);
    const bytes = encodeMessage({ type: 11, reqId: 0x80000001, txId: 0x01020304, payload });
    expect([...bytes]).toEqual([
      ...[11, 0, 0, 0, 1, 0, 0, 0x80, 4, 3, 2, 1, 3, 0, 0, 0],
      ...[0xff, 0, 0x41],
    ]);
    const apart = new Uint8Array(40).fill(0xee);
    apart.set(bytes, 5);
    expect(decodeHeader(apart.subarray(5))).toEqual({
      ...{ type: 11, reqId: 0x80000001, txId: 0x01020304 },
      length: 3,
    });
  });
});

describe("strings in a payload", () => {
  it("may hold any byte but NUL", () => {
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(toBytes(toText(all))).toEqual(all);
    expect(toText(all)).toHaveLength(256);
  });

  it.each([
    ["", [], undefined],
    ["\0", [""], ""],
    ["a", [], undefined],
    ["a\0", ["a"], "a"],
    ["a\0b", ["a"], undefined],
    ["a\0b\0", ["a", "b"], undefined],
    ["a\0\0", ["a", ""], undefined],
    ["\0a\0", ["", "a"], undefined],
  ])("%j are %j", (text, strings, only) => {
    expect(splitStrings(toBytes(text))).toEqual(strings);
    expect(onlyString(toBytes(text))).toBe(only);
    if (text.endsWith("\0")) expect(toText(joinStrings(strings))).toBe(text);
  });
});

describe("a number, as C's atoi has it, as an unsigned int", () => {
  it.each([
    ["0", 0],
    ["12", 12],
    ["+12", 12],
    ["-1", 4294967295],
    [" \t\n\v\f\r12", 12],
    ["12x", 12],
    ["007", 7],
    ["0x10", 0],
    ["4294967295", 4294967295],
    ["", 0],
    ["x1", 0],
    ["- 1", 0],
    ["+-1", 0],
    ["\b1", 0],
    ["\u000e1", 0],
    ["!1", 0],
  ])("%j is %i", (text, number) => {
    expect(readNumber(text)).toBe(number);
  });
});

describe("a part of a directory (docs/misc/xenstore.txt, DIRECTORY_PART)", () => {
  const part = (names: readonly string[], generation: number, offset: number): string =>
    toText(directoryPart(names, generation, offset));

  it("is the generation, the names from an offset on, and an empty name at the end of all", () => {
    expect(part([], 7, 0)).toBe("7\0\0");
    expect(part(["a", "bc"], 12, 0)).toBe("12\0a\0bc\0\0");
    expect(part(["a", "bc"], 12, 2)).toBe("12\0bc\0\0");
    expect(part(["a", "bc"], 12, 5)).toBe("12\0\0");
    expect(part(["a", "bc"], 12, 99)).toBe("12\0\0");
  });

  it("has 4096 bytes at most, whole names only, and as many as fit", () => {
    // "1\0", 4093 bytes of a name with its NUL, and the empty name are 4096.
    const name = "x".repeat(4092);
    expect(part([name], 1, 0)).toBe(`1\0${name}\0\0`);
    const names = Array.from({ length: 400 }, (_, i) => `name-${1000 + i}-${"y".repeat(i % 13)}`);
    let listed = "";
    for (let parts = 0; !listed.endsWith("\0\0"); parts++) {
      expect(parts).toBeLessThan(4);
      const text = part(names, 123, listed.length);
      expect(text.length).toBeLessThanOrEqual(4096);
      expect(text.startsWith("123\0")).toBe(true);
      const next = names[splitStrings(toBytes(listed + text.slice(4))).length] ?? "";
      if (!text.endsWith("\0\0")) expect(text.length + next.length + 1).toBeGreaterThan(4095);
      expect(text.endsWith("\0")).toBe(true);
      listed += text.slice(4);
    }
    expect(listed).toBe(`${names.join("\0")}\0\0`);
  });
});
