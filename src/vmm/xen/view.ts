/** What the user half of Xen knows at a moment, for people who look. Objects are copies. */
import { GRANT_ENTRIES_PER_FRAME_V1 } from "../../abi/xen/grant-table.js";
import type { Domain } from "./domain.js";
import type { Permission } from "./xenstore/node.js";

/** A port of the guest. */
export interface PortView {
  readonly port: number;
  readonly state: "unbound" | "loopback" | "backend" | "virq" | "pirq" | "ipi";
  /** The other domain, the peer's port, the backend's port, or the number of the VIRQ or PIRQ. */
  readonly to: number;
  /** Xen vCPU id that is told. */
  readonly vcpu: number;
}

/** A node of xenstore. */
export interface StoreNodeView {
  readonly path: string;
  readonly value: Uint8Array;
  readonly permissions: readonly Permission[];
  /** Differs between any two versions of any nodes. */
  readonly generation: number;
}

/** A watch on xenstore. */
export interface StoreWatchView {
  readonly domid: number;
  readonly path: string;
  readonly token: string;
}

/** An entry of the grant table that is not empty. */
export interface GrantView {
  readonly ref: number;
  /** GTF_*. */
  readonly flags: number;
  readonly domid: number;
  readonly frame: number;
  /** How often backends have it mapped. */
  readonly readers: number;
  readonly writers: number;
}

/** A timer that the user half keeps. */
export interface MonitorTimersView {
  /** Xen vCPU id. */
  readonly vcpu: number;
  readonly oneShot: boolean;
  readonly periodic: boolean;
  readonly down: boolean;
}

/** All of it. */
export interface DomainView {
  readonly ports: readonly PortView[];
  readonly timers: readonly MonitorTimersView[];
  readonly params: readonly (readonly [index: number, value: bigint])[];
  readonly nodes: readonly StoreNodeView[] | undefined;
  readonly watches: readonly StoreWatchView[] | undefined;
  readonly grants: readonly GrantView[] | undefined;
  /** Entries that the grant table may have. */
  readonly grantEntries: number;
}

/** The parts that take long enough to be asked for. */
export interface DomainViewParts {
  readonly store?: boolean | undefined;
  readonly grants?: boolean | undefined;
}

/** Nodes in a view. @limit guest | nodes of xenstore that an inspector shows | nodes | the others are not shown */
const MAX_NODES = 4000;
/** Entries in a view. @limit guest | grants that an inspector shows | entries | the others are not shown */
const MAX_GRANTS = 4096;

/** What a domain knows now. */
export function domainView(domain: Domain, parts: DomainViewParts): DomainView {
  const { store, grantTable } = domain;
  return {
    ports: domain.ports.list(),
    timers: [...domain.vcpus.values()].map(({ id, timers, down }) => ({
      ...{ vcpu: id, oneShot: timers.hasOneShot, periodic: timers.hasPeriodic, down },
    })),
    params: [...domain.params],
    nodes: parts.store ? store.nodes(MAX_NODES) : undefined,
    watches: parts.store ? store.watches() : undefined,
    grants: parts.grants ? grantTable.list(MAX_GRANTS) : undefined,
    grantEntries: domain.grantFrames.length * GRANT_ENTRIES_PER_FRAME_V1,
  };
}
