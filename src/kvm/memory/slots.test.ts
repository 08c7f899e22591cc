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
