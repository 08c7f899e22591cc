import type { ApicId } from "../base/index.js";
import type { EngineVm } from "../engine/bridge/port.js";
import type { TraceSink } from "../ports/index.js";
import type { VmClock } from "./cpu/clock.js";
import type { TscSync } from "./cpu/tsc-sync.js";
import type { XenVmHooks } from "./hooks.js";
import type { CoalescedRing } from "./io/coalesced.js";
import type { Ioeventfds } from "./io/ioeventfd.js";
import type { ApicBus } from "./irq/apic-bus.js";
import type { Ioapic } from "./irq/ioapic.js";
import type { PicPair } from "./irq/pic.js";
import type { Pit } from "./irq/pit.js";
import type { GsiRouting, IrqchipMode } from "./irq/routing.js";
import type { LinuxRules } from "./linux.js";
import type { GuestAccess } from "./memory/guest-access.js";
import type { MemorySlots } from "./memory/slots.js";
import type { Scheduler } from "./run/scheduler.js";
import type { VcpuState } from "./vcpu-state.js";
import type { VmSettings } from "./vm-settings.js";

/** What a vCPU uses of its VM. */
export interface VcpuEnv {
  /** Who watches; see ports/trace.ts. */
  readonly trace: TraceSink | undefined;
  readonly linux: LinuxRules;
  readonly engine: EngineVm;
  readonly clock: VmClock;
  readonly slots: MemorySlots;
  readonly access: GuestAccess;
  readonly bus: ApicBus;
  readonly scheduler: Scheduler;
  readonly xen: XenVmHooks;
  readonly irqchip: IrqchipMode;
  /** In-kernel IOAPIC, PIC and PIT, when they were created. */
  readonly ioapic: Ioapic | undefined;
  readonly pic: PicPair | undefined;
  readonly pit: Pit | undefined;
  readonly routing: GsiRouting;
  readonly settings: VmSettings;
  readonly tsc: TscSync;
  readonly coalesced: CoalescedRing;
  readonly ioeventfds: Ioeventfds;
  /** The vCPU with that KVM vcpu_id. */
  vcpuById(id: ApicId): VcpuState | undefined;
  /** KVM vcpu_id of the boot processor. */
  readonly bspId: number;
  /** KVM's master clock: all vCPUs' TSCs run in step, so that pvclock may say so. */
  readonly masterclock: boolean;
  /** Looks whether they do, and has all pvclock areas rewritten. */
  updateMasterclock(): void;
  /** A vCPU's TSC was set: whether the master clock has to be looked at. */
  wantsMasterclockUpdate(): boolean;
}
