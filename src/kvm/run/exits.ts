import { KvmMpState } from "../../abi/kvm/index.js";
import { Exception, Gpr, Msr } from "../../abi/x86/index.js";
import { type Gpa, PAGE_SIZE } from "../../base/index.js";
import {
  EngineExit,
  type EngineExitCode,
  type EngineExitInfo,
  SegmentIndex,
} from "../../engine/bridge/port.js";
import { TraceBy } from "../../ports/index.js";
import {
  KvmMsrExitReason,
  type VcpuExit,
  type VcpuExitIo,
  type VcpuExitMmio,
} from "../api/exits.js";
import { hypervHypercall, hypervHypercalls } from "../cpu/hyperv.js";
import { KvmMsrFilterFlag } from "../cpu/msr-filter.js";
import { PicPair } from "../irq/pic.js";
import type { VcpuState } from "../vcpu-state.js";
import { DisableExits, Quirk } from "../vm-settings.js";
import { interceptedException } from "./debug-exit.js";
import { failDelivery, isDelivery } from "./delivery-failure.js";
import { handleInternal } from "./emulation-failure.js";
import { isFinishedOut } from "./finished-out.js";
import { leavesInstruction } from "./in-flight.js";
import { handleMwait } from "./mwait.js";
import { iretIntercepted } from "./nmi.js";
import { isPatch, patchHypercall } from "./patch-hypercall.js";
import { kvmHypercall } from "./pv-hypercall.js";
import { askForInput, usedInput } from "./string-input.js";

/** What follows an engine exit: go on, let others go first, or leave run(). */
export type AfterExit = "continue" | "yield" | VcpuExit;

/** Does what an engine exit asks for. */
export function handleExit(vcpu: VcpuState, code: EngineExitCode): AfterExit {
  const { engine, env, stats } = vcpu;
  stats.exits++;
  // Of an instruction before this one, which was done on the way here.
  if (code !== EngineExit.BUDGET) vcpu.pending.emulates = false;
  const { trace } = env;
  if (trace !== undefined && code !== EngineExit.BUDGET) {
    trace.exit(vcpu.id, code, engine.exit.address, engine.rip);
  }
  switch (code) {
    case EngineExit.BUDGET:
      return "continue";
    case EngineExit.IRET:
      iretIntercepted(vcpu);
      return "continue";
    case EngineExit.IRQ_WINDOW:
      stats.irqWindowExits++;
      vcpu.tpr.eventRequested = true;
      return "continue";
    case EngineExit.HLT:
      stats.haltExits++;
      if (vcpu.lapic === undefined && (env.settings.disabledExits & DisableExits.HLT) === 0) {
        return { kind: "hlt" };
      }
      vcpu.mp.state = KvmMpState.HALTED;
      return "continue";
    case EngineExit.IO:
      stats.ioExits++;
      return handleIo(vcpu);
    case EngineExit.MMIO:
      return handleMmio(vcpu);
    case EngineExit.HYPERCALL:
      stats.hypercalls++;
      return engine.exit.aux === VMCALL ? handleVmcall(vcpu) : handleHypercall(vcpu);
    case EngineExit.CPUID: {
      if (vcpu.msrs.cpuidFaults && engine.cpl !== 0) return raiseGp(vcpu);
      const fn = engine.gprLow(Gpr.RAX);
      const index = engine.gprLow(Gpr.RCX);
      const { eax, ebx, ecx, edx } = vcpu.cpuid.lookup(fn, index, vcpu.cpuidState);
      engine.completeCpuid(eax, ebx, ecx, edx);
      return "continue";
    }
    case EngineExit.RDMSR:
      return handleRdmsr(vcpu);
    case EngineExit.WRMSR:
      return handleWrmsr(vcpu);
    case EngineExit.SHUTDOWN:
      // AMD leaves the state undefined, so KVM resets the processor there.
      vcpu.reset(true);
      return { kind: "shutdown" };
    case EngineExit.CR8_WRITE:
      if (vcpu.lapic === undefined)
        return vcpu.tpr.lowersCr8(engine.cr8) ? { kind: "set-tpr" } : "continue";
      vcpu.lapic.setCr8(engine.cr8);
      return "continue";
    case EngineExit.PAUSE:
      return "yield";
    case EngineExit.MWAIT:
      return handleMwait(vcpu);
    case EngineExit.MEMORY:
      return { kind: "memory-fault", physAddr: engine.exit.address as Gpa };
    case EngineExit.DEBUG:
      return interceptedException(vcpu);
    case EngineExit.INTERNAL:
      return handleInternal(vcpu);
  }
}

