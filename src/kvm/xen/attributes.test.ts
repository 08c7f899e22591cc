import { describe, expect, it } from "vitest";
import { Errno } from "../../base/index.js";
import { EventFd, KVM_XEN_INVALID, type KvmXenHvmAttr, type KvmXenVcpuAttr } from "../index.js";
import { errnoOf, HIGH, machine, region, type TestMachine } from "../tests/machine.fixture.js";

const { EINVAL, ENXIO, EFAULT, ENOENT, EEXIST, EBADF } = Errno;
const GFN = BigInt(HIGH) >> 12n;
const PRIORITY = 0xffffffff;

const hvm = (m: TestMachine, attr: KvmXenHvmAttr) => errnoOf(() => m.vm.xen.setAttr(attr));
const vcpu = (m: TestMachine, attr: KvmXenVcpuAttr) => errnoOf(() => m.vcpus[0]?.xen.setAttr(attr));
const zero = {
  state: 0n,
  stateEntryTime: 0n,
  timeRunning: 0n,
  timeRunnable: 0n,
  timeBlocked: 0n,
  timeOffline: 0n,
};

describe("KVM_XEN_HVM_CONFIG", () => {
  it("takes three flags, and blobs only without interception", async () => {
    const { vm, kvm } = await machine();
    const config = (flags: number, rest = {}) =>
      errnoOf(() => vm.xen.hvmConfig({ flags, msr: 0x40000000, ...rest }));
    for (const flag of [1, 4, 8, 0x10, 0x40, 0x100, 0x80000000]) expect(config(flag)).toBe(EINVAL);
    for (const flags of [0, 2, 0x20, 0x22, 0x80, 0xa2]) expect(config(flags)).toBe(0);
    expect(config(2, { blobSize64: 1 })).toBe(EINVAL);
    expect(config(0, { blobSize64: 1, blobAddr64: 4096n })).toBe(0);
    expect(kvm.checkExtension(38)).toBe(0x1ff);
  });
});

describe("SHARED_INFO", () => {
  it("keeps the gfn of a failed activation and drops high bits", async () => {
    const m = await machine();
    const { xen } = m.vm;
    expect(xen.getAttr("SHARED_INFO").gfn).toBe(KVM_XEN_INVALID);
    expect(hvm(m, { type: "SHARED_INFO", gfn: GFN })).toBe(0);
    expect(hvm(m, { type: "SHARED_INFO", gfn: 0x50000n })).toBe(EFAULT);
    expect(xen.getAttr("SHARED_INFO").gfn).toBe(0x50000n);
    expect(hvm(m, { type: "SHARED_INFO", gfn: 1n << 52n })).toBe(0);
    expect(xen.getAttr("SHARED_INFO").gfn).toBe(0n);
    expect(hvm(m, { type: "SHARED_INFO", gfn: KVM_XEN_INVALID })).toBe(0);
    expect(xen.getAttr("SHARED_INFO").gfn).toBe(KVM_XEN_INVALID);
  });

  it("cannot lie in a read-only slot", async () => {
    const m = await machine();
    const at = m.vm.linear.allocate(4096) as number;
    m.vm.setUserMemoryRegion(region(2, 0xd0000000, 4096, at, 2));
    expect(hvm(m, { type: "SHARED_INFO", gfn: 0xd0000n })).toBe(EFAULT);
  });

  it("tests the alignment of a host address before zero", async () => {
    const m = await machine();
    const at = BigInt(m.at(HIGH));
    expect(hvm(m, { type: "SHARED_INFO_HVA", hva: 8n })).toBe(EINVAL);
    expect(hvm(m, { type: "SHARED_INFO_HVA", hva: 0n })).toBe(0);
    expect(hvm(m, { type: "SHARED_INFO_HVA", hva: at })).toBe(0);
    expect(m.vm.xen.getAttr("SHARED_INFO_HVA").hva).toBe(at);
    expect(m.vm.xen.getAttr("SHARED_INFO").gfn).toBe(KVM_XEN_INVALID);
    expect(hvm(m, { type: "SHARED_INFO", gfn: GFN })).toBe(0);
    expect(m.vm.xen.getAttr("SHARED_INFO_HVA").hva).toBe(0n);
    expect(hvm(m, { type: "SHARED_INFO_HVA", hva: 0xffff800000000000n })).toBe(EINVAL);
  });

  it("has a wallclock at the place of each mode, with even versions", async () => {
    const m = await machine();
    m.pass(1_500_000_000);
    hvm(m, { type: "SHARED_INFO", gfn: GFN });
    const at = m.at(HIGH);
    const read = (offset: number) => m.view().getUint32(at + offset, true);
    expect([read(0x900), read(0x904), read(0x908), read(0x924)]).toEqual([2, 1704067200, 0, 0]);
    hvm(m, { type: "LONG_MODE", longMode: true });
    expect([read(0x900), read(0xc00), read(0xc04), read(0xc0c)]).toEqual([2, 2, 1704067200, 0]);
    hvm(m, { type: "LONG_MODE", longMode: false });
    expect([read(0x900), read(0xc00)]).toEqual([4, 2]);
  });
});

