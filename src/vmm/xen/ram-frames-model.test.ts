/** Whatever a guest's balloon does, the regions show exactly the pages that are in their frames. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gpa, hva } from "../../base/index.js";
import { seed } from "../../base/seed.fixture.js";
import type { MemoryRegion } from "../../memory/index.js";
import { RamFrames } from "./ram-frames.js";

const PAGE = 4096;
/** Two pieces of 12 frames: from frame 4, and from frame 40; between and behind them there is no RAM. */
const PIECES = [4, 40].map((first, i) => ({
  gpa: gpa(first * PAGE),
  size: 12 * PAGE,
  hva: hva(0x100000 + i * 0x100000),
}));
const END = 64;

/** Which page each frame shows; a frame that two regions show is a mistake. */
function pagesOf(regions: readonly MemoryRegion[]): Map<number, number> {
  const pages = new Map<number, number>();
  for (const region of regions)
    for (let at = 0; at < region.size; at += PAGE) {
      const gfn = (region.gpa + at) / PAGE;
      expect(pages.has(gfn)).toBe(false);
      pages.set(gfn, region.hva + at);
    }
  return pages;
}

/** The frames of RAM that were given back, and whose pages nobody has. */
const isHole = (ram: RamFrames, gfn: number): boolean => {
  const base = gfn < 40 ? 4 : 40 - 12;
  return ram.save().free.includes(gfn - base);
};

const anyFrame = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 3, max: 16 }) },
  { weight: 3, arbitrary: fc.integer({ min: 39, max: 52 }) },
  fc.constantFrom(0, 20, 60),
);
const anyStep = fc.oneof(
  { weight: 5, arbitrary: fc.record({ op: fc.constant("release" as const), gfn: anyFrame }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("populate" as const), gfn: anyFrame }) },
  fc.record({ op: fc.constant("take" as const), gfn: fc.constant(0) }),
);
const anyState = fc.record({
  steps: fc.array(anyStep, { maxLength: 40 }),
  covered: fc.uniqueArray(anyFrame, { maxLength: 5 }).map((all) => all.sort((a, b) => a - b)),
  limit: fc.integer({ min: 1, max: 12 }),
});

function played(steps: readonly { op: "release" | "populate" | "take"; gfn: number }[]): RamFrames {
  const ram = new RamFrames(PIECES);
  for (const { op, gfn } of steps) ram[op](gfn);
  return ram;
}

describe("regions of RAM", () => {
  it("show each frame's page, in as few pieces as there can be", () => {
    fc.assert(
      fc.property(anyState, ({ steps, covered }) => {
        const ram = played(steps);
        const regions = ram.regions(covered, 1000);
        const shown = pagesOf(regions);
        for (let gfn = 0; gfn < END; gfn++) {
          const page = covered.includes(gfn) ? undefined : ram.pageOf(gfn);
          expect([gfn, shown.get(gfn)]).toEqual([gfn, page]);
        }
        // A frame with its own page goes on from the one before, unless it has another's.
        const isOwn = (r: MemoryRegion): boolean =>
          PIECES.some((piece) => r.hva - piece.hva === r.gpa - piece.gpa && r.gpa >= piece.gpa);
        const own = regions.filter(isOwn);
        for (const region of own)
          expect(own.some((other) => other.gpa === region.gpa + region.size)).toBe(false);
      }),
      { seed, numRuns: 150 },
    );
  });

  it("show no frame but those and holes of RAM when they are to be few, the smallest holes first", () => {
    fc.assert(
      fc.property(anyState, ({ steps, covered, limit }) => {
        const ram = played(steps);
        const all = ram.regions(covered, 1000);
        const few = ram.regions(covered, limit);
        const [whole, shown] = [pagesOf(all), pagesOf(few)];
        for (const [gfn, page] of whole) expect(shown.get(gfn)).toBe(page);
        const extra = [...shown.keys()].filter((gfn) => !whole.has(gfn));
        for (const gfn of extra) {
          expect([gfn, isHole(ram, gfn), covered.includes(gfn)]).toEqual([gfn, true, false]);
          // Its own page: what is there is cleared before the guest has it again.
          const piece = PIECES[gfn < 40 ? 0 : 1];
          expect(shown.get(gfn)).toBe((piece?.hva ?? 0) + gfn * PAGE - (piece?.gpa ?? 0));
        }
        // Each hole that is closed is one piece less, and no more are closed than necessary.
        expect(few.length).toBeGreaterThanOrEqual(Math.min(limit, all.length));
        if (all.length <= limit) expect(extra).toEqual([]);
        // Holes between two frames in sight, which could be closed: none left is smaller than one closed.
        const holes = closable(ram, covered, whole);
        const closed = holes.filter(([first = 0]) => shown.has(first));
        const left = holes.filter(([first = 0]) => !shown.has(first));
        expect(closed).toHaveLength(Math.min(holes.length, Math.max(0, all.length - limit)));
        const largest = Math.max(0, ...closed.map((hole) => hole.length));
        expect(left.every((hole) => hole.length >= largest)).toBe(true);
        expect(extra).toHaveLength(closed.flat().length);
      }),
      { seed, numRuns: 150 },
    );
  });

  it("are all there again after a reset, which says which pages were not", () => {
    fc.assert(
      fc.property(anyState, ({ steps }) => {
        const ram = played(steps);
        const before = pagesOf(ram.regions([], 1000));
        const missing = PIECES.flatMap((piece) =>
          Array.from({ length: 12 }, (_, i) => piece.gpa / PAGE + i)
            .filter((gfn) => before.get(gfn) !== piece.hva + gfn * PAGE - piece.gpa)
            .map((gfn) => piece.hva + gfn * PAGE - piece.gpa),
        );
        expect(ram.reset()).toEqual(missing);
        expect(ram.regions([], 1000)).toEqual(PIECES);
        expect([ram.pages, ram.highest]).toEqual([24, 51]);
      }),
      { seed, numRuns: 100 },
    );
  });

  it("are the same for another guest that is told what became of the pages", () => {
    fc.assert(
      fc.property(anyState, ({ steps, covered }) => {
        const ram = played(steps);
        const other = new RamFrames(PIECES);
        expect(other.restore(JSON.parse(JSON.stringify(ram.save())))).toBe(true);
        expect(other.regions(covered, 1000)).toEqual(ram.regions(covered, 1000));
        expect([other.save(), other.pages, other.highest]).toEqual([
          ...[ram.save(), ram.pages, ram.highest],
        ]);
      }),
      { seed, numRuns: 100 },
    );
  });
});

