import { KvmLimit, KvmMem, type KvmUserspaceMemoryRegion } from "../../abi/kvm/index.js";
import { gpa, type Hva, hva, PAGE_SIZE } from "../../base/index.js";
import type { EngineSlot, EngineVm } from "../../engine/bridge/port.js";
import type { LinearMemory } from "../../memory/index.js";
import { refuse } from "../error.js";

/** A memory slot as it is in use. */
export interface MemorySlot {
  readonly id: number;
  readonly flags: number;
  /** First guest frame number. */
  readonly baseGfn: number;
  readonly pages: number;
  /** Start in linear memory. 0: not found so far ({@link LateBacking}); never so after find(). */
  readonly hva: Hva;
  readonly late: LateBacking | undefined;
  /** One bit per page in linear memory, 0 when writes are not logged. */
  readonly dirtyBitmap: Hva;
}

/** Memory of a slot that is looked for when the slot is first accessed: most of many slots never are. */
export interface LateBacking {
  /** The same for the same memory, and only for it. */
  readonly key: bigint;
  /** Where in linear memory it lies from now on; undefined when there is no room for it. */
  attach(): Hva | undefined;
}

type Slot = { -readonly [K in keyof MemorySlot]: MemorySlot[K] };

/**
 * Guest-physical addresses end here: 52 bits.
 * @nolimit the width of an address
 */
const MAX_GPA = 2 ** 52;

/** Bytes of a slot's dirty bitmap: whole u64 words. */
const bitmapBytes = (pages: number): number => Math.ceil(pages / 64) * 8;

/** `KVM_DIRTY_LOG_INITIALLY_SET`: a new log has every page in it. */
const INITIALLY_SET = 2;

function setBits(memory: Uint8Array, at: number, count: number): void {
  memory.fill(0xff, at, at + (count >>> 3));
  if ((count & 7) !== 0) memory[at + (count >>> 3)] = (1 << (count & 7)) - 1;
}

/** `struct kvm_clear_dirty_log`. */
export interface KvmClearDirtyLog {
  readonly slot: number;
  /** A multiple of 64. */
  readonly firstPage: number;
  /** A multiple of 64, or all pages to the end of the slot. */
  readonly numPages: number;
  /** One bit per page, in whole u64 words. */
  readonly bitmap: Uint8Array;
}

/**
 * The memory slots of a VM, with the checks of KVM_SET_USER_MEMORY_REGION. Changes reach the
 * engine at once; caches of translations compare {@link generation}.
 */
export class MemorySlots {
  readonly #engine: EngineVm;
  readonly #byId = new Map<number, Slot>();
  /** By guest address, for lookups; the engine's table is in the same order. */
  readonly #sorted: Slot[] = [];
  #generation = 0;
  /** A slot that was accessed last: it has memory. */
  #last: Slot | undefined;
  /** KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: 0, MANUAL_PROTECT_ENABLE, or that and INITIALLY_SET. */
  manualProtect = 0;
  /**
   * No vCPU has entered the guest since the start, or since a slot was deleted or moved: KVM's page tables
   * are empty, and the entry that finds them so faults at once.
   */
  isUnmapped = true;

  constructor(engine: EngineVm) {
    this.#engine = engine;
    engine.onUnbacked((place) => this.#backed(this.#sorted[place] as Slot)?.hva ?? hva(0));
  }

  /** Changes with every change of the table. */
  get generation(): number {
    return this.#generation;
  }

  /** Pages of all slots. */
  get pages(): number {
    return this.#sorted.reduce((sum, slot) => sum + slot.pages, 0);
  }

  /** The linear memory that slots point into. */
  get linear(): LinearMemory {
    return this.#engine.linear;
  }

  /** The slot with that number, if it exists. */
  byId(id: number): MemorySlot | undefined {
    return this.#byId.get(id);
  }

  /** The slot that holds a guest frame, if any, with memory behind it. May allocate linear memory. */
  find(gfn: number): MemorySlot | undefined {
    const last = this.#last;
    if (last !== undefined && gfn >= last.baseGfn && gfn < last.baseGfn + last.pages) return last;
    const slot = this.#holder(gfn);
    this.#last = slot === undefined ? undefined : this.#backed(slot);
    return this.#last;
  }

  /** Whether an address is in a slot that the guest may write; whether there is memory does not matter. */
  isWritable(address: number): boolean {
    const slot = this.#holder(Math.floor(address / PAGE_SIZE));
    return slot !== undefined && (slot.flags & KvmMem.READONLY) === 0;
  }

  /** Whether a slot holds a guest frame for which there was no memory. */
  isUnbacked(gfn: number): boolean {
    return this.#holder(gfn)?.hva === 0;
  }

  #holder(gfn: number): Slot | undefined {
    const slot = this.#sorted[this.#place(gfn + 1) - 1];
    return slot !== undefined && gfn < slot.baseGfn + slot.pages ? slot : undefined;
  }

