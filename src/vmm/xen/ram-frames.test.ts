import { describe, expect, it } from "vitest";
import { gpa, hva } from "../../base/index.js";
import { RamFrames } from "./ram-frames.js";

const PAGE = 4096;

/** 16 frames from 0, at 0x100000 of linear memory. */
const frames = () => new RamFrames([{ gpa: gpa(0), size: 16 * PAGE, hva: hva(0x100000) }]);
const ownPage = (gfn: number) => 0x100000 + gfn * PAGE;
const shown = (ram: RamFrames, covered: number[] = [], limit = 100) =>
  ram.regions(covered, limit).map((r) => [r.gpa / PAGE, r.size / PAGE, (r.hva - 0x100000) / PAGE]);

describe("RamFrames", () => {
  it("gives pages back and takes them again, each in its own place", () => {
    const ram = frames();
    expect([ram.pages, ram.maximum, ram.highest]).toEqual([16, 16, 15]);
    for (const gfn of [3, 4, 15]) expect(ram.release(gfn)).toBe(true);
    expect(ram.release(4)).toBe(false);
    expect(ram.release(16)).toBe(false);
    expect([ram.pages, ram.highest]).toEqual([13, 14]);
    expect(shown(ram)).toEqual([
      [0, 3, 0],
      [5, 10, 5],
    ]);
    expect(ram.pageOf(4)).toBeUndefined();
    expect(ram.populate(4)).toBe(ownPage(4));
    expect(shown(ram)).toEqual([
      [0, 3, 0],
      [4, 11, 4],
    ]);
  });

  it("puts free pages into frames outside RAM, and knows whose they are", () => {
    const ram = frames();
    expect(ram.populate(100)).toBeUndefined();
    ram.release(3);
    expect(ram.populate(100)).toBe(ownPage(3));
    expect(ram.populate(3)).toBeUndefined();
    expect([ram.pages, ram.highest]).toEqual([16, 100]);
    ram.release(7);
    expect(ram.populate(3)).toBe(ownPage(7));
    expect(shown(ram)).toEqual([
      [0, 3, 0],
      [4, 3, 4],
      [8, 8, 8],
      [100, 1, 3],
      [3, 1, 7],
    ]);
    expect(ram.release(100)).toBe(true);
    expect(ram.release(3)).toBe(true);
    expect(ram.populate(3)).toBe(ownPage(3));
    expect(ram.populate(7)).toBe(ownPage(7));
    expect(shown(ram)).toEqual([[0, 16, 0]]);
    expect(ram.populate(2 ** 40)).toBeUndefined();
  });

  it("counts pages that are in no frame, and ones that were replaced", () => {
    const ram = frames();
    ram.release(1);
    ram.release(2);
    expect(ram.take()).toBe(true);
    expect([ram.pages, ram.pageOf(1)]).toEqual([15, undefined]);
    expect(ram.populate(9)).toBe(ownPage(9));
    expect(ram.take()).toBe(false);
    expect(ram.populate(9)).toBeUndefined();
    expect(ram.pages).toBe(16);
    expect(ram.release(2)).toBe(false);
  });

  it("leaves out covered frames", () => {
    const ram = frames();
    ram.release(5);
    expect(shown(ram, [0, 4, 5, 15])).toEqual([
      [1, 3, 1],
      [6, 9, 6],
    ]);
  });

  it("keeps the smallest holes in sight when there are too many, but no others", () => {
    const ram = frames();
    for (const gfn of [2, 5, 6, 9, 12, 13, 14]) ram.release(gfn);
    expect(shown(ram)).toHaveLength(5);
    expect(shown(ram, [], 3)).toEqual([
      [0, 5, 0],
      [7, 5, 7],
      [15, 1, 15],
    ]);
    expect(shown(ram, [9], 4)).toEqual([
      [0, 5, 0],
      [7, 2, 7],
      [10, 2, 10],
      [15, 1, 15],
    ]);
    // A page that is elsewhere must not be seen in its own frame.
    expect(ram.populate(200)).toBe(ownPage(2));
    expect(shown(ram, [], 5)[0]).toEqual([0, 2, 0]);
  });
});
