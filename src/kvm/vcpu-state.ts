import { KvmMpState } from "../abi/kvm/index.js";
import { ApicBase, Cr4, DeliveryMode, Rflags } from "../abi/x86/index.js";
import type { EngineVcpu } from "../engine/bridge/port.js";
import { CpuidTable } from "./cpu/cpuid.js";
import { MsrFile } from "./cpu/msr.js";
import { PvAreas } from "./cpu/pv-areas.js";
import { resetRegisters, startAt } from "./cpu/reset.js";
import type { VcpuExit } from "./exits.js";
import type { XenVcpuHooks, XenVcpuHost } from "./hooks.js";
import { Lapic } from "./irq/lapic.js";
import type { Runner, Turn } from "./run/scheduler.js";
import type { VcpuEnv } from "./vcpu-env.js";

/** An event that the next entry injects before any other (KVM_SET_VCPU_EVENTS). */
export interface QueuedException {
  readonly vector: number;
  readonly errorCode: number | undefined;
}

/** RDX after reset: the processor signature of old, as KVM gives without CPUID. */
const RESET_SIGNATURE = 0x600n;

/**
 * Everything KVM keeps of one vCPU. `run/entry.ts` executes it, `vcpu.ts` is what clients see; the
 * fields are for these two and for the hooks.
 */
export class VcpuState implements Runner, XenVcpuHost {
  readonly env: VcpuEnv;
  readonly index: number;
  readonly id: number;
  readonly engine: EngineVcpu;
  readonly cpuid = new CpuidTable();
  readonly msrs: MsrFile;
  readonly lapic: Lapic | undefined;
  readonly xen: XenVcpuHooks;
  readonly #areas: PvAreas;
  readonly #execute: (vcpu: VcpuState, budget: number) => Turn;

  /** One of {@link KvmMpState}. */
  mpState: number;
  /** NMIs that wait: 0 to 2. */
  nmiPending = 0;
  initPending = false;
  sipiPending = false;
  sipiVector = 0;
  /** Vector given by KVM_INTERRUPT, or -1. */
  userInterrupt = -1;
  queuedException: QueuedException | undefined;
  /** The last exit raised an exception that the engine takes at its next run. */
  exceptionRaised = false;
  /** An external interrupt that was acknowledged but not injected (KVM_SET_VCPU_EVENTS), or -1. */
  queuedInterrupt = -1;
  /** KVM_REQ_CLOCK_UPDATE. */
  clockUpdate = true;
  /** run() must resolve with "intr". */
  kicked = false;
  /** `kvm_run.request_interrupt_window`. */
  requestInterruptWindow = false;
  /** `kvm_run.immediate_exit`: run() completes what is under way and resolves. */
  immediateExit = false;
  /** The exit whose completion the next run() performs. */
  pendingExit: VcpuExit | undefined;
  /** Linear RIP at a "xen" exit. */
  hypercallRip = 0n;
  /** Resolves run(); undefined outside of it. */
  resolve: ((exit: VcpuExit) => void) | undefined;
  /** Rejects run(), for a defect of this library. */
  reject: ((error: unknown) => void) | undefined;
  hasRun = false;
  /** Split irqchip: a level interrupt ended, the client must hear of it. */
  ioapicEoi = -1;
  /** The slice is given up at the next chance. */
  yieldRequested = false;
  #onWake: (() => void) | undefined;
  #waitingSinceNs: number | undefined;
  #runDelayNs = 0;

  constructor(
    env: VcpuEnv,
    ids: { index: number; id: number },
    execute: (vcpu: VcpuState, budget: number) => Turn,
  ) {
    this.env = env;
    this.index = ids.index;
    this.id = ids.id;
    this.#execute = execute;
    this.engine = env.engine.createVcpu();
    this.engine.tscOffset = env.clock.initialTscOffset;
    this.#areas = new PvAreas(env.access, env.clock);
    resetRegisters(this.engine, false, RESET_SIGNATURE);
    this.lapic = env.irqchip === "none" ? undefined : this.#makeLapic();
    if (this.lapic !== undefined) env.bus.add(this.lapic);
    this.mpState =
      this.lapic === undefined || this.isBsp ? KvmMpState.RUNNABLE : KvmMpState.UNINITIALIZED;
    this.msrs = this.#makeMsrs();
    this.xen = env.xen.createVcpu(this);
  }

