import { describe, expect, it } from "vitest";
import { gpa, hva } from "../../base/index.js";
import { EngineExit, EngineLimit } from "../bridge/port.js";
import { At, GuestCpu, Reg } from "./guest-cpu.fixture.js";

const PAGE = 0x1000;
/** Places of slots of one page with a page between them. */
const HIGH = 0x4000_0000;
const gpaOf = (n: number) => HIGH + n * 2 * PAGE;

/** A guest whose RAM is one slot, and mappings of 2 MiB for the first GiB from HIGH on. */
async function guest(): Promise<GuestCpu> {
  const t = await GuestCpu.create("protected32");
  t.code("8b 06 f4"); // mov eax,[esi]; hlt
  return t;
}

/** What the guest reads at an address: the value, or "device". */
function readAt(t: GuestCpu, address: number): number | string {
  t.cpu.dropReplay();
  t.cpu.rip = BigInt(At.CODE);
  t.set({ RSI: BigInt(address) });
  if (t.run() === EngineExit.MMIO) return "device";
  return Number(t.reg(Reg.RAX) & 0xffffffffn);
}

describe("many memory slots", () => {
  it("are found, whatever order they come and go in", async () => {
    const t = await guest();
    const memory = t.vm.linear.allocate(64 * PAGE) ?? hva(0);
    for (let page = 0; page < 64; page++) {
      t.vm.linear.view.setUint32(memory + page * PAGE, 0x100 + page, true);
    }
    const present: number[] = [];
    const slot = (n: number) => ({
      gpa: gpa(gpaOf(n)),
      size: PAGE,
      hva: hva(memory + (n % 64) * PAGE),
      readonly: false,
      dirtyBitmap: hva(0),
    });
    /** Places count from 1: the first slot is RAM. */
    const placeOf = (n: number) => present.filter((other) => other < n).length + 1;
    let state = 12345;
    const random = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    for (let step = 0; step < 3000; step++) {
      const n = random(2000);
      if (present.includes(n)) {
        t.vm.removeSlot(placeOf(n));
        present.splice(present.indexOf(n), 1);
      } else {
        t.vm.insertSlot(placeOf(n), slot(n));
        present.push(n);
      }
      const probe = step % 2 === 0 ? n : random(2000);
      const expected = present.includes(probe) ? 0x100 + (probe % 64) : "device";
      expect(readAt(t, gpaOf(probe))).toBe(expected);
      expect(readAt(t, gpaOf(probe) + PAGE)).toBe("device");
    }
  });

  it("as many as KVM allows", async () => {
    const t = await guest();
    const memory = t.vm.linear.allocate(PAGE) ?? hva(0);
    t.vm.linear.view.setUint32(memory, 0x77, true);
    const [size, none] = [PAGE, hva(0)];
    for (let n = 0; n < EngineLimit.SLOTS - 1; n++) {
      const slot = { gpa: gpa(gpaOf(n)), size, hva: memory, readonly: false, dirtyBitmap: none };
      t.vm.insertSlot(n + 1, slot);
    }
    const last = EngineLimit.SLOTS - 2;
    for (const n of [0, 1, 20_000, last]) expect(readAt(t, gpaOf(n))).toBe(0x77);
    expect(readAt(t, gpaOf(last + 1))).toBe("device");
    t.vm.removeSlot(1 + 20_000);
    expect(readAt(t, gpaOf(20_000))).toBe("device");
    expect(readAt(t, gpaOf(last))).toBe(0x77);
  });
});

describe("a slot without memory", () => {
  it("gets it when it is first accessed", async () => {
    const t = await guest();
    const asked: number[] = [];
    let grown = hva(0);
    t.vm.onUnbacked((place) => {
      asked.push(place);
      // More than there was: the memory grows while the guest runs.
      grown = t.vm.linear.allocate(0x400_0000) ?? hva(0);
      t.vm.linear.view.setUint32(grown + 8, 0x1234, true);
      return grown;
    });
    const none = hva(0);
    const slot = { gpa: gpa(HIGH), size: PAGE, hva: none, readonly: false, dirtyBitmap: none };
    t.vm.insertSlot(1, slot);
    expect(asked).toEqual([]);
    expect(readAt(t, HIGH + 8)).toBe(0x1234);
    expect(readAt(t, HIGH + 8)).toBe(0x1234);
    expect(asked).toEqual([1]);
    expect(grown).toBeGreaterThan(0);
  });

  it("is asked for again when there was none", async () => {
    const t = await guest();
    let asked = 0;
    t.vm.onUnbacked(() => {
      asked++;
      return hva(0);
    });
    const none = hva(0);
    const slot = { gpa: gpa(HIGH), size: PAGE, hva: none, readonly: false, dirtyBitmap: none };
    t.vm.insertSlot(1, slot);
    expect(readAt(t, HIGH)).toBe("device");
    const before = asked;
    expect(readAt(t, HIGH)).toBe("device");
    expect(asked).toBeGreaterThan(before);
  });
});

describe("many vCPUs", () => {
  it("as many as KVM allows, each with a TLB of its own", async () => {
    const t = await guest();
    for (let i = 1; i < EngineLimit.VCPUS - 1; i++) t.vm.createVcpu();
    const last = t.vm.createVcpu();
    expect(t.vm.prepareVcpu()).toBe(false);
    // Address space only, and at most half of it: a vCPU's TLB is touched when it first runs.
    expect(t.vm.linear.u8.length).toBeLessThan(2 ** 31);
    last.setSegment(1, t.cpu.segment(1));
    last.setSegment(2, t.cpu.segment(2));
    last.setSegment(3, t.cpu.segment(3));
    last.cr0 = t.cpu.cr0;
    last.rflags = 2n;
    last.rip = BigInt(At.CODE);
    last.setGpr(6, 0n);
    last.syncSregs();
    // Page 0 comes from an entry of the TLB that was never filled.
    t.put32(0, 0x5678);
    expect(last.run(2)).toBe(EngineExit.HLT);
    expect(Number(last.gpr(0) & 0xffffffffn)).toBe(0x5678);
  });
});
