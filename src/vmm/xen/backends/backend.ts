import type { BackendHost } from "../interfaces.js";

/** Data that {@link Backend.save} gives: what JSON can hold, 64-bit numbers as decimal text. */
export type SavedValue =
  | string
  | number
  | boolean
  | null
  | readonly SavedValue[]
  | { readonly [key: string]: SavedValue };

/**
 * The outer half of a paravirtual device: what Xen's domain 0 does for a guest. One backend is one device; it lives as
 * long as the machine, through reboots of the guest, each of which is a new domain.
 */
export interface Backend {
  /**
   * The device is in this domain from now on: before the guest runs, or in its face (hot plug). A domain that it
   * was in before is no more: that one has to be suspended first, so that nothing of it is under way.
   */
  connect(host: BackendHost): void;
  /**
   * Another kernel is about to start in the same domain (soft reset), or a suspended guest goes on in a new one: the
   * ports and grants of the old connection are let go of, and the device is as new.
   */
  reset(): void;
  /**
   * Takes no requests and answers none until {@link resume}; resolves when nothing is under way on the host. What the
   * guest has asked for and has no answer to is kept.
   */
  suspend(): Promise<void>;
  /** Goes on after {@link suspend}. */
  resume(): void;
  /** What {@link restore} needs. Only while it is suspended. */
  save(): SavedValue;
  /**
   * Instead of {@link connect}: takes the place of a backend that was saved, in a domain with the same memory, store
   * and grants, whose ports to backends are unbound for domain 0. Requests without an answer are carried out again.
   * @throws HostError STATE_DAMAGED when the data is not what {@link save} gives.
   */
  restore(host: BackendHost, saved: SavedValue): void;
  /** Gives back what it has of the host. It is not used afterwards. */
  close(): Promise<void>;
}
