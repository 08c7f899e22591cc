import {
  KVM_PIT_SPEAKER_DUMMY,
  type KvmClockData,
  type KvmCoalescedZone,
  type KvmIrqRoutingEntry,
  KvmLimit,
  type KvmMsi,
  type KvmPicState,
  type KvmPitState2,
  type KvmUserspaceMemoryRegion,
} from "../abi/kvm/index.js";
import { type ApicId, type Hva, vcpuIndex } from "../base/index.js";
import type { EngineCounters } from "../engine/bridge/port.js";
import type { LinearMemory } from "../memory/index.js";
import type { TraceSink } from "../ports/index.js";
import type { VmBeyondKvm } from "./api/engine.js";
import type { EventFd } from "./api/event-fd.js";
import type { IoapicState, VmApi } from "./api/vm.js";
import type { KvmXenVcpuAttr, VmXen } from "./api/xen.js";
import type { XenVmView } from "./api/xen-view.js";
import { TSC_KHZ } from "./cpu/clock.js";
import { type KvmMsrFilter, MsrFilter } from "./cpu/msr-filter.js";
import { refuse } from "./error.js";
import type { KvmIoeventfd } from "./io/ioeventfd.js";
import { IrqSource } from "./irq/ioapic.js";
import { Irqfds } from "./irq/irqfd.js";
import { msiMessage } from "./irq/routing.js";
import type { KvmClearDirtyLog, LateBacking } from "./memory/slots.js";
import { turn } from "./run/entry.js";
import { Standstill } from "./standstill.js";
import type { Statistic } from "./stats.js";
import { Vcpu } from "./vcpu.js";
import { VcpuState } from "./vcpu-state.js";
import { enableVmCap } from "./vm-settings.js";
import type { VmState } from "./vm-state.js";

/** Ports of the timer. */
const PIT = { first: 0x40, count: 4 } as const;
/**
 * The highest address that KVM_SET_TSS_ADDR takes: three pages below 4 GiB.
 * @nolimit an address
 */
const MAX_TSS_ADDR = 0xffffd000n;

/** `KVM_MIN_ALLOC_MMU_PAGES`. */
const MIN_MMU_PAGES = 64n;

/** A virtual machine: what `ioctl` on a VM file descriptor does, with types. */
export class Vm implements VmApi, VmBeyondKvm {
  /** KVM_XEN_HVM_CONFIG, SET_ATTR, GET_ATTR and EVTCHN_SEND. */
  readonly xen: VmXen;
  /** For exact snapshots of a VM: what KVM's calls do not show. */
  readonly standstill: Standstill;
  readonly #state: VmState;
  readonly #irqfds: Irqfds;
  /** Hears of each vCPU that is made, before anybody uses it. */
  onVcpu: ((vcpu: Vcpu) => void) | undefined;
  #isClosed = false;
  readonly #checkExtension: (cap: number) => number;

  constructor(state: VmState, checkExtension: (cap: number) => number) {
    this.#state = state;
    this.xen = state.xen.api;
    this.standstill = new Standstill(state);
    this.#checkExtension = checkExtension;
    this.#irqfds = new Irqfds(state.routing, state.linux.irqfdsAreExclusive);
    state.onPinEoi = (pin) => this.#irqfds.pinEnded(pin);
  }

  /** Who is told what happens in this VM; undefined: nobody, which costs nothing. */
  get trace(): TraceSink | undefined {
    return this.#state.trace;
  }
  set trace(sink: TraceSink | undefined) {
    this.#state.trace = sink;
  }

  /** Whether {@link close} was called. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Instructions that its vCPUs have retired. */
  get instructions(): number {
    return this.#state.vcpus.reduce((sum, vcpu) => sum + vcpu.instructions, 0);
  }

  /** KVM_XEN_VCPU_SET_ATTR of a vCPU by the order of creation. @throws KvmError; RangeError when there is none. */
  setVcpuXenAttr(vcpu: number, attr: KvmXenVcpuAttr): void {
    const found = this.#state.vcpus[vcpu];
    if (found === undefined) throw new RangeError(`no vCPU ${vcpu}`);
    found.xen.api.setAttr(attr);
  }

  /** What its Xen support knows now, read without any effect. */
  xenView(): XenVmView {
    const { xen, vcpus } = this.#state;
    return xen.view(vcpus.map(({ mp }) => mp.state));
  }

  /** Where guest memory is allocated; a slot's `userspaceAddr` is an offset in it. */
  get linear(): LinearMemory {
    return this.#state.engine.linear;
  }

