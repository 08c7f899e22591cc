/** Calls from inside of calls, and calls on what is gone. */
import { describe, expect, it } from "vitest";
import { apicId, type Hva } from "../../src/base/index.js";
import { loadEngine } from "../../src/engine/tests/guest-cpu.fixture.js";
import { HeapTimers, VirtualClock } from "../../src/hosts/sim/index.js";
import { EventFd, Kvm, KvmError, type Vcpu, type Vm } from "../../src/kvm/index.js";

const PRIORITY = 0xffffffff;
const SIZE = 0x100000;

/** A real-mode vCPU at 0xfffffff0 and a loop of code there. */
async function guest(code: readonly number[]) {
  const clock = new VirtualClock();
  clock.virtual.advance(1000);
  const timers = new HeapTimers(clock);
  const kvm = await Kvm.open({ engine: await loadEngine(), clock, timers });
  const vm = kvm.createVm();
  vm.createIrqchip();
  const ram = vm.linear.allocate(SIZE) as Hva;
  const region = { slot: 0, flags: 0, guestPhysAddr: 0, memorySize: SIZE, userspaceAddr: ram };
  vm.setUserMemoryRegion(region);
  const top = vm.linear.allocate(4096) as Hva;
  const last = {
    slot: 1,
    flags: 0,
    guestPhysAddr: 0xfffff000,
    memorySize: 4096,
    userspaceAddr: top,
  };
  vm.setUserMemoryRegion(last);
  vm.linear.u8.set(code, top + 0xff0);
  vm.linear.noteWrite(top as Hva, 4096);
  vm.xen.hvmConfig({ flags: 0x22, msr: 0x40000000 });
  vm.xen.setAttr({ type: "SHARED_INFO", gfn: 16n });
  const vcpu = vm.createVcpu(apicId(0));
  vcpu.xen.setAttr({ type: "VCPU_INFO", gpa: 0x10000n });
  return { vm, vcpu, clock, timers, ram };
}

/** EVTCHNOP_send to port 5, whose number is at 0x9000; then OUT to port 0x10. */
const SEND = [0x0f, 0x01, 0xd9, 0xe6, 0x10, 0xf4];

async function sender(onSignal: (vm: Vm, vcpu: Vcpu) => void) {
  const made = await guest(SEND);
  const { vm, vcpu, ram } = made;
  const eventfd = new EventFd();
  vm.linear.view.setUint32(ram + 0x9000, 5, true);
  const deliver = { eventfd };
  vm.xen.setAttr({ type: "EVTCHN", sendPort: 5, evtchnType: 2, flags: 0, deliver });
  vcpu.setRegs({ ...vcpu.getRegs(), rax: 32n, rbx: 4n, rcx: 0x9000n });
  eventfd.onSignal(() => onSignal(vm, vcpu));
  return { ...made, eventfd };
}

const isRefused = (call: () => void): boolean => {
  try {
    call();
    return false;
  } catch (error) {
    expect(error).toBeInstanceOf(KvmError);
    return true;
  }
};

