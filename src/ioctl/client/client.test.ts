/** One visit to KVM by its interfaces, on the library's objects and by ioctls: every answer is the same. */
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { apicId, assert, gva } from "../../base/index.js";
import { Engine } from "../../engine/bridge/index.js";
import { HeapTimers, VirtualClock } from "../../hosts/sim/index.js";
import * as k from "../../kvm/index.js";
import { MappedProcess } from "./memory.js";
import { IoctlKvm, openKvmByIoctls } from "./system.js";

const CORE = new URL("../../../dist/engine/core.wasm", import.meta.url);
const RAM = 0x20000;
const CODE = 0x1000;

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.compile(readFileSync(CORE));
});

type Opener = (options: k.KvmOptions) => Promise<k.KvmApi>;
const implementations: { own: Opener; ioctls: Opener } = {
  own: k.Kvm.open,
  ioctls: openKvmByIoctls,
};

/** A VM with a vCPU or two in real mode at some code. */
async function machine(open: Opener, code = "f4", { irqchip = true, cpus = 1 } = {}) {
  const clock = new VirtualClock();
  const kvm = await open({ engine, clock, timers: new HeapTimers(clock) });
  const vm = kvm.createVm();
  if (irqchip) vm.createIrqchip();
  const ram = vm.linear.allocate(RAM);
  assert(ram !== undefined, "memory");
  vm.setUserMemoryRegion({
    ...{ slot: 0, flags: 0, guestPhysAddr: 0, memorySize: RAM, userspaceAddr: ram },
  });
  vm.linear.u8.set(Buffer.from(code.replaceAll(" ", ""), "hex"), ram + CODE);
  const vcpus = Array.from({ length: cpus }, (_, id) => vm.createVcpu(apicId(id)));
  const [vcpu] = vcpus;
  assert(vcpu !== undefined, "a vCPU");
  const sregs = vcpu.getSregs();
  vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0n, selector: 0 } });
  vcpu.setRegs({ ...vcpu.getRegs(), rip: BigInt(CODE), rflags: 2n });
  return { kvm, vm, ram, vcpu, vcpus, clock };
}

/** What a call gave, or the errno that it was refused with. */
function outcome(call: () => unknown): unknown {
  try {
    return call() ?? "done";
  } catch (error) {
    if (error instanceof k.KvmError) return `errno ${error.errno}`;
    throw error;
  }
}

/** The same on both; gives what it was. */
async function same<T>(visit: (open: Opener) => Promise<T>): Promise<T> {
  const own = await visit(implementations.own);
  expect(await visit(implementations.ioctls)).toEqual(own);
  return own;
}