  /** KVM_CHECK_EXTENSION on the VM: 0 when not there, else its value. */
  checkExtension(cap: number): number {
    return this.#checkExtension(cap);
  }

  /**
   * KVM_SET_USER_MEMORY_REGION, and KVM_SET_USER_MEMORY_REGION2, whose guest_memfd is not there.
   * @param late finds the memory when the slot is first accessed; `userspaceAddr` does not count then.
   *   If it finds none, run() of the vCPU that needs it gives "memory-fault".
   * @throws KvmError EINVAL, EEXIST, ENOMEM.
   */
  setUserMemoryRegion(region: KvmUserspaceMemoryRegion, late?: LateBacking): void {
    this.#state.slots.set(region, late);
  }

  /**
   * KVM_GET_DIRTY_LOG: one bit per page, cleared by reading unless
   * KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is enabled. @throws KvmError EINVAL, ENOENT.
   */
  getDirtyLog(slot: number): Uint8Array {
    return this.#state.slots.takeDirtyLog(slot);
  }

  /** KVM_CLEAR_DIRTY_LOG. @throws KvmError EINVAL, ENOENT. */
  clearDirtyLog(log: KvmClearDirtyLog): void {
    this.#state.slots.clearDirtyLog(log);
  }

  /** KVM_SET_NR_MMU_PAGES: has no effect. @throws KvmError EINVAL below 64. */
  setNrMmuPages(pages: bigint): void {
    if (pages < MIN_MMU_PAGES) refuse("EINVAL", "MMU pages");
  }

  /** KVM_SET_TSS_ADDR: Intel's; has no effect. @throws KvmError EINVAL too high. */
  setTssAddr(address: bigint): void {
    if (address > MAX_TSS_ADDR) refuse("EINVAL", "TSS address");
  }

