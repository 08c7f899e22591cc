import { describe, expect, it } from "vitest";
import { machine } from "../tests/machine.fixture.js";
import { supportedCpuid } from "./cpuid-supported.js";

async function setUp(withCpuid = true) {
  const m = await machine({ vcpus: 2 });
  const vcpu = m.vcpus[0] as NonNullable<(typeof m.vcpus)[0]>;
  if (withCpuid) vcpu.setCpuid2(supportedCpuid());
  const get = (index: number): string => vcpu.getMsrs([index])[0]?.data.toString(16) ?? "none";
  const set = (index: number, data: bigint): number => vcpu.setMsrs([{ index, data }]);
  return { ...m, vcpu, get, set };
}

describe("KVM_GET_MSRS and KVM_SET_MSRS", () => {
  // Recorded from Linux 6.12 on an AMD processor.
  it.each([
    [0x1b, "fee00900"],
    [0x10a, "400000000c000069"],
    [0xce, "80000000"],
    [0x1a0, "1800"],
    [0xfe, "508"],
    [0x2ff, "0"],
    [0x179, "20"],
    [0x400, "0"],
    [0xc0010010, "0"],
    [0xc0010015, "0"],
    [0x8b, "1000065"],
    [0x277, "7040600070406"],
    [0x6e0, "0"],
    [0x3b, "0"],
    [0xc001001f, "0"],
    [0xc0010055, "0"],
    [0xc0010058, "0"],
    [0xc001102a, "0"],
    [0xc0010000, "0"],
    [0x4b564d05, "1"],
    [0xc001001b, "20000000"],
    [0x198, "400000003e8"],
    [0x2, "none"],
    [0x800, "none"],
    [0x808, "none"],
    [0xc0010200, "none"],
    [0xc0011020, "none"],
    [0x49, "none"],
  ])("reads 0x%s as the kernel does", async (index, value) => {
    expect((await setUp(false)).get(index as number)).toBe(value);
  });

  it.each([
    [0xc0010015, 0x01000000n, 1],
    [0xc0010015, 0x80n, 0],
    [0xc0010015, 0x40n, 1],
    [0xc0010015, 0x1n, 0],
    [0x200, 6n, 1],
    [0x201, 0xfffffff800n, 0],
    [0x2ff, 0xc06n, 1],
    [0x2ff, 0xc02n, 0],
    [0x2ff, 0x1c06n, 0],
    [0x250, 0x0606060606060606n, 1],
    [0x250, 0x0706060606060606n, 0],
    [0x1b, 0xfee00d00n, 0],
    [0x1b, 0xfee00500n, 0],
    [0x1b, 0xfee00100n, 1],
    [0x1b, 0x10000fee00900n, 0],
    [0xfe, 1n, 0],
    [0x8b, 0x100000000n, 1],
    [0x1a0, 0x1801n, 1],
  ])("writes 0x%s := %s", async (index, value, done) => {
    expect((await setUp(false)).set(index as number, value as bigint)).toBe(done);
  });

  it("stops at the first that is not there", async () => {
    const { vcpu } = await setUp();
    expect(vcpu.getMsrs([0x10a, 0x2, 0xce])).toHaveLength(1);
    expect(
      vcpu.setMsrs([
        { index: 0x1a0, data: 0n },
        { index: 0x2, data: 0n },
        { index: 0x1a0, data: 1n },
      ]),
    ).toBe(1);
  });
});

describe("guest accesses", () => {
  it("get #GP for what is not there, and do not continue it with an interrupt", async () => {
    const { vcpu, cpu } = await setUp();
    cpu(0).rflags = 0x202n;
    cpu(0).cr0 = 0x11n;
    cpu(0).script.push(
      { code: 7, address: 0x2 },
      { code: 8, address: 0x10a, data: 0n },
      { code: 7, address: 0xce },
      { code: 8, address: 0x1a0, data: 0x1801n },
      { code: 2, write: true, address: 1, size: 1 },
    );
    await vcpu.run();
    expect(cpu(0).events).toEqual(["exception 13 (0)", "exception 13 (0)", "wrmsr done"]);
    expect(cpu(0).completed).toEqual([0x80000000n]);
  });

  it("cannot leave x2APIC mode for xAPIC, nor enter it from off", async () => {
    const { vcpu, cpu, get } = await setUp();
    const write = (data: bigint) => ({ code: 8, address: 0x1b, data }) as const;
    cpu(0).cr0 = 0x11n;
    cpu(0).script.push(
      write(0xfee00d00n),
      write(0xfee00900n),
      write(0xfee00100n),
      write(0xfee00d00n),
      { code: 2, write: true, address: 1, size: 1 },
    );
    await vcpu.run();
    expect(cpu(0).events).toEqual([
      "wrmsr done",
      "exception 13 (0)",
      "wrmsr done",
      "exception 13 (0)",
    ]);
    expect(get(0x1b)).toBe("fee00100");
  });
});

describe("time", () => {
  it("is 1 GHz from the VM's creation, moved by writes", async () => {
    const { get, set, pass, vm } = await setUp();
    pass(1000);
    expect(get(0x10)).toBe("3e8");
    expect(vm.getClock().clock).toBe(1000n);
    set(0x10, 5n);
    pass(10);
    expect(get(0x10)).toBe("f");
    vm.setClock({ clock: 77n, flags: 0, realtime: 0n, hostTsc: 0n });
    expect(vm.getClock()).toMatchObject({ clock: 77n, flags: 14 });
  });

  it("is written to a kvmclock area with even versions and a stable flag", async () => {
    const { vcpu, set, at, view, pass, timers, clock } = await setUp();
    pass(5000);
    set(0x4b564d01, 0x3001n);
    timers.arm(clock.monotonicNs() + 1, () => vcpu.kick());
    await vcpu.run();
    const read = (offset: number) => view().getUint32(at(0x3000) + offset, true);
    expect([read(0), read(8), read(16), read(24)]).toEqual([2, 5000, 5000, 0x80000000]);
    expect([view().getInt8(at(0x3000) + 28), view().getUint8(at(0x3000) + 29)]).toEqual([1, 1]);
  });
});
