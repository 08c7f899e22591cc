import { describe, expect, it } from "vitest";
import { Errno, InvariantError } from "../../base/index.js";
import { EngineExit as X } from "../../engine/bridge/port.js";
import type { VcpuExitIo, VcpuExitMmio } from "../index.js";
import { errnoOf, machine } from "../tests/machine.fixture.js";

const OUT = { code: X.IO, write: true, address: 0x10, size: 1, data: 0x41n } as const;
const eoi = { code: X.MMIO, write: true, address: 0xfee000b0, size: 4, data: 0n } as const;
const enableApic = {
  code: X.MMIO,
  write: true,
  address: 0xfee000f0,
  size: 4,
  data: 0x1ffn,
} as const;
const lapicWrite = (reg: number, data: bigint) =>
  ({ code: X.MMIO, write: true, address: 0xfee00000 + reg, size: 4, data }) as const;

async function one(irqchip: "none" | "split" | "kernel" = "kernel") {
  const m = await machine({ irqchip });
  const vcpu = m.vcpus[0] as NonNullable<(typeof m.vcpus)[0]>;
  return { ...m, vcpu, fake: m.cpu(0) };
}

describe("exits", () => {
  it("carry port accesses and hand answers back", async () => {
    const { vcpu, fake } = await one();
    fake.script.push(OUT, { code: X.IO, address: 0x60, size: 2 }, OUT);
    expect(await vcpu.run()).toEqual({
      kind: "io",
      direction: "out",
      port: 0x10,
      size: 1,
      count: 1,
      data: Uint8Array.of(0x41),
    });
    const input = (await vcpu.run()) as VcpuExitIo;
    input.data.set([0x34, 0x12]);
    await vcpu.run();
    expect(fake.completed).toEqual([0x1234n]);
  });

  it("carry memory accesses outside of slots", async () => {
    const { vcpu, fake } = await one();
    fake.script.push(
      { code: X.MMIO, address: 0xd0000004, size: 4 },
      { code: X.MMIO, write: true, address: 0xd0000008, size: 8, data: 0x0102030405060708n },
      OUT,
    );
    const read = (await vcpu.run()) as VcpuExitMmio;
    read.data.set([1, 0, 0, 0x80]);
    const write = (await vcpu.run()) as VcpuExitMmio;
    expect(fake.completed).toEqual([0x80000001n]);
    expect([write.physAddr, write.isWrite, write.len]).toEqual([0xd0000008, true, 8]);
    expect([...write.data]).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
  });

  it("report HLT only without a local APIC, and the triple fault", async () => {
    const { vcpu, fake } = await one("none");
    fake.script.push({ retire: 3, code: X.HLT }, { code: X.SHUTDOWN });
    expect(await vcpu.run()).toEqual({ kind: "hlt" });
    expect(await vcpu.run()).toEqual({ kind: "shutdown" });
  });

  it("complete the last access and no more with immediateExit", async () => {
    const { vcpu, fake } = await one();
    fake.script.push({ code: X.IO, address: 0x60, size: 1 }, { retire: 1, code: X.BUDGET }, OUT);
    await vcpu.run();
    vcpu.immediateExit = true;
    expect(await vcpu.run()).toEqual({ kind: "intr" });
    expect([fake.completed, fake.instructions]).toEqual([[0n], 1]);
    expect(await vcpu.run()).toEqual({ kind: "intr" });
    expect(fake.instructions).toBe(1);
  });

  it("reach every run() when the engine breaks a rule", async () => {
    const { vcpus, cpu } = await machine({ vcpus: 2 });
    cpu(0).script.push({
      code: X.HLT,
      effect: () => {
        throw new InvariantError("broken");
      },
    });
    const runs = vcpus.map((vcpu) => vcpu.run());
    await Promise.all(runs.map((run) => expect(run).rejects.toThrow("broken")));
  });
});

