import type { ArmLater, DiskChanges } from "../../../ports/index.js";
import type { BackendHost } from "../interfaces.js";

/** Data that {@link Backend.save} gives: what JSON can hold, 64-bit numbers as decimal text. */
export type SavedValue =
  | string
  | number
  | boolean
  | null
  | readonly SavedValue[]
  | { readonly [key: string]: SavedValue };

/** How a device is. */
export interface DeviceStatus {
  /** What the host calls it, and the guest where it can be told: `xvda`. */
  readonly name: string;
  /** Its class on xenbus: `vbd`, `vif`, `console`. */
  readonly class: string;
  /** Whether the guest has a driver that is connected to it. */
  readonly connected: boolean;
  /** Of a disk: its size. */
  readonly bytes?: number;
}

/** What a device is recognised by when a machine is restored. */
export interface DeviceIdentity {
  /** Of a disk: a text that is another one when its content may be another one. */
  readonly generation?: string | undefined;
  /** Of a network card: its address. */
  readonly mac?: string;
}

/**
 * The outer half of a paravirtual device: what Xen's domain 0 does for a guest. One backend is one device; it lives as
 * long as the machine, through reboots of the guest, each of which is a new domain.
 */
export interface Backend {
  /** What a machine tells its devices apart by. */
  readonly name: string;
  status(): DeviceStatus;
  /** What it is recognised by. Only while it is suspended, or before it is connected. */
  identity?(): Promise<DeviceIdentity>;
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
  /** Of a disk whose image stays as it is: what was written to it, which is part of the machine then. */
  readonly changes?: DiskChanges | undefined;
  /** It is about to be what {@link kept} can tell: whoever makes an exact snapshot waits for that. */
  readonly isMoving?: boolean;
  /**
   * What {@link keep} needs: the device as it is in the middle of its work, for exact snapshots. Time stands still.
   * Without it, a machine with this device is not saved exactly; neither while it throws.
   * @throws HostError SNAPSHOT_IMPOSSIBLE
   */
  kept?(): SavedValue | Promise<SavedValue>;
  /**
   * Instead of {@link connect}, as {@link restore}; but the device goes on exactly as it was, and nobody is told. `later`
   * arms its timers.
   * @throws HostError STATE_DAMAGED, SNAPSHOT_DAMAGED
   */
  keep?(host: BackendHost, kept: SavedValue, later: ArmLater): void;
  /**
   * Asks the guest to let go of the device. Resolves when it has, nothing is under way and the device is out of the
   * domain; a guest that does not answer keeps it.
   */
  unplug(): Promise<void>;
  /**
   * Gives the device another size, or that which the image behind it has by now, and tells the guest. Only of devices
   * that have one.
   * @throws HostError DISK_SIZE when it cannot have that.
   */
  resize?(bytes: number | undefined): Promise<void>;
  /** Gives back what it has of the host. It is not used afterwards. */
  close(): Promise<void>;
}

/** The fields of saved data that should be an object; none when it is something else. */
export function fieldsOf(saved: SavedValue | undefined): {
  readonly [key: string]: SavedValue | undefined;
} {
  const isObject = typeof saved === "object" && saved !== null && !Array.isArray(saved);
  return isObject ? (saved as { readonly [key: string]: SavedValue }) : {};
}

/** Whether saved data is a number of 32 bits. */
export const isU32 = (value: SavedValue | undefined): value is number =>
  value === Number(value) >>> 0;
