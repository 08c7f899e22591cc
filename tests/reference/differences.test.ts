/** Differences from Linux that spec/kvm/differences.mjs names and a call can show. */
import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { DIFFERENCES } from "../../spec/kvm/differences.mjs";
import * as abi from "../../src/abi/kvm/index.js";
import { Errno } from "../../src/base/index.js";
import { EngineExit } from "../../src/engine/bridge/port.js";
import { HeapTimers, VirtualClock } from "../../src/hosts/sim/index.js";
import { Door, field } from "../../src/ioctl/door.fixture.js";
import { LocalProcess } from "../../src/ioctl/index.js";
import { Kvm, type Vcpu } from "../../src/kvm/index.js";
import { FakeEngineVm } from "../../src/kvm/tests/fake-engine.fixture.js";
import { machine } from "../../src/kvm/tests/machine.fixture.js";

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

it("KVM_CAP_HALT_POLL is accepted", async () => {
  const { call, makeVm } = await setUp();
  const poll = abi.kvm_enable_cap.encode({ cap: abi.KvmCap.HALT_POLL, args: [200_000n] });
  expect(await call(await makeVm(), abi.KVM_ENABLE_CAP, poll)).toBe(0);
});

it("the MSR of asynchronous page faults is kept", async () => {
  const { vcpus } = await machine();
  const index = 0x4b564d06;
  expect(vcpus[0]?.setMsrs([{ index, data: 0xf3n }])).toBe(1);
  expect(vcpus[0]?.getMsrs([index])).toEqual([{ index, data: 0xf3n }]);
});

it("methods are answered while the vCPU runs", async () => {
  const { vcpus, cpu } = await machine();
  const vcpu = vcpus[0] as Vcpu;
  cpu(0).script.push({ retire: 300_000, code: EngineExit.IO, write: true, address: 1, size: 1 });
  let done = false;
  const run = vcpu.run().then(() => {
    done = true;
  });
  expect(vcpu.getRegs().rflags & 2n).toBe(2n);
  expect(done).toBe(false);
  await run;
});

it("a VM of another Kvm that uses Xen does not matter", async () => {
  const here = await machine();
  const elsewhere = await machine();
  const upcall = async () => {
    here.cpu(0).events.length = 0;
    here
      .cpu(0)
      .script.push(
        { retire: 1, code: EngineExit.BUDGET },
        { code: EngineExit.IO, write: true, address: 0x10, size: 1 },
      );
    await here.vcpus[0]?.run();
    return here.cpu(0).events.includes("irq 0x31");
  };
  here.vm.xen.setAttr({ type: "SHARED_INFO", gfn: 1n });
  here.vm.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0x31 });
  here.vcpus[0]?.xen.setAttr({ type: "VCPU_INFO", gpa: 0x2000n });
  here.vm.xen.evtchnSend({ port: 3, vcpu: 0, priority: 0xffffffff });
  here.cpu(0).rflags = 0x202n;
  elsewhere.vm.xen.hvmConfig({ flags: 0, msr: 0x40000000 });
  expect(await upcall()).toBe(false);
  here.kvm.createVm().xen.hvmConfig({ flags: 0, msr: 0x40000000 });
  expect(await upcall()).toBe(true);
});

/** A vCPU in real mode at 0x1000, on the real engine. */
async function realMachine(code: string) {
  const door = await Door.open();
  const vm = door.vm();
  const cap = abi.kvm_enable_cap.encode({ cap: abi.KvmCap.X86_DISABLE_EXITS, args: [1n] });
  expect(door.call(vm, abi.KVM_ENABLE_CAP, cap)).toBe(0);
  const memory = door.slot(vm, 0, 0, 0x10000);
  door.put(memory + 0x1000n, code);
  const { fd, view } = door.vcpu(vm);
  door.realMode(fd, 0x1000);
  return { door, vm, fd, view };
}

it("MWAIT ends at once", async () => {
  const { door, fd, view } = await realMachine("0f01c8 0f01c9 f4"); // monitor; mwait; hlt
  expect(await door.run(fd)).toBe(0);
  expect(view.getUint32(field("exit_reason"), true)).toBe(abi.KvmExitReason.HLT);
});

it("the error code of an instruction in no memory", async () => {
  const { door, fd, view } = await realMachine("90");
  const code = async () => {
    door.realMode(fd, 0x20000);
    expect(await door.run(fd)).toBe(0);
    expect(view.getUint32(field("exit_reason"), true)).toBe(abi.KvmExitReason.INTERNAL_ERROR);
    const data = Array.from({ length: view.getUint32(field("internal.ndata"), true) }, (_, i) =>
      view.getBigUint64(field("internal.data") + 8 * i, true),
    );
    expect(data).toContain(0x100000014n);
  };
  await code();
  await code();
});

const registersOf = (door: Door, fd: number) => {
  const bytes = new Uint8Array(abi.kvm_regs.size);
  expect(door.call(fd, abi.KVM_GET_REGS, bytes)).toBe(0);
  return abi.kvm_regs.decode(bytes);
};

