import { describe, expect, it } from "vitest";
import type { KvmUserspaceMemoryRegion } from "../../abi/kvm/index.js";
import { gpa, type Hva } from "../../base/index.js";
import { LinearMemory } from "../../memory/index.js";
import { GuestPhysmap } from "./overlay.js";

const PAGE = 4096;

/** Refuses what KVM refuses: overlaps and changed slots. */
class FakeVm {
  readonly linear = new LinearMemory(new WebAssembly.Memory({ initial: 1 }), 0);
  readonly slots = new Map<number, KvmUserspaceMemoryRegion>();

  setUserMemoryRegion(region: KvmUserspaceMemoryRegion): void {
    if (region.memorySize === 0) {
      expect(this.slots.delete(region.slot)).toBe(true);
      return;
    }
    expect(this.slots.has(region.slot)).toBe(false);
    for (const other of this.slots.values()) {
      const apart =
        region.guestPhysAddr >= other.guestPhysAddr + other.memorySize ||
        other.guestPhysAddr >= region.guestPhysAddr + region.memorySize;
      if (!apart) throw new Error("memory slots overlap");
    }
    this.slots.set(region.slot, region);
  }

  layout(): [number, number][] {
    return [...this.slots.values()]
      .map((s): [number, number] => [s.guestPhysAddr / PAGE, s.memorySize / PAGE])
      .sort((a, b) => a[0] - b[0]);
  }
}

function setUp() {
  const vm = new FakeVm();
  const ram = vm.linear.allocate(16 * PAGE) as Hva;
  const page = vm.linear.allocate(PAGE) as Hva;
  const other = vm.linear.allocate(PAGE) as Hva;
  const map = new GuestPhysmap(vm, [{ gpa: gpa(0), size: 16 * PAGE, hva: ram }]);
  return { vm, map, page, other };
}

describe("GuestPhysmap", () => {
  it("splits RAM around an overlay and joins it again", () => {
    const { vm, map, page } = setUp();
    map.memory.writeU32(4 * PAGE, 1);
    expect(map.place(page, 4)).toBe(true);
    expect(vm.layout()).toEqual([
      [0, 4],
      [4, 1],
      [5, 11],
    ]);
    expect(map.memory.readU32(4 * PAGE)).toBe(0);
    map.memory.writeU32(4 * PAGE, 2);
    map.remove(page);
    expect(vm.layout()).toEqual([[0, 16]]);
    expect(map.memory.readU32(4 * PAGE)).toBe(1);
  });

  it("places pages at the edges, outside RAM, next to each other, and moves them", () => {
    const { vm, map, page, other } = setUp();
    map.place(page, 0);
    map.place(other, 15);
    expect(vm.layout()).toEqual([
      [0, 1],
      [1, 14],
      [15, 1],
    ]);
    map.place(page, 1000);
    map.place(other, 1001);
    expect(vm.layout()).toEqual([
      [0, 16],
      [1000, 1],
      [1001, 1],
    ]);
    map.place(other, 1000);
    expect(vm.layout()).toEqual([
      [0, 16],
      [1000, 1],
    ]);
    expect(map.frameOf(page)).toBeUndefined();
    expect(map.frameOf(other)).toBe(1000);
  });

  it("clears frames: overlays go, RAM becomes a hole", () => {
    const { vm, map, page } = setUp();
    map.place(page, 3);
    expect(map.clear(3)).toBe(true);
    expect(vm.layout()).toEqual([[0, 16]]);
    expect(map.clear(3)).toBe(true);
    expect(map.isBacked(3)).toBe(false);
    expect(map.clear(3)).toBe(false);
    expect(map.place(page, 3)).toBe(true);
    expect(map.isBacked(3)).toBe(true);
  });

  it("gives frames back and populates them, and tells KVM of many at once", () => {
    const { vm, map, page } = setUp();
    map.memory.writeU32(5 * PAGE, 7);
    map.place(page, 4);
    expect(map.batch(() => [4, 5, 6].map((gfn) => map.release(gfn)))).toEqual([true, true, true]);
    expect(vm.layout()).toEqual([
      [0, 4],
      [7, 9],
    ]);
    expect(map.release(5)).toBe(false);
    expect([map.reservation.pages, map.highestFrame]).toEqual([13, 15]);
    expect(map.populate(5)).toBe(true);
    expect(map.memory.readU32(5 * PAGE)).toBe(0);
    expect(map.populate(2000)).toBe(true);
    expect(map.highestFrame).toBe(2000);
    map.place(page, 1000);
    map.uncover([]);
    expect(map.isBacked(1000)).toBe(false);
    map.refill();
    expect(vm.layout()).toEqual([[0, 16]]);
    expect(map.reservation).toEqual({ pages: 16, maximum: 16 });
  });

  it("lays at most 200 frames over, holes too, and those that are there may move", () => {
    const { vm, map } = setUp();
    const pages = Array.from({ length: 200 }, () => vm.linear.allocate(PAGE) as Hva);
    const [first] = pages as [Hva];
    map.batch(() => {
      for (const [i, page] of pages.entries()) expect(map.place(page, 100 + i)).toBe(true);
    });
    const more = vm.linear.allocate(PAGE) as Hva;
    expect([map.place(more, 400), map.frameOf(more)]).toEqual([false, undefined]);
    expect([map.clear(3), map.isBacked(3)]).toEqual([false, true]);
    expect([map.place(first, 100), map.place(first, 400), map.frameOf(first)]).toEqual([
      ...[true, true, 400],
    ]);
    expect([map.isBacked(100), map.isBacked(400)]).toEqual([false, true]);
    map.remove(first);
    expect([map.clear(3), map.isBacked(3)]).toEqual([true, false]);
    expect(map.place(more, 401)).toBe(false);
    expect(map.clear(101)).toBe(true);
    expect(map.place(more, 401)).toBe(true);
  });

  it("keeps within the memory slots that there are", () => {
    const vm = new FakeVm();
    const ram = vm.linear.allocate(4096 * PAGE) as Hva;
    const map = new GuestPhysmap(vm, [{ gpa: gpa(0), size: 4096 * PAGE, hva: ram }]);
    map.batch(() => {
      for (let gfn = 0; gfn < 4096; gfn += 2) expect(map.release(gfn)).toBe(true);
    });
    expect(map.reservation.pages).toBe(2048);
    expect(vm.slots.size).toBeGreaterThan(400);
    expect(vm.slots.size).toBeLessThanOrEqual(500);
    map.batch(() => {
      for (let gfn = 0; gfn < 4096; gfn += 2) expect(map.populate(gfn)).toBe(true);
    });
    expect(vm.layout()).toEqual([[0, 4096]]);
  });
});
