import { describe, expect, it } from "vitest";
import { Gpr } from "../../abi/x86/index.js";
import { LOW_SIZE, machine } from "../tests/machine.fixture.js";
import { HvMsr } from "./hyperv.js";

const PAGE = 0x5000;
const SIGNAL_EVENT = 0x5d;

/** A vCPU whose guest sees the leaves of KVM_GET_SUPPORTED_HV_CPUID, or not. */
async function guest(shown = true) {
  const m = await machine();
  const vcpu = m.vcpus[0];
  if (vcpu === undefined) throw new Error("no vCPU");
  const own = m.kvm.getSupportedCpuid().filter(({ function: fn }) => fn >>> 28 !== 4);
  vcpu.setCpuid2(shown ? [...own, ...m.kvm.getSupportedHvCpuid()] : own);
  const set = (index: number, data: bigint) => vcpu.setMsrs([{ index, data }]);
  return { ...m, vcpu, set };
}

describe("Hyper-V's hypercall page", () => {
  it("is written once the guest has an identity", async () => {
    const { set, at, view, vcpu } = await guest();
    expect(set(HvMsr.HYPERCALL, BigInt(PAGE + 1))).toBe(1);
    expect(vcpu.getMsrs([HvMsr.HYPERCALL])[0]?.data).toBe(0n);
    set(HvMsr.GUEST_OS_ID, 0x5an);
    set(HvMsr.HYPERCALL, BigInt(PAGE + 1));
    // vmmcall; ret
    expect(view().getUint32(at(PAGE), true)).toBe(0xc3d9010f);
  });

  it("marks its calls where Xen's are intercepted too", async () => {
    const { set, at, view, vm } = await guest();
    vm.xen.hvmConfig({ flags: 2, msr: 0x40000200 });
    set(HvMsr.GUEST_OS_ID, 0x5an);
    set(HvMsr.HYPERCALL, BigInt(PAGE + 1));
    // or eax, 0x80000000; vmmcall; ret
    expect(view().getBigUint64(at(PAGE), true)).toBe(0xd9010f800000000dn);
  });

  it("is refused where there is no memory, and goes with the identity", async () => {
    const { set, vcpu } = await guest();
    set(HvMsr.GUEST_OS_ID, 1n);
    expect(set(HvMsr.HYPERCALL, BigInt(LOW_SIZE + 1))).toBe(0);
    set(HvMsr.HYPERCALL, BigInt(PAGE + 1));
    set(HvMsr.GUEST_OS_ID, 0n);
    expect(vcpu.getMsrs([HvMsr.HYPERCALL])[0]?.data).toBe(BigInt(PAGE));
  });
});

describe("Hyper-V's hypercalls", () => {
  async function caller() {
    const m = await guest();
    m.set(HvMsr.GUEST_OS_ID, 0x5an);
    const cpu = m.cpu(0);
    cpu.cr0 = 1n;
    /** The status of a call with its control word and its input. */
    const call = async (control: bigint | number, input: bigint | number, rax = 0n) => {
      cpu.setGpr(Gpr.RAX, rax);
      cpu.setGpr(Gpr.RCX, BigInt(control));
      cpu.setGpr(Gpr.RDX, BigInt(input));
      cpu.script.push({ code: 4, aux: 1 }, { code: 2, write: true, address: 0x10, size: 1 });
      const exit = await m.vcpu.run();
      return exit.kind === "io" ? cpu.gpr(Gpr.RAX) : exit.kind;
    };
    return { ...m, cpu, call };
  }

  it("check what they are given", async () => {
    const { call } = await caller();
    expect(await call(SIGNAL_EVENT, 0x5a5a5a5a)).toBe(4n);
    expect(await call(SIGNAL_EVENT, LOW_SIZE)).toBe(11n);
    expect(await call(SIGNAL_EVENT, PAGE)).toBe(3n);
    expect(await call(SIGNAL_EVENT | 0x10000, 1 << 24)).toBe(3n);
    expect(await call(0x5c, PAGE)).toBe(3n);
    expect(await call(0x8, 0)).toBe(0n);
    expect(await call(0x8n | (1n << 32n), 0)).toBe(3n);
    expect(await call(0x1234, 0)).toBe(2n);
  });

  it("are Xen's without the mark, where both are there", async () => {
    const { call, vm } = await caller();
    vm.xen.hvmConfig({ flags: 2, msr: 0x40000200 });
    expect(await call(0x1234, 0, 0x80000000n)).toBe(2n);
    expect(await call(0x1234, 0, 17n)).toBe("xen");
  });

  it("raise #UD above CPL 0", async () => {
    const { call, cpu } = await caller();
    cpu.cpl = 3;
    await call(SIGNAL_EVENT, PAGE);
    expect(cpu.events).toContain("exception 6");
  });
});
