import { describe, expect, it } from "vitest";
import { hex, scanFields, strtou32, strtoul, unhex } from "./numbers.js";

describe("strtoul", () => {
  it.each<[string, bigint]>([
    ["10", 10n],
    ["0x10", 16n],
    ["0X1fG", 31n],
    ["010", 8n],
    ["08", 0n],
    ["0x", 0n],
    ["0xg", 0n],
    ["0b11", 0n],
    ["", 0n],
    ["vm", 0n],
    ["\t+7\r", 7n],
    ["-1", 0xffffffffffffffffn],
    ["-0x10", 0xfffffffffffffff0n],
    ["18446744073709551615", 0xffffffffffffffffn],
    ["18446744073709551616", 0xffffffffffffffffn],
    ["-18446744073709551616", 0xffffffffffffffffn],
    ["99999999999999999999999", 0xffffffffffffffffn],
  ])("reads %j as the C library does", (text, value) => {
    expect(strtoul(text)).toBe(value);
  });

  it("is cut to 32 bits where the program has an unsigned int", () => {
    expect(strtou32("0x100000001")).toBe(1);
    expect(strtou32("-1")).toBe(0xffffffff);
  });
});

describe("scanFields", () => {
  it("stops at what does not match, as sscanf does", () => {
    expect(scanFields("32:15:0:4294967295", 10, 4)).toEqual([32, 15, 0, 0xffffffff]);
    // %u knows no prefix: it reads the 0 and then finds no colon
    expect(scanFields("32:15:0:0xffffffff", 10, 4)).toEqual([32, 15, 0, 0]);
    expect(scanFields("0x20:15", 10, 4)).toEqual([0]);
    expect(scanFields("40000000:-1::5", 16, 6)).toEqual([0x40000000, 0xffffffff]);
    expect(scanFields("a:b:c", 16, 2)).toEqual([10, 11]);
  });
});

describe("unhex", () => {
  it("reads pairs, each by itself", () => {
    expect(hex(unhex("00ff7F1", 64))).toBe("00ff7f");
    expect(hex(unhex("g1-11x+2", 64))).toBe("00ff0102");
    expect(hex(unhex("112233", 2))).toBe("1122");
    expect(unhex("", 64)).toHaveLength(0);
  });
});