describe("events", () => {
  it("come NMI first, then one interrupt, each when it is allowed", async () => {
    const { vcpu, fake } = await one();
    fake.script.push(
      enableApic,
      lapicWrite(0x300, 0x40041n),
      { code: X.IO, address: 0x60, size: 1, effect: () => vcpu.nmi() },
      { retire: 1, code: X.BUDGET, effect: (cpu) => cpu.events.push("answered") },
      { retire: 5, code: X.BUDGET, effect: (cpu) => (cpu.rflags = 0x202n) },
      OUT,
    );
    await vcpu.run();
    await vcpu.run();
    // Nothing may come between the port read and its instruction; then the NMI, then, in a window, the interrupt.
    expect(fake.events).toEqual(["answered", "nmi", "irq 0x41"]);
  });

  it("wait for the interrupt flag and the end of a shadow", async () => {
    const { vcpu, fake } = await one();
    fake.rflags = 0x202n;
    fake.interruptShadow = 1;
    fake.script.push(
      enableApic,
      lapicWrite(0x300, 0x40041n),
      { retire: 1, code: X.CR8_WRITE, effect: (cpu) => cpu.events.push("retired") },
      {
        retire: 1,
        code: X.CR8_WRITE,
        effect: (cpu) => {
          cpu.interruptShadow = 0;
        },
      },
      OUT,
    );
    await vcpu.run();
    expect(fake.events).toEqual(["retired", "irq 0x41"]);
  });

  it("respect CR8", async () => {
    const { vcpu, fake } = await one();
    fake.rflags = 0x202n;
    const cr8 = (value: number) =>
      ({
        code: X.CR8_WRITE,
        effect: (cpu: typeof fake) => {
          cpu.cr8 = value;
          cpu.events.push(`cr8 ${value}`);
        },
      }) as const;
    fake.script.push(enableApic, cr8(4), lapicWrite(0x300, 0x40041n), cr8(3), OUT);
    await vcpu.run();
    expect(fake.events).toEqual(["cr8 4", "cr8 3", "irq 0x41"]);
  });

  it("are queued by the client where there is no in-kernel PIC", async () => {
    const { vcpu, fake } = await one("none");
    expect(vcpu.readyForInterruptInjection).toBe(false);
    vcpu.requestInterruptWindow = true;
    fake.script.push(
      { retire: 10, code: X.CR8_WRITE, effect: (cpu) => (cpu.rflags = 0x202n) },
      OUT,
    );
    expect(await vcpu.run()).toEqual({ kind: "irq-window-open" });
    expect(vcpu.readyForInterruptInjection).toBe(true);
    vcpu.interrupt(0x20);
    vcpu.requestInterruptWindow = false;
    await vcpu.run();
    expect(fake.events).toEqual(["irq 0x20"]);
    expect(errnoOf(() => vcpu.interrupt(256))).toBe(Errno.EINVAL);
    const kernel = await one();
    expect(errnoOf(() => kernel.vcpu.interrupt(1))).toBe(Errno.ENXIO);
  });

  it("reach the client as IOAPIC EOIs in a split irqchip", async () => {
    const { vcpu, fake, vm } = await one("split");
    fake.rflags = 0x202n;
    fake.script.push(enableApic, OUT);
    await vcpu.run();
    vm.signalMsi({ addressLo: 0xfee00000, addressHi: 0, data: 0x8049 });
    fake.script.push({ retire: 1, code: X.CR8_WRITE }, eoi, OUT);
    expect(await vcpu.run()).toEqual({ kind: "ioapic-eoi", vector: 0x49 });
    expect(fake.events).toEqual(["irq 0x49"]);
    await vcpu.run();
  });
});

