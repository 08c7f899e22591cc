import { assert, type Hva, hva } from "../base/index.js";

const WASM_PAGE = 65536;
/** Least step of growth: each gives a new view of all of the memory, which costs a garbage collection. */
const GROWTH = 16 << 20;
const PAGE = 4096;

/** What the client itself may do with a page of its memory: a guest, and KVM for it, may do no more. */
export const PageAccess = { FULL: 0, READ: 1, NONE: 2 } as const;
/** One of {@link PageAccess}. */
export type PageAccess = (typeof PageAccess)[keyof typeof PageAccess];

/**
 * Whose memory it is: the client's (guest RAM and whatever else it lets a guest or KVM write to), or
 * that of the engine and KVM, which no address from outside may reach.
 */
export type MemoryOwner = "client" | "internal";

interface Range {
  start: number;
  bytes: number;
}

/**
 * The linear memory of one VM: the engine's tables, every vCPU's state and all guest RAM. Offsets
 * in it are the "host virtual addresses" of the VM. Regions are handed out from a free list; the
 * memory grows as needed, up to 4 GiB, and never moves an allocated region.
 */
export class LinearMemory {
  readonly memory: WebAssembly.Memory;
  /** Another process writes parts of it, at any time and without {@link noteWrite}. */
  hasOutsideWriters = false;
  // Apart, so that an address that a client kept after free() never leads to internal memory.
  readonly #free: Record<MemoryOwner, Range[]> = { client: [], internal: [] };
  /** What was handed out to internal owners, free again or not. */
  readonly #internal: Range[] = [];
  /** End of what belongs to the engine from the start. */
  readonly #reserved: number;
  #end: number;
  #u8: Uint8Array;
  #u32: Uint32Array;
  #view: DataView;
  #onWrite: (address: Hva, length: number) => void = () => undefined;
  #onAccess: () => void = () => undefined;
  #onGrow: () => void = () => undefined;
  /** Where a byte for each page says its {@link PageAccess}; 0: there is no such table. */
  readonly #accessTable: number;

  /**
   * `reserved` bytes at the start belong to the engine and are never handed out. `accessTable`: where in
   * them the engine looks for the {@link PageAccess} of each page; without it all of it is FULL.
   */
  constructor(memory: WebAssembly.Memory, reserved: number, accessTable = 0) {
    this.memory = memory;
    this.#accessTable = accessTable;
    this.#end = Math.ceil(reserved / 4096) * 4096;
    this.#reserved = this.#end;
    this.#u8 = new Uint8Array(memory.buffer);
    this.#u32 = new Uint32Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
  }

  /** All bytes. Borrowed: valid until the next {@link allocate}. */
  get u8(): Uint8Array {
    return this.#u8;
  }

  /** All aligned words, as a little-endian host sees them. Borrowed: valid until the next {@link allocate}. */
  get u32(): Uint32Array {
    return this.#u32;
  }

  /** All bytes, for typed access. Borrowed: valid until the next {@link allocate}. */
  get view(): DataView {
    return this.#view;
  }

  /**
   * Hands out zeroed memory at a multiple of 4096.
   * @returns its offset, or undefined when the 4 GiB are used up.
   */
  allocate(bytes: number, owner: MemoryOwner = "client"): Hva | undefined {
    assert(Number.isSafeInteger(bytes) && bytes > 0, "LinearMemory.allocate: size");
    const size = Math.ceil(bytes / 4096) * 4096;
    const list = this.#free[owner];
    const hole = list.findIndex((range) => range.bytes >= size);
    if (hole >= 0) {
      const range = list[hole] as Range;
      const start = range.start;
      if (range.bytes === size) list.splice(hole, 1);
      else {
        range.start += size;
        range.bytes -= size;
      }
      this.#u8.fill(0, start, start + size);
      return hva(start);
    }
    const start = this.#end;
    const missing = start + size - this.#u8.length;
    if (missing > 0) {
      if (!this.#grow(Math.max(missing, GROWTH)) && !this.#grow(missing)) return undefined;
      this.#u8 = new Uint8Array(this.memory.buffer);
      this.#u32 = new Uint32Array(this.memory.buffer);
      this.#view = new DataView(this.memory.buffer);
      this.#onGrow();
    }
    this.#end = start + size;
    if (owner === "internal") this.#noteInternal(start, size);
    return hva(start);
  }

  #grow(bytes: number): boolean {
    try {
      this.memory.grow(Math.ceil(bytes / WASM_PAGE));
      return true;
    } catch {
      return false;
    }
  }

  #noteInternal(start: number, bytes: number): void {
    const last = this.#internal.at(-1);
    if (last !== undefined && last.start + last.bytes === start) last.bytes += bytes;
    else this.#internal.push({ start, bytes });
  }

  /** Gives back what {@link allocate} handed out: the same offset, size and owner. */
  free(address: Hva, bytes: number, owner: MemoryOwner = "client"): void {
    const size = Math.ceil(bytes / 4096) * 4096;
    this.noteWrite(address, size);
    this.setAccess(address, size, PageAccess.FULL);
    this.#free[owner].push({ start: address, bytes: size });
  }

  /** Whether `length` bytes from `address` were handed out, and none of them to an internal owner. */
  contains(address: number, length: number): boolean {
    if (!(address >= this.#reserved && length >= 0)) return false;
    const end = address + length;
    if (end > this.#end) return false;
    return !this.#internal.some(
      (range) => address < range.start + range.bytes && range.start < end,
    );
  }

  /** Says what may be done with whole pages from now on. */
  setAccess(address: Hva, length: number, access: PageAccess): void {
    if (this.#accessTable === 0) return;
    const first = this.#accessTable + address / PAGE;
    const last = first + Math.ceil(length / PAGE);
    if (this.#u8.subarray(first, last).every((before) => before === access)) return;
    this.#u8.fill(access, first, last);
    this.#onAccess();
  }

  /** Whether the byte at `address` may be read. */
  mayRead(address: number): boolean {
    return this.#accessOf(address) !== PageAccess.NONE;
  }

  /** Whether the byte at `address` may be written. */
  mayWrite(address: number): boolean {
    return this.#accessOf(address) === PageAccess.FULL;
  }

  #accessOf(address: number): number {
    if (this.#accessTable === 0) return PageAccess.FULL;
    return this.#u8[this.#accessTable + Math.floor(address / PAGE)] as number;
  }

  /** Registers who must hear that {@link setAccess} changed something (the engine's translations). */
  onAccess(listener: () => void): void {
    this.#onAccess = listener;
  }

  /** Registers who must hear that {@link u8}, {@link u32} and {@link view} are new ones. */
  onGrow(listener: () => void): void {
    this.#onGrow = listener;
  }

  /** Registers who must hear of writes from outside the engine (it drops decoded code there). */
  onWrite(listener: (address: Hva, length: number) => void): void {
    this.#onWrite = listener;
  }

  /** Tells the engine that `length` bytes from `address` were written by someone else. */
  noteWrite(address: Hva, length: number): void {
    this.#onWrite(address, length);
  }
}
