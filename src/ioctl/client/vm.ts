/** A VM, driven by ioctls on its descriptor. */
import { type ApicId, type VcpuIndex, vcpuIndex } from "../../base/index.js";
import * as k from "../../kvm/index.js";
import type { LinearMemory } from "../../memory/index.js";
import { ioapicFromC, ioapicToC, picFromC, picToC } from "../chip-rows.js";
import { Descriptor, type KvmDoor } from "./door.js";
import { routesBytes } from "./lists.js";
import { type Addresses, Mapping } from "./memory.js";
import { IoctlVcpu } from "./vcpu.js";
import { IoctlVmXen } from "./xen.js";

/** What cannot be asked by ioctls of a VM that was just made. */
export interface VmSide {
  /** Memory that the program has mapped, */
  readonly linear: LinearMemory;
  /** and where: the address of its offset 0. */
  readonly address: bigint;
  /** What an engine gives beyond KVM's binary interface; absent: nothing. */
  readonly beyond?: k.VmBeyondKvm;
  /** The same of a vCPU, by the order of creation. */
  vcpu?(index: VcpuIndex): k.VcpuBeyondKvm | undefined;
}

export class IoctlVm implements k.VmApi {
  readonly xen: k.VmXen;
  readonly linear: LinearMemory;
  readonly floatPorts: ((first: number, count: number) => void) | undefined;
  readonly xenView: (() => k.XenVmView) | undefined;
  readonly standstill: k.VmStandstill | undefined;
  readonly #fd: Descriptor;
  readonly #side: VmSide;
  readonly #memory: Addresses;
  /** KVM_GET_VCPU_MMAP_SIZE. */
  readonly #pages: number;
  readonly #vcpus: IoctlVcpu[] = [];

  constructor(door: KvmDoor, fd: number, pages: number, side: VmSide) {
    const { beyond } = side;
    this.#fd = new Descriptor(door, fd);
    this.#side = side;
    this.#pages = pages;
    this.#memory = new Mapping(side.address);
    this.linear = side.linear;
    this.xen = new IoctlVmXen(this.#fd, this.#memory);
    this.floatPorts = beyond && ((first, count) => beyond.floatPorts(first, count));
    this.xenView = beyond && (() => beyond.xenView());
    this.standstill = beyond?.standstill;
  }

  // What has no ioctl.

  get engineCounters(): k.EngineCounters | undefined {
    return this.#side.beyond?.engineCounters;
  }

  get trace(): k.VmBeyondKvm["trace"] {
    return this.#side.beyond?.trace;
  }
  set trace(sink: k.VmBeyondKvm["trace"]) {
    if (this.#side.beyond !== undefined) this.#side.beyond.trace = sink;
  }

  // ioctls.

  setUserMemoryRegion(region: k.KvmUserspaceMemoryRegion): void {
    this.#fd.give(k.KVM_SET_USER_MEMORY_REGION, k.kvm_userspace_memory_region, {
      slot: region.slot,
      flags: region.flags,
      guest_phys_addr: BigInt(region.guestPhysAddr),
      memory_size: BigInt(region.memorySize),
      userspace_addr: this.#memory.addressOf(region.userspaceAddr),
    });
  }

  createIrqchip(): void {
    this.#fd.call(k.KVM_CREATE_IRQCHIP);
  }

  createVcpu(id: ApicId): k.VcpuApi {
    const { door } = this.#fd;
    const fd = this.#fd.call(k.KVM_CREATE_VCPU, BigInt(id));
    const pages = door.mmap(fd, this.#pages);
    if (typeof pages === "number") {
      door.close(fd);
      throw new k.KvmError(-pages, "mmap of a vCPU");
    }
    const index = vcpuIndex(this.#vcpus.length);
    const beyond = this.#side.vcpu?.(index);
    const vcpu = new IoctlVcpu({ door, fd, index, id, pages, memory: this.#memory, beyond });
    this.#vcpus.push(vcpu);
    return vcpu;
  }

  setGsiRouting(entries: readonly k.KvmIrqRoutingEntry[]): void {
    this.#fd.call(k.KVM_SET_GSI_ROUTING, routesBytes(entries));
  }

  irqLine(gsi: number, level: boolean): number {
    const asked = { $line: { irq: gsi }, level: level ? 1 : 0 };
    return this.#fd.take(k.KVM_IRQ_LINE_STATUS, k.kvm_irq_level, asked).$line.status;
  }

  signalMsi({ addressLo, addressHi, data, flags }: k.KvmMsi): number {
    const c = { address_lo: addressLo, address_hi: addressHi, data, flags: flags ?? 0 };
    return this.#fd.give(k.KVM_SIGNAL_MSI, k.kvm_msi, c);
  }

  getPic(index: 0 | 1): k.KvmPicState {
    return picFromC(this.#getChip(index).pic);
  }

  setPic(index: 0 | 1, state: k.KvmPicState): void {
    const chip = { pic: picToC(state) };
    this.#fd.give(k.KVM_SET_IRQCHIP, k.kvm_irqchip, { chip_id: index, chip });
  }

  getIoapic(): k.IoapicState {
    return ioapicFromC(this.#getChip(k.KvmIrqchip.IOAPIC).ioapic);
  }

  setIoapic(state: k.IoapicState): void {
    const chip = { ioapic: ioapicToC(state) };
    this.#fd.give(k.KVM_SET_IRQCHIP, k.kvm_irqchip, { chip_id: k.KvmIrqchip.IOAPIC, chip });
  }

  #getChip(id: number): ReturnType<typeof k.kvm_irqchip.decode>["chip"] {
    return this.#fd.take(k.KVM_GET_IRQCHIP, k.kvm_irqchip, { chip_id: id }).chip;
  }

  getClock(): k.KvmClockData {
    const { clock, flags, realtime, host_tsc } = this.#fd.take(k.KVM_GET_CLOCK, k.kvm_clock_data);
    return { clock, flags, realtime, hostTsc: host_tsc };
  }

  setClock({ clock, flags, realtime, hostTsc }: k.KvmClockData): void {
    const c = { clock, flags, realtime, host_tsc: hostTsc };
    this.#fd.give(k.KVM_SET_CLOCK, k.kvm_clock_data, c);
  }

  close(): void {
    for (const vcpu of this.#vcpus) vcpu.close();
    this.#fd.close();
  }
}
