import {
  type KvmCoalescedZone,
  kvm_coalesced_mmio,
  kvm_coalesced_mmio_ring,
} from "../../abi/kvm/index.js";
import { PAGE_SIZE } from "../../base/index.js";
import { refuse } from "../error.js";

const HEADER = kvm_coalesced_mmio_ring.size;
const FIRST = kvm_coalesced_mmio_ring.offset("first");
const LAST = kvm_coalesced_mmio_ring.offset("last");
const ENTRY = kvm_coalesced_mmio.size;
const Entry = {
  physAddr: kvm_coalesced_mmio.offset("phys_addr"),
  len: kvm_coalesced_mmio.offset("len"),
  pio: kvm_coalesced_mmio.offset("pio"),
  data: kvm_coalesced_mmio.offset("data"),
} as const;

/** `KVM_COALESCED_MMIO_MAX`. */
const ENTRIES = Math.floor((PAGE_SIZE - HEADER) / ENTRY);

/**
 * `NR_IOBUS_DEVS`: devices on one of the buses, memory or ports, besides ioeventfds.
 * @limit client | coalesced zones of memory, and of ports; devices in the kernel count, too | zones | ENOSPC, as
 *   Linux, for ioeventfds as well
 */
const MAX_DEVICES = 1000;

/**
 * KVM_REGISTER_COALESCED_MMIO: writes to these zones wait in a ring that the client empties, and
 * exit only when it is full. The ring is a page in the client's memory: all of it is hostile.
 */
export class CoalescedRing {
  readonly #devices: (pio: number) => number;
  #page: Uint8Array = new Uint8Array(PAGE_SIZE);
  readonly #zones: KvmCoalescedZone[] = [];

  /** `devices` says how many devices in the kernel are on a bus: memory 0, ports 1. */
  constructor(devices: (pio: number) => number = () => 0) {
    this.#devices = devices;
  }

  /** Whether a bus has as many devices as it may: no zone and no ioeventfd can come to it. */
  isFull(pio: number): boolean {
    const zones = this.#zones.filter((zone) => zone.pio === pio).length;
    return zones + this.#devices(pio) >= MAX_DEVICES;
  }

  /** The page of the ring: that of the mapping of kvm_run, or one of its own. */
  get page(): Uint8Array {
    return this.#page;
  }
  set page(page: Uint8Array) {
    this.#page = page;
  }

  /** Whether any zone exists. */
  get active(): boolean {
    return this.#zones.length > 0;
  }

  /** @throws KvmError EINVAL when `pio` is neither 0 nor 1; ENOSPC on a full bus. */
  register(zone: KvmCoalescedZone): void {
    checkPio(zone);
    if (this.isFull(zone.pio)) refuse("ENOSPC", "coalesced zones");
    this.#zones.push({ ...zone });
  }

  /** Removes every zone that holds the given one. @throws KvmError EINVAL as {@link register}. */
  unregister(zone: KvmCoalescedZone): void {
    checkPio(zone);
    for (let i = this.#zones.length - 1; i >= 0; i--) {
      const other = this.#zones[i] as KvmCoalescedZone;
      if (other.pio === zone.pio && holds(other, zone.addr, zone.size)) this.#zones.splice(i, 1);
    }
  }

  /** Puts a write into the ring; false when no zone holds it or the ring is full. */
  write(pio: number, addr: number, length: number, value: bigint): boolean {
    if (!this.#zones.some((zone) => zone.pio === pio && holds(zone, addr, length))) return false;
    const view = new DataView(this.#page.buffer, this.#page.byteOffset, PAGE_SIZE);
    const last = view.getUint32(LAST, true);
    const next = (last + 1) % ENTRIES;
    if (last >= ENTRIES || next === view.getUint32(FIRST, true)) return false;
    const at = HEADER + last * ENTRY;
    view.setBigUint64(at + Entry.physAddr, BigInt(addr), true);
    view.setUint32(at + Entry.len, length, true);
    view.setUint32(at + Entry.pio, pio, true);
    for (let i = 0; i < length; i++) {
      view.setUint8(at + Entry.data + i, Number((value >> BigInt(8 * i)) & 0xffn));
    }
    view.setUint32(LAST, next, true);
    return true;
  }
}

function checkPio(zone: KvmCoalescedZone): void {
  if (zone.pio !== 0 && zone.pio !== 1) refuse("EINVAL", "coalesced zone: neither memory nor port");
}

function holds(zone: KvmCoalescedZone, addr: number, length: number): boolean {
  return addr >= zone.addr && addr + length <= zone.addr + zone.size;
}
