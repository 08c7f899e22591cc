import { KvmMem } from "../../abi/kvm/index.js";
import { type ErrnoName, hva, PAGE_SIZE } from "../../base/index.js";
import type { MemorySlot, MemorySlots } from "./slots.js";

/** What a refresh or activation answers: undefined for success. */
export type CacheError = Extract<ErrnoName, "EINVAL" | "EFAULT"> | undefined;

/**
 * Above this, a guest-physical address has no memory slot.
 * @nolimit the width of an address
 */
const GPA_LIMIT = 1n << 52n;

/**
 * A cached translation of one guest page, or of a piece of it, to linear memory: KVM's
 * gfn_to_pfn_cache. It is invalid after any change of the memory slots (when it names a
 * guest-physical address) and after {@link invalidate}; users then refresh it where they may
 * "sleep", and answer "would block" where they may not.
 */
export class PfnCache {
  readonly #slots: MemorySlots;
  #active = false;
  #valid = false;
  /** Guest-physical address; undefined when activated by host address or never. */
  #gpa: bigint | undefined;
  #hva = 0;
  /** Offset of the bytes in their page. */
  #offset = 0;
  #slot: MemorySlot | undefined;
  #generation = -1;

  constructor(slots: MemorySlots) {
    this.#slots = slots;
  }

  /** Whether it was activated, valid or not. */
  get active(): boolean {
    return this.#active;
  }

  /** The guest-physical address it was given, if it names one. */
  get gpa(): bigint | undefined {
    return this.#active ? this.#gpa : undefined;
  }

  /** The host address it was given, when it was activated by one; else 0. */
  get givenHva(): number {
    return this.#active && this.#gpa === undefined ? this.#hva : 0;
  }

  /** Where the bytes are, if {@link check} holds. */
  get hva(): number {
    return this.#hva;
  }

  /** Offset of the bytes in their page. */
  get pageOffset(): number {
    return this.#offset;
  }

  /** Points it at a guest-physical address. A failed translation leaves it active but invalid. */
  activate(gpa: bigint, length: number): CacheError {
    if (Number(gpa & 0xfffn) + length > PAGE_SIZE) return "EINVAL";
    if (!this.#active) this.#valid = false;
    this.#active = true;
    return this.#refreshTo(gpa, 0);
  }

  /** Points it at linear memory. */
  activateHva(address: bigint, length: number): CacheError {
    if (Number(address & 0xfffn) + length > PAGE_SIZE) return "EINVAL";
    if (!this.#active) this.#valid = false;
    this.#active = true;
    return this.#refreshTo(undefined, Number(address));
  }

  /** Translates again what it was given. EINVAL when not active or `length` crosses the page. */
  refresh(length: number): CacheError {
    if (!this.#active || this.#offset + length > PAGE_SIZE) return "EINVAL";
    return this.#refreshTo(this.#gpa, this.#hva);
  }

  /** Whether `length` bytes can be used at {@link hva} now. */
  check(length: number): boolean {
    // Inactive ones are never valid.
    if (!this.#valid || this.#offset + length > PAGE_SIZE) return false;
    return this.#gpa === undefined || this.#generation === this.#slots.generation;
  }

  /** It has to be translated again before its next use. */
  expire(): void {
    this.#valid = false;
  }

  /** Switches it off. */
  deactivate(): void {
    this.#active = false;
    this.#valid = false;
    this.#gpa = undefined;
    this.#hva = 0;
    this.#offset = 0;
    this.#slot = undefined;
  }

  /** The backing of [start, start + length) of linear memory changed: translate again before use. */
  invalidate(start: number, length: number): void {
    if (this.#hva >= start && this.#hva < start + length) this.#valid = false;
  }

  /** Marks its page in the dirty log; without effect when it was given a host address. */
  markDirty(): void {
    if (this.#gpa !== undefined) this.#slots.markDirty(this.#slot, Number(this.#gpa >> 12n));
  }

  /** Tells the engine that the bytes from `offset` were written. */
  noteWrite(offset: number, length: number): void {
    this.#slots.linear.noteWrite(hva(this.#hva + offset), length);
  }

  #refreshTo(gpa: bigint | undefined, address: number): CacheError {
    this.#valid = false;
    this.#gpa = gpa;
    this.#offset = gpa === undefined ? address % PAGE_SIZE : Number(gpa & 0xfffn);
    if (gpa === undefined) {
      this.#hva = address;
      this.#slot = undefined;
      const { linear } = this.#slots;
      if (!linear.contains(address, 1) || !linear.mayWrite(address)) return "EFAULT";
    } else {
      this.#generation = this.#slots.generation;
      const gfn = Number(gpa >> 12n);
      const slot = gpa < GPA_LIMIT ? this.#slots.find(gfn) : undefined;
      this.#slot = slot;
      this.#hva = 0;
      if (slot === undefined || (slot.flags & KvmMem.READONLY) !== 0) return "EFAULT";
      const at = slot.hva + (gfn - slot.baseGfn) * PAGE_SIZE + this.#offset;
      if (!this.#slots.linear.mayWrite(at)) return "EFAULT";
      this.#hva = at;
    }
    this.#valid = true;
    return undefined;
  }
}