/** RDMSR. */
function handleRdmsr(vcpu: VcpuState): AfterExit {
  const { engine, env, msrs } = vcpu;
  const index = engine.exit.address;
  const { msrFilter, userSpaceMsr } = env.settings;
  const allowed = msrFilter === undefined || msrFilter.allows(index, KvmMsrFilterFlag.READ);
  const value = allowed ? msrs.read(index, false) : undefined;
  if (value !== undefined) {
    engine.completeRdmsr(value);
    return "continue";
  }
  const reason = allowed ? FAULT_REASONS[msrs.fault] : KvmMsrExitReason.FILTER;
  if ((userSpaceMsr & reason) === 0) return raiseGp(vcpu);
  return { kind: "rdmsr", reason, index, data: 0n, error: false };
}

/** WRMSR. The registers of the x2APIC, which interrupt handlers write, take the short way. */
function handleWrmsr(vcpu: VcpuState): AfterExit {
  const { engine, lapic, msrs, env } = vcpu;
  const { exit } = engine;
  const index = exit.address;
  const { msrFilter, userSpaceMsr } = env.settings;
  const isApic = index >= Msr.X2APIC_FIRST && index <= Msr.X2APIC_LAST;
  let allowed = true;
  let done: boolean;
  if (isApic && lapic !== undefined && index !== env.xen.hypercallMsr) {
    msrs.fault = "invalid";
    done = lapic.writeMsrParts(index, exit.dataLow, exit.dataHigh);
  } else {
    allowed = msrFilter === undefined || msrFilter.allows(index, KvmMsrFilterFlag.WRITE);
    done = allowed && msrs.write(index, exit.data, false);
  }
  if (done) {
    engine.completeWrmsr();
    return "continue";
  }
  const reason = allowed ? FAULT_REASONS[msrs.fault] : KvmMsrExitReason.FILTER;
  if ((userSpaceMsr & reason) === 0) return raiseGp(vcpu);
  return { kind: "wrmsr", reason, index, data: exit.data, error: false };
}

/** `KVM_MSR_EXIT_REASON_*` of a refusal. */
const FAULT_REASONS = {
  unknown: KvmMsrExitReason.UNKNOWN,
  invalid: KvmMsrExitReason.INVAL,
} as const;

function raiseGp(vcpu: VcpuState): "continue" {
  // Kept here, not in the engine: a client that looks before the next entry must see it.
  vcpu.queueException(Exception.GP, 0);
  return "continue";
}

function bytesOf({ dataLow, dataHigh }: EngineExitInfo, size: number): Uint8Array {
  const data = new Uint8Array(size);
  for (let i = 0; i < size; i++) {
    data[i] = i < 4 ? dataLow >>> (i * 8) : dataHigh >>> (i * 8 - 32);
  }
  return data;
}

function valueFrom(data: Uint8Array, size: number): bigint {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(data[i] ?? 0);
  return value;
}

function u32From(data: Uint8Array, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value |= (data[i] ?? 0) << (i * 8);
  return value >>> 0;
}

