/** The guest as a Xen domain: everything that hypercalls act on. */
import type { MemmapEntry } from "../../abi/boot/hvm-start-info.js";
import { KVM_XEN_INVALID } from "../../abi/kvm/index.js";
import { GNTTAB_RESERVED_XENSTORE, Gntst } from "../../abi/xen/grant-table.js";
import { HvmParam } from "../../abi/xen/hvm.js";
import { Shutdown } from "../../abi/xen/sched.js";
import { MAX_VIRT_CPUS } from "../../abi/xen/shared-info.js";
import { VcpuInfo } from "../../abi/xen/vcpu-info.js";
import { DOMID_SELF, Virq } from "../../abi/xen/xen.js";
import {
  assert,
  Errno,
  type EvtchnPort,
  type GrantRef,
  type Hva,
  PAGE_SIZE,
  xenVcpuId,
} from "../../base/index.js";
import type { GuestMemory } from "../../memory/index.js";
import type { ByteStream, Clock, Log, Timers, TraceSink } from "../../ports/index.js";
import type { Backend } from "./backends/backend.js";
import { DebugText } from "./debug-text.js";
import { EventDelivery } from "./event-delivery.js";
import { EventPorts } from "./evtchn/ports.js";
import { GuestGrant } from "./grants/guest-grant.js";
import { GrantTable, MAX_GRANT_FRAMES } from "./grants/table.js";
import type { BackendHost, EventChannels, GrantMapping, Grants, KeptGrant } from "./interfaces.js";
import { attempt, type XenVcpu, type XenVm } from "./kvm-objects.js";
import type { GuestPhysmap } from "./overlay.js";
import { Rings } from "./rings.js";
import { SharedInfo } from "./shared-info.js";
import { LinearPage } from "./shared-page.js";
import { softReset } from "./soft-reset.js";
import { VcpuTimers, Watchdogs } from "./timers.js";
import { writeInitialNodes } from "./xenstore/initial-nodes.js";
import { PRIVILEGED } from "./xenstore/node.js";
import { domainPath } from "./xenstore/path.js";
import { DEFAULT_QUOTA, Store } from "./xenstore/store.js";
import { toBytes } from "./xenstore/wire.js";

/** The domain id of the guest; backends are domain 0. */
export const GUEST_DOMID = 1;

/** What a domain is made from. */
export interface DomainConfig {
  readonly vm: XenVm;
  readonly physmap: GuestPhysmap;
  /** By ascending Xen vCPU id, from 0. */
  readonly vcpus: readonly XenVcpu[];
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
  /** Where console_io goes, as details. */
  readonly debugLog: Log;
  /** Where hvc0 goes. */
  readonly console: ByteStream;
  readonly memmap: readonly MemmapEntry[];
  readonly memoryBytes: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  readonly name: string;
  /** Guest frames of the two ring pages, outside RAM. */
  readonly consoleGfn: number;
  readonly xenstoreGfn: number;
  /** Its devices; they are connected when it is made. */
  readonly devices?: readonly Backend[];
  /** The guest ends itself: a SHUTDOWN_* reason. */
  readonly onShutdown: (reason: number) => void;
  /** The guest suspends itself; SCHEDOP_shutdown answers 1, "cancelled", unless that is changed. */
  readonly onSuspend: () => void;
}

/** A vCPU as Xen's hypercalls see it. */
export interface DomainVcpu {
  /** Xen vCPU id. */
  readonly id: number;
  readonly kvm: XenVcpu;
  readonly timers: VcpuTimers;
  /** Where a vcpu_info was registered; undefined while the default one is in use. */
  infoGpa: number | undefined;
  /** VCPUOP_initialise gave it its registers. */
  initialised: boolean;
  /** VCPUOP_down: not to be run until VCPUOP_up. */
  down: boolean;
  /** Resolves the wait for VCPUOP_up. */
  wake: () => void;
}

