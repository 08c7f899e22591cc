import { describe, expect, it } from "vitest";
import { ApicBus, type ApicMessage } from "./apic-bus.js";
import { Ioapic } from "./ioapic.js";

class Recorder extends ApicBus {
  readonly sent: ApicMessage[] = [];
  answer = 1;
  override deliver(message: ApicMessage): number {
    this.sent.push(message);
    return this.answer;
  }
}

function setUp() {
  const bus = new Recorder();
  const ended: number[] = [];
  const ioapic = new Ioapic(bus, (pin) => ended.push(pin));
  const route = (pin: number, low: number, high = 0): void => {
    ioapic.write(0, 4, BigInt(0x11 + pin * 2));
    ioapic.write(0x10, 4, BigInt(high >>> 0));
    ioapic.write(0, 4, BigInt(0x10 + pin * 2));
    ioapic.write(0x10, 4, BigInt(low >>> 0));
  };
  const low = (pin: number): number => {
    ioapic.write(0, 4, BigInt(0x10 + pin * 2));
    return Number(ioapic.read(0x10, 4));
  };
  return { bus, ioapic, ended, route, low };
}

describe("Ioapic", () => {
  it("shows its version and id", () => {
    const { ioapic } = setUp();
    ioapic.write(0, 4, 1n);
    expect(ioapic.read(0x10, 4)).toBe(0x170011n);
    ioapic.write(0, 4, 0n);
    ioapic.write(0x10, 4, 0xff000000n);
    expect(ioapic.read(0x10, 4)).toBe(0x0f000000n);
    expect(ioapic.read(0, 4)).toBe(0n);
  });

  it("sends an edge once for each rise", () => {
    const { bus, ioapic, route } = setUp();
    expect(ioapic.setLine(5, 0, true)).toBe(-1);
    ioapic.setLine(5, 0, false);
    route(5, 0x35, 0x02000000);
    expect(ioapic.setLine(5, 0, true)).toBe(1);
    expect(ioapic.setLine(5, 0, true)).toBe(0);
    expect(bus.sent).toHaveLength(1);
    expect(bus.sent[0]).toMatchObject({ vector: 0x35, destination: 2, levelTriggered: false });
    ioapic.setLine(5, 0, false);
    ioapic.setLine(5, 0, true);
    expect(bus.sent).toHaveLength(2);
  });

  it("holds a level interrupt until its end and sends it again while the line is up", () => {
    const { bus, ioapic, route, low, ended } = setUp();
    route(9, 0x8049);
    ioapic.setLine(9, 0, true);
    expect(low(9)).toBe(0xc049);
    expect(ioapic.setLine(9, 1, true)).toBe(-1);
    expect(bus.sent).toHaveLength(1);
    ioapic.setLine(9, 0, false);
    ioapic.endOfInterrupt(0x49);
    expect(bus.sent).toHaveLength(2);
    ioapic.setLine(9, 1, false);
    ioapic.endOfInterrupt(0x49);
    expect(bus.sent).toHaveLength(2);
    expect(low(9)).toBe(0x8049);
    expect(ended).toEqual([9, 9]);
  });

  it("delivers a level line that was up while masked when it is unmasked", () => {
    const { bus, ioapic, route } = setUp();
    route(9, 0x18049);
    ioapic.setLine(9, 0, true);
    expect(bus.sent).toHaveLength(0);
    route(9, 0x8049);
    expect(bus.sent).toHaveLength(1);
  });

  it("does not stay in service when it was coalesced, and clears remote IRR in edge mode", () => {
    const { bus, ioapic, route, low } = setUp();
    bus.answer = 0;
    route(9, 0x8049);
    ioapic.setLine(9, 0, true);
    expect(low(9)).toBe(0x8049);
    bus.answer = 1;
    ioapic.setLine(9, 0, true);
    expect(low(9)).toBe(0xc049);
    route(9, 0x10049);
    expect(low(9)).toBe(0x10049);
  });

  it("comes back from a saved state", () => {
    const { ioapic, route } = setUp();
    route(9, 0x8049);
    ioapic.setLine(9, 0, true);
    const state = ioapic.save();
    const other = setUp();
    other.ioapic.restore(state);
    expect(other.low(9)).toBe(0xc049);
    expect(other.bus.sent).toHaveLength(0);
    other.ioapic.endOfInterrupt(0x49);
    expect(other.bus.sent).toHaveLength(1);
  });
});
