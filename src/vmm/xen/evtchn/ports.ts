/**
 * The event channel ports of the guest (Xen's `public/event_channel.h`), 2-level ABI. A port can be bound to a
 * physical interrupt, which never comes. Pure: what must happen outside goes through {@link EvtchnEffects}. Results
 * are a port or 0, or a negative errno as Xen returns it.
 */
import { Evtchnstat } from "../../../abi/xen/event-channel.js";
import { NR_VIRQS, Virq, virqIsGlobal } from "../../../abi/xen/xen.js";
import {
  type BackendEvtchnPort,
  backendEvtchnPort,
  Errno,
  type EvtchnPort,
  evtchnPort,
  type XenVcpuId,
  xenVcpuId,
} from "../../../base/index.js";
import { TraceTarget } from "../../../ports/index.js";
import type { PortView } from "../view.js";

/** What the port table asks of the domain. vCPUs are named by Xen vCPU id. */
export interface EvtchnEffects {
  /** A valid port is 1 or more and below this. */
  maxPorts(): number;
  vcpuExists(vcpu: XenVcpuId): boolean;
  /** Sets the pending bit and tells the vCPU. */
  raise(port: EvtchnPort, vcpu: XenVcpuId): void;
  clearPending(port: EvtchnPort): void;
  /** If the port is pending and not masked, tells the vCPU (again). */
  raiseIfPending(port: EvtchnPort, vcpu: XenVcpuId): void;
  /** Clears the mask bit; a port that was masked and pending is told. 0 or a negative errno. */
  unmask(port: EvtchnPort, vcpu: XenVcpuId): number;
  /** From now on a send on `sendPort` raises `port` on `vcpu` without asking this table. */
  shortcut(
    sendPort: EvtchnPort,
    kind: "ipi" | "interdomain",
    port: EvtchnPort,
    vcpu: XenVcpuId,
  ): void;
  /** Ends a shortcut; does nothing when there is none. */
  endShortcut(sendPort: EvtchnPort): void;
  /** The port of a vCPU's timer interrupt; 0 for none. */
  timerPort(vcpu: XenVcpuId, port: EvtchnPort | 0): void;
}

/** What a port is connected to. */
type Binding =
  | { readonly state: "unbound"; readonly remoteDomid: number }
  | { readonly state: "loopback"; readonly peer: EvtchnPort }
  | { readonly state: "backend"; readonly backendPort: BackendEvtchnPort }
  | { readonly state: "virq"; readonly virq: number }
  | { readonly state: "pirq"; readonly pirq: number }
  | { readonly state: "ipi" };

interface Port {
  binding: Binding;
  /** The vCPU that is told. */
  vcpu: XenVcpuId;
}

/** A port of a backend (domain 0). */
interface BackendPort {
  readonly onNotify: () => void;
  /** The guest's port, while connected. */
  peer: EvtchnPort | undefined;
}

/** Answer of {@link EventPorts.status}. */
export interface PortStatus {
  /** EVTCHNSTAT_* number. */
  readonly status: number;
  readonly vcpu: number;
  /** The two words of the structure's union. */
  readonly u: readonly [number, number];
}

const BACKEND_DOMID = 0;

/** Physical interrupts of a domain, as Xen counts on a host with one I/O APIC: its 24, and 32 more (`extra_guest_irqs`). */
export const NR_PIRQS = 24 + 32;

const EINVAL = -Errno.EINVAL;
const ENOSPC = -Errno.ENOSPC;

function bindingTarget(binding: Binding): number {
  switch (binding.state) {
    case "unbound":
      return binding.remoteDomid;
    case "loopback":
      return binding.peer;
    case "backend":
      return binding.backendPort;
    case "virq":
      return binding.virq;
    case "pirq":
      return binding.pirq;
    case "ipi":
      return 0;
  }
}

/** A binding from what {@link bindingTarget} says; that to a backend is not there so far. */
function bindingOf(state: Binding["state"], to: number): Binding {
  switch (state) {
    case "unbound":
      return { state, remoteDomid: to };
    case "loopback":
      return { state, peer: evtchnPort(to) };
    case "backend":
      return { state: "unbound", remoteDomid: BACKEND_DOMID };
    case "virq":
      return { state, virq: to };
    case "pirq":
      return { state, pirq: to };
    case "ipi":
      return { state };
  }
}

/** The ports of a domain as they are. */
export interface EventPortsKept {
  readonly ports: readonly {
    readonly port: number;
    readonly vcpu: number;
    readonly state: Binding["state"];
    readonly to: number;
  }[];
  readonly nextBackendPort: number;
  /** Numbers that are avoided. */
  readonly stale: readonly number[];
}

/** The vCPU that new ports of two ends tell. */
const FIRST = xenVcpuId(0);

