import { describe, expect, it } from "vitest";
import type { KvmRegs } from "../../../abi/kvm/index.js";
import type { VcpuExitXen } from "../../../kvm/api/index.js";
import type { XenVcpu } from "../kvm-objects.js";
import { Continuation } from "./call.js";
import { continueCall } from "./continuation.js";

const NAMES = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11"];

/** A vCPU that left with a hypercall; KVM completes it at the next run, unless RIP is another one then. */
function setUp() {
  const first = Object.fromEntries(NAMES.map((name, i) => [name, BigInt(i)]));
  let regs = { ...first, rip: 0x1000n, rflags: 2n } as unknown as KvmRegs;
  const runs: string[] = [];
  const vcpu = {
    immediateExit: false,
    getRegs: () => regs,
    setRegs: (next: KvmRegs) => {
      regs = next;
    },
    runNow: () => runs.push(`${vcpu.immediateExit} ${regs.rip !== 0x1000n}`),
  };
  const go = (longmode: boolean, args: bigint[]): Record<string, bigint> => {
    continueCall(vcpu as unknown as XenVcpu, { longmode } as VcpuExitXen, new Continuation(args));
    const now = regs as unknown as Record<string, bigint>;
    return Object.fromEntries(Object.entries(now).filter(([name, value]) => value !== first[name]));
  };
  return { vcpu, runs, go };
}

describe("continueCall", () => {
  it("puts arguments where the ABI has them for 64-bit guests (public/arch-x86/xen-x86_64.h)", () => {
    const { vcpu, runs, go } = setUp();
    const args = [101n, -1n, 103n, 104n, 105n, 106n];
    expect(go(true, args)).toEqual({
      rdi: 101n,
      rsi: 0xffffffffffffffffn,
      rdx: 103n,
      r10: 104n,
      r8: 105n,
      r9: 106n,
      rip: 0x1000n,
      rflags: 2n,
    });
    // One run, which executed nothing, with another RIP.
    expect(runs).toEqual(["true true"]);
    expect(vcpu.immediateExit).toBe(false);
  });

  it("puts arguments where the ABI has them for 32-bit guests (public/arch-x86/xen-x86_32.h)", () => {
    const { go } = setUp();
    expect(go(false, [101n, -1n, 103n, 104n, 105n, 106n])).toEqual({
      rbx: 101n,
      rcx: 0xffffffffn,
      rdx: 103n,
      rsi: 104n,
      rdi: 105n,
      rbp: 106n,
      rip: 0x1000n,
      rflags: 2n,
    });
  });

  it("leaves registers alone for which there is no argument", () => {
    expect(setUp().go(true, [101n])).toEqual({ rdi: 101n, rip: 0x1000n, rflags: 2n });
    expect(setUp().go(true, [1n, 2n, 3n, 4n, 5n, 6n, 7n])).toEqual({
      rdi: 1n,
      rsi: 2n,
      r10: 4n,
      r8: 5n,
      r9: 6n,
      rip: 0x1000n,
      rflags: 2n,
    });
  });
});