  /** Of the slots in order, the first that starts at or behind a guest frame. */
  #place(gfn: number): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#sorted[middle] as Slot).baseGfn < gfn) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #backed(slot: Slot): Slot | undefined {
    if (slot.hva === 0) slot.hva = slot.late?.attach() ?? hva(0);
    return slot.hva === 0 ? undefined : slot;
  }

  /**
   * How many bytes from a guest-physical address on are in slots without a gap, and can be accessed,
   * at most `size`.
   */
  backedBytes(address: bigint, size: bigint): bigint {
    let done = 0n;
    while (done < size && address + done < BigInt(MAX_GPA)) {
      const gfn = Number((address + done) >> 12n);
      const slot = this.find(gfn);
      if (slot === undefined) break;
      let page = gfn - slot.baseGfn;
      while (page < slot.pages && this.linear.mayRead(slot.hva + page * PAGE_SIZE)) page++;
      done = (BigInt(slot.baseGfn + page) << 12n) - address;
      if (page < slot.pages) break;
    }
    return done < size ? done : size;
  }

  /**
   * KVM_SET_USER_MEMORY_REGION: creates, moves, changes the flags of, or deletes a slot. With `late`,
   * its memory is looked for later, and `userspaceAddr` does not count (0).
   * @throws KvmError EINVAL, EEXIST for an overlap, ENOMEM for the dirty bitmap.
   */
  set(region: KvmUserspaceMemoryRegion, late?: LateBacking): void {
    const id = region.slot;
    checkRegion(region, late === undefined ? this.linear : undefined);
    const old = this.#byId.get(id);
    const pages = region.memorySize / PAGE_SIZE;
    if (pages === 0) {
      if (old === undefined) refuse("EINVAL", "no such memory slot to delete");
      this.#byId.delete(id);
      this.#remove(old);
      this.isUnmapped = true;
      this.#freeBitmap(old);
      return;
    }
    const baseGfn = region.guestPhysAddr / PAGE_SIZE;
    if (old !== undefined) {
      if (
        !hasBacking(old, region, late) ||
        old.pages !== pages ||
        ((old.flags ^ region.flags) & KvmMem.READONLY) !== 0
      )
        refuse("EINVAL", "a memory slot keeps its size, backing and READONLY flag");
      if (old.baseGfn === baseGfn && old.flags === region.flags) return;
    }
    if (old?.baseGfn !== baseGfn) {
      this.#checkOverlap(old, baseGfn, pages);
      if (region.guestPhysAddr + region.memorySize > MAX_GPA)
        refuse("EINVAL", "memory slot beyond 52 bits");
    }
    const dirtyBitmap = this.#bitmapFor(region.flags, pages, old);
    const start = late === undefined ? hva(region.userspaceAddr) : (old?.hva ?? hva(0));
    const slot = { id, flags: region.flags, baseGfn, pages, hva: start, late, dirtyBitmap };
    if (old !== undefined) {
      this.#remove(old);
      if (old.baseGfn !== baseGfn) this.isUnmapped = true;
    }
    this.#byId.set(id, slot);
    this.#insert(slot);
    if (old !== undefined && dirtyBitmap === 0) this.#freeBitmap(old);
  }

  /**
   * KVM_GET_DIRTY_LOG: the pages written since they were last cleared, one bit each, in whole u64
   * words. Clears them, unless the client does that itself ({@link clearDirtyLog}).
   * @throws KvmError EINVAL slot number; ENOENT no such slot or writes not logged.
   */
  takeDirtyLog(id: number): Uint8Array {
    const slot = this.#logged(id);
    const live = this.#bitmapOf(slot);
    const copy = live.slice();
    if (this.manualProtect !== 0) return copy;
    live.fill(0);
    this.#engine.clearDirty();
    return copy;
  }

  /**
   * KVM_CLEAR_DIRTY_LOG: clears the bits that are set in `bitmap`, whose first bit is `firstPage`.
   * @throws KvmError EINVAL slot number, pages not in steps of 64 (but to the end) or outside of
   *   the slot; ENOENT no such slot or writes not logged.
   */
  clearDirtyLog(log: KvmClearDirtyLog): void {
    const { slot: id, firstPage, numPages, bitmap } = log;
    if (firstPage % 64 !== 0) refuse("EINVAL", "first page");
    const slot = this.#logged(id);
    const left = slot.pages - firstPage;
    if (left < 0 || numPages > left) refuse("EINVAL", "pages outside of the slot");
    if (numPages < left && numPages % 64 !== 0) refuse("EINVAL", "number of pages");
    const live = this.#bitmapOf(slot);
    const first = firstPage / 8;
    const bytes = Math.min(bitmapBytes(numPages), live.length - first);
    for (let i = 0; i < bytes; i++) {
      live[first + i] = (live[first + i] as number) & ~(bitmap[i] ?? 0);
    }
    this.#engine.clearDirty();
  }

  #logged(id: number): MemorySlot {
    if (id >>> 16 !== 0 || (id & 0xffff) >= KvmLimit.USER_MEM_SLOTS) {
      refuse("EINVAL", "slot number");
    }
    const slot = this.#byId.get(id);
    if (slot === undefined || slot.dirtyBitmap === 0) refuse("ENOENT", "slot has no dirty log");
    return slot;
  }

  #bitmapOf(slot: MemorySlot): Uint8Array {
    return this.linear.u8.subarray(slot.dirtyBitmap, slot.dirtyBitmap + bitmapBytes(slot.pages));
  }

  /** Notes that this library wrote to a guest frame. */
  markDirty(slot: MemorySlot | undefined, gfn: number): void {
    if (slot === undefined || slot.dirtyBitmap === 0) return;
    const page = gfn - slot.baseGfn;
    const at = slot.dirtyBitmap + (page >>> 3);
    const bytes = this.linear.u8;
    bytes[at] = (bytes[at] as number) | (1 << (page & 7));
  }

  /** Looks at the neighbours only: the slots there are do not overlap. */
  #checkOverlap(moved: Slot | undefined, baseGfn: number, pages: number): void {
    const sorted = this.#sorted;
    let at = this.#place(baseGfn) - 1;
    if (sorted[at] === moved) at--;
    for (at = Math.max(at, 0); at < sorted.length; at++) {
      const other = sorted[at] as Slot;
      if (other.baseGfn >= baseGfn + pages) return;
      if (other !== moved && baseGfn < other.baseGfn + other.pages) {
        refuse("EEXIST", `memory slot overlaps slot ${other.id}`);
      }
    }
  }

  #bitmapFor(flags: number, pages: number, old: MemorySlot | undefined): Hva {
    if ((flags & KvmMem.LOG_DIRTY_PAGES) === 0) return hva(0);
    if (old !== undefined && old.dirtyBitmap !== 0) return old.dirtyBitmap;
    const bytes = bitmapBytes(pages);
    const bitmap =
      this.linear.allocate(bytes, "internal") ?? refuse("ENOMEM", "no memory for dirty log");
    if ((this.manualProtect & INITIALLY_SET) !== 0) setBits(this.linear.u8, bitmap, pages);
    return bitmap;
  }

  #freeBitmap(slot: MemorySlot): void {
    if (slot.dirtyBitmap === 0) return;
    this.linear.free(slot.dirtyBitmap, bitmapBytes(slot.pages), "internal");
  }

  #insert(slot: Slot): void {
    const place = this.#place(slot.baseGfn);
    this.#sorted.splice(place, 0, slot);
    this.#engine.insertSlot(place, engineSlot(slot));
    this.#generation++;
  }

  #remove(slot: Slot): void {
    const place = this.#place(slot.baseGfn);
    this.#sorted.splice(place, 1);
    this.#engine.removeSlot(place);
    this.#last = undefined;
    this.#generation++;
  }
}

