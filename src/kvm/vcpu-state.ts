import { KvmMpState } from "../abi/kvm/index.js";
import { ApicBase, Cr4 } from "../abi/x86/index.js";
import { Pvclock } from "../abi/xen/pvclock.js";
import { type EngineVcpu, SegmentIndex } from "../engine/bridge/port.js";
import { TSC_KHZ, tscKhzFits } from "./cpu/clock.js";
import { type CpuidState, CpuidTable } from "./cpu/cpuid.js";
import { QueuedException } from "./cpu/exception.js";
import { GuestDebug } from "./cpu/guest-debug.js";
import { MsrFile } from "./cpu/msr.js";
import { PvAreas } from "./cpu/pv-areas.js";
import { resetRegisters, startAt } from "./cpu/reset.js";
import { msrsOf } from "./cpu/vcpu-msrs.js";
import type { VcpuExit } from "./exits.js";
import type { XenVcpuHooks, XenVcpuHost } from "./hooks.js";
import type { Lapic } from "./irq/lapic.js";
import { TprSync } from "./irq/tpr-sync.js";
import { lapicOf } from "./irq/vcpu-lapic.js";
import { beforeClientWrite, type InFlight } from "./run/in-flight.js";
import { maskNmis, NO_STEP, nmiAllowed } from "./run/nmi.js";
import type { Runner, Turn } from "./run/scheduler.js";
import type { StringInput } from "./run/string-input.js";
import { VcpuStats } from "./stats.js";
import type { VcpuEnv } from "./vcpu-env.js";
import { DisableExits, Quirk } from "./vm-settings.js";

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
  readonly cpuid: CpuidTable;
  readonly msrs: MsrFile;
  readonly lapic: Lapic | undefined;
  readonly tpr: TprSync;
  readonly xen: XenVcpuHooks;
  readonly stats = new VcpuStats();
  readonly #areas: PvAreas;
  /** IA32_APIC_BASE without a local APIC in the kernel. */
  #apicBase: bigint;
  readonly #execute: (vcpu: VcpuState, budget: number) => Turn;
  /** One of {@link KvmMpState}. */
  mpState: number;
  /** NMIs that wait: 0 to 2. */
  nmiPending = 0;
  /** KVM_REQ_NMI: one came since the last look at them. It ends a halt although NMIs may be masked. */
  nmiRequested = false;
  /** Between an NMI and its IRET, as far as KVM knows (run/nmi.ts). */
  nmiMasked = false;
  /** That IRET comes next: KVM has intercepted it. */
  awaitsIret = false;
  /** RIP of that IRET. */
  iretRip = 0n;
  /** KVM makes a single step of its own to where an NMI may come: TF and RF of the guest before that, else NO_STEP. */
  nmiStep = NO_STEP;
  /** What {@link EngineVcpu.intercept} was given last. */
  intercepts = 0;
  /** An NMI whose delivery was interrupted (KVM_SET_VCPU_EVENTS): comes whatever masks it. */
  nmiInjected = false;
  /** KVM_SET_SREGS gave registers that the processor refuses to be entered with. */
  badState = false;
  /** KVM_REQ_TRIPLE_FAULT. */
  tripleFault = false;
  /** Another vCPU asked that this one's halt ends (KVM_HC_KICK_CPU). */
  unhalted = false;
  initPending = false;
  sipiPending = false;
  sipiVector = 0;
  /** Vector given by KVM_INTERRUPT, or -1. It stays through INIT. */
  userInterrupt = -1;
  readonly exception = new QueuedException();
  /** An external interrupt that was acknowledged but not injected (KVM_SET_VCPU_EVENTS), or -1. */
  queuedInterrupt = -1;
  /** It came from INT n. */
  queuedSoft = false;
  /** CR8 as it was written last, by the guest or its client, without a local APIC. */
  lastCr8 = 0;
  /** KVM_GET_TSC_KHZ. */
  tscKhz: number;
  /** What KVM_GET_VCPU_EVENTS shows of the last interrupt. */
  lastInterrupt = 0;
  /** KVM_SET_GUEST_DEBUG. */
  readonly debug = new GuestDebug();
  /** The instruction that waits for the client's answer is one that KVM's emulator executes. */
  emulates = false;
  /** What the last hypercall of KVM's own leaves in `kvm_run.hypercall.ret`, until the client has heard. */
  shownHypercallResult: bigint | undefined;
  /** KVM_KVMCLOCK_CTRL: the next clock update tells the guest that it was stopped. */
  clockStopped = false;
  /** KVM_REQ_CLOCK_UPDATE. */
  clockUpdate = true;
  /** {@link TscSync.generation} of its TSC, as it was set last from outside. */
  tscGeneration = 0;
  /** KVM_REQ_MASTERCLOCK_UPDATE, with {@link clockUpdate}: the entry gives all vCPUs a clock update. */
  masterclockUpdate = false;
  /** KVM_REQ_UNBLOCK: the next entry looks at deferred events first. */
  unblock = false;
  /** An exit was handled without the client: deferred events are looked at. */
  handledExit = false;
  /** KVM_REQ_STEAL_UPDATE: it got the thread since its last entry. */
  scheduledIn = false;
  /** run() must resolve with "intr". */
  kicked = false;
  /** `kvm_run.request_interrupt_window`. */
  requestInterruptWindow = false;
  /** `kvm_run.immediate_exit`: run() completes what is under way and resolves. */
  immediateExit = false;
  /** The exit whose completion the next run() performs. */
  pendingExit: VcpuExit | undefined;
  /** Exits that follow the pending one before the guest goes on: one instruction's other writes. */
  readonly followUps: VcpuExit[] = [];
  /** The instruction of the pending exit, when the client wrote registers since. */
  inFlight: InFlight | undefined;
  /** The rest of what the client gave a REP INS. */
  stringInput: StringInput | undefined;
  /** Linear RIP at the last exit of the kinds io, mmio and xen. */
  exitRip = 0n;
  /** RIP of the IN or OUT of the last exit, until the guest is entered again: KVM for AMD knows where it goes on then. */
  portRip: bigint | undefined;
  /** Units of work done in turns. */
  work = 0;
  /** Resolves run(); undefined outside of it. */
  resolve: ((exit: VcpuExit) => void) | undefined;
  /** Rejects run(), for a defect of this library. */
  reject: ((error: unknown) => void) | undefined;
  hasRun = false;
  /** Components of the FPU's state that count at the next run: XSTATE_BV of the kernel's copy (cpu/xsave.ts). */
  fpuMarked = 0;
  /** Split irqchip: a level interrupt ended, the client must hear of it. */
  ioapicEoi = -1;
  /** The slice is given up at the next chance. */
  yieldRequested = false;
  /** What the client's thread waited for a processor, where that is known. */
  hostRunDelay: (() => bigint) | undefined;
  #onWake: (() => void) | undefined;
  #waitingSinceNs: number | undefined;
  #runDelayNs = 0;
  constructor(
    env: VcpuEnv,
    ids: { index: number; id: number },
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
    const khz = env.settings.defaultTscKhz;
    this.tscKhz = tscKhzFits(khz) ? khz : TSC_KHZ;
    this.#areas = new PvAreas(env.access, env.clock);
    this.tpr = new TprSync(env.access);
    this.#apicBase = BigInt(
      ApicBase.DEFAULT_ADDRESS + ApicBase.ENABLE + (this.isBsp ? ApicBase.BSP : 0),
    );
    resetRegisters(this.engine, false, RESET_SIGNATURE);
    this.lapic = env.irqchip === "none" ? undefined : lapicOf(this, () => this.#look());
    if (this.lapic !== undefined) env.bus.add(this.lapic);
    this.mpState =
      this.lapic === undefined || this.isBsp ? KvmMpState.RUNNABLE : KvmMpState.UNINITIALIZED;
    this.msrs = msrsOf(this, this.#areas, (offset) => this.#moveTsc(offset));
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
  /** Guest TSC now. */
  readTsc(): bigint {
    return BigInt.asUintN(64, this.env.clock.hostNs() + this.engine.tscOffset);
  }

  // XenVcpuHost
  notify(): void {
    this.unblock = true;
    this.tpr.eventRequested = true;
    this.endPoll();
    this.#look();
  }
  requestClockUpdate(): void {
    this.clockUpdate = true;
  }
  sendToLapic(vector: number): void {
    this.lapic?.acceptEdge(vector);
  }
  haltOnce(onWake: () => void): void {
    this.mpState = KvmMpState.HALTED;
    this.#onWake = onWake;
  }
  yield(): void {
    this.yieldRequested = true;
  }
  charge(work: number): void {
    this.work += work;
    this.env.clock.clock.virtual?.advance(work);
  }
  runDelayNs(): bigint {
    const own = BigInt(Math.floor(this.#runDelayNs));
    return this.hostRunDelay === undefined ? own : own + this.hostRunDelay();
  }

  /** It waits until an event wakes it: by HLT, or as its client says. */
  get isHalted(): boolean {
    return this.mpState === KvmMpState.HALTED || this.mpState === KvmMpState.AP_RESET_HOLD;
  }

  /** HALTED becomes RUNNABLE. */
  endHalt(): void {
    this.mpState = KvmMpState.RUNNABLE;
    this.stats.haltWakeup++;
    const { trace } = this.env;
    if (trace !== undefined) trace.woken(this.id);
    this.unhalted = false;
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
    return this.engine.interruptFlag && this.engine.interruptShadow === 0;
  }

  /** An external interrupt waits, from any source. */
  hasInterrupt(): boolean {
    if (this.debug.blocksInterrupts) return false;
    return this.hasOwnInterrupt() || (this.lapic !== undefined && this.xen.pendingVector() !== 0);
  }

  /** An external interrupt waits that does not come from Xen's level-triggered vector. */
  hasOwnInterrupt(): boolean {
    return this.queuedInterrupt >= 0 || this.#hasChipInterrupt();
  }

  /** One that is not injected so far. */
  #hasChipInterrupt(): boolean {
    if (this.lapic === undefined) return false;
    if (this.#picWaits(this.lapic)) return true;
    return this.lapic.pendingVector() >= 0;
  }

  /** The legacy PIC, the kernel's or the client's, has an interrupt, and LVT0 passes it. */
  #picWaits(lapic: Lapic): boolean {
    const asks = this.userInterrupt >= 0 || this.env.pic?.output === true;
    return asks && lapic.acceptsPic;
  }

  /** Takes the interrupt to inject, in KVM's order; -1 when there is none after all. */
  takeInterrupt(): number {
    if (this.queuedInterrupt >= 0) {
      const vector = this.queuedInterrupt;
      this.queuedInterrupt = -1;
      return vector;
    }
    const vector = this.#chooseInterrupt();
    if (vector >= 0) this.lastInterrupt = vector;
    return vector;
  }

  #chooseInterrupt(): number {
    const xen = this.lapic === undefined ? 0 : this.xen.pendingVector();
    if (xen !== 0) return xen;
    if (this.lapic === undefined) return -1;
    if (this.#picWaits(this.lapic)) {
      if (this.env.pic !== undefined) return this.env.pic.acknowledge();
      const vector = this.userInterrupt;
      this.userInterrupt = -1;
      return vector;
    }
    const vector = this.lapic.pendingVector();
    if (vector >= 0) this.lapic.acknowledge(vector);
    return vector;
  }

  /** An event that was chosen before and waits for the next entry. */
  get hasQueuedEvent(): boolean {
    return this.exception.waits || this.nmiInjected || this.queuedInterrupt >= 0;
  }

  /** One whose delivery was begun already. */
  get needsReinjection(): boolean {
    return this.exception.injected || this.nmiInjected || this.queuedInterrupt >= 0;
  }

  /** Forgets all of them: at most one is injected, and what a client had set beside it is lost, as in KVM. */
  dropQueued(): void {
    this.exception.clear();
    this.nmiInjected = false;
    this.queuedInterrupt = -1;
  }

  /** An external interrupt that was acknowledged: comes before all others. */
  queueInterrupt(vector: number): void {
    this.queuedInterrupt = vector;
    this.queuedSoft = false;
    this.lastInterrupt = vector;
    this.notify();
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

  /** RIP with the base of CS, outside of 64-bit mode. */
  linearRip(): bigint {
    const { engine } = this;
    if (engine.longMode64) return engine.rip;
    return BigInt.asUintN(32, engine.segment(SegmentIndex.CS).base + engine.rip);
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
    this.lastCr8 = 0;
    maskNmis(this, false);
    this.awaitsIret = false;
    this.nmiStep = NO_STEP;
    this.nmiPending = 0;
    this.nmiRequested = false;
    this.dropQueued();
  }

  /** Rewrites the pvclock areas if that was asked for. */
  processClockUpdate(): void {
    if (!this.clockUpdate) return;
    if (this.masterclockUpdate) {
      this.masterclockUpdate = false;
      this.env.updateMasterclock();
    }
    this.clockUpdate = false;
    const time = this.env.clock.pvclock(this.engine.tscOffset, this.env.masterclock);
    this.#areas.updateClock(
      this.clockStopped ? { ...time, flags: time.flags | Pvclock.FLAG_GUEST_STOPPED } : time,
    );
    this.clockStopped = false;
    this.xen.updateClock(time);
  }

  // Runner
  canRun(): boolean {
    if (this.kicked || this.ioapicEoi >= 0) return true;
    if (this.initPending || this.sipiPending || this.tripleFault) return true;
    if (this.mpState === KvmMpState.RUNNABLE) return true;
    if (!this.isHalted && this.mpState !== KvmMpState.UNINITIALIZED) return false;
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
    this.scheduledIn = true;
  }
  /** The guest is entered for the first time since the vCPU got the thread: the time is accounted. */
  accountEntry(): void {
    this.scheduledIn = false;
    if (this.env.xen.enabled) this.xen.running();
    else this.#areas.recordSteal(() => this.runDelayNs());
  }
  onPreempted(): void {
    this.#waitingSinceNs = this.env.clock.nowNs();
    if (this.env.xen.enabled) this.xen.preempted();
  }

  /**
   * An interrupt of the client's PIC would reach the processor: there is no PIC in the kernel, and LVT0 of
   * a local APIC in the kernel passes it. While it does not, no window opens for the client.
   */
  get acceptsUserInterrupt(): boolean {
    if (this.env.irqchip === "kernel") return false;
    if (this.lapic === undefined) return this.queuedInterrupt < 0;
    return this.xen.pendingVector() === 0 && this.lapic.acceptsPic && this.userInterrupt < 0;
  }

  /** KVM_INTERRUPT would be taken at once: `kvm_run.ready_for_interrupt_injection`. */
  get readyForInjection(): boolean {
    if (this.env.irqchip === "kernel") return true;
    if (this.hasQueuedEvent || !this.interruptAllowed()) return false;
    return this.acceptsUserInterrupt;
  }

  /** The client asked to hear of this moment: KVM_EXIT_IRQ_WINDOW_OPEN. */
  get windowIsOpen(): boolean {
    return this.requestInterruptWindow && this.env.irqchip !== "kernel" && this.readyForInjection;
  }

  /** Notes CR8 as the guest wrote it; whether it is lower than before. */
  lowersCr8(): boolean {
    const before = this.lastCr8;
    this.lastCr8 = this.engine.cr8;
    return this.lastCr8 < before;
  }

  /** Something that ends HLT is there. */
  wakesFromHalt(): boolean {
    if (this.nmiRequested || (this.nmiPending > 0 && nmiAllowed(this))) return true;
    // What is injected already, an NMI or an interrupt too, ends no halt.
    if (this.unhalted || this.exception.pending) return true;
    if (this.xen.deferredEvents) return true;
    // Whatever a debugger keeps from the guest.
    if (!this.interruptAllowed()) return false;
    return this.#hasChipInterrupt() || (this.lapic !== undefined && this.xen.pendingVector() !== 0);
  }

  /** Queues an NMI; at most two wait. */
  raiseNmi(): void {
    this.nmiPending = Math.min(2, this.nmiPending + 1);
    this.nmiRequested = true;
    this.tpr.eventRequested = true;
    this.env.scheduler.wake();
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

  #moveTsc(offset: bigint): void {
    this.engine.tscOffset = BigInt.asIntN(64, offset);
    this.lapic?.tscMoved();
  }

  /** The TSC was set from outside, or is new. */
  noteTsc(): void {
    this.tscGeneration = this.env.tsc.generation;
    if (!this.env.wantsMasterclockUpdate()) return;
    this.clockUpdate = true;
    this.masterclockUpdate = true;
  }

  /** KVM_VCPU_TSC_OFFSET is set. */
  setTscOffset(offset: bigint): void {
    this.env.tsc.setOffset(offset);
    this.#moveTsc(offset);
    this.noteTsc();
  }

  /** Since when it waits for the thread, and how long it has waited before. */
  get waited(): { readonly sinceNs: number | undefined; readonly totalNs: number } {
    return { sinceNs: this.#waitingSinceNs, totalNs: this.#runDelayNs };
  }
  set waited({ sinceNs, totalNs }: VcpuState["waited"]) {
    this.#waitingSinceNs = sinceNs;
    this.#runDelayNs = totalNs;
  }

  /** A system time area is registered. */
  get hasClockArea(): boolean {
    return this.#areas.hasClock;
  }
  /** So is that, or another area of KVM's own interface. */
  get hasOwnAreas(): boolean {
    return this.#areas.isUsed;
  }
}
