import { describe, expect, it } from "vitest";
import { pvclockScale } from "./pvclock.js";

describe("pvclockScale", () => {
  it.each([
    [1_000_000_000n, 1, 0x80000000],
    [2_000_000_000n, 0, 0x80000000],
    [3_000_000_000n, -1, 0xaaaaaaaa],
    [1_500_000_000n, 0, 0xaaaaaaaa],
  ])("%d Hz", (hz, shift, mul) => {
    expect(pvclockScale(hz)).toEqual({ shift, mul });
  });

  it("turns ticks into nanoseconds for any frequency", () => {
    for (const hz of [1n, 1000n, 14_318_180n, 999_999_999n, 2_593_907_000n, 5_000_000_000n]) {
      const { mul, shift } = pvclockScale(hz);
      const ticks = hz * 10n;
      const shifted = shift >= 0 ? ticks << BigInt(shift) : ticks >> BigInt(-shift);
      const ns = Number((shifted * BigInt(mul)) >> 32n);
      expect(Math.abs(ns - 10e9)).toBeLessThan(20);
    }
  });
});