function handleIo(vcpu: VcpuState): AfterExit {
  const { engine, env } = vcpu;
  const { write, address, size } = engine.exit;
  const isPic = env.pic !== undefined && PicPair.claims(address, size);
  const device = isPic ? env.pic : env.pit?.claims(address, size) ? env.pit : undefined;
  if (device !== undefined) {
    // The PIC has 8 bits: wider accesses read 0 and write nothing. The PIT takes the low ones.
    const ignored = isPic && size !== 1;
    if (isPic) env.routing.lowLines.clear();
    if (write) {
      if (!ignored) device.write(address, engine.exit.dataLow & 0xff);
      engine.completeWrite();
    } else engine.completeReadU32(ignored ? 0 : device.read(address));
    return "continue";
  }
  if (write && takenOutside(vcpu, 1, address, size)) {
    engine.completeWrite();
    return "continue";
  }
  const rip = linearRip(vcpu);
  vcpu.pending.rip = rip;
  if (engine.exit.aux === STRING) vcpu.pending.emulates = true;
  else vcpu.pending.portRip = engine.rip;
  const data = write ? bytesOf(engine.exit, size) : askForInput(vcpu, rip, size);
  const exit: VcpuExitIo = {
    kind: "io",
    direction: write ? "out" : "in",
    port: address,
    size,
    count: data.length / size,
    data,
    ...(write && isFinishedOut(vcpu) ? { finished: true } : undefined),
  };
  return exit;
}

function handleMmio(vcpu: VcpuState): AfterExit {
  const { engine, env, lapic } = vcpu;
  if (env.linux.failsDelivery && isDelivery(vcpu)) return failDelivery(vcpu);
  const { write, address, size } = engine.exit;
  // KVM's emulator does it, whoever answers: to a debugger it is a step even where TF has been lost.
  vcpu.pending.emulates = true;
  if (
    lapic !== undefined &&
    address >= lapic.address &&
    address < lapic.address + PAGE_SIZE &&
    (lapic.memoryMapped || env.settings.hasQuirk(Quirk.LAPIC_MMIO_HOLE))
  ) {
    const offset = address - lapic.address;
    if (write) {
      // Other sizes are ignored.
      if (size === 4) lapic.writeMmioU32(offset, engine.exit.dataLow);
      engine.completeWrite();
    } else engine.completeRead(lapic.readMmio(offset, size));
    return "continue";
  }
  if (env.ioapic?.claims(address)) {
    const offset = address - env.ioapic.base;
    if (write) {
      env.ioapic.write(offset, size, engine.exit.data);
      engine.completeWrite();
    } else engine.completeRead(env.ioapic.read(offset, size));
    return "continue";
  }
  if (write && takenOutside(vcpu, 0, address, size)) {
    engine.completeWrite();
    return "continue";
  }
  if (env.slots.isUnbacked(Math.floor(address / PAGE_SIZE))) {
    vcpu.pending.emulates = false;
    return { kind: "memory-fault", physAddr: address as Gpa };
  }
  vcpu.stats.mmioExits++;
  vcpu.pending.rip = linearRip(vcpu);
  const exit: VcpuExitMmio = {
    kind: "mmio",
    physAddr: address as Gpa,
    isWrite: write,
    len: size,
    data: write ? bytesOf(engine.exit, size) : new Uint8Array(size),
  };
  return exit;
}

/** Whether an ioeventfd or the ring of coalesced writes takes a write (`bus` 0 memory, 1 ports). */
function takenOutside(vcpu: VcpuState, bus: 0 | 1, address: number, size: number): boolean {
  const { ioeventfds, coalesced } = vcpu.env;
  if (!ioeventfds.active && !coalesced.active) return false;
  const { data } = vcpu.engine.exit;
  return ioeventfds.write(bus, address, size, data) || coalesced.write(bus, address, size, data);
}

function linearRip(vcpu: VcpuState): bigint {
  const { engine } = vcpu;
  if (engine.longMode64) return engine.rip;
  return BigInt.asUintN(32, engine.segment(SegmentIndex.CS).base + engine.rip);
}

/** `aux` of a hypercall exit: Intel's instruction. */
const VMCALL = 0;

/** `aux` of an exit for a port: INS or OUTS. */
const STRING = 1;

/** Length of VMCALL and VMMCALL. */
const HYPERCALL_LENGTH = 3;

