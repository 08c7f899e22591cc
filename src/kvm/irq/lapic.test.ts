import { describe, expect, it } from "vitest";
import { ApicReg } from "../../abi/x86/index.js";
import { HeapTimers, VirtualClock } from "../../hosts/sim/index.js";
import { ApicBus } from "./apic-bus.js";
import { Lapic } from "./lapic.js";

const ENABLE = 0x1ffn;

function setUp(count = 1) {
  const clock = new VirtualClock();
  const timers = new HeapTimers(clock);
  const bus = new ApicBus();
  const log: string[] = [];
  const lapics = Array.from({ length: count }, (_, id) => {
    const lapic = new Lapic(
      id,
      {
        bus,
        time: { timers, nowNs: () => clock.monotonicNs(), tscToNs: Number },
        notify: () => undefined,
        raiseNmi: () => log.push(`${id} nmi`),
        unhalt: () => undefined,
        raiseInit: (vector) =>
          log.push(vector === undefined ? `${id} init` : `${id} sipi ${vector}`),
        tprChanged: () => undefined,
        tprAccessed: () => undefined,
        requestEvent: () => undefined,
        wasReset: () => undefined,
        levelEoi: (vector) => log.push(`${id} eoi ${vector}`),
        softwareEnabled: () => log.push(`${id} enabled`),
      },
      { bsp: id === 0, suppression: { isOffered: () => false, works: () => true } },
    );
    bus.add(lapic);
    return lapic;
  });
  bus.remap();
  for (const lapic of lapics) lapic.setFeatures({ hasTscDeadline: true });
  const first = lapics[0] as Lapic;
  const pass = (ns: number): void => {
    clock.virtual.advance(ns);
    timers.runDue();
  };
  return { lapics, first, bus, log, pass };
}

const write = (lapic: Lapic, reg: number, value: number): void =>
  lapic.writeMmio(reg, 4, BigInt(value >>> 0));
const read = (lapic: Lapic, reg: number): number => Number(lapic.readMmio(reg, 4));
const fixed = (vector: number, levelTriggered = false) => ({
  vector,
  deliveryMode: 0,
  logical: false,
  level: true,
  levelTriggered,
  destination: 0,
});

describe("reset state", () => {
  it("is what KVM_GET_LAPIC of the kernel shows", () => {
    const { first } = setUp();
    const view = new DataView(first.save().buffer);
    const shown: Record<string, string> = {};
    for (let at = 0; at < 1024; at += 16) {
      const value = view.getUint32(at, true);
      if (value !== 0) shown[at.toString(16)] = value.toString(16);
    }
    expect(shown).toEqual({
      "30": "50014",
      e0: "ffffffff",
      f0: "ff",
      "320": "10000",
      "330": "10000",
      "340": "10000",
      "350": "700",
      "360": "10000",
      "370": "10000",
    });
    expect(first.base).toBe(0xfee00900n);
  });
});

describe("priorities", () => {
  it("takes nothing while disabled by software", () => {
    const { first } = setUp();
    expect(first.accept(fixed(0x40))).toBe(false);
    first.writeMmio(ApicReg.SPIV, 4, ENABLE);
    expect(first.accept(fixed(0x40))).toBe(true);
    expect(first.accept(fixed(0x40))).toBe(true);
  });

  it("delivers by class: above the task priority and what is in service", () => {
    const { first } = setUp();
    first.writeMmio(ApicReg.SPIV, 4, ENABLE);
    first.accept(fixed(0x41));
    first.accept(fixed(0x45));
    expect(first.pendingVector()).toBe(0x45);
    first.acknowledge(0x45);
    expect(first.pendingVector()).toBe(-1);
    expect(read(first, ApicReg.PROCPRI)).toBe(0x40);
    first.accept(fixed(0x52));
    expect(first.pendingVector()).toBe(0x52);
    write(first, ApicReg.TASKPRI, 0x5f);
    expect(first.pendingVector()).toBe(-1);
    first.setCr8(4);
    expect(first.tpr).toBe(0x40);
    expect(first.pendingVector()).toBe(0x52);
    first.acknowledge(0x52);
    write(first, ApicReg.EOI, 0);
    write(first, ApicReg.EOI, 0);
    first.setCr8(0);
    expect(first.pendingVector()).toBe(0x41);
  });

  it("tells the IOAPIC of the end of level interrupts only", () => {
    const { first, log } = setUp();
    first.writeMmio(ApicReg.SPIV, 4, ENABLE);
    for (const vector of [0x41, 0x52]) first.accept(fixed(vector, vector === 0x52));
    first.acknowledge(0x52);
    expect(read(first, ApicReg.TMR + 0x20)).toBe(1 << 0x12);
    write(first, ApicReg.EOI, 0);
    first.acknowledge(0x41);
    write(first, ApicReg.EOI, 0);
    expect(log).toEqual(["0 enabled", "0 eoi 82"]);
  });
});

