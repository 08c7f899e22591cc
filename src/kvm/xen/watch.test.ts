import { describe, expect, it } from "vitest";
import type { TraceRegisters, TraceSink } from "../../ports/index.js";
import { EventFd } from "../index.js";
import { HIGH, machine, region } from "../tests/machine.fixture.js";

const PRIORITY = 0xffffffff;
const ENOTCONN = 107;
/** Of TraceBy and TraceTarget, as docs/trace.md has them: "by KVM", "to port", "to an eventfd". */
const [BY_KVM, TO_PORT, TO_EVENTFD] = [1, 0, 1];
const ARGS = [7, 6, 2, 10, 8, 9];

/** Writes down what it is told, with the registers of hypercalls as they were then. */
function watcher() {
  const told: unknown[][] = [];
  const sink = new Proxy({} as TraceSink, {
    get:
      (_, name) =>
      (...values: unknown[]) => {
        if (name !== "hypercall") return void told.push([name, ...values]);
        const [vcpu, registers, args, longMode] = values as Parameters<TraceSink["hypercall"]>;
        told.push([name, vcpu, callOf(registers, args), longMode]);
      },
  });
  const take = (...kinds: string[]) =>
    told.splice(0).filter(([kind]) => kinds.includes(String(kind)));
  return { sink, take };
}
const callOf = (registers: TraceRegisters, args: readonly number[]) => [
  registers.gprLow(0),
  ...args.slice(0, 2).map((index) => registers.gprLow(index)),
];

async function setUp() {
  const m = await machine({ vcpus: 2 });
  const { xen } = m.vm;
  xen.hvmConfig({ flags: 0x22, msr: 0x40000000 });
  xen.setAttr({ type: "LONG_MODE", longMode: true });
  xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(HIGH) >> 12n });
  for (const [i, vcpu] of m.vcpus.entries())
    vcpu.xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(HIGH + 0x40 * (1 + i)) });
  const { sink, take } = watcher();
  m.vm.trace = sink;
  const vcpu = m.vcpus[0] as NonNullable<(typeof m.vcpus)[0]>;
  const cpu = m.cpu(0);
  const call = async (number: number, ...args: number[]) => {
    cpu.setGpr(0, BigInt(number));
    for (const [i, value] of args.entries()) cpu.setGpr(ARGS[i] ?? 0, BigInt(value));
    cpu.script.push({ code: 4, aux: 1 }, { code: 2, write: true, address: 0x10, size: 1 });
    await vcpu.run();
    cpu.script.length = 0;
  };
  const send = (port: number) => {
    m.view().setUint32(m.at(0x9000), port, true);
    return call(32, 4, 0x9000);
  };
  return { ...m, xen, take, vcpu, cpu, call, send };
}
const common = { type: "EVTCHN", evtchnType: 2, flags: 0 } as const;
const HYPERCALL_KINDS = ["hypercall", "answered", "sent", "delivered"];

