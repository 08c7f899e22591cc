import type { ApicId, EventLoop } from "../base/index.js";
import type { EngineVm } from "../engine/bridge/port.js";
import type { Clock, Timers, TraceSink } from "../ports/index.js";
import { VmClock } from "./cpu/clock.js";
import { TscSync } from "./cpu/tsc-sync.js";
import type { XenFactory, XenVmHooks, XenVmHost } from "./hooks.js";
import { CoalescedRing } from "./io/coalesced.js";
import { Ioeventfds } from "./io/ioeventfd.js";
import { ApicBus, type ApicMessage } from "./irq/apic-bus.js";
import { Ioapic, IrqSource } from "./irq/ioapic.js";
import { PicPair } from "./irq/pic.js";
import { Pit } from "./irq/pit.js";
import { GsiRouting, type IrqchipMode } from "./irq/routing.js";
import type { LinuxRules } from "./linux.js";
import { GuestAccess } from "./memory/guest-access.js";
import { MemorySlots } from "./memory/slots.js";
import { Scheduler } from "./run/scheduler.js";
import type { VcpuEnv } from "./vcpu-env.js";
import type { VcpuState } from "./vcpu-state.js";
import { VmSettings } from "./vm-settings.js";

/** Everything KVM keeps of one VM; `vm.ts` is what clients see. */
export class VmState implements VcpuEnv, XenVmHost {
  readonly linux: LinuxRules;
  readonly engine: EngineVm;
  readonly clock: VmClock;
  readonly tsc: TscSync;
  readonly slots: MemorySlots;
  readonly access: GuestAccess;
  readonly bus = new ApicBus();
  readonly scheduler: Scheduler;
  readonly routing: GsiRouting;
  readonly xen: XenVmHooks;
  readonly vcpus: VcpuState[] = [];
  readonly settings = new VmSettings();
  readonly coalesced = new CoalescedRing((pio) => this.#devicesOn(pio));
  readonly ioeventfds = new Ioeventfds((bus) => bus < 2 && this.coalesced.isFull(bus));
  irqchip: IrqchipMode = "none";
  masterclock = false;
  trace: TraceSink | undefined = undefined;
  ioapic: Ioapic | undefined;
  pic: PicPair | undefined;
  pit: Pit | undefined;
  /** Hears of pins whose level interrupt was ended, for irqfds that resample. */
  onPinEoi: (pin: number) => void = () => undefined;

  constructor(
    engine: EngineVm,
    ports: { clock: Clock; timers: Timers; loop: EventLoop; linux: LinuxRules },
    xen: XenFactory,
  ) {
    this.linux = ports.linux;
    this.engine = engine;
    this.clock = new VmClock(ports.clock, ports.timers);
    this.tsc = new TscSync(this.clock);
    this.slots = new MemorySlots(engine);
    this.access = new GuestAccess(this.slots);
    this.scheduler = new Scheduler(this.clock, ports.loop, (error) => {
      for (const vcpu of this.vcpus) {
        vcpu.resolve = undefined;
        vcpu.reject?.(error);
      }
    });
    this.xen = xen(this);
    this.routing = new GsiRouting({
      setPicLine: (line, source, level) => this.pic?.setLine(line, source, level) ?? -1,
      setIoapicLine: (pin, source, level) => this.ioapic?.setLine(pin, source, level) ?? -1,
      isPicLineLow: (line) => this.pic?.isLow(line) ?? true,
      isIoapicLineLow: (pin) => this.ioapic?.isLow(pin) ?? true,
      deliverMsi: (message: ApicMessage) => this.bus.deliver(message),
      deliverXen: (event) => this.xen.deliverRoute(event),
      checkXen: (event) => this.xen.checkRoute(event),
    });
    engine.setTsc(
      ports.clock.virtual === undefined ? () => this.clock.clock.monotonicNs() : "work",
    );
  }

  get bspId(): number {
    return this.settings.bspId;
  }

  updateMasterclock(): void {
    this.masterclock = this.#inStep();
    this.requestClockUpdate();
  }

  wantsMasterclockUpdate(): boolean {
    return this.#inStep() ? !this.masterclock || !this.tsc.matched : this.masterclock;
  }

  /** All TSCs were set to run in step. What guests do to theirs does not count. */
  #inStep(): boolean {
    return this.vcpus.every((vcpu) => vcpu.time.tscGeneration === this.tsc.generation);
  }

  /** All vCPUs get their pvclock areas rewritten. */
  requestClockUpdate(): void {
    for (const vcpu of this.vcpus) vcpu.time.clockUpdate = true;
  }

  /** All vCPUs get that, and again after each one's entry: {@link VcpuTime.masterclockUpdate}. */
  requestMasterclockUpdate(): void {
    for (const vcpu of this.vcpus) {
      vcpu.time.clockUpdate = true;
      vcpu.time.masterclockUpdate = true;
    }
  }

  /** The vCPU with that KVM vcpu_id. */
  vcpuById(id: ApicId): VcpuState | undefined {
    return this.vcpus.find((vcpu) => vcpu.id === id);
  }

  /** Makes the in-kernel interrupt controllers: all of them, or local APICs only. */
  createIrqchip(mode: "split" | "kernel"): void {
    this.irqchip = mode;
    if (mode === "kernel") {
      this.ioapic = new Ioapic(this.bus, (pin) => this.onPinEoi(pin));
      this.pic = new PicPair(
        () => {
          for (const vcpu of this.vcpus) vcpu.notify();
        },
        () => this.vcpus.some((vcpu) => vcpu.lapic?.acceptsPic === true),
      );
    }
    this.routing.init(mode);
  }

  /** Makes the 8254. */
  createPit(flags: number): void {
    this.pit = new Pit(
      this.clock,
      (level) => {
        this.routing.setLevel(0, IrqSource.PIT, level);
      },
      flags,
    );
  }

  /** Devices on Linux's I/O buses: the I/O APIC; both PICs and ELCR, the PIT and its dummy speaker. */
  #devicesOn(pio: number): number {
    if (pio === 0) return this.ioapic === undefined ? 0 : 1;
    const pit = this.pit === undefined ? 0 : this.pit.hasSpeaker ? 2 : 1;
    return (this.pic === undefined ? 0 : 3) + pit;
  }

  /** Stops everything; the state is not used afterwards. */
  close(): void {
    this.scheduler.close();
    for (const vcpu of this.vcpus) {
      // A turn under way, in which someone closes the VM, ends soon and resolves nothing.
      vcpu.resolve = undefined;
      vcpu.kicked = true;
    }
    this.pit?.close();
    for (const vcpu of this.vcpus) vcpu.lapic?.reset(false);
    this.xen.close();
    this.engine.close();
  }
}
