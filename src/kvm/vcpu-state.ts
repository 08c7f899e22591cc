import { KvmMpState } from "../abi/kvm/index.js";
import { ApicBase, Cr4 } from "../abi/x86/index.js";
import type { ApicId, VcpuIndex } from "../base/index.js";
import { type EngineVcpu, SegmentIndex } from "../engine/bridge/port.js";
import type { VcpuExit } from "./api/exits.js";
import { type CpuidState, CpuidTable } from "./cpu/cpuid.js";
import { QueuedException } from "./cpu/exception.js";
import { GuestDebug } from "./cpu/guest-debug.js";
import { MsrFile } from "./cpu/msr.js";
import { resetRegisters, startAt } from "./cpu/reset.js";
import { msrsOf } from "./cpu/vcpu-msrs.js";
import { VcpuTime } from "./cpu/vcpu-time.js";
import type { XenVcpuHooks, XenVcpuHost } from "./hooks.js";
import { InterruptQueue } from "./irq/interrupt-queue.js";
import type { Lapic } from "./irq/lapic.js";
import { MpState } from "./irq/mp-state.js";
import { NmiState, NO_STEP } from "./irq/nmi-state.js";
import { TprSync } from "./irq/tpr-sync.js";
import { lapicOf } from "./irq/vcpu-lapic.js";
import { beforeClientWrite } from "./run/in-flight.js";
import { maskNmis, nmiAllowed } from "./run/nmi.js";
import { PendingExit } from "./run/pending-exit.js";
import type { Runner, Turn } from "./run/scheduler.js";
import { ThreadTime } from "./run/thread-time.js";
import { VcpuStats } from "./stats.js";
import type { VcpuEnv } from "./vcpu-env.js";
import { DisableExits, Quirk } from "./vm-settings.js";

/** RDX after reset: the processor signature of old, as KVM gives without CPUID. */
const RESET_SIGNATURE = 0x600n;

/**
 * Everything KVM keeps of one vCPU, by subject. `run/entry.ts` executes it, `vcpu.ts` is what clients see; the
 * fields are for these two and for the hooks.
 */
export class VcpuState implements Runner, XenVcpuHost {
  readonly env: VcpuEnv;
  readonly index: VcpuIndex;
  readonly id: ApicId;
  readonly engine: EngineVcpu;
  readonly cpuid: CpuidTable;
  readonly msrs: MsrFile;
  readonly lapic: Lapic | undefined;
  readonly tpr: TprSync;
  readonly xen: XenVcpuHooks;
  readonly stats = new VcpuStats();
  /** KVM_SET_GUEST_DEBUG. */
  readonly debug = new GuestDebug();
  readonly exception = new QueuedException();
  readonly nmi = new NmiState();
  readonly interrupts: InterruptQueue;
  readonly mp: MpState;
  readonly time: VcpuTime;
  readonly thread: ThreadTime;
  readonly pending = new PendingExit();
  /** IA32_APIC_BASE without a local APIC in the kernel. */
  #apicBase: bigint;
  readonly #execute: (vcpu: VcpuState, budget: number) => Turn;
  /** What {@link EngineVcpu.intercept} was given last. */
  intercepts = 0;
  /** KVM_SET_SREGS gave registers that the processor refuses to be entered with. */
  badState = false;
  /** KVM_REQ_TRIPLE_FAULT. */
  tripleFault = false;
  /** KVM_REQ_UNBLOCK: the next entry looks at deferred events first. */
  unblock = false;
  /** An exit was handled without the client: deferred events are looked at. */
  handledExit = false;
  /** Split irqchip: a level interrupt ended, the client must hear of it. */
  ioapicEoi = -1;
  /** run() must resolve with "intr". */
  kicked = false;
  /** The slice is given up at the next chance. */
  yieldRequested = false;
  /** `kvm_run.immediate_exit`: run() completes what is under way and resolves. */
  immediateExit = false;
  hasRun = false;
  /** Components of the FPU's state that count at the next run: XSTATE_BV of the kernel's copy (cpu/xsave.ts). */
  fpuMarked = 0;
  /** Units of work done in turns. */
  work = 0;
  /** Resolves run(); undefined outside of it. */
  resolve: ((exit: VcpuExit) => void) | undefined;
  /** Rejects run(), for a defect of this library. */
  reject: ((error: unknown) => void) | undefined;

