import { describe, expect, it } from "vitest";
import { KvmMpState } from "../../../abi/kvm/index.js";
import { vcpu_hvm_x86_32, vcpu_hvm_x86_64 } from "../../../abi/xen/hvm-vcpu.js";
import { Errno } from "../../../base/index.js";
import { KvmError } from "../../../kvm/api/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { startState } from "./vcpu-context.js";

const { EEXIST, EFAULT, EINVAL } = Errno;

type Fields32 = Partial<Parameters<typeof vcpu_hvm_x86_32.encode>[0]>;
type Fields64 = Partial<Parameters<typeof vcpu_hvm_x86_64.encode>[0]>;

const zero = <T>(size: number, decode: (bytes: Uint8Array, width: 64) => T): T =>
  decode(new Uint8Array(size), 64);

function context(mode: number, registers: Uint8Array, pad = 0): Uint8Array {
  const bytes = new Uint8Array(128);
  new DataView(bytes.buffer).setUint32(0, mode, true);
  bytes[4] = pad;
  bytes.set(registers, 8);
  return bytes;
}

/** As a PVH guest starts: flat protected mode. */
function flat(fields: Fields32 = {}): Uint8Array {
  const limits = { cs_limit: 0xffffffff, ss_limit: 0xffffffff, tr_limit: 0x67 };
  const rights = { cs_ar: 0xc9b, ss_ar: 0xc93, ds_ar: 0xc92, es_ar: 0, tr_ar: 0x89 };
  const base = { ...zero(120, vcpu_hvm_x86_32.decode), ...limits, ...rights, cr0: 0x11 };
  return context(0, vcpu_hvm_x86_32.encode({ ...base, ...fields }));
}

function long(fields: Fields64 = {}): Uint8Array {
  const control = { cr0: 0x80000011n, cr3: 0x1000n, cr4: 0x20n, efer: 0x100n };
  const base = { ...zero(112, vcpu_hvm_x86_64.decode), ...control };
  return context(1, vcpu_hvm_x86_64.encode({ ...base, ...fields }));
}

describe("startState", () => {
  it("makes segments and registers of a 32-bit context", () => {
    const state = startState(flat({ eip: 0x100000, ebx: 7, eflags: 0x8002 | 0x200 }));
    expect(state?.regs).toMatchObject({ rip: 0x100000n, rbx: 7n, rflags: 0x202n });
    expect(state?.sregs.cs).toMatchObject({ type: 11, s: true, present: true, g: true, db: true });
    expect(state?.sregs.tr).toMatchObject({ type: 11, s: false, present: true });
    expect(state?.sregs.ds).toMatchObject({ type: 3, unusable: false });
    expect(state?.sregs.es).toMatchObject({ unusable: true, present: false });
  });

  it("enters long mode directly in a 64-bit context", () => {
    const state = startState(long({ rip: 0xffffffff81000000n, rsp: 5n }));
    expect(state?.regs).toMatchObject({ rip: 0xffffffff81000000n, rsp: 5n, rflags: 2n });
    expect(state?.sregs).toMatchObject({ efer: 0x500n, cr3: 0x1000n });
    expect(state?.sregs.cs).toMatchObject({ l: true, db: false, type: 11 });
  });

  it.each([
    ["unknown mode", context(2, new Uint8Array())],
    ["padding", context(0, flat().subarray(8), 1)],
    ["padding inside", flat({ pad1: 1 })],
    ["padding at the end", flat({ pad2: [0, 0, 1] })],
    ["reserved attribute bits", flat({ ds_ar: 0x1c93 })],
    ["no code segment", flat({ cs_ar: 0 })],
    ["a data segment as CS", flat({ cs_ar: 0xc93 })],
    ["a read-only SS", flat({ ss_ar: 0xc91 })],
    ["a null SS", flat({ ss_ar: 0 })],
    ["an execute-only DS", flat({ ds_ar: 0xc99 })],
    ["a DS that is not present", flat({ ds_ar: 0xc13 })],
    ["a 16-bit TSS", flat({ tr_ar: 0x83 })],
    ["EIP beyond CS", flat({ cs_ar: 0x49b, cs_limit: 0xfff, eip: 0x1000 })],
    ["another level in SS", flat({ ss_ar: 0xcf3 })],
    ["a less privileged DS", flat({ ds_ar: 0xcf3 })],
    ["LMA without LME", flat({ efer: 0x400n })],
    ["a RIP that is not canonical", long({ rip: 1n << 47n })],
    ["64 bits without paging", long({ cr0: 0x11n })],
    ["64 bits without PAE", long({ cr4: 0n })],
    ["64 bits without LME", long({ efer: 0n })],
  ])("refuses %s", (_name, bytes) => {
    expect(startState(bytes)).toBeUndefined();
  });
});

describe("VCPUOP_initialise", () => {
  it("starts a vCPU that never ran, once, when it is brought up", () => {
    const { call, domain, vcpus, take } = makeDomain();
    const at = 0x5000;
    domain.memory.write(at, flat({ eip: 0x1234 }));
    expect(call(24, [1, 1])).toBe(-EINVAL);
    expect(call(24, [0, 1, 2n ** 40n])).toBe(-EFAULT);
    expect(call(24, [0, 0, at])).toBe(-EEXIST);
    domain.memory.write(at + 4, Uint8Array.of(1));
    expect(call(24, [0, 1, at])).toBe(-EINVAL);
    domain.memory.write(at, flat({ eip: 0x1234 }));
    take();
    expect(call(24, [0, 1, at])).toBe(0);
    expect(take()).toEqual(["kick 4"]);
    expect(call(24, [0, 1, at])).toBe(-EEXIST);
    expect(call(24, [3, 1])).toBe(0);
    expect(vcpus[1]?.regs.rip).toBe(0x1234n);
    expect(vcpus[1]?.mpState).toBe(KvmMpState.UNINITIALIZED);
    expect(call(24, [1, 1])).toBe(0);
    expect(vcpus[1]?.mpState).toBe(KvmMpState.RUNNABLE);
    expect(call(24, [3, 1])).toBe(1);
  });

  it("keeps what the context does not name, and starts nothing that KVM refuses", () => {
    const { call, domain, vcpus, take } = makeDomain();
    const [at, vcpu] = [0x5000, vcpus[1]];
    if (vcpu === undefined) throw new Error("no vCPU");
    domain.memory.write(at, flat({ eip: 0x1234, cr3: 0x7000 }));
    Object.assign(vcpu, { sregs: { apicBase: 0xfee00000n }, regs: { r15: 5n } });
    const { setSregs } = vcpu;
    vcpu.setSregs = () => {
      throw new KvmError(EINVAL, "refused");
    };
    expect([call(24, [0, 1, at]), call(24, [1, 1]), take()]).toEqual([-EINVAL, -EINVAL, []]);
    expect(domain.vcpus.get(1)).toMatchObject({ initialised: false, down: false });
    vcpu.setSregs = setSregs;
    expect(call(24, [0, 1, at])).toBe(0);
    expect(vcpu.sregsSet).toMatchObject([{ apicBase: 0xfee00000n, cr0: 0x11n, cr3: 0x7000n }]);
    expect(vcpu.regs).toMatchObject({ r15: 5n, rip: 0x1234n });
  });
});
