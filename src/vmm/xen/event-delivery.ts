/** Carries out what the port table asks: KVM's event channel attributes and the shared bitmaps. */
import { KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL, KvmXenEvtchnFlag } from "../../abi/kvm/index.js";
import { Evtchnstat } from "../../abi/xen/event-channel.js";
import { Errno, type EvtchnPort, evtchnPort, type XenVcpuId, xenVcpuId } from "../../base/index.js";
import type { Log } from "../../ports/index.js";
import type { EvtchnEffects } from "./evtchn/ports.js";
import { attempt, type XenVcpu, type XenVm } from "./kvm-objects.js";
import type { SharedInfo } from "./shared-info.js";

const PRIORITY = KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL;

/** What {@link EventDelivery} knows beside the ports. */
export interface EventDeliveryKept {
  /** Ports that KVM's table has. */
  readonly shortcuts: readonly number[];
  /** Events before the guest had a shared_info. */
  readonly early: readonly { readonly port: number; readonly vcpu: number }[];
  readonly complained: boolean;
}

export class EventDelivery implements EvtchnEffects {
  readonly #vm: XenVm;
  readonly #vcpus: ReadonlyMap<XenVcpuId, XenVcpu>;
  readonly #sharedInfo: SharedInfo;
  readonly #log: Log;
  /** Ports that KVM's table has. */
  readonly #shortcuts = new Set<EvtchnPort>();
  /** Events before the guest had a shared_info: port and vCPU. */
  readonly #early = new Map<EvtchnPort, XenVcpuId>();
  #complained = false;

  /** `vcpus` by Xen vCPU id. */
  constructor(vm: XenVm, vcpus: ReadonlyMap<XenVcpuId, XenVcpu>, sharedInfo: SharedInfo, log: Log) {
    this.#vm = vm;
    this.#vcpus = vcpus;
    this.#sharedInfo = sharedInfo;
    this.#log = log;
  }

  maxPorts(): number {
    return this.#sharedInfo.ports;
  }

  vcpuExists(vcpu: XenVcpuId): boolean {
    return this.#vcpus.has(vcpu);
  }

  raise(port: EvtchnPort, vcpu: XenVcpuId): void {
    const target = this.#vcpus.get(vcpu);
    if (target === undefined) return;
    if (!this.#sharedInfo.active) {
      this.#early.set(port, vcpu);
      return;
    }
    const event = { port, vcpu: target.id, priority: PRIORITY };
    const error = attempt(() => this.#vm.xen.evtchnSend(event));
    // The guest can bring this about as often as it likes, by changing its mode.
    if (error === 0 || this.#complained) return;
    this.#complained = true;
    this.#log.warn(`event channel ${port}: KVM refused the event (${error})`);
  }

  /** Raises what could not be raised before shared_info was there. */
  raiseEarly(): void {
    const early = [...this.#early];
    this.#early.clear();
    for (const [port, vcpu] of early) this.raise(port, vcpu);
  }

  /** Forgets what waits for a shared_info. */
  reset(): void {
    this.#early.clear();
  }

  /** For exact snapshots. */
  get kept(): EventDeliveryKept {
    const early = [...this.#early].map(([port, vcpu]) => ({ port, vcpu }));
    return { shortcuts: [...this.#shortcuts], early, complained: this.#complained };
  }

  /** Puts back what {@link kept} gave but for the shortcuts. */
  keep({ early, complained }: EventDeliveryKept): void {
    this.#early.clear();
    for (const { port, vcpu } of early) this.#early.set(evtchnPort(port), xenVcpuId(vcpu));
    this.#complained = complained;
  }

  clearPending(port: EvtchnPort): void {
    this.#early.delete(port);
    this.#sharedInfo.clearPending(port);
  }

  raiseIfPending(port: EvtchnPort, vcpu: XenVcpuId): void {
    if (!this.#sharedInfo.isPending(port) || this.#sharedInfo.isMasked(port)) return;
    // KVM does nothing for a port that is pending already, so it is made to look new.
    this.#sharedInfo.clearPending(port);
    this.raise(port, vcpu);
  }

  unmask(port: EvtchnPort, vcpu: XenVcpuId): number {
    if (!this.#sharedInfo.active) return -Errno.EOPNOTSUPP;
    if (this.#sharedInfo.clearMask(port)) this.raiseIfPending(port, vcpu);
    return 0;
  }

  shortcut(
    sendPort: EvtchnPort,
    kind: "ipi" | "interdomain",
    port: EvtchnPort,
    vcpu: XenVcpuId,
  ): void {
    const target = this.#vcpus.get(vcpu);
    if (target === undefined) return;
    const known = this.#shortcuts.has(sendPort);
    const error = attempt(() =>
      this.#vm.xen.setAttr({
        type: "EVTCHN",
        sendPort,
        evtchnType: Evtchnstat[kind],
        flags: known ? KvmXenEvtchnFlag.UPDATE : KvmXenEvtchnFlag.ASSIGN,
        deliver: { port, vcpu: target.id, priority: PRIORITY },
      }),
    );
    // Without KVM's help the send comes to us: slower, but right.
    if (error === 0) this.#shortcuts.add(sendPort);
    else this.#log.debug(`event channel ${sendPort}: no shortcut in KVM (${error})`);
  }

  endShortcut(sendPort: EvtchnPort): void {
    if (!this.#shortcuts.delete(sendPort)) return;
    const evtchnType = Evtchnstat.ipi;
    const error = attempt(() =>
      this.#vm.xen.setAttr({
        type: "EVTCHN",
        sendPort,
        evtchnType,
        flags: KvmXenEvtchnFlag.DEASSIGN,
      }),
    );
    if (error !== 0) this.#log.warn(`event channel ${sendPort}: KVM keeps it (${error})`);
  }

  timerPort(vcpu: XenVcpuId, port: EvtchnPort | 0): void {
    const timer = { type: "TIMER", port, priority: PRIORITY, expiresNs: 0n } as const;
    const error = attempt(() => this.#vcpus.get(vcpu)?.xen.setAttr(timer));
    if (error !== 0) this.#log.warn(`timer port ${port}: KVM refused it (${error})`);
  }
}
