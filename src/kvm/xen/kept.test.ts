/** Xen support of a VM in an exact snapshot: another VM goes on with all of it, and nothing is written or told. */
import { describe, expect, it } from "vitest";
import type { XenKept } from "../api/xen-kept.js";
import type { KvmXenVcpuAttr } from "../index.js";
import { HIGH, machine, type TestMachine } from "../tests/machine.fixture.js";
import type { VmXenSupport } from "./vm-xen.js";

const PRIORITY = 0xffffffff;
const runstate = {
  state: 2n,
  stateEntryTime: 100n,
  timeRunning: 10n,
  timeRunnable: 20n,
  timeBlocked: 30n,
  timeOffline: 40n,
};

const xenOf = (m: TestMachine) => m.vcpus[0]?.xen as NonNullable<TestMachine["vcpus"][0]>["xen"];

/** What programs do not see of it. */
const innerOf = (m: TestMachine) => m.vm.xen as VmXenSupport;

/** A VM whose guest has named all its areas, with a timer; `attrs` come behind. */
async function busy(...attrs: KvmXenVcpuAttr[]): Promise<TestMachine> {
  const m = await machine();
  m.pass(1_000_000);
  m.vm.xen.setAttr({ type: "LONG_MODE", longMode: true });
  m.vm.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0xf3 });
  m.vm.xen.setAttr({ type: "RUNSTATE_UPDATE_FLAG", runstateUpdateFlag: true });
  const areas = [
    { type: "VCPU_INFO", gpa: BigInt(HIGH + 0x40) },
    { type: "VCPU_TIME_INFO", gpa: BigInt(HIGH + 0x100) },
    { type: "RUNSTATE_ADDR", gpa: BigInt(HIGH + 0x1000 - 16) },
    { type: "RUNSTATE_DATA", runstate },
    { type: "VCPU_ID", vcpuId: 7 },
    { type: "UPCALL_VECTOR", vector: 0x31 },
  ] as const;
  for (const attr of [...areas, ...attrs]) xenOf(m).setAttr(attr);
  return m;
}

/** Another VM with what was kept; its pages and slots are as those of the first. */
async function again(kept: XenKept): Promise<TestMachine & { armed: number[] }> {
  const next = await machine();
  next.pass(1_000_000);
  const armed: number[] = [];
  const later: (() => void)[] = [];
  innerOf(next).keep(kept, (order, arm) => {
    armed.push(order);
    later.push(arm);
  });
  for (const arm of later) arm();
  return { ...next, armed };
}

/** Timers are armed in another order there. */
const withoutOrder = ({ vcpus, ...rest }: XenKept) => ({
  ...rest,
  vcpus: vcpus.map(({ timer, poll, ...vcpu }) => ({
    ...vcpu,
    timer: timer !== undefined,
    poll: poll && { ...poll, timer: 0 },
  })),
});

describe("what Xen support keeps", () => {
  it("is everything that attributes show, and where areas are", async () => {
    const m = await busy({ type: "TIMER", port: 9, priority: PRIORITY, expiresNs: 5_000_000n });
    const kept = innerOf(m).kept();
    expect(kept).toMatchObject({ longMode: true, upcallVector: 0xf3, runstateUpdateFlag: true });
    const area = (offset: number) => ({ gpa: BigInt(HIGH + offset), isFresh: true });
    expect(kept.vcpus[0]).toMatchObject({
      ...{ vcpuInfo: area(0x40), timeInfo: area(0x100) },
      ...{ runstate1: area(0x1000 - 16), runstate2: area(0x1000) },
      runstate: { current: 2, entryTime: 100n, times: [10n, 20n, 30n, 40n] },
      ...{ xenId: 7, upcallVector: 0x31, timerPort: 9, timerExpires: 5_000_000n },
      ...{ timerPending: false, poll: undefined },
    });
    const next = await again(kept);
    expect(withoutOrder(innerOf(next).kept())).toEqual(withoutOrder(kept));
    for (const type of ["VCPU_ID", "UPCALL_VECTOR", "RUNSTATE_CURRENT"] as const)
      expect(xenOf(next).getAttr(type)).toEqual(xenOf(m).getAttr(type));
    for (const type of ["LONG_MODE", "UPCALL_VECTOR", "RUNSTATE_UPDATE_FLAG"] as const)
      expect(next.vm.xen.getAttr(type)).toEqual(m.vm.xen.getAttr(type));
    expect(xenOf(next).getAttr("TIMER")).toMatchObject({ port: 9, expiresNs: 5_000_000n });
    expect(next.armed).toHaveLength(1);
  });

  it("of a VM that has set nothing is nothing", async () => {
    const m = await machine();
    const kept = innerOf(m).kept();
    expect(kept.vcpus[0]).toMatchObject({
      ...{ vcpuInfo: undefined, timeInfo: undefined, runstate1: undefined, runstate2: undefined },
      ...{ timer: undefined, poll: undefined, tscLeavesSet: false },
    });
    const next = await again(kept);
    expect([innerOf(next).kept(), next.armed]).toEqual([kept, []]);
  });

  it("writes nothing into the guest's memory", async () => {
    const kept = innerOf(await busy()).kept();
    const next = await machine();
    const at = next.at(HIGH);
    next.vm.linear.u8.fill(0xee, at, at + 0x2000);
    innerOf(next).keep(kept, () => undefined);
    expect(next.vm.linear.u8.subarray(at, at + 0x2000).every((byte) => byte === 0xee)).toBe(true);
  });

  it("says which translations are out of date, and leaves them so", async () => {
    const kept = innerOf(await busy()).kept();
    const [vcpu] = kept.vcpus;
    if (vcpu === undefined) throw new Error("no vCPU");
    const old = { gpa: BigInt(HIGH + 0x40), isFresh: false };
    const next = await again({ ...kept, vcpus: [{ ...vcpu, vcpuInfo: old }] });
    expect(innerOf(next).kept().vcpus[0]).toMatchObject({
      vcpuInfo: old,
      timeInfo: { isFresh: true },
    });
  });

  it.each([
    ["any port, for ever", undefined, undefined],
    ["one port, for ever", 5, undefined],
    ["any port, until a time", undefined, 7_000_000],
    ["one port, until a time", 5, 7_000_000],
  ])("of a vCPU that polls %s goes on polling", async (_, port, deadlineNs) => {
    const kept = innerOf(await busy()).kept();
    const [vcpu] = kept.vcpus;
    if (vcpu === undefined) throw new Error("no vCPU");
    const poll = { port, deadlineNs, timer: 3 };
    const next = await again({ ...kept, vcpus: [{ ...vcpu, poll }] });
    expect(innerOf(next).kept().vcpus[0]?.poll).toMatchObject({ port, deadlineNs });
    expect(next.armed).toEqual(deadlineNs === undefined ? [] : [3]);
  });

  it.each([0, 0x8000_0001])("keeps selector bits that wait: %i", async (bits) => {
    const kept = innerOf(await busy()).kept();
    const [vcpu] = kept.vcpus;
    if (vcpu === undefined) throw new Error("no vCPU");
    const waiting = { ...vcpu, shadowLow: bits, shadowHigh: bits, timerPending: bits !== 0 };
    const next = await again({ ...kept, vcpus: [waiting] });
    expect(withoutOrder(innerOf(next).kept())).toEqual(withoutOrder({ ...kept, vcpus: [waiting] }));
  });
});