describe("an eventfd's listener, while the guest runs", () => {
  it("may use the whole of the VM", async () => {
    const { vcpu, vm, eventfd } = await sender((vm, vcpu) => {
      vm.xen.evtchnSend({ port: 9, vcpu: 0, priority: PRIORITY });
      vm.irqLine(3, true);
      vcpu.getLapic();
      vcpu.xen.getAttr("TIMER");
      vm.createVcpu(apicId(7));
      vm.setUserMemoryRegion({
        ...{ slot: 5, flags: 1, guestPhysAddr: 0x10000000, memorySize: 4096 },
        userspaceAddr: vm.linear.allocate(4096) as Hva,
      });
      vcpu.kick();
    });
    const exits = [await vcpu.run(), await vcpu.run()].map((exit) => exit.kind);
    expect(exits.sort()).toEqual(["intr", "io"]);
    expect(eventfd.count).toBe(1n);
    vm.close();
  });

  it("may take the memory away that the guest runs from", async () => {
    const { vcpu } = await sender((vm) => {
      const gone = { flags: 0, guestPhysAddr: 0, memorySize: 0, userspaceAddr: 0 };
      vm.setUserMemoryRegion({ slot: 1, ...gone });
      vm.setUserMemoryRegion({ slot: 0, ...gone });
    });
    expect((await vcpu.run()).kind).toBe("internal-error");
  });

  it("may close the VM: the run does not come back, nothing else happens", async () => {
    let ended = false;
    const { vcpu } = await sender((vm) => vm.close());
    void vcpu.run().then(() => {
      ended = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(ended).toBe(false);
  });
});

it("a vCPU that is run twice at once runs one time after the other", async () => {
  // out 0x10, al; out 0x11, al
  const { vm, vcpu } = await guest([0xe6, 0x10, 0xe6, 0x11, 0xf4]);
  const exits = await Promise.all([vcpu.run(), vcpu.run()]);
  expect(exits.map((exit) => exit.kind === "io" && exit.port)).toEqual([0x10, 0x11]);
  vm.close();
});

describe("a VM that was closed", () => {
  it("has no timers left, and takes no new ones", async () => {
    const { vm, vcpu, timers } = await guest([0xf4]);
    const expiresNs = 10_000_000n;
    vcpu.xen.setAttr({ type: "TIMER", port: 3, priority: PRIORITY, expiresNs });
    void vcpu.run();
    await new Promise((resolve) => setImmediate(resolve));
    vm.close();
    expect(timers.nextDeadlineNs()).toBeUndefined();
  });
});

describe("limits of the engine", () => {
  it("refuse memory slots beyond KVM's number, and keep those there are", async () => {
    const { vm } = await guest([0xf4]);
    const page = vm.linear.allocate(4096) as Hva;
    let refused = -1;
    for (let i = 2; i < 33_000 && refused < 0; i++) {
      const at = 0x1_0000_0000 + i * 4096;
      const region = {
        slot: i,
        flags: 0,
        guestPhysAddr: at,
        memorySize: 4096,
        userspaceAddr: page,
      };
      if (isRefused(() => vm.setUserMemoryRegion(region))) refused = i;
    }
    expect(refused).toBe(32764);
    const gone = { slot: 300, flags: 0, guestPhysAddr: 0, memorySize: 0, userspaceAddr: 0 };
    vm.setUserMemoryRegion(gone);
    vm.close();
  });

  it("refuse what is not the client's memory", async () => {
    const { vm, vcpu } = await guest([0xf4]);
    const slot = { slot: 9, flags: 0, guestPhysAddr: 0x30000000, memorySize: 4096 };
    for (let userspaceAddr = 0; userspaceAddr < 0x10000; userspaceAddr += 4096) {
      expect(isRefused(() => vm.setUserMemoryRegion({ ...slot, userspaceAddr }))).toBe(true);
      const hva = BigInt(userspaceAddr);
      if (hva === 0n) continue;
      expect(isRefused(() => vm.xen.setAttr({ type: "SHARED_INFO_HVA", hva }))).toBe(true);
      expect(isRefused(() => vcpu.xen.setAttr({ type: "VCPU_INFO_HVA", hva }))).toBe(true);
    }
    vm.close();
  });
});

it("a guest whose handlers fault stops neither the host nor its own time", async () => {
  // Real mode, all vectors at 0 lead to 0:500, where UD2 is; the stack wraps in its segment.
  const { vm, vcpu, timers, clock, ram } = await guest([0x0f, 0x0b]);
  for (let vector = 0; vector < 256; vector++) {
    vm.linear.view.setUint32(ram + vector * 4, 0x500, true);
  }
  vm.linear.u8.set([0x0f, 0x0b], ram + 0x500);
  vm.invalidate(ram, 4096);
  const sregs = vcpu.getSregs();
  vcpu.setSregs({ ...sregs, ss: { ...sregs.ss, base: 0x20000n, selector: 0x2000 } });
  vcpu.setRegs({ ...vcpu.getRegs(), rsp: 0x8000n });
  timers.arm(clock.monotonicNs() + 5000, () => vcpu.kick());
  expect((await vcpu.run()).kind).toBe("intr");
});