/** Holes of RAM between two frames in sight, within one piece, with no covered frame in or beside them. */
function closable(
  ram: RamFrames,
  covered: readonly number[],
  whole: ReadonlyMap<number, number>,
): number[][] {
  const isOwn = (gfn: number): boolean => {
    const piece = PIECES[gfn < 40 ? 0 : 1];
    return whole.get(gfn) === (piece?.hva ?? 0) + gfn * PAGE - (piece?.gpa ?? 0);
  };
  const holes: number[][] = [];
  for (const { gpa: start, size } of PIECES) {
    let hole: number[] | undefined;
    for (let gfn = start / PAGE; gfn < (start + size) / PAGE; gfn++) {
      if (isOwn(gfn)) {
        if (hole !== undefined && hole.length > 0) holes.push(hole);
        hole = [];
      } else if (!isHole(ram, gfn) || covered.includes(gfn)) hole = undefined;
      else hole?.push(gfn);
    }
  }
  return holes;
}

describe("pages in other frames", () => {
  const released = (count: number): RamFrames => {
    const ram = new RamFrames([{ gpa: gpa(0), size: 64 * PAGE, hva: hva(0x100000) }]);
    for (let gfn = 0; gfn < count; gfn++) ram.release(gfn);
    return ram;
  };

  it("are at most 32, and a page that comes back makes room", () => {
    const ram = released(40);
    for (let i = 0; i < 32; i++) expect(ram.populate(100 + i)).toBe(0x100000 + i * PAGE);
    expect([ram.populate(200), ram.pages]).toEqual([undefined, 56]);
    expect(ram.release(100)).toBe(true);
    expect(ram.populate(200)).toBe(0x100000 + 32 * PAGE);
  });

  it("are in frames of 40 bits", () => {
    const ram = released(2);
    expect([ram.populate(2 ** 40), ram.pages]).toEqual([undefined, 62]);
    expect(ram.populate(2 ** 40 - 1)).toBe(0x100000);
  });

  it("go back to the piece of RAM that they are of", () => {
    const ram = new RamFrames(PIECES);
    for (const gfn of [4, 15, 40, 51]) ram.release(gfn);
    for (const gfn of [100, 101, 102, 103]) ram.populate(gfn);
    for (const gfn of [103, 102, 101, 100]) {
      expect(ram.release(gfn)).toBe(true);
      expect(ram.pageOf(gfn)).toBeUndefined();
    }
    expect(ram.save()).toEqual({ elsewhere: [], free: [23, 12, 11, 0], moved: [] });
  });

  it("RAM is whole pages, and its highest frame is 0 when all of it is given back", () => {
    const half = { gpa: gpa(0), size: PAGE / 2, hva: hva(0) };
    expect(() => new RamFrames([half])).toThrow("memory region is not whole pages");
    const ram = released(64);
    expect([ram.highest, ram.pages, ram.take(), ram.pages]).toEqual([0, 0, true, 1]);
  });
});
