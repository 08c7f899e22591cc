import { expect, it } from "vitest";
import { machine } from "../tests/machine.fixture.js";

const TSC = 0x10;

it("takes writes that are less than a second off for attempts to bring TSCs in step", async () => {
  const { vcpus, pass } = await machine({ vcpus: 2 });
  const [a, b] = vcpus as [(typeof vcpus)[0], (typeof vcpus)[0]];
  if (a === undefined || b === undefined) throw new Error("two vCPUs");
  const tsc = (vcpu: typeof a): bigint => vcpu.getMsrs([TSC])[0]?.data ?? -1n;
  pass(1000);
  expect([tsc(a), tsc(b)]).toEqual([1000n, 1000n]);
  a.setMsrs([{ index: TSC, data: 5_000_000_000n }]);
  pass(300);
  // As after a migration: the second write comes later, with the value of the same moment.
  b.setMsrs([{ index: TSC, data: 5_000_000_000n }]);
  expect([tsc(a), tsc(b)]).toEqual([5_000_000_300n, 5_000_000_300n]);
  b.setMsrs([{ index: TSC, data: 9_000_000_000n }]);
  expect(tsc(b)).toBe(9_000_000_000n);
  b.tscOffset = a.tscOffset;
  expect(tsc(b)).toBe(5_000_000_300n);
});