describe("who watches a VM is told", () => {
  it("of a send: the call, where it goes, whether it is delivered, and the answer", async () => {
    const { xen, send, take } = await setUp();
    xen.setAttr({ ...common, sendPort: 7, deliver: { port: 15, vcpu: 1, priority: PRIORITY } });
    for (const result of [1, 0]) {
      await send(7);
      expect(take(...HYPERCALL_KINDS)).toEqual([
        ["hypercall", 0, [32, 4, 0x9000], true],
        ["sent", 0, BY_KVM, 7, TO_PORT, 15, 1],
        ["delivered", 1, 15, result],
        ["answered", 0, BY_KVM, 0, 0],
      ]);
    }
    xen.setAttr({ ...common, sendPort: 9, deliver: { eventfd: new EventFd() } });
    await send(9);
    expect(take(...HYPERCALL_KINDS)).toEqual([
      ["hypercall", 0, [32, 4, 0x9000], true],
      ["sent", 0, BY_KVM, 9, TO_EVENTFD, 0, 0],
      ["answered", 0, BY_KVM, 0, 0],
    ]);
  });

  it("of calls that the client answers, without an answer, and of a user's", async () => {
    const { send, call, cpu, take } = await setUp();
    await send(10);
    expect(take(...HYPERCALL_KINDS)).toEqual([["hypercall", 0, [32, 4, 0x9000], true]]);
    cpu.cpl = 3;
    cpu.longMode64 = false;
    cpu.setGpr(3, 5n);
    cpu.setGpr(1, 6n);
    await call(17);
    expect(take(...HYPERCALL_KINDS)).toEqual([["hypercall", 0, [17, 5, 6], false]]);
  });

  it("of an answer with both of its halves", async () => {
    const { call, take } = await setUp();
    await call(29, 3, 0x1000_0000);
    expect(take("answered")).toEqual([["answered", 0, BY_KVM, 0xfffffff2, 0xffffffff]]);
  });

  it("of a masked port", async () => {
    const { xen, view, at, take } = await setUp();
    view().setUint8(at(HIGH) + 0xa00 + 1, 0xff);
    xen.evtchnSend({ port: 13, vcpu: 1, priority: PRIORITY });
    expect(take("delivered")).toEqual([["delivered", 1, 13, -ENOTCONN]]);
  });

  it("of timers: armed, fired, stopped only when they ran", async () => {
    const { vcpu, call, clock, pass, take } = await setUp();
    const kinds = ["timerArmed", "timerFired", "timerStopped"];
    vcpu.xen.setAttr({ type: "TIMER", port: 13, priority: PRIORITY, expiresNs: 0n });
    take();
    const deadline = clock.monotonicNs() + 1000;
    await call(15, deadline);
    expect(take(...kinds)).toEqual([["timerArmed", 0, BY_KVM, 13, BigInt(deadline)]]);
    pass(1000);
    expect(take(...kinds)).toEqual([["timerFired", 0, BY_KVM, 13, 1]]);
    await call(15, 0);
    expect(take(...kinds)).toEqual([]);
    await call(15, deadline + 100_000);
    await call(15, 0);
    expect(take(...kinds)).toEqual([
      ["timerArmed", 0, BY_KVM, 13, BigInt(deadline + 100_000)],
      ["timerStopped", 0, BY_KVM, 13],
    ]);
  });

  it("of the interrupt of an upcall, by the VM's vector and by the vCPU's own, and of no other", async () => {
    const { vm, xen, vcpu, cpu, view, at, clock, timers, take } = await setUp();
    const run = async () => {
      cpu.rflags = 0x202n;
      cpu.script.push({
        ...{ retire: 10, code: 12 },
        effect: () => view().setUint8(at(HIGH + 0x40), 0),
      });
      timers.arm(clock.monotonicNs() + 1000, () => vcpu.kick());
      await vcpu.run();
      cpu.script.length = 0;
      return [cpu.events.splice(0), take("upcall")];
    };
    xen.setAttr({ type: "UPCALL_VECTOR", vector: 0xf3 });
    xen.evtchnSend({ port: 5, vcpu: 0, priority: PRIORITY });
    expect(await run()).toEqual([["irq 0xf3"], [["upcall", 0, 0xf3]]]);

    const image = vcpu.getLapic();
    image[0xf1] = 1;
    vcpu.setLapic(image);
    const msi = { addressLo: 0xfee00000, addressHi: 0, data: 0x61 };
    vm.signalMsi(msi);
    expect(await run()).toEqual([["irq 0x61"], []]);
    xen.setAttr({ type: "UPCALL_VECTOR", vector: 0 });
    vcpu.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0x71 });
    xen.evtchnSend({ port: 70, vcpu: 0, priority: PRIORITY });
    expect(await run()).toEqual([["irq 0x71"], [["upcall", 0, 0x71]]]);
  });

  it("of runstates: the one that is left, and the one that is entered", async () => {
    const { vcpu, pass, take } = await setUp();
    pass(1000);
    vcpu.xen.setAttr({ type: "RUNSTATE_CURRENT", state: 2n });
    vcpu.xen.setAttr({ type: "RUNSTATE_CURRENT", state: 0n });
    expect(take("runstate").slice(-2)).toEqual([
      ["runstate", 0, expect.any(Number), 2],
      ["runstate", 0, 2, 0],
    ]);
  });
});

