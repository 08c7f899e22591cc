/** A VM that stands still in the middle of everything: what of it is saved, and how it goes on. */

import { KvmMpState } from "../abi/kvm/index.js";
import { assert } from "../base/index.js";
import type { ArmLater } from "../ports/index.js";
import type { Hold, VmStandstill } from "./api/engine.js";
import type { VcpuKept, VmKept } from "./api/kept.js";
import { putEvents, readVcpu, writeVcpu } from "./vcpu-kept.js";
import type { VmState } from "./vm-state.js";

/** The exact state of a VM with local APICs in the kernel, between two turns of its vCPUs. */
export class Standstill implements VmStandstill {
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
      if (vcpu.time.areas.isUsed) return "paravirtual areas of KVM's own";
      const { exit, inFlight, stringInput, followUps } = vcpu.pending;
      if (inFlight !== undefined || stringInput !== undefined) return "an instruction";
      if (followUps.length > 0) return "an instruction";
      // Its client may keep it from coming back, which a restored one would not have left.
      if (vcpu.mp.state === KvmMpState.UNINITIALIZED && vcpu.kicked) return "a vCPU that leaves";
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
      vcpu.mp.initPending = false;
      vcpu.mp.sipiPending = false;
      vcpu.nmi.pending = 0;
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
        const waits = vcpu.mp.state === KvmMpState.UNINITIALIZED;
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