describe("upcall vectors", () => {
  it("are none, or above the reserved ones", async () => {
    const m = await machine();
    for (const vector of [1, 0xf]) {
      expect(hvm(m, { type: "UPCALL_VECTOR", vector })).toBe(EINVAL);
      expect(vcpu(m, { type: "UPCALL_VECTOR", vector })).toBe(EINVAL);
    }
    for (const vector of [0, 0x10, 0xff]) {
      expect(hvm(m, { type: "UPCALL_VECTOR", vector })).toBe(0);
      expect(vcpu(m, { type: "UPCALL_VECTOR", vector })).toBe(0);
    }
  });
});

describe("EVTCHN", () => {
  const evtchn = (
    sendPort: number,
    evtchnType: number,
    flags: number,
    port: number,
    priority = PRIORITY,
  ): KvmXenHvmAttr => ({
    type: "EVTCHN",
    sendPort,
    evtchnType,
    flags,
    deliver: { port, vcpu: 0, priority },
  });

  it("checks in the kernel's order", async () => {
    const m = await machine();
    hvm(m, { type: "LONG_MODE", longMode: true });
    expect(hvm(m, evtchn(0, 0, 4, 0))).toBe(0);
    for (const flags of [0, 1, 2]) {
      expect(hvm(m, evtchn(0, 2, flags, 15))).toBe(EINVAL);
      expect(hvm(m, evtchn(4096, 2, flags, 15))).toBe(EINVAL);
    }
    expect(hvm(m, evtchn(9, 2, 1, 15))).toBe(ENOENT);
    expect(hvm(m, evtchn(9, 2, 2, 15))).toBe(ENOENT);
    for (const flags of [3, 5, 6, 7, 8]) expect(hvm(m, evtchn(9, 2, flags, 15))).toBe(EINVAL);
    for (const type of [0, 1, 3, 4, 6]) expect(hvm(m, evtchn(9, type, 0, 15))).toBe(EINVAL);
    expect(hvm(m, evtchn(9, 5, 0, 8))).toBe(EINVAL);
    expect(hvm(m, evtchn(9, 2, 0, 4096))).toBe(EINVAL);
    expect(hvm(m, evtchn(9, 2, 0, 0))).toBe(EBADF);
    expect(hvm(m, evtchn(9, 2, 0, 15, 0))).toBe(EINVAL);
    expect(hvm(m, evtchn(9, 2, 0, 15))).toBe(0);
    expect(hvm(m, evtchn(9, 2, 0, 15))).toBe(EEXIST);
    expect(hvm(m, evtchn(9, 5, 2, 15))).toBe(EINVAL);
    expect(hvm(m, evtchn(9, 2, 2, 16))).toBe(EINVAL);
    expect(hvm(m, evtchn(9, 2, 2, 15, 1))).toBe(EINVAL);
    expect(hvm(m, evtchn(9, 2, 2, 15))).toBe(0);
    expect(errnoOf(() => m.vm.xen.getAttr("EVTCHN"))).toBe(ENOENT);
  });

  it("cannot remove high ports after a switch to 32 bits but by RESET", async () => {
    const m = await machine();
    hvm(m, { type: "LONG_MODE", longMode: true });
    expect(hvm(m, evtchn(2000, 2, 0, 15))).toBe(0);
    hvm(m, { type: "LONG_MODE", longMode: false });
    expect(hvm(m, evtchn(2000, 2, 1, 15))).toBe(EINVAL);
    expect(hvm(m, evtchn(0, 9, 4, 0))).toBe(0);
    hvm(m, { type: "LONG_MODE", longMode: true });
    expect(hvm(m, evtchn(2000, 2, 1, 15))).toBe(ENOENT);
  });

  it("takes eventfds of any priority and does not update them", async () => {
    const m = await machine();
    const eventfd = new EventFd();
    const attr = { type: "EVTCHN", sendPort: 7, evtchnType: 2, deliver: { eventfd } } as const;
    expect(hvm(m, { ...attr, flags: 0 })).toBe(0);
    expect(hvm(m, { ...attr, flags: 2 })).toBe(EINVAL);
    expect(hvm(m, { ...attr, flags: 1 })).toBe(0);
  });
});