describe("the view of a VM", () => {
  it("has its configuration and the ports that KVM answers", async () => {
    const { vm, xen } = await setUp();
    xen.setAttr({ type: "XEN_VERSION", xenVersion: 0x40011 });
    xen.setAttr({ type: "UPCALL_VECTOR", vector: 0xf3 });
    xen.setAttr({ ...common, sendPort: 7, deliver: { port: 15, vcpu: 1, priority: PRIORITY } });
    xen.setAttr({ ...common, sendPort: 9, deliver: { eventfd: new EventFd() } });
    expect(vm.xenView()).toMatchObject({
      ...{ flags: 0x22, hypercallMsr: 0x40000000, longMode: true },
      ...{ upcallVector: 0xf3, xenVersion: 0x40011, runstateUpdateFlag: false },
      evtchns: [
        { sendPort: 7, type: 2, to: { port: 15, vcpu: 1 } },
        { sendPort: 9, type: 2, to: undefined },
      ],
    });
  });

  it("has the shared areas with their bytes", async () => {
    const { vm, vcpus: made, view, at } = await setUp();
    view().setUint8(at(HIGH) + 0x80, 0xaa);
    view().setUint8(at(HIGH) + 0xfff, 0xbb);
    const { sharedInfo, vcpus } = vm.xenView();
    expect([sharedInfo?.gpa, sharedInfo?.bytes?.length]).toEqual([BigInt(HIGH), 4096]);
    expect([sharedInfo?.bytes?.[0x80], sharedInfo?.bytes?.[0xfff]]).toEqual([0xaa, 0xbb]);
    expect(vcpus.map(({ id }) => id)).toEqual([0, 1]);
    expect(vcpus[1]?.vcpuInfo?.gpa).toBe(BigInt(HIGH + 0x80));
    expect([vcpus[1]?.vcpuInfo?.bytes?.length, vcpus[1]?.vcpuInfo?.bytes?.[0]]).toEqual([64, 0xaa]);
    expect([vcpus[1]?.timeInfo, vcpus[1]?.runstateArea]).toEqual([undefined, undefined]);
    // 16 bytes before the end of its page: it goes on in the next.
    for (const [gpa, length] of [
      [HIGH + 0x1100, 48],
      [HIGH + 0x1ff0, undefined],
    ] as const) {
      made[1]?.xen.setAttr({ type: "RUNSTATE_ADDR", gpa: BigInt(gpa) });
      const area = vm.xenView().vcpus[1]?.runstateArea;
      expect([area?.gpa, area?.bytes?.length]).toEqual([BigInt(gpa), length]);
    }
  });

  it("has them after slots changed, and no bytes where there is no memory", async () => {
    const { vm, xen, vcpus: made, view, at } = await setUp();
    made[1]?.xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(HIGH + 0x1fc0) });
    view().setUint8(at(HIGH) + 0xfff, 0xbb);
    view().setUint8(at(HIGH) + 0x1fff, 0xcc);
    vm.setUserMemoryRegion(region(2, 0x10000000, 0x1000, vm.linear.allocate(0x1000) ?? 0));
    const renewed = vm.xenView();
    expect([renewed.sharedInfo?.bytes?.length, renewed.sharedInfo?.bytes?.[0xfff]]).toEqual([
      4096, 0xbb,
    ]);
    const info = renewed.vcpus[1]?.vcpuInfo;
    expect([info?.gpa, info?.bytes?.length, info?.bytes?.[63]]).toEqual([
      ...[BigInt(HIGH + 0x1fc0), 64, 0xcc],
    ]);
    // One that was given by its host address has no other, and does not depend on slots.
    xen.setAttr({ type: "SHARED_INFO_HVA", hva: BigInt(at(HIGH + 0x1000)) });
    const { sharedInfo } = vm.xenView();
    expect([sharedInfo?.gpa, sharedInfo?.bytes?.[0xfff]]).toEqual([undefined, 0xcc]);
    vm.setUserMemoryRegion(region(2, 0x10000000, 0, 0));
    expect(vm.xenView().sharedInfo?.bytes?.[0xfff]).toBe(0xcc);
    xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(HIGH) >> 12n });
    vm.setUserMemoryRegion(region(1, HIGH, 0, 0));
    const gone = vm.xenView();
    expect(gone.sharedInfo).toMatchObject({ gpa: BigInt(HIGH), bytes: undefined });
    expect(gone.vcpus[1]?.vcpuInfo).toMatchObject({ gpa: BigInt(HIGH + 0x1fc0), bytes: undefined });
  });

  it("has states and times of vCPUs, a timer that waits, and what could not be told yet", async () => {
    const { vm, xen, vcpu, clock, pass, take } = await setUp();
    pass(1000);
    vcpu.xen.setAttr({ type: "RUNSTATE_CURRENT", state: 2n });
    const { runstate } = vcpu.xen.getAttr("RUNSTATE_DATA");
    const { state, stateEntryTime: entryTime, ...times } = runstate;
    const { timeRunning, timeRunnable, timeBlocked, timeOffline } = times;
    expect(vm.xenView().vcpus).toMatchObject([
      {
        mpState: 0,
        runstate: {
          state: Number(state),
          entryTime,
          times: [timeRunning, timeRunnable, timeBlocked, timeOffline],
        },
      },
      { mpState: 1 },
    ]);
    expect([state, timeOffline > 0n]).toEqual([2n, true]);

    const expires = BigInt(clock.monotonicNs() + 1000);
    vcpu.xen.setAttr({ type: "TIMER", port: 13, priority: PRIORITY, expiresNs: expires });
    expect(vm.xenView().vcpus[0]?.timer).toEqual({ port: 13, expires, pending: false });
    vm.setUserMemoryRegion(region(2, 0x10000000, 0x1000, vm.linear.allocate(0x1000) ?? 0));
    pass(1000);
    // Twice: to look has no effect.
    for (let i = 0; i < 2; i++)
      expect(vm.xenView().vcpus[0]?.timer).toEqual({ port: 13, expires, pending: true });
    expect(take("delivered").length).toBe(1);

    vcpu.xen.setAttr({ type: "VCPU_INFO", gpa: (1n << 64n) - 1n });
    expect(vm.xenView().vcpus[0]).toMatchObject({ vcpuInfo: undefined, shadowSelector: 0n });
    // Ports of the last words of each half of the selector.
    for (const port of [64 * 31, 64 * 63]) xen.evtchnSend({ port, vcpu: 0, priority: PRIORITY });
    expect(vm.xenView().vcpus[0]?.shadowSelector).toBe((1n << 31n) | (1n << 63n));
  });
});