export class Domain implements BackendHost {
  readonly domid = GUEST_DOMID;
  readonly config: DomainConfig;
  readonly log: Log;
  readonly physmap: GuestPhysmap;
  readonly vcpus = new Map<number, DomainVcpu>();
  readonly sharedInfo: SharedInfo;
  readonly delivery: EventDelivery;
  readonly ports: EventPorts;
  readonly grantTable: GrantTable;
  readonly grantFrames: readonly LinearPage[];
  readonly store = new Store(
    DEFAULT_QUOTA,
    (domid) => domid === PRIVILEGED || domid === GUEST_DOMID,
  );
  readonly watchdogs: Watchdogs;
  /** HVM parameters that have been set. */
  readonly params = new Map<number, bigint>();
  /** What the guest writes by console_io. */
  readonly debugText: DebugText;
  readonly events: EventChannels;
  readonly grants: Grants;
  /** Who watches; see ports/trace.ts. */
  trace: TraceSink | undefined = undefined;
  /** The page of the console's ring. */
  readonly consolePage: LinearPage;
  /** The two rings that it was made with. */
  readonly rings: Rings;
  /** Its pages beside the guest's RAM, in the order in which they were made. */
  readonly pages: Hva[] = [];
  readonly #backends: Set<Backend>;
  /** Work of backends that no vCPU was charged for yet. */
  #work = 0;

