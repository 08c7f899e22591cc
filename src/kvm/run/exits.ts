import { KvmInternalError, KvmMpState } from "../../abi/kvm/index.js";
import { Exception, Gpr, Ioapic as IoapicBits } from "../../abi/x86/index.js";
import { type Gpa, PAGE_SIZE } from "../../base/index.js";
import { EngineExit, type EngineExitCode, SegmentIndex } from "../../engine/bridge/port.js";
import type { VcpuExit, VcpuExitIo, VcpuExitMmio } from "../exits.js";
import { Ioapic } from "../irq/ioapic.js";
import { PicPair } from "../irq/pic.js";
import { Pit } from "../irq/pit.js";
import type { VcpuState } from "../vcpu-state.js";

/** What follows an engine exit: go on, let others go first, or leave run(). */
export type AfterExit = "continue" | "yield" | VcpuExit;

/** Result of a KVM hypercall that does not exist (`KVM_ENOSYS`). */
const KVM_ENOSYS = -1000n;

/** KVM_HC_VAPIC_POLL_IRQ: gives KVM a chance to look at pending interrupts. */
const KVM_HC_VAPIC_POLL_IRQ = 1n;

/** Does what an engine exit asks for. */
export function handleExit(vcpu: VcpuState, code: EngineExitCode): AfterExit {
  const { engine } = vcpu;
  switch (code) {
    case EngineExit.BUDGET:
    case EngineExit.NMI_WINDOW:
      return "continue";
    case EngineExit.IRQ_WINDOW:
      if (vcpu.lapic === undefined && vcpu.requestInterruptWindow && vcpu.userInterrupt < 0) {
        return { kind: "irq-window-open" };
      }
      return "continue";
    case EngineExit.HLT:
      if (vcpu.lapic === undefined) return { kind: "hlt" };
      vcpu.mpState = KvmMpState.HALTED;
      return "continue";
    case EngineExit.IO:
      return handleIo(vcpu);
    case EngineExit.MMIO:
      return handleMmio(vcpu);
    case EngineExit.HYPERCALL:
      return handleHypercall(vcpu);
    case EngineExit.CPUID: {
      const fn = Number(engine.gpr(Gpr.RAX) & 0xffffffffn);
      const index = Number(engine.gpr(Gpr.RCX) & 0xffffffffn);
      const { eax, ebx, ecx, edx } = vcpu.cpuid.lookup(fn, index, vcpu.cpuidState);
      engine.completeCpuid(eax, ebx, ecx, edx);
      return "continue";
    }
    case EngineExit.RDMSR: {
      const value = vcpu.msrs.read(engine.exit.address, false);
      if (value === undefined) raiseGp(vcpu);
      else engine.completeRdmsr(value);
      return "continue";
    }
    case EngineExit.WRMSR:
      if (vcpu.msrs.write(engine.exit.address, engine.exit.data, false)) engine.completeWrmsr();
      else raiseGp(vcpu);
      return "continue";
    case EngineExit.SHUTDOWN:
      return { kind: "shutdown" };
    case EngineExit.CR8_WRITE:
      vcpu.lapic?.setCr8(engine.cr8);
      return "continue";
    case EngineExit.PAUSE:
      return "yield";
    case EngineExit.INTERNAL:
      return {
        kind: "internal-error",
        suberror: KvmInternalError.EMULATION,
        message: `engine reason ${engine.exit.aux} at rip 0x${engine.rip.toString(16)}`,
      };
  }
}

function raiseGp(vcpu: VcpuState): void {
  vcpu.exceptionRaised = true;
  vcpu.engine.injectException(Exception.GP, 0);
}

function bytesOf(value: bigint, size: number): Uint8Array {
  const data = new Uint8Array(size);
  for (let i = 0, rest = value; i < size; i++, rest >>= 8n) data[i] = Number(rest & 0xffn);
  return data;
}

function valueFrom(data: Uint8Array, size: number): bigint {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(data[i] ?? 0);
  return value;
}

