/** Lets a vCPU execute a hypercall instruction again, with other arguments, as a program does it that drives KVM. */
import type { KvmRegs } from "../../../abi/kvm/index.js";
import type { VcpuExitXen } from "../../../kvm/api/index.js";
import type { XenVcpu } from "../kvm-objects.js";
import type { Continuation } from "./call.js";

/** Argument registers, in order; as `regs` of hypercall_create_continuation. */
const LONG = ["rdi", "rsi", "rdx", "r10", "r8", "r9"] as const;
const COMPAT = ["rbx", "rcx", "rdx", "rsi", "rdi", "rbp"] as const;

/**
 * Puts the arguments of a continuation into the registers of a vCPU that has left run() with a
 * hypercall, and leaves RIP at its instruction. KVM would complete the hypercall at the next run() and move RIP on,
 * unless RIP is another one by then: so it is another one for a run() that executes nothing.
 */
export function continueCall(vcpu: XenVcpu, exit: VcpuExitXen, { args }: Continuation): void {
  const regs = vcpu.getRegs();
  vcpu.setRegs({ ...regs, rip: regs.rip ^ 1n });
  vcpu.immediateExit = true;
  vcpu.runNow();
  vcpu.immediateExit = false;
  const names = exit.longmode ? LONG : COMPAT;
  const changed: Partial<Record<keyof KvmRegs, bigint>> = {};
  for (const [i, value] of args.entries()) {
    const name = names[i];
    if (name !== undefined) changed[name] = BigInt.asUintN(exit.longmode ? 64 : 32, value);
  }
  vcpu.setRegs({ ...regs, ...changed });
}