function handleHypercall(vcpu: VcpuState): AfterExit {
  if (isForHyperv(vcpu)) {
    if (hypervHypercall(vcpu) === "exception") return "continue";
    return leaveHypercall(vcpu);
  }
  const outcome = vcpu.xen.hypercall();
  if (outcome === "not-xen") {
    const result = kvmHypercall(vcpu);
    if (vcpu.env.linux.showsHypercallResult) {
      vcpu.pending.hypercallResult = typeof result === "bigint" ? result : 0n;
    }
    if (typeof result !== "bigint") return result;
    setHypercallResult(vcpu, result);
  } else if (outcome !== "done") {
    vcpu.pending.rip = linearRip(vcpu);
    return outcome;
  }
  return leaveHypercall(vcpu);
}

function handleVmcall(vcpu: VcpuState): AfterExit {
  const outcome = patchHypercall(vcpu);
  return outcome === "hypercall" ? handleHypercall(vcpu) : outcome;
}

function leaveHypercall(vcpu: VcpuState): "continue" | "yield" {
  vcpu.engine.skipInstruction(HYPERCALL_LENGTH);
  if (!vcpu.yieldRequested) return "continue";
  vcpu.yieldRequested = false;
  return "yield";
}

/** Bit 31 of EAX makes a hypercall Hyper-V's where Xen's are there too. */
const HYPERV_MARK = 0x80000000;

function isForHyperv(vcpu: VcpuState): boolean {
  if (!hypervHypercalls(vcpu)) return false;
  if (!vcpu.env.xen.interceptsHypercalls) return true;
  return (vcpu.engine.gprLow(Gpr.RAX) & HYPERV_MARK) !== 0;
}

function setHypercallResult({ engine }: VcpuState, result: bigint): void {
  engine.setGpr(Gpr.RAX, BigInt.asUintN(engine.longMode64 ? 64 : 32, result));
}

/** A client that changed RIP (reset, migration) does not want the access done. */
function abandoned(vcpu: VcpuState): boolean {
  if (linearRip(vcpu) === vcpu.pending.rip) return false;
  vcpu.engine.dropReplay();
  return true;
}

/** Whether an exit is a write whose instruction is done before the client hears of it. */
export function isFinishedWrite(exit: VcpuExit): boolean {
  if (exit.kind === "io") return exit.finished === true;
  return exit.kind === "mmio" && exit.isWrite && !isPatch(exit);
}

/** Hands the client's answer to the last exit to the guest, at the start of a run(). */
export function completeExit(vcpu: VcpuState): void {
  const exit = vcpu.pending.exit;
  if (exit === undefined) return;
  vcpu.pending.exit = undefined;
  const { engine, env } = vcpu;
  const { trace } = env;
  switch (exit.kind) {
    case "io":
      if (exit.finished === true) return;
      if (!leavesInstruction(vcpu, exit) && abandoned(vcpu)) {
        vcpu.pending.stringInput = undefined;
        return;
      }
      if (exit.direction === "out") engine.completeWrite();
      else {
        engine.completeReadU32(u32From(exit.data, exit.size));
        usedInput(vcpu);
      }
      return;
    case "mmio":
      if (exit.isWrite || (!leavesInstruction(vcpu, exit) && abandoned(vcpu))) return;
      if (exit.len <= 4) engine.completeReadU32(u32From(exit.data, exit.len));
      else engine.completeRead(valueFrom(exit.data, exit.len));
      return;
    case "xen":
      // A client that changed RIP (reset, migration) does not want the result.
      if (linearRip(vcpu) !== vcpu.pending.rip) return;
      engine.setGpr(Gpr.RAX, BigInt.asUintN(64, exit.result));
      if (trace !== undefined) {
        const [low, high] = [engine.gprLow(Gpr.RAX), engine.gprHigh(Gpr.RAX)];
        trace.answered(vcpu.id, TraceBy.MONITOR, low, high);
      }
      engine.skipInstruction(HYPERCALL_LENGTH);
      return;
    case "hypercall":
      setHypercallResult(vcpu, exit.result);
      engine.skipInstruction(HYPERCALL_LENGTH);
      return;
    case "rdmsr":
      if (exit.error) raiseGp(vcpu);
      else engine.completeRdmsr(BigInt.asUintN(64, exit.data));
      return;
    case "wrmsr":
      if (exit.error) raiseGp(vcpu);
      else engine.completeWrmsr();
      return;
    default:
  }
}
