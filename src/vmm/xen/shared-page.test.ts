import { describe, expect, it } from "vitest";
import { type Hva, PAGE_SIZE } from "../../base/index.js";
import { LinearMemory } from "../../memory/index.js";
import { LinearPage } from "./shared-page.js";

function setUp() {
  const linear = new LinearMemory(new WebAssembly.Memory({ initial: 1 }), 4096);
  const hva = linear.allocate(3 * PAGE_SIZE) as Hva;
  const noted: [number, number][] = [];
  linear.onWrite((at, length) => void noted.push([at - hva - PAGE_SIZE, length]));
  // In the middle, with a page before it and one behind.
  return { linear, hva, noted, page: new LinearPage(linear, (hva + PAGE_SIZE) as Hva) };
}

describe("a page of linear memory", () => {
  it("is where it is said to be: bytes and words, little-endian, as the guest sees them", () => {
    const { linear, hva, page } = setUp();
    page.write(0, Uint8Array.of(1, 2, 3, 4));
    page.writeU32(PAGE_SIZE - 4, 0x8899aabb);
    expect([page.readU32(0), page.readU32(PAGE_SIZE - 4)]).toEqual([0x04030201, 0x8899aabb]);
    expect([...linear.u8.subarray(hva + PAGE_SIZE, hva + PAGE_SIZE + 4)]).toEqual([1, 2, 3, 4]);
    const end = linear.u8.subarray(hva + 2 * PAGE_SIZE - 4, hva + 2 * PAGE_SIZE);
    expect([...end]).toEqual([0xbb, 0xaa, 0x99, 0x88]);
    expect([...page.read(1, 3)]).toEqual([2, 3, 4]);
    expect(page.hva).toBe(hva + PAGE_SIZE);
    const outside = [0, 2].map((i) =>
      linear.u8.subarray(hva + i * PAGE_SIZE, hva + (i + 1) * PAGE_SIZE),
    );
    expect(outside.map((bytes) => bytes.every((byte) => byte === 0))).toEqual([true, true]);
  });

  it("gives copies, and takes them", () => {
    const { page } = setUp();
    const bytes = Uint8Array.of(1, 2);
    page.write(8, bytes);
    bytes.fill(9);
    page.read(8, 2).fill(7);
    expect([...page.read(8, 2)]).toEqual([1, 2]);
  });

  it("tells of what is written, and of nothing that is read", () => {
    const { page, noted } = setUp();
    page.read(0, 100);
    page.readU32(0);
    page.write(5, new Uint8Array(7));
    page.writeU32(PAGE_SIZE - 4, 1);
    expect(noted).toEqual([
      [5, 7],
      [PAGE_SIZE - 4, 4],
    ]);
  });

  it("ends at its ends", () => {
    const { page, noted } = setUp();
    expect(page.read(0, PAGE_SIZE)).toHaveLength(PAGE_SIZE);
    page.write(0, new Uint8Array(PAGE_SIZE));
    noted.length = 0;
    for (const access of [
      () => page.read(-1, 1),
      () => page.read(1, PAGE_SIZE),
      () => page.write(PAGE_SIZE - 1, new Uint8Array(2)),
      () => page.write(-1, new Uint8Array(1)),
      ...[-1, PAGE_SIZE - 3].flatMap((at) => [() => page.readU32(at), () => page.writeU32(at, 1)]),
    ])
      expect(access).toThrow("outside a shared page");
    expect(noted).toEqual([]);
  });
});
