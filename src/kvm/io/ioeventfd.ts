import { KvmIoeventfdFlag } from "../../abi/kvm/index.js";
import { refuse } from "../error.js";
import type { EventFd } from "../event-fd.js";

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

/** Buses: memory, ports, and the one of s390, which never sees an access here. */
const busOf = (flags: number): number =>
  (flags & KvmIoeventfdFlag.PIO) !== 0 ? 1 : (flags & KvmIoeventfdFlag.VIRTIO_CCW) !== 0 ? 2 : 0;

/** KVM_IOEVENTFD: guest writes that signal an eventfd and do not exit. */
export class Ioeventfds {
  readonly #entries: Entry[] = [];

  /** Whether there are any. */
  get active(): boolean {
    return this.#entries.length > 0;
  }

  /**
   * Assigns, or with DEASSIGN takes back.
   * @throws KvmError EINVAL length, address, flags; EEXIST for the same write twice; ENOENT.
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
    if (this.#entries.some((other) => collide(other, entry))) refuse("EEXIST", "ioeventfd exists");
    this.#entries.push(entry);
  }

  /** A guest write: true when an eventfd took it. */
  write(bus: 0 | 1, addr: number, length: number, value: bigint): boolean {
    for (const entry of this.#entries) {
      if (entry.bus !== bus || entry.addr !== addr) continue;
      if (entry.len !== 0) {
        if (entry.len !== length) continue;
        if (entry.datamatch !== undefined && entry.datamatch !== value) continue;
      }
      entry.eventfd.signal();
      return true;
    }
    return false;
  }

  #remove(entry: Entry): void {
    const at = this.#entries.findIndex(
      (other) =>
        other.bus === entry.bus &&
        other.eventfd === entry.eventfd &&
        other.addr === entry.addr &&
        other.len === entry.len &&
        other.datamatch === entry.datamatch,
    );
    if (at < 0) refuse("ENOENT", "no such ioeventfd");
    this.#entries.splice(at, 1);
  }
}

function collide(a: Entry, b: Entry): boolean {
  if (a.bus !== b.bus || a.addr !== b.addr) return false;
  if (a.len === 0 || b.len === 0) return true;
  if (a.len !== b.len) return false;
  return a.datamatch === undefined || b.datamatch === undefined || a.datamatch === b.datamatch;
}
