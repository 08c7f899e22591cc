/** The numbers and flags of a vCPU in an exact snapshot: each one comes back where it was. */
import { expect, it } from "vitest";
import { VCPU_FLAGS, VCPU_NUMBERS, type VcpuKept, type VmKept } from "./api/kept.js";
import { machine } from "./tests/machine.fixture.js";

const { fromEntries } = Object;

/** What another VM keeps after it was given `change` of a new one's. */
async function through(change: (vcpu: VcpuKept) => VcpuKept): Promise<VcpuKept> {
  const from = (await machine()).vm.standstill.read(() => undefined).kept;
  const changed: VmKept = { ...from, vcpus: from.vcpus.map(change) };
  const { vm } = await machine();
  vm.standstill.write(changed, () => undefined);
  vm.standstill.goOn(changed);
  return vm.standstill.read(() => undefined).kept.vcpus[0] as VcpuKept;
}

it.each(VCPU_NUMBERS)("%s is a number of its own", async (name) => {
  // No two are the same, nor what a new vCPU has.
  const given = fromEntries(VCPU_NUMBERS.map((each, i) => [each, each === name ? 99 : 2 + i]));
  const numbers = given as VcpuKept["numbers"];
  expect((await through((vcpu) => ({ ...vcpu, numbers }))).numbers).toEqual(numbers);
});

it.each(VCPU_FLAGS)("%s is a flag of its own", async (name) => {
  const given = (value: boolean) =>
    fromEntries(VCPU_FLAGS.map((each) => [each, (each === name) === value]));
  for (const value of [true, false]) {
    const flags = given(value) as VcpuKept["flags"];
    expect((await through((vcpu) => ({ ...vcpu, flags }))).flags).toEqual(flags);
  }
});
