import { describe, expect, it } from "vitest";
import { errnoOf, HIGH, machine } from "../tests/machine.fixture.js";

const DATA = {
  state: 2n,
  stateEntryTime: 100n,
  timeRunning: 10n,
  timeRunnable: 20n,
  timeBlocked: 30n,
  timeOffline: 40n,
};

async function setUp(longMode: boolean) {
  const m = await machine();
  m.pass(1_000_000);
  m.vm.xen.setAttr({ type: "LONG_MODE", longMode });
  const xen = m.vcpus[0]?.xen as NonNullable<(typeof m.vcpus)[0]>["xen"];
  xen.setAttr({ type: "RUNSTATE_DATA", runstate: DATA });
  return { ...m, xen };
}

/** What the guest should see of {@link DATA}. */
function image(longMode: boolean, padding: number): Uint8Array {
  const bytes = new Uint8Array(longMode ? 48 : 44);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 2, true);
  if (longMode) bytes.fill(padding, 4, 8);
  [100n, 10n, 20n, 30n, 40n].forEach((value, i) => {
    view.setBigUint64((longMode ? 8 : 4) + i * 8, value, true);
  });
  return bytes;
}

describe("the guest's area", () => {
  it.each([true, false])("has its layout at every offset around a page end (%s)", async (long) => {
    const { xen, vm, at } = await setUp(long);
    const size = long ? 48 : 44;
    for (let offset = 0xfc0; offset < 0x1010; offset++) {
      const start = at(HIGH) + offset;
      vm.linear.u8.fill(0xee, at(HIGH), at(HIGH) + 0x2000);
      xen.setAttr({ type: "RUNSTATE_ADDR", gpa: BigInt(HIGH + offset) });
      const split = offset < 0x1000 && offset + size > 0x1000;
      expect(vm.linear.u8.slice(start, start + size)).toEqual(image(long, split ? 0 : 0xee));
      expect(vm.linear.u8[start - 1]).toBe(0xee);
      expect(vm.linear.u8[start + size]).toBe(0xee);
    }
  });

  it("grows into the second page when the guest goes to 64 bits", async () => {
    const { xen, vm, at } = await setUp(false);
    xen.setAttr({ type: "RUNSTATE_ADDR", gpa: BigInt(HIGH + 0x1000 - 44) });
    vm.xen.setAttr({ type: "LONG_MODE", longMode: true });
    xen.setAttr({
      type: "RUNSTATE_ADJUST",
      runstate: {
        state: 0xffffffffffffffffn,
        stateEntryTime: 0n,
        timeRunning: 0n,
        timeRunnable: 0n,
        timeBlocked: 0n,
        timeOffline: 0n,
      },
    });
    const start = at(HIGH) + 0x1000 - 44;
    expect(vm.linear.u8.slice(start, start + 48)).toEqual(image(true, 0));
    expect(vm.getDirtyLog(1)[0]).toBe(3);
  });

  it("is not written by RUNSTATE_DATA", async () => {
    const { xen, vm, at } = await setUp(true);
    xen.setAttr({ type: "RUNSTATE_ADDR", gpa: BigInt(HIGH) });
    vm.linear.u8.fill(0, at(HIGH), at(HIGH) + 48);
    xen.setAttr({ type: "RUNSTATE_DATA", runstate: DATA });
    expect(vm.linear.u8[at(HIGH)]).toBe(0);
  });

  it("ends without the update bit", async () => {
    const { xen, vm, at, view } = await setUp(true);
    vm.xen.setAttr({ type: "RUNSTATE_UPDATE_FLAG", runstateUpdateFlag: true });
    xen.setAttr({ type: "RUNSTATE_ADDR", gpa: BigInt(HIGH + 0xff8) });
    expect(view().getBigUint64(at(HIGH) + 0x1000, true)).toBe(100n);
  });
});

