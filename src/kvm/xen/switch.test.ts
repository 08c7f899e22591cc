import { describe, expect, it } from "vitest";
import { apicId } from "../../base/index.js";
import { EngineExit } from "../../engine/bridge/port.js";
import { errnoOf, machine, region } from "../tests/machine.fixture.js";
import { XenSwitch } from "./switch.js";

describe("the switch that all VMs of a system share", () => {
  it("goes off a second after the last VM gave up its MSR", () => {
    const xen = new XenSwitch();
    expect(xen.isOn(0)).toBe(false);
    xen.count(1, 10);
    xen.count(1, 20);
    xen.count(-1, 30);
    expect(xen.isOn(5e9)).toBe(true);
    xen.count(-1, 5e9);
    expect([xen.isOn(6e9 - 1), xen.isOn(6e9)]).toEqual([true, false]);
    xen.count(1, 7e9);
    expect(xen.isOn(7e9)).toBe(true);
  });

  it("lets a VM without an MSR have its upcalls while another one has one", async () => {
    const m = await machine({ vcpus: 1 });
    const other = m.kvm.createVm();
    other.xen.hvmConfig({ flags: 2, msr: 0x40000000 });
    m.vm.xen.setAttr({ type: "SHARED_INFO", gfn: 1n });
    m.vm.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0x31 });
    const vcpu = m.vcpus[0];
    vcpu?.xen.setAttr({ type: "VCPU_INFO", gpa: 0x2000n });
    m.vm.xen.evtchnSend({ port: 3, vcpu: 0, priority: 0xffffffff });
    const fake = m.cpu(0);
    fake.rflags = 0x202n;
    const out = { code: EngineExit.IO, write: true, address: 0x10, size: 1, data: 0n } as const;
    fake.script.push({ retire: 1, code: EngineExit.BUDGET }, out);
    await vcpu?.run();
    expect(fake.events).toContain("irq 0x31");
    fake.events.length = 0;
    other.xen.hvmConfig({ flags: 0, msr: 0 });
    m.pass(1_000_000_000);
    fake.script.push({ retire: 1, code: EngineExit.BUDGET }, out);
    await vcpu?.run();
    expect(fake.events).toEqual([]);
  });
});

describe("what the client may name", () => {
  it("is its own memory, and nothing of the engine's", async () => {
    const { vm } = await machine();
    const before = errnoOf(() => vm.setUserMemoryRegion(region(7, 0x10000000, 4096, 0)));
    expect(before).toBe(22);
    expect(errnoOf(() => vm.setUserMemoryRegion(region(0, 0, 0, 0)))).toBe(0);
    expect(errnoOf(() => vm.createVcpu(apicId(0)))).toBe(17);
  });
});