describe("KVM by ioctls", () => {
  it("the system says the same of processors and MSRs", async () => {
    const { cpuid, msrs } = await same(async (open) => {
      const { kvm } = await machine(open);
      return { cpuid: kvm.getSupportedCpuid(), msrs: kvm.getMsrIndexList() };
    });
    expect(cpuid.length).toBeGreaterThan(10);
    expect(msrs.length).toBeGreaterThan(20);
  });

  it("interrupt controllers, routes and the clock", async () => {
    const { chips, lapics } = await same(async (open) => {
      const { vm, clock, vcpus } = await machine(open, "f4", { cpus: 2 });
      for (const vcpu of vcpus) {
        const lapic = vcpu.getLapic();
        // SVR: it is on.
        lapic.set([0xff, 1], 0xf0);
        vcpu.setLapic(lapic);
      }
      const routes: k.KvmIrqRoutingEntry[] = [
        { gsi: 3, type: "IRQCHIP", irqchip: k.KvmIrqchip.IOAPIC, pin: 5 },
        { gsi: 4, type: "MSI", addressLo: 0xfee01000, addressHi: 0, data: 0x41 },
        { gsi: 5, type: "XEN_EVTCHN", port: 7, vcpu: 0, priority: 0xffffffff },
      ];
      const pic = { ...vm.getPic(0), irr: 1, imr: 0xfa, irqBase: 0x20, init4: 1 };
      const pin = 0x41n | (1n << 56n);
      const ioapic = { ...vm.getIoapic(), id: 3, redirtbl: vm.getIoapic().redirtbl.with(5, pin) };
      vm.setPic(0, pic);
      vm.setPic(1, { ...vm.getPic(1), irqBase: 0x28, elcr: 2 });
      vm.setIoapic(ioapic);
      const before = vm.getClock();
      vm.setClock({ ...before, clock: 123_456_789_000n, flags: 0 });
      clock.virtual.advance(1000);
      return {
        routes: outcome(() => vm.setGsiRouting(routes)),
        lines: [3, 4, 5, 99].map((gsi) => outcome(() => vm.irqLine(gsi, true))),
        again: outcome(() => vm.irqLine(3, true)),
        down: outcome(() => vm.irqLine(3, false)),
        msi: [0xfee00000, 0xfee0f000, 0x1000].map((addressLo) =>
          outcome(() => vm.signalMsi({ addressLo, addressHi: 0, data: 0x42 })),
        ),
        flags: outcome(() => vm.signalMsi({ addressLo: 0, addressHi: 0, data: 0, flags: 2 })),
        // IRR: what has come of all that.
        lapics: vcpus.map((vcpu) => vcpu.getLapic().subarray(0x200, 0x280)),
        chips: [vm.getPic(0), vm.getPic(1), vm.getIoapic()],
        clock: [before, vm.getClock()],
        twice: outcome(() => vm.createIrqchip()),
        vcpu: outcome(() => vm.createVcpu(apicId(0)).id),
      };
    });
    expect(chips[0]).toMatchObject({ imr: 0xfa, irqBase: 0x20 });
    expect(chips[2]).toMatchObject({ id: 3 });
    expect(
      lapics.map((irr) => (irr[0x20] ?? 0) | (irr[0x28] ?? 0)).some((bits) => bits !== 0),
    ).toBe(true);
  });

  it("all that a vCPU is", async () => {
    const { answers } = await same(async (open) => {
      const { kvm, vcpu, vm, ram } = await machine(open);
      vcpu.setCpuid2(kvm.getSupportedCpuid());
      const lapic = vcpu.getLapic();
      lapic[0xf0] = 0x3f;
      lapic[0xf1] = 1;
      const xsave = vcpu.getXsave();
      xsave.set([0x7f, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0);
      xsave.set([0x80, 0x1f], 24);
      xsave.set([1, 2, 3, 4], 160);
      xsave[512] = 3;
      const events = vcpu.getVcpuEvents();
      const interrupt = { ...events.interrupt, shadow: 1 };
      const actions: [string, () => void][] = [
        ["regs", () => vcpu.setRegs({ ...vcpu.getRegs(), rax: 1n << 63n, r15: 15n, rsp: 0x8000n })],
        ["sregs", () => vcpu.setSregs({ ...vcpu.getSregs(), cr2: 77n, cr8: 5n })],
        ["no sregs", () => vcpu.setSregs({ ...vcpu.getSregs(), cr0: 0x80000000n })],
        ["lapic", () => vcpu.setLapic(lapic)],
        ["xsave", () => vcpu.setXsave(xsave)],
        ["xcr0", () => vcpu.setXcr0(3n)],
        ["no xcr0", () => vcpu.setXcr0(2n)],
        [
          "debugregs",
          () => vcpu.setDebugregs({ db: [1n, 2n, 3n, 4n], dr6: 0xffff0ff0n, dr7: 0x400n }),
        ],
        ["events", () => vcpu.setVcpuEvents({ ...events, interrupt, flags: 8 })],
        ["mp state", () => vcpu.setMpState(k.KvmMpState.HALTED)],
        ["no mp state", () => vcpu.setMpState(99)],
        [
          "guest debug",
          () => vcpu.setGuestDebug({ control: 1, debugreg: [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n] }),
        ],
        ["nmi", () => vcpu.nmi()],
      ];
      const done = actions.map(([name, action]) => [name, outcome(action)]);
      const set = [
        { index: 0x10, data: 12345n },
        { index: 0x174, data: 8n },
        { index: 0x12345678, data: 1n },
        { index: 0x175, data: 9n },
      ];
      vm.linear.u8.set([1], ram);
      return {
        done,
        msrs: [vcpu.setMsrs(set), vcpu.getMsrs([0x174, 0x12345678, 0x175]), vcpu.getMsrs([])],
        answers: {
          ...{ regs: vcpu.getRegs(), sregs: vcpu.getSregs(), cpuid: vcpu.getCpuid2() },
          ...{ lapic: vcpu.getLapic(), xsave: vcpu.getXsave(), fpu: vcpu.getFpu() },
          ...{ xcr0: vcpu.getXcr0(), debugregs: vcpu.getDebugregs(), mp: vcpu.getMpState() },
          ...{ khz: vcpu.tscKhz, id: vcpu.id, index: vcpu.index },
        },
        // Of an exception that never was, `pending` and `idlePayload` are told or not.
        events: { nmi: vcpu.getVcpuEvents().nmi, interrupt: vcpu.getVcpuEvents().interrupt },
        translated: [
          vcpu.translate(gva(0x1234n)),
          // Paging with an empty table.
          outcome(() => vcpu.setSregs({ ...vcpu.getSregs(), cr0: 0x80000011n, cr3: 0x6000n })),
          vcpu.translate(gva(0x1234n)) ?? "not mapped",
        ],
      };
    });
    expect(answers.regs.rax).toBe(1n << 63n);
    expect(answers.mp).toBe(k.KvmMpState.HALTED);
  });

  it("Xen's attributes", async () => {
    const { hvm, vcpus, pending } = await same(async (open) => {
      const { vm, vcpu, ram } = await machine(open, "f4", { cpus: 2 });
      const page = BigInt(ram) + 0x4000n;
      const runstate = { state: 0n, stateEntryTime: 0n, timeRunning: 0n };
      const times = { timeRunnable: 5n, timeBlocked: 6n, timeOffline: 7n };
      const sets: k.KvmXenHvmAttr[] = [
        { type: "LONG_MODE", longMode: true },
        { type: "SHARED_INFO", gfn: 2n },
        { type: "SHARED_INFO_HVA", hva: page },
        { type: "SHARED_INFO_HVA", hva: page + 1n },
        { type: "UPCALL_VECTOR", vector: 0x31 },
        { type: "UPCALL_VECTOR", vector: 1 },
        { type: "EVTCHN", sendPort: 9, evtchnType: 2, flags: 0, deliver: port(3) },
        { type: "EVTCHN", sendPort: 9, evtchnType: 2, flags: 0, deliver: port(3) },
        { type: "EVTCHN", sendPort: 9, evtchnType: 2, flags: 1 },
        { type: "XEN_VERSION", xenVersion: 0x4000d },
        { type: "RUNSTATE_UPDATE_FLAG", runstateUpdateFlag: true },
      ];
      const vcpuSets: k.KvmXenVcpuAttr[] = [
        { type: "VCPU_ID", vcpuId: 1 },
        { type: "VCPU_INFO", gpa: 0x3000n },
        { type: "VCPU_TIME_INFO", gpa: 0x3100n },
        { type: "RUNSTATE_ADDR", gpa: 0x3200n },
        { type: "RUNSTATE_CURRENT", state: 1n },
        { type: "RUNSTATE_DATA", runstate: { ...runstate, ...times } },
        { type: "RUNSTATE_ADJUST", runstate: { ...runstate, state: 1n, ...times } },
        { type: "TIMER", port: 4, priority: 0xffffffff, expiresNs: 1_000_000n },
        { type: "UPCALL_VECTOR", vector: 0x32 },
        { type: "VCPU_INFO_HVA", hva: BigInt(ram) + 0x5040n },
      ];
      const config = { flags: 0x22, msr: 0x40000000 };
      return {
        config: [config, { flags: 0xffff, msr: 1 }].map((one) =>
          outcome(() => vm.xen.hvmConfig(one)),
        ),
        done: sets.map((attr) => outcome(() => vm.xen.setAttr(attr))),
        vcpuDone: vcpuSets.map((attr) => outcome(() => vcpu.xen.setAttr(attr))),
        routed: outcome(() => vm.setGsiRouting([{ gsi: 5, type: "XEN_EVTCHN", ...port(7) }])),
        line: outcome(() => vm.irqLine(5, true)),
        sent: [3, 5000].map((p) => outcome(() => vm.xen.evtchnSend(port(p)))),
        pending: vm.linear.u8.slice(ram + 0x4000, ram + 0x5000),
        hvm: [...new Set(sets.map(({ type }) => type))].map((type) =>
          outcome(() => vm.xen.getAttr(type)),
        ),
        vcpus: vcpuSets.map(({ type }) => outcome(() => vcpu.xen.getAttr(type))),
      };
    });
    expect(pending.some((byte) => (byte & 0x80) !== 0)).toBe(true);
    expect(hvm).toContainEqual({ type: "LONG_MODE", longMode: true });
    expect(vcpus).toContainEqual({ type: "UPCALL_VECTOR", vector: 0x32 });
  });
});

const port = (number: number): k.KvmXenEvtchn => ({ port: number, vcpu: 0, priority: 0xffffffff });

/** Guests in real mode, each up to its HLT, with what is answered to their exits. */
const guests: [name: string, code: string][] = [
  ["IN and OUT", "e5 60 83 c0 01 e7 61 f4"],
  // mov cx,3; mov di,0x4000; rep insb; mov al,[0x4001]; out 0x61,al
  ["string input", "b9 03 00 bf 00 40 f3 6c a0 01 40 e6 61 f4"],
  // mov ax,0x4000; mov ds,ax; mov al,[0x123]; inc ax; mov [0x124],al
  ["memory that is not there", "b8 00 40 8e d8 a0 23 01 40 a2 24 01 f4"],
  // lidt of nothing, then int3
  ["a triple fault", "0f 01 1e 00 08 cc"],
];

describe("exits by ioctls", () => {
  it.each(guests)("%s", async (_name, code) => {
    const { exits } = await same(async (open) => {
      const { vcpu } = await machine(open, code, { irqchip: false });
      const seen: string[] = [];
      for (;;) {
        const exit = await vcpu.run();
        seen.push(
          JSON.stringify(exit, (_key, value) => (typeof value === "bigint" ? `${value}` : value)),
        );
        if (exit.kind === "io" || exit.kind === "mmio") exit.data.fill(0x5a);
        if (exit.kind === "hlt" || exit.kind === "shutdown" || seen.length > 9) break;
      }
      return { exits: seen, regs: vcpu.getRegs() };
    });
    expect(exits.length).toBeGreaterThan(0);
    expect(exits.length).toBeLessThan(9);
  });

  it("a hypercall of Xen, with its result; immediate_exit and a kick", async () => {
    await same(async (open) => {
      // wrmsr of the hypercall page, then call hypercall 17 in it, then again without end
      const code = "66 b9 00 00 00 40 66 b8 00 30 00 00 31 d2 0f 30 b8 20 32 ff d0 f4";
      const { vm, vcpu } = await machine(open, code);
      vm.xen.hvmConfig({ flags: 2, msr: 0x40000000 });
      const call = await vcpu.run();
      assert(call.kind === "xen", "a hypercall");
      call.result = 0x1234567890abn;
      vcpu.immediateExit = true;
      const immediate = await vcpu.run();
      vcpu.immediateExit = false;
      const { rax, rip } = vcpu.getRegs();
      const halted = vcpu.run();
      const inside = [vcpu.getRegs().rip, vcpu.getMpState()];
      vcpu.kick();
      return { call, immediate, rax, rip, inside, kicked: await halted };
    });
  });

  it("without ioctlAside a vCPU that runs is busy", async () => {
    const clock = new VirtualClock();
    const process = new MappedProcess();
    let side: k.Vm | undefined;
    const kvm = await k.Kvm.open({
      ...{ engine, clock, timers: new HeapTimers(clock) },
      onVm(vm) {
        side = vm;
      },
    });
    const door = {
      ioctl: process.ioctl.bind(process),
      mmap: process.mmap.bind(process),
      interrupt: process.interrupt.bind(process),
      close: process.close.bind(process),
    };
    const open = async () =>
      new IoctlKvm({
        ...{ door, system: process.open(kvm) },
        sideOf() {
          const { linear } = side as k.Vm;
          return { linear, address: process.map(linear) };
        },
      });
    const { vm, vcpu, ram } = await machine(open);
    expect([vcpu.instructions, vcpu.charge, vm.engineCounters, vm.standstill]).toEqual(
      new Array(4).fill(undefined),
    );
    const running = vcpu.run();
    expect(outcome(() => vcpu.getRegs())).toBe("errno 16");
    vcpu.kick();
    expect(await running).toEqual({ kind: "intr" });
    expect(vcpu.getRegs().rip).toBe(BigInt(CODE));
    const address = 0x100000000000n;
    expect(process.read(address + BigInt(ram + CODE), 1)).toEqual(Uint8Array.of(0xf4));
    // The engine's tables, and what is not allocated, are nobody's to read or to make a slot of.
    expect(process.read(address, 1)).toBeUndefined();
    const beyond = { slot: 1, flags: 0, guestPhysAddr: RAM, memorySize: 4096 };
    expect(outcome(() => vm.setUserMemoryRegion({ ...beyond, userspaceAddr: 2 ** 31 }))).toBe(
      "errno 12",
    );
    vm.close();
    expect(side?.isClosed).toBe(true);
    expect(process.read(address + BigInt(ram + CODE), 1)).toBeUndefined();
  });
});
