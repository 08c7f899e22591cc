/** What device backends see of a domain: events, grants and the store, not how they are made. */
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
  connect(guestPort: number, onNotify: () => void): BackendChannel | undefined;
}

/** A guest page in use by a backend. */
export interface GrantMapping {
  readonly page: SharedPage;
  /** The page is not to be used afterwards. */
  unmap(): void;
}

/** Grants for backends, which are domain 0. */
export interface Grants {
  /** Uses a grant of the guest. @returns a negative GNTST_* number when it may not be used. */
  map(ref: number, readonly: boolean): GrantMapping | number;
}

/** Everything that a backend gets. */
export interface BackendHost {
  readonly domid: number;
  readonly events: EventChannels;
  readonly grants: Grants;
  readonly store: Store;
}
