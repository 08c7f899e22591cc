import { expect, it } from "vitest";
import { HIGH, machine } from "../tests/machine.fixture.js";

/** Xen's first leaf, "XenVMMXenVMM", with leaves up to 4. */
const BASE = 0x40000000;
const text = (word: string) =>
  new DataView(new TextEncoder().encode(word).buffer).getUint32(0, true);
const leaf = (fn: number, index: number, [eax = 0, ebx = 0, ecx = 0, edx = 0]: number[]) => ({
  ...{ function: fn, index, flags: 1, eax, ebx, ecx, edx },
});

it("leaf 3 has what the guest's pvclock has: a guest may compute the time with either", async () => {
  const { vm, vcpus, cpu, view, at, clock, timers } = await machine();
  const vcpu = vcpus[0];
  if (vcpu === undefined) throw new Error("no vCPU");
  vm.xen.hvmConfig({ flags: 2, msr: 0x40000000 });
  vcpu.setCpuid2([
    leaf(BASE, 0, [BASE + 4, text("XenV"), text("MMXe"), text("nVMM")]),
    ...[0, 1, 2].map((index) => leaf(BASE + 3, index, [])),
  ]);
  vcpu.xen.setAttr({ type: "VCPU_TIME_INFO", gpa: BigInt(HIGH + 0x100) });
  cpu(0).script.push({ code: 2, write: true, address: 1, size: 1 });
  timers.arm(clock.monotonicNs() + 1000, () => vcpu.kick());
  await vcpu.run();
  const area = at(HIGH + 0x100);
  const [mul, shift] = [view().getUint32(area + 24, true), view().getInt8(area + 28)];
  const [, clockLeaf, tscLeaf] = vcpu.getCpuid2().filter((entry) => entry.function === BASE + 3);
  expect(mul).not.toBe(0);
  // The shift is a signed number, which fills its register.
  expect(clockLeaf).toMatchObject({ eax: 0, ebx: 0, ecx: mul, edx: shift >>> 0 });
  expect(tscLeaf).toMatchObject({ eax: vcpu.tscKhz, ebx: 0, ecx: 0, edx: 0 });
});
