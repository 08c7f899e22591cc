/** What KVM is told of guest memory, and when: slots never overlap or change, and nothing is told twice. */
import { describe, expect, it } from "vitest";
import type { KvmUserspaceMemoryRegion } from "../../abi/kvm/index.js";
import { gpa, type Hva } from "../../base/index.js";
import { LinearMemory } from "../../memory/index.js";
import { GuestPhysmap } from "./overlay.js";

const PAGE = 4096;

function setUp(pages = 16) {
  const linear = new LinearMemory(new WebAssembly.Memory({ initial: 1 }), 0);
  const told: KvmUserspaceMemoryRegion[] = [];
  const slots = new Map<number, KvmUserspaceMemoryRegion>();
  const vm = {
    linear,
    setUserMemoryRegion: (region: KvmUserspaceMemoryRegion) => {
      told.push(region);
      if (region.memorySize === 0) slots.delete(region.slot);
      else slots.set(region.slot, region);
    },
  };
  const ram = linear.allocate(pages * PAGE) as Hva;
  const [page, other] = [linear.allocate(PAGE) as Hva, linear.allocate(PAGE) as Hva];
  const map = new GuestPhysmap(vm, [{ gpa: gpa(0), size: pages * PAGE, hva: ram }]);
  const noted: [number, number][] = [];
  linear.onWrite((at, length) => void noted.push([(at - ram) / PAGE, length]));
  const take = () =>
    told.splice(0).map(({ slot, guestPhysAddr, memorySize, userspaceAddr, flags }) => {
      expect(flags).toBe(0);
      const where = [page, other].indexOf(userspaceAddr as Hva);
      const what = where >= 0 ? `page ${where}` : `ram ${(userspaceAddr - ram) / PAGE}`;
      return `${slot}: ${guestPhysAddr / PAGE}+${memorySize / PAGE} ${what}`;
    });
  return { linear, map, slots, take, page, other, noted, ram };
}

describe("KVM is told", () => {
  it("of RAM at first, in slot 0, once", () => {
    const { map, take } = setUp();
    expect([take(), map.commits, map.overlays]).toEqual([["0: 0+16 ram 0"], 1, []]);
  });

  it("of what has changed alone; a slot that is free is used again; the largest comes first", () => {
    const { map, take, page, other } = setUp();
    take();
    map.place(page, 4);
    expect(take()).toEqual(["0: 0+0 ram 0", "0: 5+11 ram 5", "1: 0+4 ram 0", "2: 4+1 page 0"]);
    map.place(other, 100);
    expect(take()).toEqual(["3: 100+1 page 1"]);
    map.place(other, 99);
    expect(take()).toEqual(["3: 100+0 page 1", "3: 99+1 page 1"]);
    map.remove(page);
    expect(take()).toEqual([...["0: 5+0 ram 5", "1: 0+0 ram 0", "2: 4+0 page 0"], "2: 0+16 ram 0"]);
    expect(map.commits).toBe(5);
  });

  it("of nothing where nothing changes", () => {
    const { map, take, page, other } = setUp();
    map.place(page, 4);
    take();
    const { commits } = map;
    expect([map.place(page, 4), map.remove(other), map.clear(1000), map.release(1000)]).toEqual([
      ...[true, undefined, false, false],
    ]);
    map.settle(gpa(4 * PAGE));
    expect(map.batch(() => 7)).toBe(7);
    expect([take(), map.commits]).toEqual([[], commits]);
  });

  it("of several changes together, or before somebody looks at one of them", () => {
    const { map, take, page, other } = setUp();
    take();
    const { commits } = map;
    map.batch(() => {
      map.place(page, 4);
      map.place(other, 5);
      map.settle(gpa(6 * PAGE));
      expect([take(), map.commits]).toEqual([[], commits]);
      map.settle(gpa(5 * PAGE + 7));
      expect(take()).toHaveLength(5);
      map.settle(gpa(5 * PAGE));
      map.settle(gpa(4 * PAGE));
      expect([take(), map.commits]).toEqual([[], commits + 1]);
      map.place(page, 100);
      // Where a page was shows something else, too.
      map.settle(gpa(4 * PAGE));
      expect(map.commits).toBe(commits + 2);
    });
    expect(map.commits).toBe(commits + 2);
    expect(() =>
      map.batch(() => {
        map.place(page, 3);
        throw new Error("half way");
      }),
    ).toThrow("half way");
    expect([map.commits, map.isBacked(100)]).toEqual([commits + 3, false]);
    map.place(page, 2);
    expect(map.commits).toBe(commits + 4);
  });
});

