/** Differences from Linux that spec/kvm/differences.mjs names and a call can show. */
import { expect, it } from "vitest";
import * as abi from "../../src/abi/kvm/index.js";
import { Errno } from "../../src/base/index.js";
import { HeapTimers, VirtualClock } from "../../src/hosts/sim/index.js";
import { LocalProcess } from "../../src/ioctl/index.js";
import { Kvm } from "../../src/kvm/index.js";
import { FakeEngineVm } from "../../src/kvm/tests/fake-engine.fixture.js";

async function setUp() {
  const clock = new VirtualClock();
  const engine = { createVm: () => new FakeEngineVm() };
  const kvm = await Kvm.open({ engine, clock, timers: new HeapTimers(clock) });
  const client = new LocalProcess();
  const system = client.open(kvm);
  const call = async (fd: number, request: number, arg: bigint | Uint8Array = 0n) =>
    await client.ioctl(fd, request, arg);
  const makeVm = () => call(system, abi.KVM_CREATE_VM);
  return { clock, client, system, call, makeVm };
}

it("client memory belongs to one VM", async () => {
  const { client, call, makeVm } = await setUp();
  const userspace_addr = client.mapAnonymous(0x2000);
  const slot = { guest_phys_addr: 0n, memory_size: 0x2000n, userspace_addr };
  const region = abi.kvm_userspace_memory_region.encode(slot);
  const first = await makeVm();
  expect(await call(first, abi.KVM_SET_USER_MEMORY_REGION, region)).toBe(0);
  const second = await makeVm();
  expect(await call(second, abi.KVM_SET_USER_MEMORY_REGION, region)).toBe(-Errno.ENOMEM);
});

it("the TSC has 1 GHz", async () => {
  const { call, makeVm } = await setUp();
  const vm = await makeVm();
  expect(await call(vm, abi.KVM_SET_TSC_KHZ, 2_000_000n)).toBe(0);
  const vcpu = await call(vm, abi.KVM_CREATE_VCPU);
  expect(await call(vcpu, abi.KVM_SET_TSC_KHZ, 2_000_000n)).toBe(-Errno.EINVAL);
  expect(await call(vcpu, abi.KVM_GET_TSC_KHZ)).toBe(1_000_000);
});

it("nothing but KVM_SET_CLOCK moves kvmclock", async () => {
  const { clock, client, call, makeVm } = await setUp();
  const vm = await makeVm();
  const userspace_addr = client.mapAnonymous(0x1000);
  const slot = { guest_phys_addr: 0n, memory_size: 0x1000n, userspace_addr };
  const region = abi.kvm_userspace_memory_region.encode(slot);
  await call(vm, abi.KVM_SET_USER_MEMORY_REGION, region);
  clock.virtual.advance(12_345);
  const sharedInfo = { type: abi.KvmXenHvmAttrType.SHARED_INFO, u: { shared_info: { gfn: 0n } } };
  expect(await call(vm, abi.KVM_XEN_HVM_SET_ATTR, abi.kvm_xen_hvm_attr.encode(sharedInfo))).toBe(0);
  const bytes = new Uint8Array(abi.kvm_clock_data.size);
  await call(vm, abi.KVM_GET_CLOCK, bytes);
  expect(abi.kvm_clock_data.decode(bytes)).toMatchObject({ clock: 12_345n, flags: 14 });
});

it("no features are emulated", async () => {
  const { system, call } = await setUp();
  const head = abi.kvm_cpuid2.size;
  const bytes = new Uint8Array(head + 16 * abi.kvm_cpuid_entry2.size);
  new DataView(bytes.buffer).setUint32(0, 16, true);
  expect(await call(system, abi.KVM_GET_EMULATED_CPUID, bytes)).toBe(0);
  const entries = bytes.subarray(head);
  for (let at = 0; at + 40 <= entries.length; at += 40) {
    const entry = abi.kvm_cpuid_entry2.decode(entries.subarray(at));
    if (entry.function !== 0) expect([entry.ebx, entry.ecx, entry.edx]).toEqual([0, 0, 0]);
  }
});
