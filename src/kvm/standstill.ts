/** A VM that stands still in the middle of everything: what of it is saved, and how it goes on. */

import { KvmMpState } from "../abi/kvm/index.js";
import { assert } from "../base/index.js";
import type { ArmLater } from "../ports/index.js";
import type { Lapic } from "./irq/lapic.js";
import { VCPU_FLAGS, VCPU_NUMBERS, type VcpuKept, type VmKept } from "./kept.js";
import { keepStep } from "./run/nmi.js";
import type { Hold } from "./run/scheduler.js";
import type { VcpuState } from "./vcpu-state.js";
import type { VmState } from "./vm-state.js";

const SEGMENTS = 8;

/** The exact state of a VM with local APICs in the kernel, between two turns of its vCPUs. */
export class Standstill {
  readonly #vm: VmState;

  constructor(vm: VmState) {
    this.#vm = vm;
  }

  /** What is done between two turns: time stands still until it is over. */
  set hold(hold: Hold | undefined) {
    this.#vm.scheduler.hold = hold;
  }

  /** Whether a vCPU, by the order of creation, is inside run(). */
  isRunning(index: number): boolean {
    const vcpu = this.#vm.vcpus[index];
    return vcpu !== undefined && this.#vm.scheduler.has(vcpu);
  }

  /** Why this VM cannot be saved now; undefined: it can. */
  get obstacle(): string | undefined {
    const { vcpus, pit, ioapic, pic } = this.#vm;
    if (pit !== undefined || ioapic === undefined || pic === undefined) return "its timers";
    for (const vcpu of vcpus) {
      if (vcpu.debug.interceptsDebug || vcpu.debug.softwareBreakpoints) return "a debugger";
      if (vcpu.hasOwnAreas) return "paravirtual areas of KVM's own";
      if (vcpu.inFlight !== undefined || vcpu.stringInput !== undefined) return "an instruction";
      if (vcpu.followUps.length > 0) return "an instruction";
      // Its client may keep it from coming back, which a restored one would not have left.
      if (vcpu.mpState === KvmMpState.UNINITIALIZED && vcpu.kicked) return "a vCPU that leaves";
      const { pendingExit: exit } = vcpu;
      if (exit !== undefined && exit.kind !== "xen" && exit.kind !== "intr") return "an exit";
    }
    return undefined;
  }

  /**
   * Reads all; in between, `get` may use KVM's GET calls, some of which would otherwise change what waits. The VM is as
   * it was afterwards.
   */
  read<T>(get: () => T): { readonly kept: VmKept; readonly got: T } {
    const { vcpus } = this.#vm;
    const kept = this.#read();
    for (const vcpu of vcpus) {
      vcpu.initPending = false;
      vcpu.sipiPending = false;
      vcpu.nmiPending = 0;
      vcpu.exception.clear();
    }
    const got = get();
    for (const [i, vcpu] of vcpus.entries()) putEvents(vcpu, kept.vcpus[i] as VcpuKept);
    return { kept, got };
  }