export class EventPorts {
  readonly #domid: number;
  readonly #effects: EvtchnEffects;
  readonly #ports = new Map<EvtchnPort, Port>();
  readonly #backendPorts = new Map<BackendEvtchnPort, BackendPort>();
  /** Ports of bound virqs, by `virq:vcpu`. */
  readonly #virqs = new Map<string, EvtchnPort>();
  #nextBackendPort = backendEvtchnPort(1);
  /** Numbers that are given only when there are no others. */
  readonly #stale = new Set<EvtchnPort>();
  /** Backends' ports of connections that are to be made again, by the guest's. */
  readonly #promised = new Map<EvtchnPort, BackendEvtchnPort>();

  constructor(domid: number, effects: EvtchnEffects) {
    this.#domid = domid;
    this.#effects = effects;
  }

  /** EVTCHNOP_alloc_unbound for this domain: the lowest free port, or -ENOSPC. */
  allocUnbound(remoteDomid: number): number {
    return this.#allocate({ state: "unbound", remoteDomid }, FIRST) ?? ENOSPC;
  }

  /** EVTCHNOP_bind_interdomain; the new port starts pending, lest a notification be lost. */
  bindInterdomain(remoteDomid: number, remotePort: number): number {
    if (remoteDomid === this.#domid) return this.#bindLoopback(evtchnPort(remotePort));
    if (remoteDomid !== BACKEND_DOMID) return -Errno.ESRCH;
    const backendPort = backendEvtchnPort(remotePort);
    const backend = this.#backendPorts.get(backendPort);
    if (backend === undefined || backend.peer !== undefined) return EINVAL;
    const port = this.#allocate({ state: "backend", backendPort }, FIRST);
    if (port === undefined) return ENOSPC;
    backend.peer = port;
    this.#effects.raise(port, FIRST);
    return port;
  }

  #bindLoopback(remotePort: EvtchnPort): number {
    const remote = this.#ports.get(remotePort);
    if (remote?.binding.state !== "unbound" || remote.binding.remoteDomid !== this.#domid) {
      return EINVAL;
    }
    const port = this.#allocate({ state: "loopback", peer: remotePort }, FIRST);
    if (port === undefined) return ENOSPC;
    remote.binding = { state: "loopback", peer: port };
    this.#effects.shortcut(port, "interdomain", remotePort, remote.vcpu);
    this.#effects.shortcut(remotePort, "interdomain", port, FIRST);
    this.#effects.raise(port, FIRST);
    return port;
  }