  constructor(
    env: VcpuEnv,
    ids: { index: VcpuIndex; id: ApicId },
    execute: (vcpu: VcpuState, budget: number) => Turn,
  ) {
    this.env = env;
    this.cpuid = new CpuidTable(env.linux.checksCr4WithoutCpuid);
    this.index = ids.index;
    this.id = ids.id;
    this.#execute = execute;
    this.engine = env.engine.createVcpu();
    this.engine.emulatesMovntdqa = env.linux.emulatesMovntdqa;
    this.engine.tscOffset = BigInt.asIntN(64, env.tsc.start());
    this.engine.msrExits = env.settings.msrFilter?.restricts === true;
    this.engine.hide(this.cpuid.hidden);
    this.time = new VcpuTime(this);
    this.thread = new ThreadTime(env.clock);
    this.interrupts = new InterruptQueue(this);
    this.tpr = new TprSync(env.access);
    this.#apicBase = BigInt(
      ApicBase.DEFAULT_ADDRESS + ApicBase.ENABLE + (this.isBsp ? ApicBase.BSP : 0),
    );
    resetRegisters(this.engine, false, RESET_SIGNATURE);
    this.lapic = env.irqchip === "none" ? undefined : lapicOf(this, () => this.#look());
    if (this.lapic !== undefined) env.bus.add(this.lapic);
    const runs = this.lapic === undefined || this.isBsp;
    this.mp = new MpState(runs ? KvmMpState.RUNNABLE : KvmMpState.UNINITIALIZED, () =>
      this.#noteHaltEnd(),
    );
    this.msrs = msrsOf(this);
    this.xen = env.xen.createVcpu(this);
  }

  get isBsp(): boolean {
    return this.id === this.env.bspId;
  }
  get instructions(): number {
    return this.engine.instructions;
  }
  /** What CPUID shows of the state. */
  get cpuidState(): CpuidState {
    const { settings } = this.env;
    const rulesMonitor = !settings.hasQuirk(Quirk.MISC_ENABLE_NO_MWAIT);
    return {
      osxsave: (this.engine.cr4 & Cr4.OSXSAVE) !== 0n,
      apicEnabled: (this.apicBase & BigInt(ApicBase.ENABLE)) !== 0n,
      monitor: rulesMonitor ? this.msrs.monitorEnabled : undefined,
      haltInGuest: (settings.disabledExits & DisableExits.HLT) !== 0,
    };
  }

  /** IA32_APIC_BASE. */
  get apicBase(): bigint {
    return this.lapic?.base ?? this.#apicBase;
  }

  /** Takes a new IA32_APIC_BASE, if it is valid. */
  setApicBase(value: bigint, fromHost: boolean): boolean {
    const valid = MsrFile.checkApicBase(this.apicBase, value, {
      physicalBits: this.cpuid.maxPhysicalBits,
      x2apic: this.cpuid.hasX2apic,
      fromHost,
    });
    if (!valid) return false;
    if (this.lapic === undefined) this.#apicBase = value;
    else this.lapic.setBase(value);
    return true;
  }

  /** RIP with the base of CS, outside of 64-bit mode. */
  linearRip(): bigint {
    const { engine } = this;
    if (engine.longMode64) return engine.rip;
    return BigInt.asUintN(32, engine.segment(SegmentIndex.CS).base + engine.rip);
  }

  // XenVcpuHost
  notify(): void {
    this.unblock = true;
    this.tpr.eventRequested = true;
    this.mp.endPoll();
    this.#look();
  }
  requestClockUpdate(): void {
    this.time.clockUpdate = true;
  }
  sendToLapic(vector: number): void {
    this.lapic?.acceptEdge(vector);
  }
  haltOnce(onWake: () => void): void {
    this.mp.haltOnce(onWake);
  }
  yield(): void {
    this.yieldRequested = true;
  }
  charge(work: number): void {
    this.work += work;
    this.env.clock.clock.virtual?.advance(work);
  }
  runDelayNs(): bigint {
    return this.thread.runDelayNs();
  }