  #read(): VmKept {
    const { clock, scheduler, tsc, slots, bus, ioapic, pic, xen, vcpus, masterclock } = this.#vm;
    assert(ioapic !== undefined && pic !== undefined, "a VM without interrupt controllers");
    return {
      nowNs: clock.clock.monotonicNs(),
      scheduler: scheduler.position,
      masterclock,
      tsc: tsc.state,
      isUnmapped: slots.isUnmapped,
      known: bus.known,
      ioapic: ioapic.lines,
      pic: pic.lines,
      xen: xen.kept(),
      vcpus: vcpus.map((vcpu) => {
        // One that waits for INIT is inside run() from its first turn on only: that shows nowhere.
        const waits = vcpu.mpState === KvmMpState.UNINITIALIZED;
        return readVcpu(vcpu, !waits && scheduler.has(vcpu));
      }),
    };
  }

  /**
   * Puts all of it back, behind KVM's SET calls, into a VM none of whose vCPUs has run; memory is there, or comes later.
   * {@link goOn} follows when those vCPUs are inside run() that were. `later` arms the timers.
   */
  write(kept: VmKept, later: ArmLater): void {
    const vm = this.#vm;
    vm.xen.keep(kept.xen, later);
    for (const [i, vcpu] of vm.vcpus.entries()) {
      const state = kept.vcpus[i];
      if (state !== undefined) writeVcpu(vcpu, state, later);
    }
    vm.bus.known = kept.known;
    if (vm.ioapic !== undefined) vm.ioapic.lines = kept.ioapic;
    if (vm.pic !== undefined) vm.pic.lines = kept.pic;
    vm.tsc.state = kept.tsc;
    vm.masterclock = kept.masterclock;
    vm.slots.isUnmapped = kept.isUnmapped;
  }

  /** vCPUs have called run() again: turns go on where they were. */
  goOn(kept: VmKept): void {
    const { scheduler, vcpus } = this.#vm;
    scheduler.goOnAt(kept.scheduler, vcpus);
    for (const [i, vcpu] of vcpus.entries()) {
      const state = kept.vcpus[i];
      if (state !== undefined) vcpu.kicked = state.flags.kicked;
    }
  }
}

function readVcpu(vcpu: VcpuState, isRunning: boolean): VcpuKept {
  const { engine, pendingExit: exit } = vcpu;
  const pick = <N extends keyof VcpuState>(names: readonly N[]) =>
    Object.fromEntries(names.map((name) => [name, vcpu[name]])) as Pick<VcpuState, N>;
  return {
    isRunning,
    answer: exit?.kind === "xen" ? BigInt.asUintN(64, exit.result) : undefined,
    exitRip: vcpu.exitRip,
    iretRip: vcpu.iretRip,
    numbers: pick(VCPU_NUMBERS),
    flags: pick(VCPU_FLAGS),
    // Read before the engine's, which has the last that the guest raised until then.
    exception: vcpu.shownException.kept,
    waitingSinceNs: vcpu.waited.sinceNs,
    waitedNs: vcpu.waited.totalNs,
    eventRequested: vcpu.tpr.eventRequested,
    tscOffset: BigInt.asUintN(64, engine.tscOffset),
    engine: engine.kept,
    segments: Array.from({ length: SEGMENTS }, (_, i) => engine.segment(i)),
    lapic: (vcpu.lapic as Lapic).kept,
  };
}

/** What waits for a vCPU. */
function putEvents(vcpu: VcpuState, kept: VcpuKept): void {
  Object.assign(vcpu, kept.numbers, kept.flags);
  Object.assign(vcpu.exception, kept.exception, { vector: kept.exception.vector & 31 });
}

function writeVcpu(vcpu: VcpuState, kept: VcpuKept, later: ArmLater): void {
  const { engine } = vcpu;
  for (const [i, segment] of kept.segments.entries()) {
    if (i < SEGMENTS) engine.setSegment(i, segment);
  }
  engine.syncSregs();
  engine.kept = kept.engine;
  engine.tscOffset = BigInt.asIntN(64, kept.tscOffset);
  vcpu.lapic?.keep(kept.lapic, later);
  putEvents(vcpu, kept);
  keepStep(vcpu);
  vcpu.waited = { sinceNs: kept.waitingSinceNs, totalNs: kept.waitedNs };
  vcpu.tpr.eventRequested = kept.eventRequested;
  vcpu.exitRip = kept.exitRip;
  vcpu.iretRip = kept.iretRip;
  engine.iretExit = vcpu.nmiMasked && !vcpu.awaitsIret;
  if (kept.answer === undefined) return;
  const params = [0n, 0n, 0n, 0n, 0n, 0n] as const;
  const call = { longmode: true, cpl: 0, input: 0n, params } as const;
  vcpu.pendingExit = { kind: "xen", ...call, result: kept.answer };
}