describe("halting", () => {
  it("waits inside run() for the timer and jumps there under virtual time", async () => {
    const { vcpu, fake, clock } = await one();
    fake.rflags = 0x202n;
    fake.script.push(
      enableApic,
      lapicWrite(0x3e0, 0xbn),
      lapicWrite(0x320, 0x31n),
      lapicWrite(0x380, 5_000_000n),
      { retire: 100, code: X.HLT },
      OUT,
    );
    await vcpu.run();
    expect(fake.events).toEqual(["irq 0x31"]);
    expect(clock.monotonicNs()).toBe(5_000_000);
    expect(fake.instructions).toBe(100);
  });

  it("ends for a kick, and goes on after it", async () => {
    const { vcpu, fake, timers } = await one();
    fake.script.push({ code: X.HLT });
    timers.arm(1000, () => vcpu.kick());
    expect(await vcpu.run()).toEqual({ kind: "intr" });
    expect(vcpu.getMpState()).toBe(3);
    timers.arm(2000, () => vcpu.nmi());
    fake.script.push(OUT);
    expect((await vcpu.run()).kind).toBe("io");
    expect(fake.events).toEqual(["nmi"]);
  });

  it("ends turns exactly at a timer", async () => {
    const { vcpu, fake, timers } = await one();
    const seen: number[] = [];
    timers.arm(123_457, () => seen.push(fake.instructions));
    fake.script.push({ retire: 1_000_000, ...OUT });
    await vcpu.run();
    expect(seen).toEqual([123_457]);
    expect(fake.instructions).toBe(1_000_000);
  });
});

describe("several vCPUs", () => {
  it("start by INIT and STARTUP", async () => {
    const { vcpus, cpu } = await machine({ vcpus: 2 });
    expect(vcpus.map((vcpu) => vcpu.getMpState())).toEqual([0, 1]);
    cpu(0).script.push(
      lapicWrite(0xf0, 0x1ffn),
      lapicWrite(0x310, 1n << 24n),
      lapicWrite(0x300, 0xc500n),
      lapicWrite(0x300, 0x69an),
      { retire: 10_000_000, ...OUT },
    );
    cpu(1).script.push({ retire: 5, ...OUT });
    const first = vcpus[0]?.run();
    // INIT, then STARTUP: KVM_RUN returns -EAGAIN once, while it waits for its first INIT.
    expect((await vcpus[1]?.run())?.kind).toBe("again");
    expect((await vcpus[1]?.run())?.kind).toBe("io");
    const sregs = vcpus[1]?.getSregs();
    expect([sregs?.cs.selector, sregs?.cs.base, cpu(1).rip]).toEqual([0x9a00, 0x9a000n, 0n]);
    await first;
  });

  it("take turns, and give theirs up for PAUSE", async () => {
    const { vcpus, cpu } = await machine({ vcpus: 2 });
    vcpus[1]?.setMpState(0);
    const order: string[] = [];
    cpu(0).script.push(
      { retire: 300_000, code: X.PAUSE, effect: () => order.push(`a ${cpu(1).instructions}`) },
      { retire: 10, ...OUT, effect: () => order.push(`b ${cpu(1).instructions}`) },
    );
    cpu(1).script.push({ retire: 450_000, ...OUT });
    await Promise.all(vcpus.map((vcpu) => vcpu.run()));
    expect(order).toEqual(["a 200000", "b 400000"]);
    expect(cpu(0).pauseExit).toBeGreaterThan(0);
  });

  it("count the wait for the thread as steal time", async () => {
    const { vm, vcpus, cpu, pass } = await machine({ vcpus: 2 });
    pass(1000);
    vm.xen.hvmConfig({ flags: 2, msr: 0x40000000 });
    vcpus[1]?.setMpState(0);
    cpu(0).script.push({ retire: 300_000, ...OUT });
    cpu(1).script.push({ retire: 300_000, ...OUT });
    await Promise.all(vcpus.map((vcpu) => vcpu.run()));
    const { runstate } = vcpus[0]?.xen.getAttr("RUNSTATE_DATA") ?? {};
    expect([runstate?.timeRunning, runstate?.timeRunnable]).toEqual([200_000n, 200_000n]);
    expect(runstate?.state).toBe(0n);
  });

  it("do the same again for the same input", async () => {
    const trace = async (): Promise<string> => {
      const { vcpus, cpu, clock } = await machine({ vcpus: 3 });
      const log: string[] = [];
      await Promise.all(
        vcpus.map(async (vcpu, i) => {
          if (i > 0) vcpu.setMpState(0);
          for (let n = 0; n < 20; n++) {
            cpu(i).script.push({ retire: 10_000 * (i + 1) + n * 777, ...OUT });
            await vcpu.run();
            log.push(`${i} ${clock.monotonicNs()}`);
          }
        }),
      );
      return log.join("\n");
    };
    expect(await trace()).toBe(await trace());
  });
});
