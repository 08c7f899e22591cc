import { expect, it } from "vitest";
import { HIGH, machine } from "../tests/machine.fixture.js";

/** Offsets in the 64-bit and 32-bit struct shared_info of xen/include/public/xen.h: version, seconds, ns; high seconds. */
const PLACES = { true: [0xc00, 0xc0c], false: [0x900, 0x924] } as const;

it.each([true, false])("is real time at the zero of kvmclock (64 bits: %s)", async (longMode) => {
  const { vm, clock, pass, view, at } = await machine();
  pass(5_000_000_123);
  vm.setClock({ clock: 1_234_567_890n, flags: 0, realtime: 0n, hostTsc: 0n });
  vm.xen.setAttr({ type: "LONG_MODE", longMode });
  vm.xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(HIGH) >> 12n });
  const zero = BigInt(clock.realtimeNs()) - vm.getClock().clock;
  const [version, high] = PLACES[`${longMode}`].map((offset) => at(HIGH) + offset);
  const read = (offset: number) => view().getUint32((version ?? 0) + offset, true);
  expect(read(0) % 2).toBe(0);
  expect(read(0)).toBeGreaterThan(0);
  const seconds = (BigInt(view().getUint32(high ?? 0, true)) << 32n) + BigInt(read(4));
  // A clock of floating point is exact to 256 ns in this century.
  const error = seconds * 1_000_000_000n + BigInt(read(8)) - zero;
  expect(Number(error)).toBeLessThanOrEqual(256);
  expect(Number(error)).toBeGreaterThanOrEqual(-256);
  expect(read(8)).toBeGreaterThan(0);
});
