import { describe, expect, it } from "vitest";
import { PortBus } from "./bus.js";
import { PowerRegisters } from "./power.js";

describe("PortBus", () => {
  it("floats where nothing is, and splits wide accesses", () => {
    const bus = new PortBus();
    const written: [number, number][] = [];
    bus.attach(0x10, 2, {
      read: (offset) => 0xa0 + offset,
      write: (offset, value) => written.push([offset, value]),
    });
    const data = new Uint8Array(4);
    bus.read(0x0f, data);
    expect([...data]).toEqual([0xff, 0xa0, 0xa1, 0xff]);
    bus.write(0x11, Uint8Array.of(1, 2));
    expect(written).toEqual([[1, 1]]);
  });
});

describe("PowerRegisters", () => {
  it("powers off for S5 with the enable bit only, and resets", () => {
    const asked: string[] = [];
    const power = new PowerRegisters({
      powerOff: () => asked.push("off"),
      reset: () => asked.push("reset"),
    });
    power.write(0, 5 << 2);
    power.write(0, (3 << 2) | 0x20);
    power.write(2, 0);
    expect(asked).toEqual([]);
    power.write(0, (5 << 2) | 0x20);
    power.write(2, 1);
    expect(asked).toEqual(["off", "reset"]);
  });
});
