import { describe, expect, it } from "vitest";
import { Errno } from "../../base/index.js";
import { errnoOf, HIGH, machine, region } from "../tests/machine.fixture.js";

const { EINVAL, EEXIST, ENOENT } = Errno;

describe("KVM_SET_USER_MEMORY_REGION", () => {
  it("refuses with the kernel's errno", async () => {
    const { vm } = await machine();
    const at = vm.linear.allocate(0x10000) as number;
    const set = (...args: Parameters<typeof region>) =>
      errnoOf(() => vm.setUserMemoryRegion(region(...args)));
    expect(set(2, 0xd0000000, 0x1000, at, 4)).toBe(EINVAL);
    expect(set(2, 0xd0000800, 0x1000, at)).toBe(EINVAL);
    expect(set(2, 0xd0000000, 0x800, at)).toBe(EINVAL);
    expect(set(2, 0xd0000000, 0x1000, at + 1)).toBe(EINVAL);
    expect(set(2, 0xd0000000, 0x1000, 2 ** 33)).toBe(EINVAL);
    expect(set(2, 2 ** 52, 0x1000, at)).toBe(EINVAL);
    expect(set(32764, 0xd0000000, 0x1000, at)).toBe(EINVAL);
    expect(set(0x10002, 0xd0000000, 0x1000, at)).toBe(EINVAL);
    expect(set(9, 0, 0, 0)).toBe(EINVAL);
    expect(set(2, HIGH + 0x7000, 0x1000, at)).toBe(EEXIST);
    expect(set(2, 2 ** 52 - 0x1000, 0x1000, at)).toBe(0);
  });

  it("moves a slot, but keeps size, backing and READONLY", async () => {
    const { vm, engine } = await machine();
    const at = vm.linear.allocate(0x10000) as number;
    vm.setUserMemoryRegion(region(2, 0xd0000000, 0x2000, at));
    vm.setUserMemoryRegion(region(2, 0xd0010000, 0x2000, at));
    expect(engine.slots.map((slot) => slot.gpa)).toEqual([0, HIGH, 0xd0010000]);
    expect(errnoOf(() => vm.setUserMemoryRegion(region(2, 0xd0010000, 0x1000, at)))).toBe(EINVAL);
    expect(errnoOf(() => vm.setUserMemoryRegion(region(2, 0xd0010000, 0x2000, at, 2)))).toBe(
      EINVAL,
    );
    expect(errnoOf(() => vm.setUserMemoryRegion(region(2, HIGH, 0x2000, at)))).toBe(EEXIST);
    vm.setUserMemoryRegion(region(2, 0, 0, 0));
    expect(engine.slots).toHaveLength(2);
  });
});

describe("many slots", () => {
  it("give the engine's table in order, and an overlap with any of them is refused", async () => {
    const { vm, engine } = await machine();
    const at = vm.linear.allocate(0x1000) as number;
    const gpaOf = (n: number) => 0x1_0000_0000 + n * 0x3000;
    // 997 and 1000 have no common factor: every number comes once, in no order.
    for (let i = 0; i < 1000; i++) {
      const n = (i * 997) % 1000;
      vm.setUserMemoryRegion(region(n + 2, gpaOf(n), 0x1000, at));
    }
    const gpas = engine.slots.map((slot) => slot.gpa as number);
    expect(gpas).toEqual([...gpas].sort((a, b) => a - b));
    expect(gpas).toHaveLength(1002);
    const set = (gpa: number, size: number) =>
      errnoOf(() => vm.setUserMemoryRegion(region(5000, gpa, size, at)));
    for (const n of [0, 1, 500, 999]) expect(set(gpaOf(n), 0x1000)).toBe(EEXIST);
    const big = vm.linear.allocate(0x4000) as number;
    const wide = () => vm.setUserMemoryRegion(region(5000, gpaOf(10) - 0x1000, 0x4000, big));
    expect(errnoOf(wide)).toBe(EEXIST);
    expect(set(gpaOf(7) + 0x1000, 0x1000)).toBe(0);
    // A slot may move over its own old place, not over others.
    vm.setUserMemoryRegion(region(5001, 0x8_0000_0000, 0x4000, big));
    const move = (gpa: number) =>
      errnoOf(() => vm.setUserMemoryRegion(region(5001, gpa, 0x4000, big)));
    expect([move(0x8_0000_1000), move(0x8_0000_0000), move(gpaOf(3) - 0x3000)]).toEqual([
      0,
      0,
      EEXIST,
    ]);
    for (let n = 0; n < 1000; n++) vm.setUserMemoryRegion(region(n + 2, 0, 0, 0));
    expect(engine.slots).toHaveLength(4);
  });
});

describe("KVM_GET_DIRTY_LOG", () => {
  it("hands out and clears the bitmap, over flag changes", async () => {
    const { vm, engine } = await machine();
    expect(errnoOf(() => vm.getDirtyLog(0))).toBe(ENOENT);
    expect(errnoOf(() => vm.getDirtyLog(7))).toBe(ENOENT);
    expect(errnoOf(() => vm.getDirtyLog(32764))).toBe(EINVAL);
    const slot = engine.slots[1];
    expect(slot?.dirtyBitmap).toBeGreaterThan(0);
    // as the engine does for guest writes to pages 0 and 3
    vm.linear.u8[slot?.dirtyBitmap ?? 0] = 0b1001;
    expect([...vm.getDirtyLog(1)]).toEqual([9, 0, 0, 0, 0, 0, 0, 0]);
    expect([...vm.getDirtyLog(1)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    vm.setUserMemoryRegion(region(1, HIGH, 0x8000, slot?.hva ?? 0, 0));
    expect(engine.slots[1]?.dirtyBitmap).toBe(0);
    expect(errnoOf(() => vm.getDirtyLog(1))).toBe(ENOENT);
  });
});