describe("registers", () => {
  it("masks LVTs while disabled and keeps only the bits that exist", () => {
    const { first } = setUp();
    write(first, ApicReg.LVT0, 0x730);
    expect(read(first, ApicReg.LVT0)).toBe(0x10730);
    first.writeMmio(ApicReg.SPIV, 4, ENABLE);
    write(first, ApicReg.LVTERR, 0xffffffff);
    expect(read(first, ApicReg.LVTERR)).toBe(0x110ff);
    write(first, ApicReg.LVT0, 0x700);
    expect(first.acceptsPic).toBe(true);
    write(first, ApicReg.SPIV, 0xff);
    expect(read(first, ApicReg.LVT0)).toBe(0x10700);
    expect(first.acceptsPic).toBe(false);
  });

  it("ignores writes that are not aligned 32-bit ones and reads parts", () => {
    const { first } = setUp();
    first.writeMmio(ApicReg.TASKPRI + 4, 4, 0x20n);
    first.writeMmio(ApicReg.TASKPRI, 1, 0x20n);
    expect(first.tpr).toBe(0);
    expect(first.readMmio(ApicReg.LVR + 2, 1)).toBe(5n);
    expect(first.readMmio(ApicReg.LVR + 2, 4)).toBe(0n);
    expect(first.readMmio(0x400, 4)).toBe(0n);
  });

  it("gives its page up in x2APIC mode and speaks MSRs", () => {
    const { first } = setUp();
    expect(first.readMsr(0x802)).toBeUndefined();
    first.setBase(0xfee00d00n);
    expect(first.readMmio(ApicReg.ID, 4)).toBe(0xffffffffn);
    expect(first.readMsr(0x802)).toBe(0n);
    expect(first.readMsr(0x80d)).toBe(1n);
    expect(first.readMsr(0x80e)).toBeUndefined();
    expect(first.readMsr(0x831)).toBeUndefined();
    expect(first.writeMsr(0x802, 1n)).toBe(false);
    expect(first.writeMsr(0x80b, 1n)).toBe(false);
    expect(first.writeMsr(0x808, 1n << 32n)).toBe(false);
    expect(first.writeMsr(0x80f, ENABLE)).toBe(true);
    expect(first.writeMsr(0x83f, 0x33n)).toBe(true);
    expect(first.pendingVector()).toBe(0x33);
  });
});