  /** EVTCHNOP_bind_virq. */
  bindVirq(virq: number, vcpu: XenVcpuId): number {
    if (virq >= NR_VIRQS || (virqIsGlobal(virq) && vcpu !== 0)) return EINVAL;
    if (!this.#effects.vcpuExists(vcpu)) return -Errno.ENOENT;
    const key = virqKey(virq, vcpu);
    if (this.#virqs.has(key)) return -Errno.EEXIST;
    const port = this.#allocate({ state: "virq", virq }, vcpu);
    if (port === undefined) return ENOSPC;
    this.#virqs.set(key, port);
    if (virq === Virq.TIMER) this.#effects.timerPort(vcpu, port);
    return port;
  }

  /** EVTCHNOP_bind_ipi. */
  bindIpi(vcpu: XenVcpuId): number {
    if (!this.#effects.vcpuExists(vcpu)) return -Errno.ENOENT;
    const port = this.#allocate({ state: "ipi" }, vcpu);
    if (port === undefined) return ENOSPC;
    this.#effects.shortcut(port, "ipi", port, vcpu);
    return port;
  }

  /** EVTCHNOP_bind_pirq: a PVH domain has none that could be routed, but Xen lets it bind each once. */
  bindPirq(pirq: number): number {
    if (pirq >= NR_PIRQS) return EINVAL;
    for (const { binding } of this.#ports.values()) {
      if (binding.state === "pirq" && binding.pirq === pirq) return -Errno.EEXIST;
    }
    return this.#allocate({ state: "pirq", pirq }, FIRST) ?? ENOSPC;
  }

  /** EVTCHNOP_close. */
  close(port: EvtchnPort): number {
    const entry = this.#ports.get(port);
    if (entry === undefined) return EINVAL;
    this.#release(port, entry);
    this.#ports.delete(port);
    this.#effects.clearPending(port);
    return 0;
  }

  #release(port: EvtchnPort, { binding, vcpu }: Port): void {
    switch (binding.state) {
      case "unbound":
      case "pirq":
        return;
      case "ipi":
        this.#effects.endShortcut(port);
        return;
      case "virq":
        for (const [key, bound] of this.#virqs) if (bound === port) this.#virqs.delete(key);
        if (binding.virq === Virq.TIMER) this.#effects.timerPort(vcpu, 0);
        return;
      case "loopback": {
        this.#effects.endShortcut(port);
        this.#effects.endShortcut(binding.peer);
        const peer = this.#ports.get(binding.peer);
        if (peer !== undefined) {
          peer.binding = { state: "unbound", remoteDomid: this.#domid };
          peer.vcpu = FIRST;
        }
        return;
      }
      case "backend": {
        const backend = this.#backendPorts.get(binding.backendPort);
        if (backend !== undefined) backend.peer = undefined;
      }
    }
  }

  /** EVTCHNOP_send, for what has no shortcut. A send on an unbound port is lost. */
  send(port: EvtchnPort): number {
    const entry = this.#ports.get(port);
    switch (entry?.binding.state) {
      case "unbound":
        return 0;
      case "ipi":
        this.#effects.raise(port, entry.vcpu);
        return 0;
      case "loopback": {
        const peer = this.#ports.get(entry.binding.peer);
        if (peer !== undefined) this.#effects.raise(entry.binding.peer, peer.vcpu);
        return 0;
      }
      case "backend":
        this.#backendPorts.get(entry.binding.backendPort)?.onNotify();
        return 0;
      default:
        return EINVAL;
    }
  }

  /** All ports, in the order of their numbers, for people who look. */
  list(): PortView[] {
    const ports = [...this.#ports].sort(([a], [b]) => a - b);
    return ports.map(([port, { binding, vcpu }]) => ({
      ...{ port, vcpu, state: binding.state },
      to: bindingTarget(binding),
    }));
  }

  /** Where a send on a port goes, for who watches. */
  target(port: EvtchnPort): TraceTarget {
    const state = this.#ports.get(port)?.binding.state;
    if (state === "backend") return TraceTarget.BACKEND;
    return state === "ipi" || state === "loopback" ? TraceTarget.PORT : TraceTarget.NOWHERE;
  }

  /** EVTCHNOP_status; undefined for a port that cannot exist. */
  status(port: EvtchnPort): PortStatus | undefined {
    if (port < 1 || port >= this.#effects.maxPorts()) return undefined;
    const entry = this.#ports.get(port);
    if (entry === undefined) return { status: Evtchnstat.closed, vcpu: 0, u: [0, 0] };
    const { binding, vcpu } = entry;
    switch (binding.state) {
      case "unbound":
        return { status: Evtchnstat.unbound, vcpu, u: [binding.remoteDomid, 0] };
      case "loopback":
        return { status: Evtchnstat.interdomain, vcpu, u: [this.#domid, binding.peer] };
      case "backend":
        return { status: Evtchnstat.interdomain, vcpu, u: [BACKEND_DOMID, binding.backendPort] };
      case "virq":
        return { status: Evtchnstat.virq, vcpu, u: [binding.virq, 0] };
      case "pirq":
        return { status: Evtchnstat.pirq, vcpu, u: [binding.pirq, 0] };
      case "ipi":
        return { status: Evtchnstat.ipi, vcpu, u: [0, 0] };
    }
  }

  /** EVTCHNOP_bind_vcpu: another vCPU is told from now on. */
  bindVcpu(port: EvtchnPort, vcpu: XenVcpuId): number {
    if (!this.#effects.vcpuExists(vcpu)) return -Errno.ENOENT;
    const entry = this.#ports.get(port);
    if (entry === undefined || entry.binding.state === "ipi") return EINVAL;
    if (entry.binding.state === "virq" && !virqIsGlobal(entry.binding.virq)) return EINVAL;
    entry.vcpu = vcpu;
    if (entry.binding.state === "loopback") {
      this.#effects.shortcut(entry.binding.peer, "interdomain", port, vcpu);
    }
    this.#effects.raiseIfPending(port, vcpu);
    return 0;
  }

  /** EVTCHNOP_unmask. */
  unmask(port: EvtchnPort): number {
    const entry = this.#ports.get(port);
    return entry === undefined ? EINVAL : this.#effects.unmask(port, entry.vcpu);
  }

  /** EVTCHNOP_reset: closes every port. */
  reset(): void {
    for (const port of [...this.#ports.keys()]) this.close(port);
  }

  /** Raises a virq, if it is bound. `vcpu` is ignored for global ones. */
  raiseVirq(virq: number, vcpu: XenVcpuId): void {
    const port = this.#virqs.get(virqKey(virq, vcpu));
    const entry = port === undefined ? undefined : this.#ports.get(port);
    if (port !== undefined && entry !== undefined) this.#effects.raise(port, entry.vcpu);
  }

  /** A backend connects to a port that the guest left unbound for domain 0; undefined if not so. */
  connectBackend(port: EvtchnPort, onNotify: () => void): BackendEvtchnPort | undefined {
    const entry = this.#ports.get(port);
    if (entry?.binding.state !== "unbound" || entry.binding.remoteDomid !== BACKEND_DOMID) {
      return undefined;
    }
    const promised = this.#promised.get(port);
    this.#promised.delete(port);
    const backendPort = promised ?? this.#newBackendPort();
    this.#backendPorts.set(backendPort, { onNotify, peer: port });
    entry.binding = { state: "backend", backendPort };
    return backendPort;
  }

  /** A backend makes a port to which the guest may bind. */
  offerBackend(onNotify: () => void): BackendEvtchnPort {
    const backendPort = this.#newBackendPort();
    this.#backendPorts.set(backendPort, { onNotify, peer: undefined });
    return backendPort;
  }

  #newBackendPort(): BackendEvtchnPort {
    const port = this.#nextBackendPort;
    this.#nextBackendPort = backendEvtchnPort(port + 1);
    return port;
  }

  /** A backend raises the guest's port. Nothing happens when the guest has closed it. */
  notifyGuest(backendPort: BackendEvtchnPort): void {
    const peer = this.#backendPorts.get(backendPort)?.peer;
    const entry = peer === undefined ? undefined : this.#ports.get(peer);
    if (peer !== undefined && entry !== undefined) this.#effects.raise(peer, entry.vcpu);
  }

  /** A backend closes its port; the guest's becomes unbound. */
  closeBackend(backendPort: BackendEvtchnPort): void {
    const peer = this.#backendPorts.get(backendPort)?.peer;
    const entry = peer === undefined ? undefined : this.#ports.get(peer);
    if (entry !== undefined) entry.binding = { state: "unbound", remoteDomid: BACKEND_DOMID };
    this.#backendPorts.delete(backendPort);
  }

  /** All ports, for exact snapshots; undefined while a backend has a port whose other end the guest has closed. */
  get kept(): EventPortsKept | undefined {
    if ([...this.#backendPorts.values()].some(({ peer }) => peer === undefined)) return undefined;
    const ports = [...this.#ports].map(([port, { binding, vcpu }]) => ({
      ...{ port, vcpu, state: binding.state },
      to: bindingTarget(binding),
    }));
    return { ports, nextBackendPort: this.#nextBackendPort, stale: [...this.#stale] };
  }

  /** Puts back what {@link kept} gave; nobody is told. Connections to backends are to be made again by these. */
  keep({ ports, nextBackendPort, stale }: EventPortsKept): void {
    this.#stale.clear();
    this.avoid(stale);
    this.#ports.clear();
    this.#virqs.clear();
    this.#backendPorts.clear();
    this.#nextBackendPort = backendEvtchnPort(nextBackendPort);
    for (const { port: number, vcpu, state, to } of ports) {
      const port = evtchnPort(number);
      this.#ports.set(port, { binding: bindingOf(state, to), vcpu: xenVcpuId(vcpu) });
      if (state === "virq") this.#virqs.set(virqKey(to, xenVcpuId(vcpu)), port);
      else if (state === "backend") this.#promised.set(port, backendEvtchnPort(to));
    }
  }

  /** Makes the shortcut of a port again. */
  shortcutAgain(port: EvtchnPort): void {
    const entry = this.#ports.get(port);
    if (entry?.binding.state === "ipi") this.#effects.shortcut(port, "ipi", port, entry.vcpu);
    if (entry?.binding.state !== "loopback") return;
    const { peer } = entry.binding;
    const vcpu = this.#ports.get(peer)?.vcpu ?? FIRST;
    this.#effects.shortcut(port, "interdomain", peer, vcpu);
  }

  /** All numbers in use. */
  get numbers(): EvtchnPort[] {
    return [...this.#ports.keys()];
  }

  /**
   * Keeps away from numbers that a guest had in another domain: Linux's console driver closes its port there by its number
   * when it goes on in this one, and would close another device's that has the number by then.
   */
  avoid(ports: readonly number[]): void {
    for (const port of ports) this.#stale.add(evtchnPort(port));
  }

  /** Undefined when there is no number any more. */
  #allocate(binding: Binding, vcpu: XenVcpuId): EvtchnPort | undefined {
    const port = this.#free(this.#stale) ?? this.#free(new Set());
    if (port !== undefined) this.#ports.set(port, { binding, vcpu });
    return port;
  }

  /** The lowest number that is free, and none of those. */
  #free(others: ReadonlySet<EvtchnPort>): EvtchnPort | undefined {
    const max = this.#effects.maxPorts();
    for (let number = 1; number < max; number++) {
      const port = evtchnPort(number);
      if (!this.#ports.has(port) && !others.has(port)) return port;
    }
    return undefined;
  }
}

const virqKey = (virq: number, vcpu: XenVcpuId): string =>
  virqIsGlobal(virq) ? `${virq}` : `${virq}:${vcpu}`;
