import {
  KvmCap,
  type KvmClockData,
  type KvmIrqRoutingEntry,
  KvmLimit,
  type KvmMsi,
  type KvmUserspaceMemoryRegion,
} from "../abi/kvm/index.js";
import type { ApicId, Hva } from "../base/index.js";
import type { LinearMemory } from "../memory/index.js";
import { refuse } from "./error.js";
import type { EventFd } from "./event-fd.js";
import { type IoapicState, IrqSource } from "./irq/ioapic.js";
import { Irqfds } from "./irq/irqfd.js";
import { msiMessage } from "./irq/routing.js";
import { turn } from "./run/entry.js";
import { Vcpu } from "./vcpu.js";
import { VcpuState } from "./vcpu-state.js";
import type { VmState } from "./vm-state.js";
import type { VmXen } from "./xen-api.js";

/** Flags of KVM_CAP_X2APIC_API: 32-bit ids in MSIs; no 8-bit broadcast in x2APIC mode. */
const X2APIC_API_FLAGS = 3;

/** A virtual machine: what `ioctl` on a VM file descriptor does, with types. */
export class Vm {
  /** KVM_XEN_HVM_CONFIG, SET_ATTR, GET_ATTR and EVTCHN_SEND. */
  readonly xen: VmXen;
  readonly #state: VmState;
  readonly #irqfds: Irqfds;
  readonly #checkExtension: (cap: number) => number;

  constructor(state: VmState, checkExtension: (cap: number) => number) {
    this.#state = state;
    this.xen = state.xen.api;
    this.#checkExtension = checkExtension;
    this.#irqfds = new Irqfds(state.routing);
    state.onPinEoi = (pin) => this.#irqfds.pinEnded(pin);
  }

  /** Where guest memory is allocated; a slot's `userspaceAddr` is an offset in it. */
  get linear(): LinearMemory {
    return this.#state.engine.linear;
  }

  /** KVM_CHECK_EXTENSION on the VM: 0 when not there, else its value. */
  checkExtension(cap: number): number {
    return this.#checkExtension(cap);
  }

  /** KVM_SET_USER_MEMORY_REGION. @throws KvmError EINVAL, EEXIST, ENOMEM. */
  setUserMemoryRegion(region: KvmUserspaceMemoryRegion): void {
    this.#state.slots.set(region);
  }

  /** KVM_GET_DIRTY_LOG: one bit per page, cleared by reading. @throws KvmError EINVAL, ENOENT. */
  getDirtyLog(slot: number): Uint8Array {
    return this.#state.slots.takeDirtyLog(slot);
  }

  /**
   * The pages behind [start, start + length) of linear memory were replaced: what Linux's MMU
   * notifier tells KVM. Cached translations are renewed before their next use.
   */
  invalidate(start: Hva, length: number): void {
    this.#state.xen.invalidate(start, length);
    this.#state.engine.noteWrite(start, length);
  }

