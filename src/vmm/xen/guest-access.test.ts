import { describe, expect, it } from "vitest";
import { type Gva, gpa, type Hva } from "../../base/index.js";
import { GuestMemory, LinearMemory } from "../../memory/index.js";
import { GuestAccess } from "./guest-access.js";

/** Virtual pages 0x1000 to 0x3000 lie upside down in 16 KiB of RAM; 0x4000 is mapped to no RAM. */
const PAGES = new Map([
  [0x1000, 0x3000],
  [0x2000, 0x2000],
  [0x3000, 0x1000],
  [0x4000, 0x9000],
]);

function setUp(width: 32 | 64 = 64) {
  const linear = new LinearMemory(new WebAssembly.Memory({ initial: 1 }), 4096);
  const hva = linear.allocate(0x4000) as Hva;
  const memory = new GuestMemory(linear, [{ gpa: gpa(0), size: 0x4000, hva }]);
  const asked: bigint[] = [];
  const translate = (address: Gva) => {
    asked.push(address);
    const page = PAGES.get(Number(address & ~0xfffn));
    return page === undefined ? undefined : gpa(page + Number(address & 0xfffn));
  };
  return { memory, asked, guest: new GuestAccess(memory, translate, width) };
}

const bytes = (length: number, first = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (first + i) & 0xff);

describe("GuestAccess", () => {
  it("follows the pages, each from its beginning", () => {
    const { memory, guest } = setUp();
    const data = bytes(0x1002);
    expect(guest.write(0x1fffn, data)).toBe(true);
    expect(memory.readU8(0x3fff)).toBe(1);
    expect(memory.read(0x2000, 4)).toEqual(bytes(4, 2));
    expect(memory.readU8(0x1000)).toBe(data[0x1001]);
    expect(guest.read(0x1fffn, 0x1002)).toEqual(data);
    expect(guest.translate(0x2345n)).toBe(0x2345);
    expect(guest.translate(0x5000n)).toBeUndefined();
  });

  it("writes all or nothing, and reads nothing, where a page is not mapped or no RAM", () => {
    const { memory, guest } = setUp();
    expect(guest.write(0x3fffn, bytes(2))).toBe(false);
    expect(guest.write(0xfffn, bytes(2))).toBe(false);
    expect([memory.readU8(0x1fff), memory.readU8(0x3000)]).toEqual([0, 0]);
    expect([guest.read(0x3fffn, 2), guest.read(0xfffn, 2), guest.read(0x5000n, 1)]).toEqual(
      Array(3).fill(undefined),
    );
    expect(guest.read(0x3fffn, 1)).toEqual(new Uint8Array(1));
    expect(guest.read(0x5000n, 0)).toEqual(new Uint8Array(0));
  });

  it("takes an address modulo the caller's width", () => {
    const { guest } = setUp(32);
    expect(guest.write(0x1_0000_1000n, bytes(4))).toBe(true);
    expect(guest.read(0x1000n, 4)).toEqual(bytes(4));
    expect(setUp(64).guest.read(0x1_0000_1000n, 4)).toBeUndefined();
  });

  it.each([
    [64, 8],
    [32, 4],
  ] as const)("has longs of %s bits", (width, size) => {
    const { memory, guest } = setUp(width);
    const value = 0x1122334455667788n;
    expect(guest.writeLong(0x2000n, 3, value)).toBe(true);
    expect(guest.readLong(0x2000n, 3)).toBe(BigInt.asUintN(width, value));
    expect(memory.readU8(0x2000 + 3 * size)).toBe(0x88);
    expect(memory.readU8(0x2000 + 4 * size)).toBe(0);
    expect(memory.readU8(0x2000 + 3 * size - 1)).toBe(0);
    expect(guest.writeLong(0x4000n, 0, 1n)).toBe(false);
    expect(guest.readLong(0x4000n, 0)).toBeUndefined();
  });
});