describe("timer", () => {
  it("counts once, with the divider", () => {
    const { first, pass } = setUp();
    first.writeMmio(ApicReg.SPIV, 4, ENABLE);
    write(first, ApicReg.LVTT, 0x31);
    write(first, ApicReg.TDCR, 0b1010);
    write(first, ApicReg.TMICT, 100);
    pass(128 * 30);
    expect(read(first, ApicReg.TMCCT)).toBe(70);
    pass(128 * 70 - 1);
    expect(first.pendingVector()).toBe(-1);
    pass(1);
    expect(first.pendingVector()).toBe(0x31);
    expect(read(first, ApicReg.TMCCT)).toBe(0);
  });

  it("counts periodically and drops ticks that were missed", () => {
    const { first, pass } = setUp();
    first.writeMmio(ApicReg.SPIV, 4, ENABLE);
    write(first, ApicReg.LVTT, 0x20031);
    write(first, ApicReg.TDCR, 0b1011);
    write(first, ApicReg.TMICT, 1000);
    for (let i = 0; i < 3; i++) {
      pass(1000);
      expect(first.pendingVector()).toBe(0x31);
      first.acknowledge(0x31);
      write(first, ApicReg.EOI, 0);
    }
    pass(2500);
    first.acknowledge(0x31);
    write(first, ApicReg.EOI, 0);
    expect(first.pendingVector()).toBe(-1);
    pass(500);
    expect(first.pendingVector()).toBe(0x31);
  });

  it("fires at a TSC deadline and then forgets it", () => {
    const { first, pass } = setUp();
    first.writeMmio(ApicReg.SPIV, 4, ENABLE);
    first.setTscDeadline(500n);
    expect(first.tscDeadline).toBe(0n);
    write(first, ApicReg.LVTT, 0x40031);
    first.setTscDeadline(500n);
    expect(first.tscDeadline).toBe(500n);
    write(first, ApicReg.TMICT, 7);
    expect(read(first, ApicReg.TMICT)).toBe(0);
    pass(499);
    expect(first.pendingVector()).toBe(-1);
    pass(1);
    expect(first.pendingVector()).toBe(0x31);
    expect(first.tscDeadline).toBe(0n);
  });

  it("does not interrupt while masked", () => {
    const { first, pass } = setUp();
    first.writeMmio(ApicReg.SPIV, 4, ENABLE);
    write(first, ApicReg.LVTT, 0x10031);
    write(first, ApicReg.TMICT, 1);
    pass(100);
    expect(first.pendingVector()).toBe(-1);
  });

  it("goes on after save and restore", () => {
    const { first, pass } = setUp();
    first.writeMmio(ApicReg.SPIV, 4, ENABLE);
    write(first, ApicReg.LVTT, 0x31);
    write(first, ApicReg.TDCR, 0b1011);
    write(first, ApicReg.TMICT, 1000);
    pass(400);
    const image = first.save();
    first.reset(false);
    pass(10_000);
    first.restore(image);
    pass(599);
    expect(first.pendingVector()).toBe(-1);
    pass(1);
    expect(first.pendingVector()).toBe(0x31);
  });

  // What Linux 6.12.117 did with such states in KVM_SET_LAPIC.
  it.each([
    { lvtt: 0x31, initial: 1000, current: 0, after: 1, why: "one that has ended, ends at once" },
    { lvtt: 0x31, initial: 1000, current: 5000, after: 1000, why: "no more than there is" },
    { lvtt: 0x20031, initial: 1000, current: 0, after: 1000, why: "a periodic one begins anew" },
    { lvtt: 0x31, initial: 0, current: 5, after: Number.POSITIVE_INFINITY, why: "there is none" },
    { lvtt: 0x10031, initial: 1000, current: 0, after: Number.POSITIVE_INFINITY, why: "masked" },
  ])("restores $current of $initial: $why", ({ lvtt, initial, current, after }) => {
    const { first, pass } = setUp();
    first.writeMmio(ApicReg.SPIV, 4, ENABLE);
    write(first, ApicReg.TDCR, 0b1011);
    const image = first.save();
    const view = new DataView(image.buffer);
    view.setUint32(ApicReg.LVTT, lvtt, true);
    view.setUint32(ApicReg.TMICT, initial, true);
    view.setUint32(ApicReg.TMCCT, current, true);
    first.restore(image);
    for (let ns = 1; ns <= 2000; ns++) {
      pass(1);
      expect(first.pendingVector()).toBe(ns < after ? -1 : 0x31);
    }
  });
});