/** Whether a slot is backed by what a call names. */
function hasBacking(
  slot: MemorySlot,
  region: KvmUserspaceMemoryRegion,
  late: LateBacking | undefined,
): boolean {
  if (late === undefined || slot.late === undefined) {
    return late === slot.late && slot.hva === region.userspaceAddr;
  }
  return late.key === slot.late.key;
}

function engineSlot(slot: MemorySlot): EngineSlot {
  return {
    gpa: gpa(slot.baseGfn * PAGE_SIZE),
    size: slot.pages * PAGE_SIZE,
    hva: slot.hva,
    readonly: (slot.flags & KvmMem.READONLY) !== 0,
    dirtyBitmap: slot.dirtyBitmap,
  };
}

/**
 * The checks that need no knowledge of other slots, in the kernel's order. `linear`: where the backing
 * has to be, unless it comes later.
 */
function checkRegion(region: KvmUserspaceMemoryRegion, linear: LinearMemory | undefined): void {
  const { slot, flags, guestPhysAddr, memorySize, userspaceAddr } = region;
  if ((slot & 0xffff) >= KvmLimit.USER_MEM_SLOTS) refuse("EINVAL", "slot number");
  if ((flags & ~(KvmMem.LOG_DIRTY_PAGES | KvmMem.READONLY)) !== 0) refuse("EINVAL", "slot flags");
  if (!Number.isSafeInteger(memorySize) || memorySize < 0 || memorySize % PAGE_SIZE !== 0)
    refuse("EINVAL", "memory slot size is not a multiple of 4096");
  if (!Number.isSafeInteger(guestPhysAddr) || guestPhysAddr < 0 || guestPhysAddr % PAGE_SIZE !== 0)
    refuse("EINVAL", "memory slot address is not a multiple of 4096");
  if (!Number.isSafeInteger(userspaceAddr) || userspaceAddr < 0 || userspaceAddr % PAGE_SIZE !== 0)
    refuse("EINVAL", "memory slot backing is not a multiple of 4096");
  if (memorySize > 0 && linear?.contains(userspaceAddr, memorySize) === false) {
    refuse("EINVAL", "memory slot backing lies outside of the VM's linear memory");
  }
  if (slot >>> 16 !== 0) refuse("EINVAL", "address space");
  if (memorySize / PAGE_SIZE > KvmLimit.MEM_MAX_NR_PAGES) refuse("EINVAL", "memory slot size");
}
