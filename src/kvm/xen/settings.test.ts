/** Settings of a VM's and a vCPU's Xen support: their limits, and what a change of them makes happen. */
import { describe, expect, it } from "vitest";
import { Errno } from "../../base/index.js";
import { EngineExit } from "../../engine/bridge/port.js";
import { HeapTimers, VirtualClock } from "../../hosts/sim/index.js";
import { Kvm } from "../index.js";
import { FakeEngineVm } from "../tests/fake-engine.fixture.js";
import {
  errnoOf,
  HIGH,
  HIGH_SIZE,
  machine,
  region,
  type TestMachine,
} from "../tests/machine.fixture.js";

const MSR = 0x40000000;
const TSC_UNSTABLE = 0x80;
const PRIORITY = 0xffffffff;
const OUT = { code: EngineExit.IO, write: true, address: 0x10, size: 1, data: 0n } as const;

const first = ({ vcpus }: TestMachine) => vcpus[0] as NonNullable<TestMachine["vcpus"][0]>;

/** One entry of the guest, which ends with an exit. */
async function enter(m: TestMachine): Promise<void> {
  m.cpu(0).script.push({ retire: 1, ...OUT });
  await first(m).run();
}

describe("KVM_XEN_HVM_CONFIG", () => {
  it("takes the MSRs of hypervisors only since the newer release", async () => {
    const of = async (linux: "6.12" | "7.2") => {
      const clock = new VirtualClock();
      const engine = { createVm: () => new FakeEngineVm() };
      const kvm = await Kvm.open({ engine, clock, timers: new HeapTimers(clock), linux });
      const { xen } = kvm.createVm();
      const msrs = [0, MSR - 1, MSR, MSR + 0xfffffff, MSR + 0x10000000, 0xffffffff];
      return msrs.map((msr) => errnoOf(() => xen.hvmConfig({ flags: 0, msr })));
    };
    expect(await of("6.12")).toEqual([0, 0, 0, 0, 0, 0]);
    const { EINVAL } = Errno;
    expect(await of("7.2")).toEqual([0, EINVAL, 0, 0, EINVAL, EINVAL]);
  });

  it("writes pvclocks anew when it changes whether they are stable, and only then", async () => {
    const m = await machine();
    const flags = () => m.view().getUint8(m.at(HIGH + 29));
    const forget = () => m.view().setUint8(m.at(HIGH + 29), 0xee);
    m.vm.xen.hvmConfig({ flags: 0, msr: MSR });
    first(m).xen.setAttr({ type: "VCPU_TIME_INFO", gpa: BigInt(HIGH) });
    await enter(m);
    expect(flags() & 1).toBe(1);
    for (const [config, expected] of [
      [0, 0xee],
      [2, 0xee],
      [TSC_UNSTABLE | 2, 0],
      [TSC_UNSTABLE, 0xee],
      [0, 1],
    ] as const) {
      forget();
      m.vm.xen.hvmConfig({ flags: config, msr: MSR });
      await enter(m);
      expect([config, expected === 0xee ? flags() : flags() & 1]).toEqual([config, expected]);
    }
  });

  it("of a VM that is closed counts no more", async () => {
    const m = await machine();
    const other = m.kvm.createVm();
    other.xen.hvmConfig({ flags: 2, msr: MSR });
    m.vm.xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(HIGH) >> 12n });
    m.vm.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0x31 });
    first(m).xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(HIGH + 0x40) });
    m.vm.xen.evtchnSend({ port: 3, vcpu: 0, priority: PRIORITY });
    m.cpu(0).rflags = 0x202n;
    const upcalls = async () => {
      m.cpu(0).events.length = 0;
      m.cpu(0).script.push({ retire: 1, code: EngineExit.BUDGET });
      await enter(m);
      return m.cpu(0).events.length;
    };
    expect(await upcalls()).toBe(1);
    other.close();
    m.pass(2e9);
    expect(await upcalls()).toBe(0);
  });
});

describe("attributes", () => {
  it("keep a version of 32 bits", async () => {
    const { vm } = await machine();
    vm.xen.setAttr({ type: "XEN_VERSION", xenVersion: 0x80040011 });
    expect(vm.xen.getAttr("XEN_VERSION")).toEqual({ type: "XEN_VERSION", xenVersion: 0x80040011 });
  });

  it("refuse a shared_info that is no whole page of the client", async () => {
    const m = await machine();
    const at = BigInt(m.at(HIGH));
    const set = (hva: bigint) => errnoOf(() => m.vm.xen.setAttr({ type: "SHARED_INFO_HVA", hva }));
    const start = (at + 0xfffn) & ~0xfffn;
    expect([set(start + 1n), set(start + 0x800n), set(start)]).toEqual([
      Errno.EINVAL,
      Errno.EINVAL,
      0,
    ]);
  });
});

