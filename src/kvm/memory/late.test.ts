import { describe, expect, it } from "vitest";
import { Errno, type Hva, hva } from "../../base/index.js";
import { EngineExit } from "../../engine/bridge/port.js";
import { errnoOf, machine, region } from "../tests/machine.fixture.js";

const LATE = 0xd000_0000;
const SIZE = 0x2000;
const { EINVAL } = Errno;

/** A machine with a late slot 7 at LATE, whose memory is what `found` says. */
async function withLate(found: (bytes: number) => Hva | undefined) {
  const m = await machine();
  let asked = 0;
  const backing = {
    key: 0x7000n,
    attach: () => {
      asked++;
      return found(SIZE);
    },
  };
  const set = (gpa: number, flags = 0) =>
    m.vm.setUserMemoryRegion(region(7, gpa, SIZE, 0, flags), backing);
  return { ...m, set, backing, asked: () => asked };
}

describe("a slot whose memory comes late", () => {
  it("is looked for once, by whoever needs it first", async () => {
    const m = await withLate((bytes) => m.vm.linear.allocate(bytes));
    m.set(LATE);
    expect(m.asked()).toBe(0);
    const at = m.engine.back(2);
    expect(at).toBeGreaterThan(0);
    expect(m.engine.back(2)).toBe(at);
    expect(m.asked()).toBe(1);
  });

  it("keeps its memory when it moves or its flags change", async () => {
    const m = await withLate((bytes) => m.vm.linear.allocate(bytes));
    m.set(LATE);
    const at = m.engine.back(2);
    m.set(LATE + SIZE);
    m.set(LATE + SIZE, 1);
    expect(m.engine.slots[2]).toMatchObject({ gpa: LATE + SIZE, hva: at });
    expect(m.asked()).toBe(1);
    const other = { ...m.backing, key: 0x8000n };
    const set = () => m.vm.setUserMemoryRegion(region(7, LATE, SIZE, 0), other);
    expect(errnoOf(set)).toBe(EINVAL);
    expect(errnoOf(() => m.vm.setUserMemoryRegion(region(7, LATE, SIZE, at)))).toBe(EINVAL);
  });

  it("ends run() of a vCPU that needs it when there is no memory", async () => {
    let room = false;
    const m = await withLate((bytes) => (room ? m.vm.linear.allocate(bytes) : undefined));
    m.set(LATE);
    const access = { code: EngineExit.MMIO, address: LATE + 8, size: 4, write: false };
    m.cpu(0).script.push(
      { ...access, effect: () => expect(m.engine.back(2)).toBe(hva(0)) },
      { code: EngineExit.MMIO, address: LATE + 0x10_0000, size: 4 },
    );
    expect(await m.vcpus[0]?.run()).toEqual({ kind: "memory-fault", physAddr: LATE + 8 });
    expect((await m.vcpus[0]?.run())?.kind).toBe("mmio");
    room = true;
    expect(m.engine.back(2)).toBeGreaterThan(0);
  });
});
