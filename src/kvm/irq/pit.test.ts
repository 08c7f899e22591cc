import { expect, it } from "vitest";
import { HeapTimers, VirtualClock } from "../../hosts/sim/index.js";
import { VmClock } from "../cpu/clock.js";
import { Pit } from "./pit.js";

function setUp() {
  const clock = new VirtualClock();
  const timers = new HeapTimers(clock);
  let ticks = 0;
  const pit = new Pit(new VmClock(clock, timers), (level) => {
    if (level) ticks++;
  });
  const pass = (ns: number): void => {
    clock.virtual.advance(ns);
    timers.runDue();
  };
  return { pit, pass, ticks: () => ticks };
}

it("ticks periodically on counter 0", () => {
  const { pit, pass, ticks } = setUp();
  pit.write(0x43, 0x34);
  pit.write(0x40, 0x9c);
  pit.write(0x40, 0x2e); // 11932: 10 ms
  for (let i = 0; i < 10; i++) pass(10_000_200);
  expect(ticks()).toBe(10);
});

it("counts down on counter 2 while a guest calibrates with it", () => {
  const { pit, pass } = setUp();
  pit.write(0x61, 1);
  pit.write(0x43, 0xb0);
  pit.write(0x42, 0xff);
  pit.write(0x42, 0xff);
  expect(pit.read(0x61) & 0x20).toBe(0);
  pass(1_000_000);
  pit.write(0x43, 0x80);
  const low = pit.read(0x42);
  const count = low | (pit.read(0x42) << 8);
  expect(65535 - count).toBe(1193);
  pass(60_000_000);
  expect(pit.read(0x61) & 0x20).toBe(0x20);
});

it("shows and takes KVM's state, and starts the counters anew", () => {
  const { pit, pass, ticks } = setUp();
  expect(pit.save()).toMatchObject({
    channels: [
      { count: 65536, mode: 0xff, gate: 1, countLoadTime: 0n },
      { count: 65536, mode: 0xff, gate: 1 },
      { count: 65536, mode: 0xff, gate: 0 },
    ],
    flags: 0,
  });
  pit.write(0x43, 0x34);
  pit.write(0x40, 0x9c);
  const half = pit.save();
  expect(half.channels[0]).toMatchObject({ mode: 2, rwMode: 3, writeState: 4, writeLatch: 0x9c });
  const other = setUp();
  other.pit.restore(half.channels, half.flags);
  other.pit.write(0x40, 0x2e);
  other.pass(10_000_200);
  expect(other.ticks()).toBe(1);
  pass(10_000_200);
  expect(ticks()).toBe(0);
  // The HPET takes over: no more ticks.
  other.pit.restore(other.pit.save().channels, 1);
  other.pass(30_000_000);
  expect(other.ticks()).toBe(1);
});