describe("frames", () => {
  it("that are covered are cut in their order, whatever came first", () => {
    const { map, slots, page, other } = setUp();
    map.place(page, 9);
    map.place(other, 3);
    map.clear(12);
    const layout = [...slots.values()]
      .map((slot) => [slot.guestPhysAddr / PAGE, slot.memorySize / PAGE])
      .sort(([a = 0], [b = 0]) => a - b);
    expect(layout).toEqual([
      [0, 3],
      [3, 1],
      [4, 5],
      [9, 1],
      [10, 2],
      [13, 3],
    ]);
    expect(map.overlays).toEqual([
      [9, page],
      [3, other],
      [12, "hole"],
    ]);
  });

  it("that are holes are no highest one, and there is nothing to give back", () => {
    const { map, page } = setUp();
    map.place(page, 50);
    map.clear(15);
    expect([map.highestFrame, map.release(15), map.reservation.pages]).toEqual([50, false, 16]);
    map.remove(page);
    map.place(page, 60);
    map.release(60);
    expect([map.highestFrame, map.isBacked(60), map.reservation.pages]).toEqual([15, false, 16]);
    // A page over RAM goes with the RAM below it.
    map.place(page, 4);
    expect([map.release(4), map.isBacked(4), map.reservation.pages]).toEqual([true, false, 15]);
    expect(map.overlays).toEqual([[15, "hole"]]);
  });

  it("that come back are cleared, and who watches writes is told", () => {
    const { map, linear, noted, page, ram } = setUp();
    linear.u8.fill(0x55, ram, ram + 16 * PAGE);
    map.release(3);
    map.place(page, 3);
    noted.length = 0;
    expect(map.populate(3)).toBe(true);
    expect([map.frameOf(page), map.memory.readU32(3 * PAGE), noted]).toEqual([
      ...[undefined, 0],
      [[3, PAGE]],
    ]);
    expect(map.populate(3000)).toBe(false);
    linear.u8.fill(0x55, ram, ram + 16 * PAGE);
    for (const gfn of [2, 7]) map.release(gfn);
    noted.length = 0;
    const { commits } = map;
    map.refill();
    const words = [1, 2, 3, 6, 7, 8].map((gfn) => map.memory.readU32(gfn * PAGE));
    const old = 0x55555555;
    expect(words).toEqual([old, 0, old, old, 0, old]);
    expect([noted.toSorted(), map.commits]).toEqual([
      [
        [2, PAGE],
        [7, PAGE],
      ],
      commits + 1,
    ]);
  });
});

describe("what lies over RAM, saved", () => {
  it("is there again, and nothing else; 200 frames are as many as there may be", () => {
    const { map, page, other } = setUp();
    map.place(other, 7);
    const { commits } = map;
    expect(
      map.restoreOverlays([
        [3, page],
        [5, "hole"],
      ]),
    ).toBe(true);
    expect([map.overlays, map.commits, map.frameOf(other)]).toEqual([
      [
        [3, page],
        [5, "hole"],
      ],
      commits + 1,
      undefined,
    ]);
    expect([map.isBacked(3), map.isBacked(5), map.isBacked(7)]).toEqual([true, false, true]);
    const holes = (count: number) => Array.from({ length: count }, (_, i) => [i, "hole"] as const);
    expect([map.restoreOverlays(holes(201)), map.overlays.length]).toEqual([false, 2]);
    expect([map.restoreOverlays(holes(200)), map.overlays.length]).toEqual([true, 200]);
  });

  it("is told to KVM with the frames", () => {
    const { map } = setUp();
    const { commits } = map;
    expect(map.restoreFrames(map.saveFrames())).toBe(true);
    expect(map.commits).toBe(commits + 1);
  });

  it("keeps within 500 slots, of which each page over RAM has one", () => {
    const { map, linear, slots } = setUp(2048);
    const pages = Array.from({ length: 200 }, () => linear.allocate(PAGE) as Hva);
    map.batch(() => {
      for (const [i, page] of pages.entries()) map.place(page, 2 * i);
      for (let gfn = 400; gfn < 2048; gfn += 2) map.release(gfn);
    });
    expect(slots.size).toBe(500);
  });
});
