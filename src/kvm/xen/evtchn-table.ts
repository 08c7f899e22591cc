import {
  EvtchnStat,
  KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL,
  KvmXenEvtchnFlag,
} from "../../abi/kvm/index.js";
import { type ApicId, apicId, type EvtchnPort, evtchnPort } from "../../base/index.js";
import type { EventFd } from "../api/event-fd.js";
import type { HvmAttrOf, KvmXenEvtchnTarget } from "../api/xen.js";
import type { EvtchnRouteView } from "../api/xen-view.js";
import { refuse } from "../error.js";

/** Where an outbound port leads. */
export type EvtchnEntry =
  | { readonly evtchnType: number; readonly port: EvtchnPort; readonly vcpu: ApicId }
  | { readonly evtchnType: number; readonly eventfd: EventFd };

const NO_TARGET: KvmXenEvtchnTarget = { port: 0, vcpu: 0, priority: 0 };

/** The ports whose EVTCHNOP_send KVM answers itself (the HVM attribute EVTCHN). */
export class EvtchnTable {
  readonly #entries = new Map<number, EvtchnEntry>();
  /** The entry that was looked up last: a guest sends to few ports. */
  #last: EvtchnEntry | undefined;
  #lastPort = -1;

  /** The entry of a port that a guest sends to. */
  get(sendPort: number): EvtchnEntry | undefined {
    if (sendPort !== this.#lastPort) {
      this.#last = this.#entries.get(sendPort);
      this.#lastPort = sendPort;
    }
    return this.#last;
  }

  /** All entries, for people who look. */
  list(): EvtchnRouteView[] {
    return [...this.#entries].map(([sendPort, entry]) => ({
      sendPort,
      type: entry.evtchnType,
      to: "eventfd" in entry ? undefined : { port: entry.port, vcpu: entry.vcpu },
    }));
  }

  /**
   * Sets the attribute: assigns, updates or removes an entry, or all of them. `maxPort` is that of
   * the current mode.
   * @throws KvmError EINVAL, ENOENT, EEXIST, EBADF in the kernel's order.
   */
  set(attr: HvmAttrOf<"EVTCHN">, maxPort: number): void {
    this.#lastPort = -1;
    if (attr.flags === KvmXenEvtchnFlag.RESET) {
      this.#entries.clear();
      return;
    }
    const { sendPort } = attr;
    if (sendPort === 0 || sendPort >= maxPort) refuse("EINVAL", "event channel port");
    switch (attr.flags) {
      case KvmXenEvtchnFlag.DEASSIGN:
        if (!this.#entries.delete(sendPort)) refuse("ENOENT", `port ${sendPort} is not assigned`);
        return;
      case KvmXenEvtchnFlag.UPDATE:
        this.#update(attr);
        return;
      case KvmXenEvtchnFlag.ASSIGN:
        this.#assign(attr, maxPort);
        return;
      default:
        refuse("EINVAL", "event channel flags");
    }
  }

  #update(attr: HvmAttrOf<"EVTCHN">): void {
    const old = this.#entries.get(attr.sendPort);
    if (old === undefined) refuse("ENOENT", `port ${attr.sendPort} is not assigned`);
    const target = attr.deliver ?? NO_TARGET;
    if (old.evtchnType !== attr.evtchnType) refuse("EINVAL", "event channel type");
    if ("eventfd" in old || "eventfd" in target) refuse("EINVAL", "eventfds cannot be updated");
    if (old.port !== target.port || target.priority !== KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL) {
      refuse("EINVAL", "event channel target");
    }
    this.#entries.set(attr.sendPort, { ...old, vcpu: apicId(target.vcpu) });
  }

  #assign(attr: HvmAttrOf<"EVTCHN">, maxPort: number): void {
    const { sendPort, evtchnType } = attr;
    const target = attr.deliver ?? NO_TARGET;
    const port = "eventfd" in target ? 0 : target.port;
    if (evtchnType === EvtchnStat.IPI) {
      // IPI ports come back to where they were sent from.
      if (port !== sendPort) refuse("EINVAL", "an IPI port delivers to itself");
    } else if (evtchnType !== EvtchnStat.INTERDOMAIN) refuse("EINVAL", "event channel type");
    else if (port === 0) {
      if (!("eventfd" in target)) refuse("EBADF", "no eventfd");
    } else if (port >= maxPort) refuse("EINVAL", "event channel target port");
    if (!("eventfd" in target) && target.priority !== KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL) {
      refuse("EINVAL", "event channel priority");
    }
    if (this.#entries.has(sendPort)) refuse("EEXIST", `port ${sendPort} is assigned`);
    this.#entries.set(
      sendPort,
      "eventfd" in target
        ? { evtchnType, eventfd: target.eventfd }
        : { evtchnType, port: evtchnPort(target.port), vcpu: apicId(target.vcpu) },
    );
  }
}