  get isBsp(): boolean {
    return this.id === this.env.bspId;
  }
  get instructions(): number {
    return this.engine.instructions;
  }
  /** What CPUID shows of the state. */
  get cpuidState(): { osxsave: boolean; apicEnabled: boolean } {
    return {
      osxsave: (this.engine.cr4 & Cr4.OSXSAVE) !== 0n,
      apicEnabled: (this.apicBase & BigInt(ApicBase.ENABLE)) !== 0n,
    };
  }
  /** IA32_APIC_BASE; without a local APIC what KVM keeps then. */
  get apicBase(): bigint {
    return this.lapic?.base ?? BigInt(ApicBase.DEFAULT_ADDRESS + (this.isBsp ? ApicBase.BSP : 0));
  }

  /** Guest TSC now. */
  readTsc(): bigint {
    return BigInt.asUintN(64, this.env.clock.hostNs() + this.engine.tscOffset);
  }

  // XenVcpuHost
  notify(): void {
    this.endPoll();
    this.#look();
  }
  requestClockUpdate(): void {
    this.clockUpdate = true;
  }
  sendToLapic(vector: number): void {
    this.lapic?.accept({
      vector,
      deliveryMode: DeliveryMode.FIXED,
      logical: false,
      level: true,
      levelTriggered: false,
      destination: this.id,
    });
  }
  haltOnce(onWake: () => void): void {
    this.mpState = KvmMpState.HALTED;
    this.#onWake = onWake;
  }
  yield(): void {
    this.yieldRequested = true;
  }
  runDelayNs(): bigint {
    return BigInt(Math.floor(this.#runDelayNs));
  }

  /** HALTED becomes RUNNABLE. */
  endHalt(): void {
    this.mpState = KvmMpState.RUNNABLE;
    const onWake = this.#onWake;
    this.#onWake = undefined;
    onWake?.();
  }

  /** Ends a halt of {@link haltOnce}, which any event ends. */
  endPoll(): void {
    if (this.#onWake !== undefined) this.endHalt();
  }

  /** Something may have ended a wait: from here on the vCPU waits for the thread. */
  #look(): void {
    if (this.resolve === undefined) return;
    if (this.mpState === KvmMpState.HALTED && this.wakesFromHalt()) {
      this.#waitingSinceNs ??= this.env.clock.nowNs();
    }
    this.env.scheduler.wake();
  }

  /** Whether RFLAGS.IF and the interrupt shadow let an external interrupt in. */
  interruptAllowed(): boolean {
    return (this.engine.rflags & Rflags.IF) !== 0n && this.engine.interruptShadow === 0;
  }

  /** An external interrupt waits, from any source. */
  hasInterrupt(): boolean {
    if (this.queuedInterrupt >= 0 || this.userInterrupt >= 0) return true;
    if (this.lapic === undefined) return false;
    if (this.xen.pendingVector() !== 0) return true;
    if (this.env.pic?.output === true && this.lapic.acceptsPic) return true;
    return this.lapic.pendingVector() >= 0;
  }

  /** Takes the interrupt to inject, in KVM's order; -1 when there is none after all. */
  takeInterrupt(): number {
    if (this.queuedInterrupt >= 0) {
      const vector = this.queuedInterrupt;
      this.queuedInterrupt = -1;
      return vector;
    }
    const xen = this.lapic === undefined ? 0 : this.xen.pendingVector();
    if (xen !== 0) return xen;
    if (this.userInterrupt >= 0) {
      const vector = this.userInterrupt;
      this.userInterrupt = -1;
      return vector;
    }
    if (this.lapic === undefined) return -1;
    const pic = this.env.pic;
    if (pic?.output === true && this.lapic.acceptsPic) return pic.acknowledge();
    const vector = this.lapic.pendingVector();
    if (vector >= 0) this.lapic.acknowledge(vector);
    return vector;
  }

  /** Processes INIT and STARTUP messages. */
  acceptApicEvents(): void {
    if (this.initPending) {
      this.initPending = false;
      this.reset(true);
      this.mpState = this.isBsp ? KvmMpState.RUNNABLE : KvmMpState.INIT_RECEIVED;
    }
    if (this.sipiPending) {
      this.sipiPending = false;
      if (this.mpState !== KvmMpState.INIT_RECEIVED) return;
      startAt(this.engine, this.sipiVector);
      this.mpState = KvmMpState.RUNNABLE;
    }
  }

  /** Registers and local APIC as after INIT. */
  reset(init: boolean): void {
    this.endPoll();
    const signature = this.cpuid.find(1, 0)?.eax;
    resetRegisters(
      this.engine,
      init,
      signature === undefined ? RESET_SIGNATURE : BigInt(signature),
    );
    this.lapic?.reset(init);
    this.nmiPending = 0;
    this.userInterrupt = -1;
    this.queuedException = undefined;
    this.queuedInterrupt = -1;
  }

  /** Rewrites the pvclock areas if that was asked for. */
  processClockUpdate(): void {
    if (!this.clockUpdate) return;
    this.clockUpdate = false;
    const time = this.env.clock.pvclock(this.engine.tscOffset, this.env.tscStable);
    this.#areas.updateClock(time);
    this.xen.updateClock(time);
  }

  // Runner
  canRun(): boolean {
    if (this.kicked || this.ioapicEoi >= 0) return true;
    if (this.initPending || this.sipiPending) return true;
    if (this.mpState === KvmMpState.RUNNABLE) return true;
    if (this.mpState !== KvmMpState.HALTED) return false;
    return this.xen.deferredTimer || this.wakesFromHalt();
  }
  turn(budget: number): Turn {
    return this.#execute(this, budget);
  }
  onRunning(): void {
    if (this.#waitingSinceNs !== undefined) {
      this.#runDelayNs += this.env.clock.nowNs() - this.#waitingSinceNs;
      this.#waitingSinceNs = undefined;
    }
    if (this.env.xen.enabled) this.xen.running();
    else this.#areas.recordSteal(this.runDelayNs());
  }
  onPreempted(): void {
    this.#waitingSinceNs = this.env.clock.nowNs();
    if (this.env.xen.enabled) this.xen.preempted();
  }

  /** Something that ends HLT is there. */
  wakesFromHalt(): boolean {
    if (this.nmiPending > 0 && !this.engine.nmiMasked) return true;
    if (this.queuedException !== undefined || this.xen.deferredEvents) return true;
    return this.interruptAllowed() && this.hasInterrupt();
  }

  #makeLapic(): Lapic {
    const { env } = this;
    return new Lapic(
      this.id,
      {
        bus: env.bus,
        time: {
          timers: env.clock.timers,
          nowNs: () => env.clock.nowNs(),
          tscToNs: (tsc) => Number(tsc - BigInt.asIntN(64, this.engine.tscOffset)),
        },
        notify: () => this.#look(),
        raiseNmi: () => this.raiseNmi(),
        raiseInit: (vector) => {
          if (vector === undefined) this.initPending = true;
          else {
            this.sipiPending = true;
            this.sipiVector = vector;
          }
          env.scheduler.wake();
        },
        tprChanged: (tpr) => {
          this.engine.cr8 = tpr >> 4;
        },
        levelEoi: (vector) => {
          if (env.ioapic !== undefined) env.ioapic.endOfInterrupt(vector);
          else this.ioapicEoi = vector;
        },
        softwareEnabled: () => this.xen.lapicEnabled(),
      },
      { bsp: this.isBsp, directedEoi: env.irqchip === "split" },
    );
  }

  /** Queues an NMI; at most two wait. */
  raiseNmi(): void {
    this.nmiPending = Math.min(2, this.nmiPending + 1);
    this.env.scheduler.wake();
  }

  /** Takes a new IA32_APIC_BASE, if it is valid. */
  setApicBase(value: bigint, fromHost: boolean): boolean {
    const valid = MsrFile.checkApicBase(this.apicBase, value, {
      physicalBits: this.cpuid.maxPhysicalBits,
      x2apic: this.cpuid.hasX2apic,
      fromHost,
    });
    if (valid) this.lapic?.setBase(value);
    return valid;
  }

  #moveTsc(offset: bigint): void {
    this.engine.tscOffset = BigInt.asIntN(64, offset);
    this.lapic?.tscMoved();
    this.env.requestClockUpdate();
  }

  #makeMsrs(): MsrFile {
    const state = this;
    const { env, engine } = this;
    return new MsrFile({
      engineRead: (index) => engine.readMsr(index),
      engineWrite: (index, value) => engine.writeMsr(index, value),
      readTsc: () => this.readTsc(),
      writeTsc: (value) => this.#moveTsc(value - env.clock.hostNs()),
      adjustTsc: (delta) => this.#moveTsc(engine.tscOffset + delta),
      apicBase: () => this.apicBase,
      setApicBase: (value, fromHost) => this.setApicBase(value, fromHost),
      apicRead: (index) => this.lapic?.readMsr(index),
      apicWrite: (index, value) => this.lapic?.writeMsr(index, value) ?? false,
      tscDeadline: () => this.lapic?.tscDeadline ?? 0n,
      setTscDeadline: (value) => this.lapic?.setTscDeadline(value),
      xenWrite: (index, value) => env.xen.writeMsr(this, index, value),
      kvmMsrWritten: (index, value) => {
        if (this.#areas.written(index, value, this.runDelayNs())) this.clockUpdate = true;
      },
      get physicalBits() {
        return state.cpuid.maxPhysicalBits;
      },
      isBsp: this.isBsp,
    });
  }
}