describe("the account", () => {
  it("begins offline and always adds up", async () => {
    const m = await machine();
    const xen = m.vcpus[0]?.xen;
    m.pass(700);
    xen?.setAttr({ type: "RUNSTATE_CURRENT", state: 2n });
    m.pass(30);
    xen?.setAttr({ type: "RUNSTATE_CURRENT", state: 0n });
    m.pass(5);
    xen?.setAttr({ type: "RUNSTATE_CURRENT", state: 1n });
    expect(xen?.getAttr("RUNSTATE_DATA").runstate).toEqual({
      state: 1n,
      stateEntryTime: 735n,
      timeRunning: 5n,
      timeRunnable: 0n,
      timeBlocked: 30n,
      timeOffline: 700n,
    });
  });

  it("adjusts modulo 2^64", async () => {
    const { xen } = await setUp(true);
    xen.setAttr({
      type: "RUNSTATE_ADJUST",
      runstate: {
        state: 0xffffffffffffffffn,
        stateEntryTime: 0xfffffffffffffff6n,
        timeRunning: 0xfffffffffffffff6n,
        timeRunnable: 0n,
        timeBlocked: 0n,
        timeOffline: 0n,
      },
    });
    const { runstate } = xen.getAttr("RUNSTATE_DATA");
    expect([runstate.stateEntryTime, runstate.timeRunning]).toEqual([90n, 0n]);
  });
});

describe("stolen time", () => {
  // Time that the host's scheduler took from a running vCPU is runnable, not running (Linux's
  // xen_shinfo_test asks for it); what was taken before is not taken again.
  it("goes from running to runnable, and only from running", async () => {
    const m = await machine();
    const vcpu = m.vcpus[0] as (typeof m.vcpus)[0] & object;
    let stolen = 1_000n;
    vcpu.hostRunDelay = () => stolen;
    const set = (state: bigint): void => vcpu.xen.setAttr({ type: "RUNSTATE_CURRENT", state });
    const spent = () => {
      const { runstate } = vcpu.xen.getAttr("RUNSTATE_DATA");
      return [runstate.timeRunning, runstate.timeRunnable, runstate.timeBlocked];
    };
    m.pass(500);
    set(0n);
    m.pass(100);
    stolen += 30n;
    set(0n);
    expect(spent()).toEqual([70n, 30n, 0n]);
    m.pass(100);
    set(2n);
    expect(spent()).toEqual([170n, 30n, 0n]);
    m.pass(100);
    stolen += 40n;
    set(0n);
    expect(spent()).toEqual([170n, 30n, 100n]);
    m.pass(100);
    set(1n);
    expect(spent()).toEqual([270n, 30n, 100n]);
  });

  it("that passed before the account was set does not count", async () => {
    const { xen, vcpus, pass } = await setUp(true);
    const vcpu = vcpus[0] as (typeof vcpus)[0] & object;
    vcpu.hostRunDelay = () => 5_000n;
    xen.setAttr({ type: "RUNSTATE_DATA", runstate: { ...DATA, state: 0n } });
    pass(1_000);
    xen.setAttr({ type: "RUNSTATE_CURRENT", state: 1n });
    expect(xen.getAttr("RUNSTATE_DATA").runstate.timeRunnable).toBe(20n);
  });
});

describe("a VM that is closed", () => {
  it("leaves no timer behind", async () => {
    const m = await machine();
    m.vm.xen.hvmConfig({ flags: 0x22, msr: 0x40000000 });
    m.vcpus[0]?.xen.setAttr({
      type: "TIMER",
      port: 5,
      priority: 0xffffffff,
      expiresNs: 1_000_000_000n,
    });
    const armed = m.timers.nextDeadlineNs();
    expect(armed).toBeDefined();
    m.vm.close();
    expect(m.timers.nextDeadlineNs()).toBeUndefined();
  });
});

it("may have been entered now, and not later", async () => {
  const { xen, clock } = await setUp(true);
  const now = BigInt(clock.monotonicNs());
  const account = (entry: bigint) => {
    const zero = { timeRunning: 0n, timeRunnable: 0n, timeBlocked: 0n };
    return { state: 0n, stateEntryTime: entry, ...zero, timeOffline: entry };
  };
  const set = (type: "RUNSTATE_DATA" | "RUNSTATE_ADJUST", entry: bigint) =>
    errnoOf(() => xen.setAttr({ type, runstate: account(entry) }));
  expect([now, now + 1n].map((entry) => set("RUNSTATE_DATA", entry))).toEqual([0, 22]);
  xen.setAttr({ type: "RUNSTATE_DATA", runstate: account(now - 5n) });
  expect([6n, 5n].map((more) => set("RUNSTATE_ADJUST", more))).toEqual([22, 0]);
});