describe("areas whose memory goes", () => {
  it.each([
    ["vcpu_info", { type: "VCPU_INFO", gpa: BigInt(HIGH + 0x40) }, 0x40 + 32],
    ["the time", { type: "VCPU_TIME_INFO", gpa: BigInt(HIGH + 0x40) }, 0x40],
  ] as const)("are looked for again: %s", async (_, attr, offset) => {
    const m = await machine();
    m.vm.xen.hvmConfig({ flags: 0, msr: MSR });
    first(m).xen.setAttr(attr);
    await enter(m);
    // The same guest memory at another place of the client's.
    const next = m.vm.linear.allocate(HIGH_SIZE) as number;
    m.vm.setUserMemoryRegion(region(1, HIGH, 0, 0));
    m.vm.setUserMemoryRegion(region(1, HIGH, HIGH_SIZE, next));
    const old = m.at(HIGH + offset);
    m.view().setUint32(old, 0, true);
    m.vm.xen.hvmConfig({ flags: TSC_UNSTABLE, msr: MSR });
    await enter(m);
    expect(m.view().getUint32(old, true)).toBe(0);
    expect(m.view().getUint32(next + offset, true)).not.toBe(0);
  });

  it("are looked for again: both parts of a runstate", async () => {
    const m = await machine();
    const parts = BigInt(HIGH + 0x1000 - 16);
    m.vm.xen.hvmConfig({ flags: 0, msr: MSR });
    first(m).xen.setAttr({ type: "RUNSTATE_ADDR", gpa: parts });
    await enter(m);
    const next = m.vm.linear.allocate(HIGH_SIZE) as number;
    m.vm.setUserMemoryRegion(region(1, HIGH, 0, 0));
    m.vm.setUserMemoryRegion(region(1, HIGH, HIGH_SIZE, next));
    const old = m.at(HIGH);
    m.vm.linear.u8.fill(0, old + 0xff0, old + 0x1040);
    m.pass(1_000_000);
    await enter(m);
    const isZero = (at: number) => m.vm.linear.u8.subarray(at, at + 0x50).every((b) => b === 0);
    expect([isZero(old + 0xff0), isZero(next + 0xff0)]).toEqual([true, false]);
  });
});

describe("a local APIC that is switched on", () => {
  const SVR = 0xf0;
  /** An event waits for a vCPU; whether its vector comes when its APIC is switched on, which others know by then. */
  async function comes(set: (m: TestMachine) => void): Promise<boolean> {
    const m = await machine();
    m.vm.xen.hvmConfig({ flags: 2, msr: MSR });
    m.vm.xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(HIGH) >> 12n });
    first(m).xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(HIGH + 0x40) });
    first(m).xen.setAttr({ type: "UPCALL_VECTOR", vector: 0x31 });
    m.view().setUint8(m.at(HIGH + 0x40), 1);
    set(m);
    const write = (data: bigint) =>
      m.cpu(0).script.push({
        ...{ retire: 1, code: EngineExit.MMIO, write: true, address: 0xfee00000 + SVR },
        ...{ size: 4, data },
      });
    write(0x1ffn);
    write(0x1ffn);
    await enter(m);
    m.cpu(0).rflags = 0x202n;
    m.cpu(0).script.push({ retire: 1, code: EngineExit.BUDGET });
    await enter(m);
    return m.cpu(0).events.includes("irq 0x31");
  }

  it.each([
    ["its own vector is sent", () => undefined, true],
    [
      "but not without a hypercall MSR",
      (m: TestMachine) => {
        m.vm.xen.hvmConfig({ flags: 0, msr: 0 });
        m.pass(2e9);
      },
      false,
    ],
    [
      "but not when nothing waits",
      (m: TestMachine) => m.view().setUint8(m.at(HIGH + 0x40), 0),
      false,
    ],
    [
      "but not without a vector",
      (m: TestMachine) => first(m).xen.setAttr({ type: "UPCALL_VECTOR", vector: 0 }),
      false,
    ],
  ] as const)("%s", async (_, set, expected) => {
    expect(await comes((m) => void set(m))).toBe(expected);
  });
});
