import type {
  KvmClockData,
  KvmIrqRoutingEntry,
  KvmMsi,
  KvmPicState,
  KvmUserspaceMemoryRegion,
} from "../../abi/kvm/index.js";
import type { ApicId } from "../../base/index.js";
import type { LinearMemory } from "../../memory/index.js";
import type { MayHave, VmBeyondKvm } from "./engine.js";
import type { VcpuApi } from "./vcpu.js";
import type { VmXen } from "./xen.js";

/** State of an IOAPIC as KVM_GET_IRQCHIP gives it. */
export interface IoapicState {
  readonly baseAddress: number;
  readonly ioregsel: number;
  readonly id: number;
  /** One bit per pin: the line is up (level) or an edge waits. */
  readonly irr: number;
  /** 64 bits per pin. */
  readonly redirtbl: readonly bigint[];
}

/**
 * A VM: the ioctls of its descriptor. What {@link VmBeyondKvm} has besides is optional.
 * All methods throw KvmError with the errno that KVM refuses with.
 */
export interface VmApi extends MayHave<VmBeyondKvm> {
  /** KVM_XEN_HVM_CONFIG, SET_ATTR, GET_ATTR, EVTCHN_SEND. */
  readonly xen: VmXen;
  /**
   * Memory of the client, of which slots can be made, as mmap(2) gives it to a process: pieces of it are allocated,
   * and {@link KvmUserspaceMemoryRegion.userspaceAddr} is an offset in it. Guest and client see the same bytes.
   */
  readonly linear: LinearMemory;
  /** KVM_SET_USER_MEMORY_REGION: a size of 0 takes the slot away. */
  setUserMemoryRegion(region: KvmUserspaceMemoryRegion): void;
  /** KVM_CREATE_IRQCHIP: PICs, IOAPIC, and a local APIC for each vCPU. Before the vCPUs. */
  createIrqchip(): void;
  /** KVM_CREATE_VCPU; the id is that of its local APIC. */
  createVcpu(id: ApicId): VcpuApi;
  /** KVM_SET_GSI_ROUTING: replaces the table. */
  setGsiRouting(entries: readonly KvmIrqRoutingEntry[]): void;
  /**
   * KVM_IRQ_LINE_STATUS: sets the level of a GSI.
   * @returns -1 ignored, 0 coalesced, else how many took it.
   */
  irqLine(gsi: number, level: boolean): number;
  /** KVM_SIGNAL_MSI: how many local APICs took it, 0 when blocked. */
  signalMsi(msi: KvmMsi): number;
  /** KVM_GET_IRQCHIP of a PIC: 0 KVM_IRQCHIP_PIC_MASTER, 1 PIC_SLAVE. */
  getPic(index: 0 | 1): KvmPicState;
  /** KVM_SET_IRQCHIP of a PIC. */
  setPic(index: 0 | 1, state: KvmPicState): void;
  /** KVM_GET_IRQCHIP of the IOAPIC. */
  getIoapic(): IoapicState;
  /** KVM_SET_IRQCHIP of the IOAPIC. */
  setIoapic(state: IoapicState): void;
  /** KVM_GET_CLOCK: kvmclock. */
  getClock(): KvmClockData;
  /** KVM_SET_CLOCK. */
  setClock(data: KvmClockData): void;
  /** Closes the VM and its vCPUs: runs that are under way never resolve, memory is given up. */
  close(): void;
}
