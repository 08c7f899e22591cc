import { describe, expect, it } from "vitest";
import { Errno } from "../../base/index.js";
import { EventFd } from "../index.js";
import { errnoOf, HIGH, machine } from "../tests/machine.fixture.js";

const PRIORITY = 0xffffffff;
const xen = (gsi: number, port: number, priority = PRIORITY) =>
  ({ gsi, type: "XEN_EVTCHN", port, vcpu: 0, priority }) as const;

describe("KVM_SET_GSI_ROUTING", () => {
  it("refuses what the kernel refuses", async () => {
    const { vm } = await machine();
    const set = (...entries: Parameters<typeof vm.setGsiRouting>[0]) =>
      errnoOf(() => vm.setGsiRouting(entries));
    expect(set(xen(32, 15, 0))).toBe(Errno.EINVAL);
    expect(set(xen(4096, 15))).toBe(Errno.EINVAL);
    expect(set({ ...xen(32, 15), flags: 1 })).toBe(Errno.EINVAL);
    expect(set(xen(32, 15), { gsi: 32, type: "IRQCHIP", irqchip: 2, pin: 3 })).toBe(Errno.EINVAL);
    expect(set(xen(32, 15), xen(32, 16))).toBe(Errno.EINVAL);
    expect(set({ gsi: 3, type: "IRQCHIP", irqchip: 2, pin: 24 })).toBe(Errno.EINVAL);
    expect(set({ gsi: 3, type: "IRQCHIP", irqchip: 0, pin: 8 })).toBe(Errno.EINVAL);
    // neither port nor vCPU is checked
    expect(set(xen(32, 99999), { ...xen(33, 1), vcpu: 77 })).toBe(0);
  });

  it("needs an interrupt controller; a split one has no pins", async () => {
    const none = await machine({ irqchip: "none" });
    expect(errnoOf(() => none.vm.setGsiRouting([xen(32, 15)]))).toBe(Errno.EINVAL);
    expect(errnoOf(() => none.vm.irqLine(1, true))).toBe(Errno.ENXIO);
    const split = await machine({ irqchip: "split" });
    const pin = { gsi: 3, type: "IRQCHIP", irqchip: 2, pin: 3 } as const;
    expect(errnoOf(() => split.vm.setGsiRouting([pin]))).toBe(Errno.EINVAL);
    expect(errnoOf(() => split.vm.setGsiRouting([xen(32, 15)]))).toBe(0);
  });
});

describe("delivery", () => {
  it("reports delivered, coalesced and ignored event channels", async () => {
    const { vm, view, at } = await machine();
    vm.xen.setAttr({ type: "LONG_MODE", longMode: true });
    vm.xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(HIGH >>> 12) });
    vm.setGsiRouting([xen(32, 15), xen(33, 16)]);
    expect(vm.irqLine(32, true)).toBe(1);
    expect(vm.irqLine(32, true)).toBe(0);
    expect(vm.irqLine(32, false)).toBe(-1);
    view().setUint8(at(HIGH) + 0xa02, 1);
    expect(vm.irqLine(33, true)).toBe(-1);
    expect(vm.irqLine(40, true)).toBe(-1);
  });

  it("goes through irqfds, which take the count of the signals they see", async () => {
    const { vm, view, at } = await machine();
    vm.xen.setAttr({ type: "LONG_MODE", longMode: true });
    vm.xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(HIGH >>> 12) });
    vm.setGsiRouting([xen(32, 15)]);
    const eventfd = new EventFd();
    eventfd.signal();
    vm.irqfd(eventfd, 32);
    expect(eventfd.count).toBe(1n);
    expect(view().getUint16(at(HIGH) + 0x800, true)).toBe(0x8000);
    view().setUint16(at(HIGH) + 0x800, 0, true);
    eventfd.signal();
    expect(eventfd.count).toBe(0n);
    expect(view().getUint16(at(HIGH) + 0x800, true)).toBe(0x8000);
    expect(errnoOf(() => vm.irqfd(eventfd, 33))).toBe(Errno.EBUSY);
    vm.deassignIrqfd(eventfd, 32);
    eventfd.signal();
    expect(eventfd.read()).toBe(1n);
  });

  it("sends MSIs by their address", async () => {
    const { vm, vcpus } = await machine({ vcpus: 2 });
    const msi = { addressLo: 0xfee01000, addressHi: 0, data: 0x45 };
    expect(vm.signalMsi(msi)).toBe(0);
    const lapic = vcpus[1]?.getLapic() as Uint8Array;
    lapic[0xf1] = 1;
    vcpus[1]?.setLapic(lapic);
    expect(vm.signalMsi(msi)).toBe(1);
    expect(vm.signalMsi(msi)).toBe(1);
    expect(vm.signalMsi({ ...msi, addressLo: 0xfee09000 })).toBe(0);
    expect(errnoOf(() => vm.signalMsi({ ...msi, flags: 1 }))).toBe(Errno.EINVAL);
  });
});