function handleIo(vcpu: VcpuState): AfterExit {
  const { engine, env } = vcpu;
  const { write, address, size, data } = engine.exit;
  if (size === 1) {
    const device =
      env.pic !== undefined && PicPair.claims(address)
        ? env.pic
        : env.pit !== undefined && Pit.claims(address)
          ? env.pit
          : undefined;
    if (device !== undefined) {
      if (write) {
        device.write(address, Number(data));
        engine.completeWrite();
      } else engine.completeRead(BigInt(device.read(address)));
      return "continue";
    }
  }
  const exit: VcpuExitIo = {
    kind: "io",
    direction: write ? "out" : "in",
    port: address,
    size,
    count: 1,
    data: write ? bytesOf(data, size) : new Uint8Array(size),
  };
  return exit;
}

function handleMmio(vcpu: VcpuState): AfterExit {
  const { engine, env, lapic } = vcpu;
  const { write, address, size, data } = engine.exit;
  if (lapic !== undefined && address >= lapic.address && address < lapic.address + PAGE_SIZE) {
    const offset = address - lapic.address;
    if (write) {
      lapic.writeMmio(offset, size, data);
      engine.completeWrite();
    } else engine.completeRead(lapic.readMmio(offset, size));
    return "continue";
  }
  if (env.ioapic !== undefined && Ioapic.claims(address)) {
    const offset = address - IoapicBits.DEFAULT_BASE;
    if (write) {
      env.ioapic.write(offset, size, data);
      engine.completeWrite();
    } else engine.completeRead(env.ioapic.read(offset, size));
    return "continue";
  }
  const exit: VcpuExitMmio = {
    kind: "mmio",
    physAddr: address as Gpa,
    isWrite: write,
    len: size,
    data: write ? bytesOf(data, size) : new Uint8Array(size),
  };
  return exit;
}

function linearRip(vcpu: VcpuState): bigint {
  const { engine } = vcpu;
  if (engine.longMode64) return engine.rip;
  return BigInt.asUintN(64, engine.segment(SegmentIndex.CS).base + engine.rip);
}

/** Length of VMCALL and VMMCALL. */
const HYPERCALL_LENGTH = 3;

function handleHypercall(vcpu: VcpuState): AfterExit {
  const { engine } = vcpu;
  const outcome = vcpu.xen.hypercall();
  if (outcome.kind === "exit") {
    vcpu.hypercallRip = linearRip(vcpu);
    return outcome.exit;
  }
  let result = KVM_ENOSYS;
  if (outcome.kind === "done") result = outcome.result;
  else if (engine.cpl !== 0) result = -1n;
  else if ((engine.gpr(Gpr.RAX) & 0xffffffffn) === KVM_HC_VAPIC_POLL_IRQ) result = 0n;
  engine.setGpr(Gpr.RAX, BigInt.asUintN(64, result));
  engine.skipInstruction(HYPERCALL_LENGTH);
  if (!vcpu.yieldRequested) return "continue";
  vcpu.yieldRequested = false;
  return "yield";
}

/** Hands the client's answer to the last exit to the guest, at the start of a run(). */
export function completeExit(vcpu: VcpuState): void {
  const exit = vcpu.pendingExit;
  if (exit === undefined) return;
  vcpu.pendingExit = undefined;
  const { engine } = vcpu;
  switch (exit.kind) {
    case "io":
      if (exit.direction === "out") engine.completeWrite();
      else engine.completeRead(valueFrom(exit.data, exit.size));
      return;
    case "mmio":
      if (exit.isWrite) engine.completeWrite();
      else engine.completeRead(valueFrom(exit.data, exit.len));
      return;
    case "xen":
      // A client that changed RIP (reset, migration) does not want the result.
      if (linearRip(vcpu) !== vcpu.hypercallRip) return;
      engine.setGpr(Gpr.RAX, BigInt.asUintN(64, exit.result));
      engine.skipInstruction(HYPERCALL_LENGTH);
      return;
    default:
  }
}
