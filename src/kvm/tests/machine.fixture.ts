import { apicId } from "../../base/index.js";
import { HeapTimers, VirtualClock } from "../../hosts/sim/index.js";
import { Kvm, KvmError, type Vcpu, type Vm } from "../index.js";
import { FakeEngineVm, type FakeVcpu } from "./fake-engine.fixture.js";

/** A VM on a scripted engine and virtual time, with memory at 0 and at 0xc0000000. */
export interface TestMachine {
  readonly kvm: Kvm;
  readonly vm: Vm;
  readonly engine: FakeEngineVm;
  readonly vcpus: readonly Vcpu[];
  readonly clock: VirtualClock;
  readonly timers: HeapTimers;
  /** The scripted processor of a vCPU. */
  cpu(index: number): FakeVcpu;
  /** Offset in linear memory of a guest-physical address. */
  at(gpa: number): number;
  view(): DataView;
  /** Moves the time and fires what is due. */
  pass(ns: number): void;
}

export const LOW_SIZE = 0x200000;
export const HIGH = 0xc0000000;
export const HIGH_SIZE = 0x8000;

/** Makes a machine. */
export async function machine(
  options: { vcpus?: number; irqchip?: "none" | "split" | "kernel" } = {},
): Promise<TestMachine> {
  const engine = new FakeEngineVm();
  const clock = new VirtualClock();
  const timers = new HeapTimers(clock);
  const kvm = await Kvm.open({ engine: { createVm: () => engine }, clock, timers });
  const vm = kvm.createVm();
  const irqchip = options.irqchip ?? "kernel";
  if (irqchip === "kernel") vm.createIrqchip();
  if (irqchip === "split") vm.enableCap(121, [24]);
  const low = vm.linear.allocate(LOW_SIZE) as number;
  const high = vm.linear.allocate(HIGH_SIZE) as number;
  vm.setUserMemoryRegion(region(0, 0, LOW_SIZE, low));
  vm.setUserMemoryRegion(region(1, HIGH, HIGH_SIZE, high, 1));
  const vcpus = Array.from({ length: options.vcpus ?? 1 }, (_, i) => vm.createVcpu(apicId(i)));
  return {
    kvm,
    vm,
    engine,
    vcpus,
    clock,
    timers,
    cpu: (index) => engine.vcpus[index] as FakeVcpu,
    at: (gpa) => (gpa >= HIGH ? high + gpa - HIGH : low + gpa),
    view: () => vm.linear.view,
    pass(ns) {
      clock.virtual.advance(ns);
      timers.runDue();
    },
  };
}

/** A slot as setUserMemoryRegion takes it. */
export function region(
  slot: number,
  guestPhysAddr: number,
  memorySize: number,
  userspaceAddr: number,
  flags = 0,
) {
  return { slot, flags, guestPhysAddr, memorySize, userspaceAddr };
}

/** The errno a call is refused with, or 0. */
export function errnoOf(call: () => unknown): number {
  try {
    call();
    return 0;
  } catch (error) {
    if (error instanceof KvmError) return error.errno;
    throw error;
  }
}