describe("vCPU areas", () => {
  it("may not cross a page, and keep what failed", async () => {
    const m = await machine();
    const xen = m.vcpus[0]?.xen;
    expect(vcpu(m, { type: "VCPU_INFO", gpa: BigInt(HIGH) + 0xfc0n })).toBe(0);
    expect(vcpu(m, { type: "VCPU_INFO", gpa: BigInt(HIGH) + 0xfc4n })).toBe(EINVAL);
    expect(vcpu(m, { type: "VCPU_INFO", gpa: BigInt(HIGH) + 0x41n })).toBe(ENXIO);
    expect(vcpu(m, { type: "VCPU_INFO", gpa: BigInt(HIGH) + 0xfc0n })).toBe(0);
    expect(xen?.getAttr("VCPU_INFO").gpa).toBe(BigInt(HIGH) + 0xfc0n);
    expect(vcpu(m, { type: "VCPU_INFO", gpa: 0x50000000n })).toBe(EFAULT);
    expect(xen?.getAttr("VCPU_INFO").gpa).toBe(0x50000000n);
    expect(vcpu(m, { type: "VCPU_INFO_HVA", hva: BigInt(m.at(HIGH)) + 1n })).toBe(ENXIO);
    expect(vcpu(m, { type: "VCPU_INFO_HVA", hva: BigInt(m.at(HIGH)) + 4n })).toBe(0);
    expect(xen?.getAttr("VCPU_INFO").gpa).toBe(KVM_XEN_INVALID);
    expect(vcpu(m, { type: "VCPU_INFO_HVA", hva: 0n })).toBe(0);
    expect(vcpu(m, { type: "VCPU_TIME_INFO", gpa: BigInt(HIGH) + 0xfe1n })).toBe(EINVAL);
    expect(vcpu(m, { type: "VCPU_TIME_INFO", gpa: BigInt(HIGH) + 0xfe0n })).toBe(0);
  });

  it("name RUNSTATE_ADDR with ENOENT when it is not set", async () => {
    const m = await machine();
    const xen = m.vcpus[0]?.xen;
    const read = () => errnoOf(() => xen?.getAttr("RUNSTATE_ADDR"));
    expect(read()).toBe(ENOENT);
    expect(vcpu(m, { type: "RUNSTATE_ADDR", gpa: BigInt(HIGH) + 0x7fd0n })).toBe(0);
    expect(read()).toBe(0);
    // 44 bytes end in the page after the slot
    expect(vcpu(m, { type: "RUNSTATE_ADDR", gpa: BigInt(HIGH) + 0x7fd5n })).toBe(EFAULT);
    expect(read()).toBe(ENOENT);
  });

  it("check ids, timers and runstates", async () => {
    const m = await machine();
    m.pass(1000);
    expect(m.vcpus[0]?.xen.getAttr("VCPU_ID").vcpuId).toBe(0);
    expect(vcpu(m, { type: "VCPU_ID", vcpuId: 4096 })).toBe(EINVAL);
    expect(vcpu(m, { type: "VCPU_ID", vcpuId: 4095 })).toBe(0);
    expect(vcpu(m, { type: "TIMER", port: 1, priority: 0, expiresNs: 0n })).toBe(EINVAL);
    expect(vcpu(m, { type: "TIMER", port: 0, priority: 0, expiresNs: 9n })).toBe(0);
    expect(vcpu(m, { type: "RUNSTATE_CURRENT", state: 4n })).toBe(EINVAL);
    expect(vcpu(m, { type: "RUNSTATE_DATA", runstate: { ...zero, state: 4n } })).toBe(EINVAL);
    const late = { ...zero, stateEntryTime: 1001n, timeRunning: 1001n };
    expect(vcpu(m, { type: "RUNSTATE_DATA", runstate: late })).toBe(EINVAL);
    const uneven = { ...zero, stateEntryTime: 5n, timeRunning: 4n };
    expect(vcpu(m, { type: "RUNSTATE_DATA", runstate: uneven })).toBe(EINVAL);
    expect(vcpu(m, { type: "RUNSTATE_ADJUST", runstate: { ...zero, state: 4n } })).toBe(EINVAL);
    expect(errnoOf(() => m.vcpus[0]?.xen.getAttr("RUNSTATE_ADJUST"))).toBe(EINVAL);
  });
});
