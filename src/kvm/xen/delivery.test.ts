import { describe, expect, it } from "vitest";
import { Errno } from "../../base/index.js";
import { KVM_XEN_INVALID } from "../index.js";
import { errnoOf, HIGH, machine, region } from "../tests/machine.fixture.js";

const PRIORITY = 0xffffffff;
const INFO = 0x40;

async function setUp(longMode = true, withInfo = true) {
  const m = await machine({ vcpus: 2 });
  const { xen } = m.vm;
  xen.setAttr({ type: "LONG_MODE", longMode });
  xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(HIGH) >> 12n });
  const first = m.vcpus[0] as NonNullable<(typeof m.vcpus)[0]>;
  if (withInfo) first.xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(HIGH + INFO) });
  const at = m.at(HIGH);
  const send = (port: number, vcpu = 0, priority = PRIORITY): number =>
    errnoOf(() => xen.evtchnSend({ port, vcpu, priority }));
  const info = () => ({
    upcall: m.view().getUint8(at + INFO),
    selector: longMode
      ? m.view().getBigUint64(at + INFO + 8, true)
      : BigInt(m.view().getUint32(at + INFO + 4, true)),
  });
  const pending = (word: number): bigint => m.view().getBigUint64(at + 0x800 + word * 8, true);
  return { ...m, first, at, send, info, pending };
}

describe("KVM_XEN_HVM_EVTCHN_SEND", () => {
  it("sets pending bit, selector and upcall_pending", async () => {
    const { send, info, pending } = await setUp();
    expect(send(70)).toBe(0);
    expect(pending(1)).toBe(1n << 6n);
    expect(info()).toEqual({ upcall: 1, selector: 2n });
  });

  it("has 1024 ports and 32-bit words for 32-bit guests", async () => {
    const { send, info, pending } = await setUp(false);
    expect([send(1023), send(1024), send(33)]).toEqual([0, Errno.EINVAL, 0]);
    expect(pending(15)).toBe(1n << 63n);
    expect(info()).toEqual({ upcall: 1, selector: 0x80000002n });
  });

  it("refuses port, priority and vCPU", async () => {
    const { send } = await setUp();
    expect([send(0), send(4096), send(1, 0, 0), send(1, 9)]).toEqual(Array(4).fill(Errno.EINVAL));
    expect(send(4095)).toBe(0);
  });

  it("leaves masked events pending and succeeds", async () => {
    const { send, info, pending, view, at } = await setUp();
    view().setUint8(at + 0xa00, 1 << 5);
    expect(send(5)).toBe(0);
    expect(pending(0)).toBe(1n << 5n);
    expect(info()).toEqual({ upcall: 0, selector: 0n });
  });

  it("does not touch upcall_pending when the selector bit is set, nor for pending ports", async () => {
    const { send, info, view, at } = await setUp();
    view().setBigUint64(at + INFO + 8, 1n, true);
    send(5);
    expect(info()).toEqual({ upcall: 0, selector: 1n });
    view().setBigUint64(at + INFO + 8, 0n, true);
    send(5);
    expect(info()).toEqual({ upcall: 0, selector: 0n });
  });

  it("needs shared_info, and renews its translation after slots changed", async () => {
    const { send, vm, pending, at } = await setUp();
    vm.xen.setAttr({ type: "SHARED_INFO", gfn: KVM_XEN_INVALID });
    expect(send(1)).toBe(Errno.EINVAL);
    vm.xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(HIGH) >> 12n });
    vm.setUserMemoryRegion(region(1, 0, 0, 0));
    expect(send(2)).toBe(Errno.EFAULT);
    vm.setUserMemoryRegion(region(1, HIGH, 0x8000, at));
    expect(send(3)).toBe(0);
    expect(pending(0)).toBe(1n << 3n);
  });

  it("never marks shared_info or vcpu_info dirty", async () => {
    const { send, vm } = await setUp();
    send(3);
    expect([...vm.getDirtyLog(1)]).toEqual(Array(8).fill(0));
  });
});

describe("deferred delivery", () => {
  it("goes to a shadow selector until the vCPU runs with a vcpu_info", async () => {
    const { send, info, pending, first, cpu, vm, timers, clock } = await setUp(true, false);
    vm.xen.hvmConfig({ flags: 2, msr: 0x40000000 });
    send(70);
    expect(pending(1)).toBe(1n << 6n);
    first.xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(HIGH + INFO) });
    expect(info()).toEqual({ upcall: 0, selector: 0n });
    timers.arm(clock.monotonicNs() + 1000, () => first.kick());
    await first.run();
    expect(info()).toEqual({ upcall: 1, selector: 2n });
    expect(vm.getDirtyLog(1)[0]).toBe(1);
    expect(cpu(0).events).toEqual([]);
  });
});

describe("injection", () => {
  it("uses the HVM-wide vector while upcall_pending is set, whatever the TPR", async () => {
    const { send, first, cpu, vm, timers, clock, view, at } = await setUp();
    vm.xen.hvmConfig({ flags: 2, msr: 0x40000000 });
    vm.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0xf3 });
    send(5);
    const fake = cpu(0);
    fake.cr8 = 15;
    timers.arm(clock.monotonicNs() + 1000, () => first.kick());
    await first.run();
    expect(fake.events).toEqual([]);
    fake.rflags = 0x202n;
    fake.script.push({ retire: 10, code: 12, effect: () => view().setUint8(at + INFO, 0) });
    timers.arm(clock.monotonicNs() + 1000, () => first.kick());
    await first.run();
    expect(fake.events).toEqual(["irq 0xf3"]);
  });

  it("injects nothing while Xen is off", async () => {
    const { send, first, cpu, vm, timers, clock } = await setUp();
    vm.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0xf3 });
    send(5);
    cpu(0).rflags = 0x202n;
    timers.arm(clock.monotonicNs() + 1000, () => first.kick());
    await first.run();
    expect(cpu(0).events).toEqual([]);
  });

  it("sends the vCPU's own vector to its local APIC, again when that is enabled", async () => {
    const { send, first, vm } = await setUp();
    vm.xen.hvmConfig({ flags: 2, msr: 0x40000000 });
    first.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0x51 });
    const irr = () => new DataView(first.getLapic().buffer).getUint32(0x220, true);
    send(5);
    expect(irr()).toBe(0);
    const image = first.getLapic();
    image[0xf1] = 1;
    first.setLapic(image);
    send(70);
    expect(irr()).toBe(1 << 17);
  });

  it("sends it again when software enables the local APIC", async () => {
    const { send, first, cpu, vm } = await setUp();
    vm.xen.hvmConfig({ flags: 2, msr: 0x40000000 });
    first.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0x51 });
    send(5);
    cpu(0).script.push(
      { code: 3, write: true, address: 0xfee000f0, size: 4, data: 0x1ffn },
      { code: 2, write: true, address: 1, size: 1 },
    );
    await first.run();
    expect(new DataView(first.getLapic().buffer).getUint32(0x220, true)).toBe(1 << 17);
  });
});
