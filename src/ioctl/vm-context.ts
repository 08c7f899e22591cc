import { type Hva, hva, PAGE_SIZE } from "../base/index.js";
import type { EventFd, Vm } from "../kvm/index.js";
import { refuse } from "./argument.js";
import type { ClientProcess } from "./client-process.js";

/** Where client addresses go that no VM memory stands behind: above every linear memory. */
const NOWHERE = 1n << 40n;
const LINEAR_END = 1n << 32n;

/** So many slots of a VM have their memory from the start, so that a lack of it is seen at once. */
const EARLY_SLOTS = 512;

/** What the ioctls of a VM work on: the VM, its client, and the descriptors that keep it alive. */
export class VmContext {
  readonly vm: Vm;
  readonly process: ClientProcess;
  /** An interrupt controller was made: vCPUs have a local APIC in the kernel. */
  hasLapics = false;
  #files = 0;
  /** Where in linear memory the backing of each slot is; undefined when it is looked for later. */
  readonly #backings = new Map<number, Hva | undefined>();
  readonly #late = new Set<number>();

  constructor(vm: Vm, process: ClientProcess) {
    this.vm = vm;
    this.process = process;
  }

  /** A slot has this backing now; the one before is not needed any more. */
  slotBacking(slot: number, at: Hva): void {
    const before = this.#backings.get(slot);
    this.#backings.set(slot, at);
    if (before !== undefined) this.process.release?.(this.vm.linear, before);
  }

  /** A slot is gone, and with it the need for its backing. */
  slotDeleted(slot: number): void {
    const before = this.#backings.get(slot);
    this.#backings.delete(slot);
    if (this.#late.delete(slot)) this.process.expect?.(this.vm.linear, slot, 0n, 0);
    if (before !== undefined) this.process.release?.(this.vm.linear, before);
  }

  /** Whether the memory of a slot comes when it is first accessed: of those beyond {@link EARLY_SLOTS}. */
  isLate(slot: number): boolean {
    if (this.#backings.has(slot)) return this.#late.has(slot);
    return this.#backings.size >= EARLY_SLOTS;
  }

  /** A slot is there whose memory, at a client address, comes when it is first accessed. */
  slotIsLate(slot: number, address: bigint, size: number): void {
    this.process.expect?.(this.vm.linear, slot, address, size);
    if (this.#backings.has(slot)) return;
    this.#backings.set(slot, undefined);
    this.#late.add(slot);
  }

  /** The VM has a device of KVM_DEV_TYPE_VFIO. */
  hasVfioDevice = false;

  /** A descriptor refers to the VM. */
  hold(): void {
    this.#files++;
  }

  /** A descriptor is gone; the VM goes with the last one. */
  drop(): void {
    this.#files--;
    if (this.#files > 0) return;
    this.vm.close();
    this.process.detach(this.vm.linear);
  }

  /**
   * A client address as the typed methods take it: an offset in linear memory. Client memory that
   * no slot uses is brought there. Addresses with nothing behind them give an offset that no memory
   * has, so that the callee refuses them in its own order.
   */
  toLinear(address: bigint, length: number): bigint {
    const { linear } = this.vm;
    const start = address - (address % BigInt(PAGE_SIZE));
    const size = Math.ceil((Number(address - start) + length) / PAGE_SIZE) * PAGE_SIZE;
    const mapped = this.process.read(address, 1) !== undefined;
    const at =
      this.process.toHva(linear, address) ??
      (mapped && this.process.attach(linear, start, size) !== undefined
        ? this.process.toHva(linear, address)
        : undefined);
    if (at !== undefined) return BigInt(at);
    return address < LINEAR_END ? address + NOWHERE : address;
  }

  /** The client address of what {@link toLinear} gave. */
  toClient(at: bigint): bigint {
    if (at === 0n) return 0n;
    if (at < LINEAR_END) return this.process.toAddress(this.vm.linear, hva(Number(at)));
    return at >= NOWHERE && at < NOWHERE + LINEAR_END ? at - NOWHERE : at;
  }

  /** The eventfd behind a descriptor. @throws KvmError EBADF, EINVAL. */
  eventfd(fd: number): EventFd {
    const file = this.process.eventfd(fd);
    if (file === "EBADF" || file === "EINVAL") return refuse(file, "eventfd descriptor");
    return file;
  }
}