describe("inter-processor interrupts", () => {
  const icr = (lapic: Lapic, low: number, high = 0): void => {
    write(lapic, ApicReg.ICR2, high);
    write(lapic, ApicReg.ICR, low);
  };
  const pending = (lapics: readonly Lapic[]) =>
    lapics.filter((lapic) => lapic.pendingVector() >= 0).map((lapic) => lapic.id);

  it("reach one, all or all others", () => {
    const { lapics, first } = setUp(4);
    for (const lapic of lapics) lapic.writeMmio(ApicReg.SPIV, 4, ENABLE);
    icr(first, 0x4040, 2 << 24);
    expect(pending(lapics)).toEqual([2]);
    icr(first, 0x40000 | 0x41);
    expect(pending(lapics)).toEqual([0, 2]);
    const all = setUp(4);
    for (const lapic of all.lapics) lapic.writeMmio(ApicReg.SPIV, 4, ENABLE);
    icr(all.first, 0xc0000 | 0x41);
    expect(pending(all.lapics)).toEqual([1, 2, 3]);
    icr(all.first, 0x41, 0xff << 24);
    expect(pending(all.lapics)).toEqual([0, 1, 2, 3]);
  });

  it("reach logical destinations, flat and cluster", () => {
    const { lapics, first } = setUp(4);
    for (const [i, lapic] of lapics.entries()) {
      lapic.writeMmio(ApicReg.SPIV, 4, ENABLE);
      write(lapic, ApicReg.LDR, (1 << i) << 24);
    }
    icr(first, 0x840, 0b1010 << 24);
    expect(pending(lapics)).toEqual([1, 3]);
    const cluster = setUp(4);
    for (const [i, lapic] of cluster.lapics.entries()) {
      lapic.writeMmio(ApicReg.SPIV, 4, ENABLE);
      write(lapic, ApicReg.DFR, 0);
      write(lapic, ApicReg.LDR, (((i >> 1) << 4) | (1 << (i & 1))) << 24);
    }
    icr(cluster.first, 0x840, 0x12 << 24);
    expect(pending(cluster.lapics)).toEqual([3]);
  });

  it("reach x2APIC clusters", () => {
    const { lapics, first } = setUp(20);
    for (const lapic of lapics) {
      lapic.setBase(lapic.base | 0x400n);
      lapic.writeMsr(0x80f, ENABLE);
    }
    first.writeMsr(0x830, (0x0001000an << 32n) | 0x840n);
    expect(pending(lapics)).toEqual([17, 19]);
    first.writeMsr(0x830, (0xffffffffn << 32n) | 0x41n);
    expect(pending(lapics)).toHaveLength(20);
  });

  it("give lowest priority to one, in turn", () => {
    const { lapics, bus } = setUp(2);
    for (const lapic of lapics) lapic.writeMmio(ApicReg.SPIV, 4, ENABLE);
    const message = { ...fixed(0x50), deliveryMode: 1, destination: 0xff };
    expect(bus.deliver(message)).toBe(1);
    expect(pending(lapics)).toEqual([0]);
    expect(bus.deliver({ ...message, vector: 0x51 })).toBe(1);
    expect(pending(lapics)).toEqual([0, 1]);
  });

  it("carry NMI, INIT and STARTUP, and nothing for INIT de-assert", () => {
    const { first, log } = setUp(2);
    icr(first, 0x400, 1 << 24);
    icr(first, 0xc500, 1 << 24);
    icr(first, 0x8500, 1 << 24);
    icr(first, 0x600 | 0x9a, 1 << 24);
    expect(log).toEqual(["1 nmi", "1 init", "1 sipi 154"]);
  });

  it("find nobody at an absent destination", () => {
    const { bus } = setUp(2);
    expect(bus.deliver({ ...fixed(0x50), destination: 9 })).toBe(0);
    expect(new ApicBus().deliver({ ...fixed(0x50), destination: 9 })).toBe(-1);
  });
});

describe("x2APIC", () => {
  const X2APIC = 0xfee00d00n;

  it("refuses an ICR with reserved bits and drops the one that is ignored", () => {
    const { first } = setUp();
    first.setBase(X2APIC);
    const refused = Array.from({ length: 32 }, (_, bit) => bit).filter(
      (bit) => !first.writeMsr(0x830, 1n << BigInt(bit)),
    );
    expect(refused).toEqual([13, 16, 17, ...Array.from({ length: 12 }, (_, i) => 20 + i)]);
    expect(first.writeMsr(0x830, 0x1000n)).toBe(true);
    expect(first.readMsr(0x830)).toBe(0n);
  });

  it("gives the id back its place when the client goes back to xAPIC mode", () => {
    const second = setUp(2).lapics[1] as Lapic;
    second.setBase(X2APIC);
    expect(second.readMsr(0x802)).toBe(1n);
    second.setBase(0xfee00900n);
    expect(read(second, ApicReg.ID)).toBe(1 << 24);
  });
});