  constructor(config: DomainConfig) {
    const { vm, log } = config;
    this.config = config;
    this.log = log;
    this.debugText = new DebugText(config.debugLog, "console_io");
    this.physmap = config.physmap;
    this.sharedInfo = new SharedInfo(vm, this.physmap, this.#page().hva);
    const kvmVcpus = new Map(config.vcpus.map((vcpu, id) => [xenVcpuId(id), vcpu]));
    this.delivery = new EventDelivery(vm, kvmVcpus, this.sharedInfo, log);
    this.ports = new EventPorts(this.domid, this.delivery);
    for (const [id, kvm] of kvmVcpus) {
      const fire = (): void => void this.ports.raiseVirq(Virq.TIMER, id);
      const timers = new VcpuTimers(vm, kvm, config, fire, this);
      const wake = (): void => undefined;
      const fresh = { infoGpa: undefined, initialised: false, down: false };
      this.vcpus.set(id, { id, kvm, timers, ...fresh, wake });
    }
    this.watchdogs = new Watchdogs(config, () => config.onShutdown(Shutdown.watchdog));
    this.grantFrames = Array.from({ length: MAX_GRANT_FRAMES }, () => this.#page());
    this.grantTable = new GrantTable(this.grantFrames);
    this.grantTable.reserve(config.consoleGfn, config.xenstoreGfn);
    this.events = { connect: (port, onNotify) => this.#connect(port, onNotify) };
    this.grants = {
      map: (ref, readonly) => this.#mapGrant(ref, readonly),
      mapAgain: (kept) => this.#mapAgain(kept),
    };
    this.consolePage = this.#page();
    this.rings = this.#startRings();
    this.#backends = new Set(config.devices);
    for (const backend of this.#backends) backend.connect(this);
  }

  /** One more device, in the face of the guest. */
  addDevice(device: Backend): void {
    this.#backends.add(device);
    device.connect(this);
  }

  /** Its devices. */
  get devices(): readonly Backend[] {
    return [...this.#backends];
  }

  /** A device that takes the place of one that was saved, as `restore` does it. */
  adoptDevice(device: Backend, restore: () => void): void {
    this.#backends.add(device);
    restore();
  }

  /** A device that has been unplugged is no part of the domain any more. */
  forgetDevice(device: Backend): void {
    this.#backends.delete(device);
  }

  get memory(): GuestMemory {
    return this.physmap.memory;
  }

  /** Whether a domain id means this domain. */
  isSelf(domid: number): boolean {
    return domid === DOMID_SELF || domid === this.domid;
  }

  /** Input for hvc0. */
  consoleInput(bytes: Uint8Array): void {
    this.rings.console.input(bytes);
  }

  /** There is room for output of hvc0 again. */
  consoleRoom(): void {
    this.rings.console.process();
  }

  /** Tells the guest the size of the terminal that its console is shown on, in characters. */
  setConsoleSize(rows: number, columns: number): void {
    const path = `${domainPath(this.domid)}/console/winsize`;
    this.store.write(PRIVILEGED, 0, path, toBytes(`${rows} ${columns}`));
  }

  /** Gives a node of the guest's directory a value. */
  writeNode(name: string, value: string): void {
    this.store.write(PRIVILEGED, 0, `${domainPath(this.domid)}/${name}`, toBytes(value));
  }

  /** Tells when a node of the guest's directory changes, or something below it. */
  watchNode(name: string, onChange: () => void): void {
    const path = `${domainPath(this.domid)}/${name}`;
    const token = `node ${name}`;
    const error = this.store.watch({ domid: PRIVILEGED, path, token, fire: onChange });
    assert(error === undefined, "a node that is watched twice");
  }

  /** Asks the guest's balloon to leave the guest this much memory; it may take its time. */
  setMemoryTarget(bytes: number): void {
    const path = `${domainPath(this.domid)}/memory/target`;
    this.store.write(PRIVILEGED, 0, path, toBytes(`${Math.floor(bytes / 1024)}`));
  }

  charge(units: number): void {
    this.#work += units;
  }

  /** The work of backends since this was called last: whoever makes a hypercall next is charged for it. */
  takeWork(): number {
    const units = this.#work;
    this.#work = 0;
    return units;
  }

  /** Stops all timers. */
  close(): void {
    for (const vcpu of this.vcpus.values()) vcpu.timers.close();
    this.watchdogs.close();
  }

  /** SHUTDOWN_soft_reset: forgets what the running kernel has set up, for another in its place. */
  softReset(): void {
    this.#resetBackends();
    softReset(this, this.rings, "reset");
  }

  /** For a guest that was suspended: a new domain, but for its memory and its nodes in the store. */
  restore(): void {
    const before = this.ports.numbers;
    this.#resetBackends();
    softReset(this, this.rings, "kept");
    this.ports.avoid(before);
  }

  /** Asks the guest to end or suspend itself, by the node that it watches for that. */
  requestShutdown(how: "poweroff" | "reboot" | "suspend"): void {
    this.store.write(PRIVILEGED, 0, `${domainPath(this.domid)}/control/shutdown`, toBytes(how));
  }

  /** Maps shared_info, adopting the mode of the caller first: it decides where all is in the page. */
  mapSharedInfo(gfn: number | undefined, longMode: boolean): number {
    this.sharedInfo.latchLongMode(longMode);
    const error = this.sharedInfo.map(gfn, -Errno.ENOMEM);
    if (error !== 0) return error;
    for (const vcpu of this.vcpus.values()) {
      if (vcpu.infoGpa !== undefined || vcpu.id >= MAX_VIRT_CPUS) continue;
      const at = gfn === undefined ? 0n : BigInt(this.sharedInfo.vcpuInfo(vcpu.id));
      attempt(() => vcpu.kvm.xen.setAttr({ type: "VCPU_INFO_HVA", hva: at }));
    }
    if (gfn !== undefined) this.delivery.raiseEarly();
    return 0;
  }

  /**
   * Registers a vcpu_info inside one page of RAM. As Xen: the old content moves, and everything
   * counts as pending, so that no event is lost on the way.
   */
  registerVcpuInfo(vcpu: DomainVcpu, gpa: number): number {
    const longMode = this.sharedInfo.longMode;
    const content = new Uint8Array(VcpuInfo.SIZE);
    if (vcpu.id < MAX_VIRT_CPUS) {
      const old = this.sharedInfo.vcpuInfo(vcpu.id);
      content.set(this.config.vm.linear.u8.subarray(old, old + VcpuInfo.SIZE));
    }
    const selector = longMode ? VcpuInfo.EVTCHN_PENDING_SEL_64 : VcpuInfo.EVTCHN_PENDING_SEL_COMPAT;
    content.fill(0xff, selector, selector + (longMode ? 8 : 4));
    content[VcpuInfo.EVTCHN_UPCALL_PENDING] = 1;
    if (!this.memory.write(gpa, content)) return -Errno.EINVAL;
    const error = attempt(() => vcpu.kvm.xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(gpa) }));
    if (error !== 0) {
      attempt(() => vcpu.kvm.xen.setAttr({ type: "VCPU_INFO", gpa: KVM_XEN_INVALID }));
      return error;
    }
    vcpu.infoGpa = gpa;
    this.assertUpcall(vcpu);
    return 0;
  }

  /** Whether a vCPU's upcall waits to be taken. */
  upcallPending(vcpu: DomainVcpu): boolean {
    const offset = VcpuInfo.EVTCHN_UPCALL_PENDING;
    if (vcpu.infoGpa !== undefined) return this.memory.readU8(vcpu.infoGpa + offset) !== 0;
    if (!this.sharedInfo.active || vcpu.id >= MAX_VIRT_CPUS) return false;
    return this.config.vm.linear.view.getUint8(this.sharedInfo.vcpuInfo(vcpu.id) + offset) !== 0;
  }

  /** Makes a vCPU take its upcall, by its own vector or by the domain's. */
  assertUpcall(vcpu: DomainVcpu): void {
    const { vector } = vcpu.kvm.xen.getAttr("UPCALL_VECTOR");
    if (vector === 0) {
      // KVM looks at upcall_pending when it enters the vCPU.
      vcpu.kvm.kick();
      return;
    }
    const addressLo = 0xfee00000 + ((vcpu.kvm.id & 0xff) << 12);
    const msi = { addressLo, addressHi: vcpu.kvm.id & ~0xff, data: vector };
    attempt(() => this.config.vm.signalMsi(msi));
  }

  /** First of all: they let go of ports and grants while these still are what they were. */
  #resetBackends(): void {
    for (const backend of this.#backends) backend.reset();
  }

  #page(): LinearPage {
    const { linear } = this.config.vm;
    const at = linear.allocate(PAGE_SIZE);
    assert(at !== undefined, "no memory for the domain's own pages");
    this.pages.push(at);
    return new LinearPage(linear, at);
  }

  /** Makes the two rings and all that a toolstack writes before the guest starts. */
  #startRings(): Rings {
    const { config, params } = this;
    const pages = { store: this.#page(), console: this.consolePage };
    this.physmap.place(pages.store.hva, config.xenstoreGfn);
    this.physmap.place(pages.console.hva, config.consoleGfn);
    params.set(HvmParam.STORE_PFN, BigInt(config.xenstoreGfn));
    params.set(HvmParam.CONSOLE_PFN, BigInt(config.consoleGfn));
    const allocatePort = (): number => this.ports.allocUnbound(0);
    const { console: stream, log } = config;
    const rings = new Rings({ host: this, allocatePort, params, pages, stream, log });
    writeInitialNodes(this.store, {
      domid: this.domid,
      name: config.name,
      uuid: formatUuid(config.uuid),
      vcpus: config.vcpus.length,
      memoryBytes: config.memoryBytes,
      store: { port: rings.ports.store, gfn: config.xenstoreGfn },
      console: { port: rings.ports.console, gfn: config.consoleGfn },
    });
    return rings;
  }

  #connect(
    guestPort: EvtchnPort,
    onNotify: () => void,
  ): { notify(): void; close(): void } | undefined {
    const port = this.ports.connectBackend(guestPort, onNotify);
    if (port === undefined) return undefined;
    return {
      notify: () => this.ports.notifyGuest(port),
      close: () => this.ports.closeBackend(port),
    };
  }

  #mapGrant(ref: GrantRef, readonly: boolean): GrantMapping | number {
    if (ref <= GNTTAB_RESERVED_XENSTORE) return Gntst.bad_gntref;
    const use = this.grantTable.begin(ref, 0, readonly);
    if (typeof use === "number") return use;
    const grant = new GuestGrant(this.grantTable, use, this.physmap, this.config.vm.linear);
    if (grant.page !== undefined) return grant;
    grant.unmap();
    return Gntst.bad_page;
  }

  #mapAgain(kept: KeptGrant): GrantMapping | undefined {
    const { grantTable, physmap } = this;
    if (kept.ref <= GNTTAB_RESERVED_XENSTORE || !grantTable.beginAgain(kept)) return undefined;
    return new GuestGrant(grantTable, kept, physmap, this.config.vm.linear);
  }
}

/** A UUID in its usual form. */
export function formatUuid(bytes: Uint8Array): string {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [8, 12, 16, 20].reduceRight((text, at) => `${text.slice(0, at)}-${text.slice(at)}`, hex);
}
