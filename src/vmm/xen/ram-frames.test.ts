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

describe("frames in a snapshot", () => {
  /** RAM in two pieces of 8 pages, at frames 0 and 32; page numbers go on from one to the next. */
  const pieces = () =>
    new RamFrames([
      { gpa: gpa(0), size: 8 * PAGE, hva: hva(0x100000) },
      { gpa: gpa(32 * PAGE), size: 8 * PAGE, hva: hva(0x200000) },
    ]);
  const all = (ram: RamFrames) => ram.regions([], 100);

  it("are as they were: given back, elsewhere, and in other frames", () => {
    const ram = pieces();
    for (const gfn of [2, 5, 33, 39]) ram.release(gfn);
    // The page of frame 2 goes to frame 100, that of frame 5 to none, those of 33 and 39 stay free.
    ram.populate(100);
    ram.take();
    const saved = ram.save();
    expect(saved).toEqual({
      elsewhere: [2, 5],
      free: [9, 15],
      moved: [{ gfn: 100, page: 2 }],
    });
    const other = pieces();
    expect(other.restore(saved)).toBe(true);
    expect(all(other)).toEqual(all(ram));
    expect([other.pages, other.highest]).toEqual([ram.pages, ram.highest]);
    expect(other.save()).toEqual(saved);
    // They go on alike: a free page comes back into its own frame, the other one goes elsewhere.
    for (const each of [ram, other]) {
      expect(each.populate(33)).toBe(0x200000 + PAGE);
      expect(each.populate(200)).toBe(0x200000 + 7 * PAGE);
      expect(each.populate(201)).toBeUndefined();
      expect(each.release(100)).toBe(true);
      expect(each.populate(2)).toBe(0x100000 + 2 * PAGE);
    }
    expect(all(other)).toEqual(all(ram));
  });

  it("of the last page of each piece are its own", () => {
    const ram = pieces();
    for (const gfn of [7, 32, 39]) ram.release(gfn);
    for (const gfn of [70, 71]) ram.populate(gfn);
    const saved = ram.save();
    expect(saved).toEqual({
      elsewhere: [7, 8],
      free: [15],
      moved: [
        { gfn: 70, page: 7 },
        { gfn: 71, page: 8 },
      ],
    });
    const other = pieces();
    expect(other.restore(saved)).toBe(true);
    expect([other.pageOf(70), other.pageOf(71)]).toEqual([0x100000 + 7 * PAGE, 0x200000]);
  });

  const nothing = { elsewhere: [], free: [], moved: [] };
  it.each([
    ["a page beyond the last", { ...nothing, free: [16] }],
    ["a page before the first", { ...nothing, free: [-1] }],
    ["a page twice", { ...nothing, free: [3, 3] }],
    ["a page free and elsewhere", { ...nothing, elsewhere: [3], free: [3] }],
    ["a page in another frame that is its own's", { ...nothing, moved: [{ gfn: 50, page: 3 }] }],
    ["a free page in another frame", { ...nothing, free: [3], moved: [{ gfn: 50, page: 3 }] }],
    ["no page in a frame", { ...nothing, elsewhere: [3], moved: [{ gfn: 50, page: 16 }] }],
    ["a frame that has its own page", { ...nothing, elsewhere: [3], moved: [{ gfn: 4, page: 3 }] }],
    [
      "a frame with two pages",
      { ...nothing, elsewhere: [3, 4], moved: [3, 4].map((page) => ({ gfn: 50, page })) },
    ],
    [
      "a page in two frames",
      { ...nothing, elsewhere: [3], moved: [50, 51].map((gfn) => ({ gfn, page: 3 })) },
    ],
    [
      "a frame that nobody can map",
      { ...nothing, elsewhere: [3], moved: [{ gfn: 2 ** 40, page: 3 }] },
    ],
  ])("are damaged with %s", (_, saved) => {
    expect(pieces().restore(saved)).toBe(false);
  });

  it("have at most 32 pages of others", () => {
    const ram = () => new RamFrames([{ gpa: gpa(0), size: 64 * PAGE, hva: hva(0x100000) }]);
    const saved = (count: number) => ({
      elsewhere: Array.from({ length: count }, (_, i) => i),
      free: [],
      moved: Array.from({ length: count }, (_, i) => ({ gfn: 100 + i, page: i })),
    });
    expect([32, 33].map((count) => ram().restore(saved(count)))).toEqual([true, false]);
  });
});