  /** KVM_SET_IDENTITY_MAP_ADDR: Intel's; has no effect. @throws KvmError EINVAL with vCPUs. */
  setIdentityMapAddr(_address: bigint): void {
    if (this.#state.vcpus.length > 0) refuse("EINVAL", "vCPUs exist");
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

  /**
   * KVM_CREATE_PIT2. KVM_CREATE_PIT is the same with KVM_PIT_SPEAKER_DUMMY, which brings port 0x61.
   * @throws KvmError EEXIST; ENOENT without an in-kernel PIC.
   */
  createPit2(flags: number = KVM_PIT_SPEAKER_DUMMY): void {
    if (this.#state.pit !== undefined) refuse("EEXIST", "PIT exists");
    if (this.#state.pic === undefined) refuse("ENOENT", "no PIC in the kernel");
    this.#state.engine.setFloating(PIT.first, PIT.count, false);
    this.#state.createPit(flags);
  }

  /**
   * From now on IN from these ports gives ones, as if it had been an exit that was answered so, without leaving the guest. KVM has no such call: it
   * is for machines that know where they have no device and whose guests look there often.
   */
  floatPorts(first: number, count: number): void {
    this.#state.engine.setFloating(first, count, true);
  }

  /** KVM_GET_PIT2, and without the flags KVM_GET_PIT. @throws KvmError ENXIO without a PIT. */
  getPit2(): KvmPitState2 {
    return (this.#state.pit ?? refuse("ENXIO", "no PIT")).save();
  }

  /** KVM_SET_PIT2: the counters start anew. @throws KvmError ENXIO without a PIT. */
  setPit2(state: KvmPitState2): void {
    (this.#state.pit ?? refuse("ENXIO", "no PIT")).restore(state.channels, state.flags);
  }

  /** KVM_SET_PIT: as {@link setPit2}, the flags stay. @throws KvmError ENXIO without a PIT. */
  setPit(channels: KvmPitState2["channels"]): void {
    (this.#state.pit ?? refuse("ENXIO", "no PIT")).restore(channels);
  }

  /**
   * KVM_REINJECT_CONTROL: whether ticks a guest missed come later. Here they never do.
   * @throws KvmError ENXIO without a PIT.
   */
  reinjectControl(pitReinject: boolean): void {
    (this.#state.pit ?? refuse("ENXIO", "no PIT")).reinject = pitReinject;
  }

  /**
   * KVM_ENABLE_CAP on the VM; `args` are u64. See `KvmCap`: DISABLE_QUIRKS, DISABLE_QUIRKS2,
   * SPLIT_IRQCHIP, X2APIC_API, X86_DISABLE_EXITS, MSR_PLATFORM_INFO, EXCEPTION_PAYLOAD,
   * X86_TRIPLE_FAULT_EVENT, X86_USER_SPACE_MSR, EXIT_HYPERCALL, MANUAL_DIRTY_LOG_PROTECT2, HALT_POLL,
   * VM_DISABLE_NX_HUGE_PAGES, MAX_VCPU_ID, X86_APIC_BUS_CYCLES_NS.
   * @throws KvmError EINVAL for others, for bad arguments, or too late; EEXIST, ENXIO.
   */
  enableCap(cap: number, args: readonly (number | bigint)[] = []): void {
    const state = this.#state;
    const { settings } = state;
    enableVmCap(
      {
        settings,
        linux: state.linux,
        vcpuCount: state.vcpus.length,
        hasIrqchip: state.irqchip !== "none",
        hasSplitIrqchip: state.irqchip === "split",
        createSplitIrqchip: () => state.createIrqchip("split"),
      },
      cap,
      BigInt.asUintN(64, BigInt(args[0] ?? 0)),
    );
    state.routing.x2apicFormat = settings.x2apicFormat;
    state.bus.broadcastQuirk = settings.x2apicBroadcastQuirk;
    state.slots.manualProtect = settings.manualDirtyLog;
  }

  /** KVM_SET_BOOT_CPU_ID. @throws KvmError EBUSY after a vCPU exists; EINVAL too large. */
  setBootCpuId(id: ApicId): void {
    const { settings, vcpus } = this.#state;
    if (vcpus.length > 0) refuse("EBUSY", "vCPUs exist");
    const limit = settings.maxVcpuIds || KvmLimit.MAX_VCPU_IDS;
    if (id < 0 || id > limit) refuse("EINVAL", "vCPU id");
    settings.bspId = id;
  }

  /** KVM_CREATE_VCPU. @throws KvmError EINVAL id too large or too many; EEXIST in use; ENOMEM. */
  createVcpu(id: ApicId): Vcpu {
    this.checkVcpuId(id);
    const state = this.#state;
    if (!state.engine.prepareVcpu()) refuse("ENOMEM", "the engine has no room for more vCPUs");
    const vcpu = new VcpuState(state, { index: vcpuIndex(state.vcpus.length), id }, turn);
    state.vcpus.push(vcpu);
    vcpu.time.noteTsc();
    const made = new Vcpu(vcpu);
    this.onVcpu?.(made);
    return made;
  }

  /** What {@link createVcpu} refuses first. @throws KvmError EINVAL, EEXIST. */
  checkVcpuId(id: ApicId): void {
    const state = this.#state;
    const { settings } = state;
    if (id < 0 || id >= KvmLimit.MAX_VCPU_IDS) refuse("EINVAL", "vCPU id");
    if (state.vcpus.length >= KvmLimit.MAX_VCPUS) refuse("EINVAL", "too many vCPUs");
    // From here on KVM_CAP_MAX_VCPU_ID is settled.
    settings.maxVcpuIds ||= KvmLimit.MAX_VCPU_IDS;
    if (id >= settings.maxVcpuIds) refuse("EINVAL", "vCPU id beyond KVM_CAP_MAX_VCPU_ID");
    if (state.vcpuById(id) !== undefined) refuse("EEXIST", `vCPU ${id} exists`);
  }

  /** KVM_GET_TSC_KHZ of the VM: what new vCPUs start with. */
  get tscKhz(): number {
    return this.#state.settings.defaultTscKhz || TSC_KHZ;
  }

  /**
   * KVM_SET_TSC_KHZ of the VM; 0 means the host's. New vCPUs take it if they can.
   * @throws KvmError EINVAL: newer releases refuse it when there are vCPUs.
   */
  setTscKhz(khz: number): void {
    const { linux, settings, vcpus } = this.#state;
    if (linux.vmTscKhzComesFirst && vcpus.length > 0) refuse("EINVAL", "vCPUs exist");
    settings.defaultTscKhz = khz;
  }

  /** KVM_X86_SET_MSR_FILTER: which MSRs the guest may access. @throws KvmError EINVAL. */
  setMsrFilter(filter: KvmMsrFilter): void {
    const { settings, vcpus } = this.#state;
    settings.msrFilter = new MsrFilter(filter);
    // The engine answers some MSRs by itself, unless each has to be looked at.
    for (const { engine } of vcpus) engine.msrExits = settings.msrFilter.restricts;
  }

  /** KVM_REGISTER_COALESCED_MMIO. @throws KvmError EINVAL, ENOSPC. */
  registerCoalescedMmio(zone: KvmCoalescedZone): void {
    this.#state.coalesced.register(zone);
  }

  /** KVM_UNREGISTER_COALESCED_MMIO: zones that hold this one go. @throws KvmError EINVAL. */
  unregisterCoalescedMmio(zone: KvmCoalescedZone): void {
    this.#state.coalesced.unregister(zone);
  }

  /** `struct kvm_coalesced_mmio_ring`: the third page of every vCPU's mapping. */
  get coalescedRing(): Uint8Array {
    return this.#state.coalesced.page;
  }
  set coalescedRing(page: Uint8Array) {
    this.#state.coalesced.page = page;
  }

  /** KVM_IOEVENTFD. @throws KvmError EINVAL, EEXIST, ENOENT. */
  ioeventfd(request: KvmIoeventfd): void {
    this.#state.ioeventfds.set(request);
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

  /**
   * Where the answers to KVM_IRQ_LINE_STATUS with level 0 are kept that can be given without asking: a byte for each GSI, the
   * answer and 2, or 0.
   */
  set lowLines(page: Uint8Array | undefined) {
    this.#state.routing.lowLines.page = page;
  }

  /** KVM_SIGNAL_MSI: how many local APICs took it, 0 when blocked. @throws KvmError EINVAL. */
  signalMsi(msi: KvmMsi): number {
    if (this.#state.irqchip === "none") refuse("EINVAL", "no interrupt controller in the kernel");
    if ((msi.flags ?? 0) !== 0) refuse("EINVAL", "MSI flags");
    if (this.#state.routing.x2apicFormat && (msi.addressHi & 0xff) !== 0) {
      refuse("EINVAL", "MSI address");
    }
    return this.#state.bus.deliver(msiMessage(msi, this.#state.routing.x2apicFormat));
  }

  /** KVM_IRQFD: connects an eventfd to a GSI. @throws KvmError EBUSY, EINVAL. */
  irqfd(eventfd: EventFd, gsi: number, resample?: EventFd): void {
    this.checkIrqfd(resample !== undefined);
    this.#irqfds.assign(eventfd, gsi, resample);
  }

  /** Whether there can be such an irqfd at all, which Linux looks at before the descriptors. @throws KvmError EINVAL. */
  checkIrqfd(resamples: boolean): void {
    if (this.#state.irqchip === "none") refuse("EINVAL", "no interrupt controller in the kernel");
    if (resamples && this.#state.irqchip !== "kernel") {
      refuse("EINVAL", "resampling needs the IOAPIC in the kernel");
    }
  }

  /** KVM_IRQFD with KVM_IRQFD_FLAG_DEASSIGN. */
  deassignIrqfd(eventfd: EventFd, gsi: number): void {
    this.#irqfds.deassign(eventfd, gsi);
  }

  /** KVM_GET_IRQCHIP for a PIC: 0 KVM_IRQCHIP_PIC_MASTER, 1 PIC_SLAVE. @throws KvmError ENXIO. */
  getPic(index: 0 | 1): KvmPicState {
    return (this.#state.pic ?? refuse("ENXIO", "no PIC in the kernel")).save(index);
  }

  /** KVM_SET_IRQCHIP for a PIC. @throws KvmError ENXIO. */
  setPic(index: 0 | 1, state: KvmPicState): void {
    const pic = this.#state.pic ?? refuse("ENXIO", "no PIC in the kernel");
    this.#state.routing.lowLines.clear();
    pic.restore(index, state);
  }

  /** KVM_GET_IRQCHIP for the IOAPIC. @throws KvmError ENXIO. */
  getIoapic(): IoapicState {
    return (this.#state.ioapic ?? refuse("ENXIO", "no IOAPIC in the kernel")).save();
  }

  /** KVM_SET_IRQCHIP for the IOAPIC. @throws KvmError ENXIO. */
  setIoapic(ioapic: IoapicState): void {
    const chip = this.#state.ioapic ?? refuse("ENXIO", "no IOAPIC in the kernel");
    this.#state.routing.lowLines.clear();
    chip.restore(ioapic);
    this.#state.pic?.update();
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

  /** KVM_GET_STATS_FD: tables of slots given to the engine, which drop all translations; pages. */
  statistics(): Statistic[] {
    const { generation, pages } = this.#state.slots;
    return [
      { name: "remote_tlb_flush", kind: "cumulative", value: BigInt(generation) },
      { name: "pages_4k", kind: "instant", value: BigInt(pages) },
    ];
  }

  /** What the engine has done for this VM beside plain execution: how the speed of a guest is explained. */
  get engineCounters(): EngineCounters {
    return this.#state.engine.counters();
  }

  /** Ends the VM: runs that are under way never resolve, memory is given up. */
  close(): void {
    this.#isClosed = true;
    this.#irqfds.close();
    this.#state.close();
  }
}