  /** KVM_CREATE_IRQCHIP: PIC, IOAPIC, local APICs. @throws KvmError EEXIST, EINVAL after a vCPU. */
  createIrqchip(): void {
    if (this.#state.irqchip !== "none") refuse("EEXIST", "interrupt controllers exist");
    if (this.#state.vcpus.length > 0) refuse("EINVAL", "interrupt controllers come before vCPUs");
    this.#state.createIrqchip("kernel");
  }

  /** KVM_CREATE_PIT2. @throws KvmError EEXIST; ENOENT without an in-kernel PIC. */
  createPit2(): void {
    if (this.#state.pit !== undefined) refuse("EEXIST", "PIT exists");
    if (this.#state.pic === undefined) refuse("ENOENT", "no PIC in the kernel");
    this.#state.createPit();
  }

  /**
   * KVM_ENABLE_CAP on the VM: SPLIT_IRQCHIP {pins}, X2APIC_API {flags}, DISABLE_QUIRKS {mask}.
   * @throws KvmError EINVAL for others and for bad arguments; EEXIST.
   */
  enableCap(cap: number, args: readonly number[] = []): void {
    const value = args[0] ?? 0;
    switch (cap) {
      case KvmCap.SPLIT_IRQCHIP:
        if (value > KvmLimit.MAX_RESERVED_IOAPIC_PINS) refuse("EINVAL", "IOAPIC pins");
        if (this.#state.irqchip !== "none") refuse("EEXIST", "interrupt controllers exist");
        if (this.#state.vcpus.length > 0) {
          refuse("EINVAL", "interrupt controllers come before vCPUs");
        }
        this.#state.createIrqchip("split");
        return;
      case KvmCap.X2APIC_API:
        if ((value & ~X2APIC_API_FLAGS) !== 0) refuse("EINVAL", "X2APIC_API flags");
        if ((value & 1) !== 0) this.#state.routing.x2apicFormat = true;
        return;
      case KvmCap.DISABLE_QUIRKS:
        return;
      default:
        refuse("EINVAL", `capability ${cap} cannot be enabled`);
    }
  }

  /** KVM_SET_BOOT_CPU_ID. @throws KvmError EBUSY after a vCPU exists. */
  setBootCpuId(id: ApicId): void {
    if (this.#state.vcpus.length > 0) refuse("EBUSY", "vCPUs exist");
    this.#state.bspId = id;
  }

  /** KVM_CREATE_VCPU. @throws KvmError EINVAL id too large or too many; EEXIST id in use. */
  createVcpu(id: ApicId): Vcpu {
    const state = this.#state;
    if (id < 0 || id >= KvmLimit.MAX_VCPU_IDS) refuse("EINVAL", "vCPU id");
    if (state.vcpus.length >= KvmLimit.MAX_VCPUS) refuse("EINVAL", "too many vCPUs");
    if (state.vcpuById(id) !== undefined) refuse("EEXIST", `vCPU ${id} exists`);
    const vcpu = new VcpuState(state, { index: state.vcpus.length, id }, turn);
    state.vcpus.push(vcpu);
    return new Vcpu(vcpu);
  }

  /** KVM_SET_GSI_ROUTING: replaces the table. @throws KvmError EINVAL. */
  setGsiRouting(entries: readonly KvmIrqRoutingEntry[]): void {
    this.#state.routing.set(entries);
  }

  /**
   * KVM_IRQ_LINE_STATUS: sets the level of a GSI.
   * @returns -1 ignored, 0 coalesced, else how many took it. @throws KvmError ENXIO.
   */
  irqLine(gsi: number, level: boolean): number {
    if (this.#state.irqchip === "none") refuse("ENXIO", "no interrupt controller in the kernel");
    return this.#state.routing.setLevel(gsi, IrqSource.USERSPACE, level);
  }

  /** KVM_SIGNAL_MSI: how many local APICs took it, 0 when blocked. @throws KvmError EINVAL. */
  signalMsi(msi: KvmMsi): number {
    if (this.#state.irqchip === "none") refuse("EINVAL", "no interrupt controller in the kernel");
    if ((msi.flags ?? 0) !== 0) refuse("EINVAL", "MSI flags");
    return this.#state.bus.deliver(msiMessage(msi, this.#state.routing.x2apicFormat));
  }

  /** KVM_IRQFD: connects an eventfd to a GSI. @throws KvmError EBUSY, EINVAL. */
  irqfd(eventfd: EventFd, gsi: number, resample?: EventFd): void {
    if (this.#state.irqchip === "none") refuse("EINVAL", "no interrupt controller in the kernel");
    if (resample !== undefined && this.#state.irqchip !== "kernel") {
      refuse("EINVAL", "resampling needs the IOAPIC in the kernel");
    }
    this.#irqfds.assign(eventfd, gsi, resample);
  }

  /** KVM_IRQFD with KVM_IRQFD_FLAG_DEASSIGN. */
  deassignIrqfd(eventfd: EventFd, gsi: number): void {
    this.#irqfds.deassign(eventfd, gsi);
  }

  /** KVM_GET_IRQCHIP for the IOAPIC. @throws KvmError ENXIO. */
  getIoapic(): IoapicState {
    return (this.#state.ioapic ?? refuse("ENXIO", "no IOAPIC in the kernel")).save();
  }

  /** KVM_SET_IRQCHIP for the IOAPIC. @throws KvmError ENXIO. */
  setIoapic(ioapic: IoapicState): void {
    (this.#state.ioapic ?? refuse("ENXIO", "no IOAPIC in the kernel")).restore(ioapic);
  }

  /** KVM_GET_CLOCK: kvmclock. */
  getClock(): KvmClockData {
    return this.#state.clock.get();
  }

  /** KVM_SET_CLOCK. Guests see it at their vCPUs' next entry. @throws KvmError EINVAL. */
  setClock(data: KvmClockData): void {
    this.#state.clock.set(data);
    this.#state.requestClockUpdate();
  }

  /** Ends the VM: runs that are under way never resolve, memory is given up. */
  close(): void {
    this.#irqfds.close();
    this.#state.close();
  }
}