  // Runner
  canRun(): boolean {
    const { mp } = this;
    if (this.kicked || this.ioapicEoi >= 0) return true;
    if (mp.initPending || mp.sipiPending || this.tripleFault) return true;
    if (mp.state === KvmMpState.RUNNABLE) return true;
    if (!mp.isHalted && mp.state !== KvmMpState.UNINITIALIZED) return false;
    return this.xen.deferredTimer || this.wakesFromHalt();
  }
  turn(budget: number): Turn {
    return this.#execute(this, budget);
  }
  onRunning(): void {
    this.thread.taken();
  }
  onPreempted(): void {
    this.thread.lost();
    if (this.env.xen.enabled) this.xen.preempted();
  }

  /** The guest is entered for the first time since the vCPU got the thread: the time is accounted. */
  accountEntry(): void {
    this.thread.scheduledIn = false;
    if (this.env.xen.enabled) this.xen.running();
    else this.time.areas.recordSteal(() => this.runDelayNs());
  }

  /** Something may have ended a wait: from here on the vCPU waits for the thread. */
  #look(): void {
    if (this.resolve === undefined) return;
    if (this.mp.state === KvmMpState.HALTED && this.wakesFromHalt()) this.thread.ready();
    this.env.scheduler.wake();
  }

  #noteHaltEnd(): void {
    this.stats.haltWakeup++;
    const { trace } = this.env;
    if (trace !== undefined) trace.woken(this.id);
  }

  /** Something that ends HLT is there. */
  wakesFromHalt(): boolean {
    const { nmi } = this;
    if (nmi.requested || (nmi.pending > 0 && nmiAllowed(this))) return true;
    // What is injected already, an NMI or an interrupt too, ends no halt.
    if (this.mp.unhalted || this.exception.pending) return true;
    if (this.xen.deferredEvents) return true;
    // Whatever a debugger keeps from the guest.
    return this.interrupts.allowed() && this.interrupts.hasNew();
  }

  /** An event that was chosen before and waits for the next entry. */
  get hasQueuedEvent(): boolean {
    return this.exception.waits || this.nmi.injected || this.interrupts.queued >= 0;
  }

  /** One whose delivery was begun already. */
  get needsReinjection(): boolean {
    return this.exception.injected || this.nmi.injected || this.interrupts.queued >= 0;
  }

  /** Forgets all of them: at most one is injected, and what a client had set beside it is lost, as in KVM. */
  dropQueued(): void {
    this.exception.clear();
    this.nmi.injected = false;
    this.interrupts.queued = -1;
  }

  /** An exception that the next entry delivers. */
  queueException(vector: number, errorCode: number | undefined, payload?: bigint): void {
    this.tpr.eventRequested = true;
    const outcome = this.shownException.queue(vector, errorCode, payload);
    if (outcome === "triple-fault") this.tripleFault = true;
  }

  /** {@link exception} as it is seen: with what the guest raised since it was looked at last, and KVM queued for it. */
  get shownException(): QueuedException {
    const raised = this.engine.takeIntercepted();
    if (raised !== undefined) this.exception.noteDelivered(raised.vector, raised.errorCode);
    return this.exception;
  }

  /** Queues an NMI. */
  raiseNmi(): void {
    this.nmi.raise();
    this.tpr.eventRequested = true;
    this.env.scheduler.wake();
  }

  /** Processes INIT and STARTUP messages. */
  acceptApicEvents(): void {
    const { mp } = this;
    if (mp.initPending) {
      mp.initPending = false;
      this.reset(true);
      mp.state = this.isBsp ? KvmMpState.RUNNABLE : KvmMpState.INIT_RECEIVED;
    }
    if (mp.sipiPending) {
      mp.sipiPending = false;
      if (mp.state !== KvmMpState.INIT_RECEIVED) return;
      startAt(this.engine, mp.sipiVector);
      mp.state = KvmMpState.RUNNABLE;
    }
  }

  /** Registers and local APIC as after INIT. */
  reset(init: boolean): void {
    this.mp.endPoll();
    beforeClientWrite(this, "sregs");
    beforeClientWrite(this, "regs");
    const signature = this.cpuid.find(1, 0)?.eax;
    resetRegisters(
      this.engine,
      init,
      signature === undefined ? RESET_SIGNATURE : BigInt(signature),
    );
    this.lapic?.reset(init);
    this.engine.cancelInjection();
    this.badState = false;
    this.tpr.lastCr8 = 0;
    maskNmis(this, false);
    this.nmi.awaitsIret = false;
    this.nmi.step = NO_STEP;
    this.nmi.pending = 0;
    this.nmi.requested = false;
    this.dropQueued();
  }
}
