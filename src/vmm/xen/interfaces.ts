/** What device backends see of a domain: events, grants and the store, not how they are made. */
import type { EvtchnPort, GrantRef } from "../../base/index.js";
import type { Log } from "../../ports/index.js";
import type { SharedPage } from "./shared-page.js";
import type { Store } from "./xenstore/store.js";

/** A connection between a backend and a guest's event channel port. */
export interface BackendChannel {
  /** Raises the guest's port; nothing happens once the guest has closed it. */
  notify(): void;
  /** Ends the connection; the guest's port becomes unbound. */
  close(): void;
}

/** Event channels for backends, which are domain 0. */
export interface EventChannels {
  /**
   * Connects to a port that the guest left unbound for domain 0. `onNotify` is called each time
   * the guest sends, from inside its hypercall.
   * @returns undefined when the port is not such a port.
   */
  connect(guestPort: EvtchnPort, onNotify: () => void): BackendChannel | undefined;
}

/** A use of a grant, for exact snapshots. */
export interface KeptGrant {
  readonly ref: number;
  readonly readonly: boolean;
  /** The guest frame that the table named when the use began. */
  readonly gfn: number;
}

/** A guest page in use by a backend. */
export interface GrantMapping {
  /** What {@link Grants.mapAgain} needs; undefined when the use has ended. */
  readonly kept: KeptGrant | undefined;
  /**
   * What is in the granted frame now: to be asked for at each use. The guest may exchange it (a balloon);
   * undefined when it has taken the frame out of its memory.
   */
  readonly page: SharedPage | undefined;
  /** Ends the use; doing so again does nothing. */
  unmap(): void;
}

/** Grants for backends, which are domain 0. */
export interface Grants {
  /**
   * Uses a grant of the guest; those of the console and of xenstore are not for backends.
   * @returns a negative GNTST_* number when it may not be used.
   */
  map(ref: GrantRef, readonly: boolean): GrantMapping | number;
  /**
   * A use that another domain began, whose memory this one has: whatever its entry says by now, which is not written to.
   * @returns undefined when no domain can have begun it.
   */
  mapAgain(kept: KeptGrant): GrantMapping | undefined;
}

/** Everything that a backend gets. */
export interface BackendHost {
  readonly domid: number;
  readonly events: EventChannels;
  readonly grants: Grants;
  readonly store: Store;
  readonly log: Log;
  /**
   * Counts work that was done for the guest, as SLICE in kvm/run/scheduler.ts counts it: a guest that makes work has
   * its turn the less.
   */
  charge(units: number): void;
}
