import { KvmIoeventfdFlag } from "../../abi/kvm/index.js";
import type { EventFd } from "../api/event-fd.js";
import { refuse } from "../error.js";

/** `struct kvm_ioeventfd`, with the eventfd itself. */
export interface KvmIoeventfd {
  /** Value to be written, with DATAMATCH; u64. */
  readonly datamatch: bigint;
  /** Guest-physical address, or port with PIO; u64. */
  readonly addr: bigint;
  /** Bytes of the write: 1, 2, 4, 8, or 0 for any. */
  readonly len: number;
  readonly eventfd: EventFd;
  /** {@link KvmIoeventfdFlag} bits. */
  readonly flags: number;
}

interface Entry {
  readonly bus: number;
  readonly addr: number;
  readonly len: number;
  readonly eventfd: EventFd;
  /** Undefined matches every value. */
  readonly datamatch: bigint | undefined;
}

const VALID_FLAGS = 31;
const NONE: readonly Entry[] = [];

/**
 * Linux has no number for these: it has memory, or not.
 * @limit client | ioeventfds of a VM | ioeventfds | ENOMEM, as where Linux has no memory
 */
const MAX_ENTRIES = 65536;

/** Buses: memory, ports, and the one of s390, which never sees an access here. */
const busOf = (flags: number): number =>
  (flags & KvmIoeventfdFlag.PIO) !== 0 ? 1 : (flags & KvmIoeventfdFlag.VIRTIO_CCW) !== 0 ? 2 : 0;

/** KVM_IOEVENTFD: guest writes that signal an eventfd and do not exit. */
export class Ioeventfds {
  /** By address, for each bus; those of one address in the order in which they came. */
  readonly #buses = [0, 1, 2].map(() => new Map<number, Entry[]>());
  #count = 0;
  readonly #isFull: (bus: number) => boolean;

  /** `isFull` says whether a bus, memory 0 or ports 1, has as many other devices as it may. */
  constructor(isFull: (bus: number) => boolean = () => false) {
    this.#isFull = isFull;
  }

  /** Whether there are any. */
  get active(): boolean {
    return this.#count > 0;
  }

  /**
   * Assigns, or with DEASSIGN takes back.
   * @throws KvmError EINVAL length, address, flags; EEXIST for the same write twice; ENOENT;
   * ENOSPC on a full bus; ENOMEM.
   */
  set(request: KvmIoeventfd): void {
    const match = (request.flags & KvmIoeventfdFlag.DATAMATCH) !== 0;
    const entry: Entry = {
      bus: busOf(request.flags),
      addr: Number(request.addr),
      len: request.len,
      eventfd: request.eventfd,
      datamatch: match ? request.datamatch : undefined,
    };
    if ((request.flags & KvmIoeventfdFlag.DEASSIGN) !== 0) {
      this.#remove(entry);
      return;
    }
    if (![0, 1, 2, 4, 8].includes(request.len)) refuse("EINVAL", "ioeventfd length");
    if (request.addr + BigInt(request.len) >= 1n << 64n) refuse("EINVAL", "ioeventfd address");
    if ((request.flags & ~VALID_FLAGS) !== 0) refuse("EINVAL", "ioeventfd flags");
    if (request.len === 0 && match) refuse("EINVAL", "ioeventfd matches data without a length");
    const others = this.#at(entry.bus, entry.addr);
    if (others.some((other) => collide(other, entry))) refuse("EEXIST", "ioeventfd exists");
    if (this.#isFull(entry.bus)) refuse("ENOSPC", "ioeventfd on a full bus");
    if (this.#count >= MAX_ENTRIES) refuse("ENOMEM", "ioeventfds");
    this.#buses[entry.bus]?.set(entry.addr, [...others, entry]);
    this.#count += 1;
  }

  /** A guest write: true when an eventfd took it. */
  write(bus: 0 | 1, addr: number, length: number, value: bigint): boolean {
    for (const entry of this.#at(bus, addr)) {
      if (entry.len !== 0) {
        if (entry.len !== length) continue;
        if (entry.datamatch !== undefined && entry.datamatch !== value) continue;
      }
      entry.eventfd.signal();
      return true;
    }
    return false;
  }

  #at(bus: number, addr: number): readonly Entry[] {
    return this.#buses[bus]?.get(addr) ?? NONE;
  }

  #remove(entry: Entry): void {
    const entries = this.#at(entry.bus, entry.addr);
    const gone = entries.find(
      (other) =>
        other.eventfd === entry.eventfd &&
        other.len === entry.len &&
        other.datamatch === entry.datamatch,
    );
    if (gone === undefined) refuse("ENOENT", "no such ioeventfd");
    const kept = entries.filter((other) => other !== gone);
    if (kept.length > 0) this.#buses[entry.bus]?.set(entry.addr, kept);
    else this.#buses[entry.bus]?.delete(entry.addr);
    this.#count -= 1;
  }
}

/** Whether two of one bus and address would take the same write. */
function collide(a: Entry, b: Entry): boolean {
  if (a.len === 0 || b.len === 0) return true;
  if (a.len !== b.len) return false;
  return a.datamatch === undefined || b.datamatch === undefined || a.datamatch === b.datamatch;
}