it("a step over PAUSE ends behind it", async () => {
  const { door, fd, view } = await realMachine("f390 90 f4");
  const control = abi.KvmGuestDbg.ENABLE | abi.KvmGuestDbg.SINGLESTEP;
  const request = abi.kvm_guest_debug.encode({ control });
  expect(door.call(fd, abi.KVM_SET_GUEST_DEBUG, request)).toBe(0);
  expect(await door.run(fd)).toBe(0);
  expect(view.getUint32(field("exit_reason"), true)).toBe(abi.KvmExitReason.DEBUG);
  expect(registersOf(door, fd).rip).toBe(0x1002n);
});

it("an interrupt shadow that the client gives lasts for an instruction", async () => {
  const { door, fd, view } = await realMachine("90 90 f4");
  const window = async (shadow: number) => {
    door.realMode(fd, 0x1000, { rflags: 0x202n });
    const events = abi.kvm_vcpu_events.encode({ interrupt: { shadow }, flags: 4 });
    expect(door.call(fd, abi.KVM_SET_VCPU_EVENTS, events)).toBe(0);
    view.setUint8(field("request_interrupt_window"), 1);
    expect(await door.run(fd)).toBe(0);
    expect(view.getUint32(field("exit_reason"), true)).toBe(abi.KvmExitReason.IRQ_WINDOW_OPEN);
    return registersOf(door, fd).rip;
  };
  expect([await window(0), await window(1)]).toEqual([0x1000n, 0x1001n]);
});

it("has no synthetic interrupts of Hyper-V", async () => {
  const { call, makeVm } = await setUp();
  const vm = await makeVm();
  expect(await call(vm, abi.KVM_CREATE_IRQCHIP)).toBe(0);
  const vcpu = await call(vm, abi.KVM_CREATE_VCPU);
  const [SYNIC, VMCS, HV_SINT, SCONTROL] = [123, 163, 4, 0x40000080];
  for (const cap of [SYNIC, VMCS])
    expect(await call(vcpu, abi.KVM_ENABLE_CAP, abi.kvm_enable_cap.encode({ cap }))).toBe(
      -Errno.EINVAL,
    );
  const routing = new Uint32Array(2 + 12);
  routing.set([1, 0, 5, HV_SINT]);
  const bytes = new Uint8Array(routing.buffer);
  expect(await call(vm, abi.KVM_SET_GSI_ROUTING, bytes)).toBe(-Errno.EINVAL);
  const msrs = new Uint32Array([1, 0, SCONTROL, 0, 0, 0]);
  expect(await call(vcpu, abi.KVM_GET_MSRS, new Uint8Array(msrs.buffer))).toBe(0);
});

it("addresses of the TSS and of the identity map change no memory", async () => {
  const door = await Door.open();
  const vm = door.vm();
  const at = door.slot(vm, 1, 0x40000, 0x4000);
  expect(door.call(vm, abi.KVM_SET_TSS_ADDR, 0x40000n)).toBe(0);
  const identity = new Uint8Array(new BigUint64Array([0x43000n]).buffer);
  expect(door.call(vm, abi.KVM_SET_IDENTITY_MAP_ADDR, identity)).toBe(0);
  expect(door.call(vm, abi.KVM_SET_NR_MMU_PAGES, 64n)).toBe(0);
  door.put(door.slot(vm, 0, 0, 0x2000) + 0x1000n, "f4");
  const { fd } = door.vcpu(vm);
  door.realMode(fd, 0x1000);
  expect(await door.run(fd)).toBe(0);
  expect(door.process.read(at, 0x4000)).toEqual(new Uint8Array(0x4000));
});

const GIB = 2 ** 30;
const setSlot = (door: Door, vm: number, slot: number, gpa: number, bytes: number) =>
  door.call(
    vm,
    abi.KVM_SET_USER_MEMORY_REGION,
    abi.kvm_userspace_memory_region.encode({
      slot,
      guest_phys_addr: BigInt(gpa),
      memory_size: BigInt(bytes),
      userspace_addr: door.process.mapAnonymous(bytes),
    }),
  );

it("a VM has less than 4 GiB", async () => {
  const door = await Door.open();
  const vm = door.vm();
  expect(setSlot(door, vm, 0, 0, 2 * GIB)).toBe(0);
  expect(setSlot(door, vm, 1, 4 * GIB, 2 * GIB)).toBe(-Errno.ENOMEM);
});

it("slots beyond the first 512 take memory when it is used", async () => {
  const door = await Door.open();
  const vm = door.vm();
  for (let slot = 0; slot < 512; slot++) setSlot(door, vm, slot, slot * 0x1000, 0x1000);
  for (let i = 1; i <= 6; i++) expect(setSlot(door, vm, 511 + i, i * GIB, GIB)).toBe(0);
});

it("every row names the test that holds it, or says why there is none", () => {
  const root = new URL("../../", import.meta.url);
  const wrong = DIFFERENCES.flatMap((group) => group.rows).filter(([, , , , test]) => {
    if (/^untestable: ./.test(test ?? "")) return false;
    const [file = "", name = ""] = (test ?? "").split(" > ");
    const text = existsSync(new URL(file, root)) ? readFileSync(new URL(file, root), "utf8") : "";
    return name === "" || !["it", "describe"].some((word) => text.includes(`${word}("${name}"`));
  });
  expect(wrong).toEqual([]);
});
