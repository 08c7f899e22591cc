/**
 * Guest-physical memory as KVM memory slots: RAM, with single pages laid over it or placed outside
 * it, and without the frames that the guest gave back. A RAM slot cannot be changed while it
 * exists, so it is split around an overlay page or a hole.
 */
import type { KvmUserspaceMemoryRegion } from "../../abi/kvm/index.js";
import { type Gpa, gpa, type Hva, PAGE_SIZE } from "../../base/index.js";
import { GuestMemory, type LinearMemory, type MemoryRegion } from "../../memory/index.js";
import { RamFrames, type SavedFrames } from "./ram-frames.js";

/** What is needed of a KVM VM. */
export interface SlotVm {
  readonly linear: LinearMemory;
  setUserMemoryRegion(region: KvmUserspaceMemoryRegion): void;
}

/** What lies over a guest frame: a page, or nothing at all. */
export type Overlay = Hva | "hole";

/**
 * Frames that may be overlaid: a guest cannot use up the slots, of which each may cost two.
 * @limit guest | frames that pages of Xen overlay | frames | ENOMEM
 */
const MAX_OVERLAYS = 200;
/**
 * Memory slots to use: whoever reads guest memory from outside the engine searches all of them.
 * @limit guest | memory slots that holes and overlays make | slots | ENOMEM, or the balloon's page is kept
 */
const MAX_REGIONS = 500;

const keyOf = (region: MemoryRegion): string => `${region.gpa}:${region.size}:${region.hva}`;

export class GuestPhysmap {
  readonly #vm: SlotVm;
  readonly #ram: RamFrames;
  readonly #overlays = new Map<number, Overlay>();
  readonly #slots = new Map<string, { id: number; region: MemoryRegion }>();
  readonly #freeSlots: number[] = [];
  #nextSlot = 0;
  #batching = false;
  /** Frames that show something else since the last commit. */
  readonly #changed = new Set<number>();
  #commits = 0;
  /** The same memory for the VMM's own use. */
  readonly memory: GuestMemory;

  /** `ram`: what the guest has without overlays; regions do not touch in linear memory. */
  constructor(vm: SlotVm, ram: readonly MemoryRegion[]) {
    this.#vm = vm;
    this.#ram = new RamFrames(ram);
    this.memory = new GuestMemory(vm.linear);
    this.#commit();
  }

  /** Whether a frame is RAM or an overlay page. */
  isBacked(gfn: number): boolean {
    return this.memory.locate(gfn * PAGE_SIZE, PAGE_SIZE) !== undefined;
  }

  /** The frame at which a page is laid over, if it is. */
  frameOf(page: Hva): number | undefined {
    for (const [gfn, overlay] of this.#overlays) if (overlay === page) return gfn;
    return undefined;
  }

  /**
   * Lays a page over a frame, inside or outside RAM, instead of what was there. A page has one
   * place: it leaves its former one, where RAM shows again.
   * @returns false when there are too many overlays.
   */
  place(page: Hva, gfn: number): boolean {
    const former = this.frameOf(page);
    if (former === gfn) return true;
    if (former === undefined && this.#overlays.size >= MAX_OVERLAYS) return false;
    if (former !== undefined) this.#overlays.delete(former);
    this.#overlays.set(gfn, page);
    this.#commit(gfn, former ?? gfn);
    return true;
  }

  /** Takes a page from its frame, where RAM shows again. Nothing happens when it has none. */
  remove(page: Hva): void {
    const gfn = this.frameOf(page);
    if (gfn === undefined) return;
    this.#overlays.delete(gfn);
    this.#commit(gfn);
  }

  /** Makes a frame empty: an overlay page goes; RAM is hidden. False when nothing was there. */
  clear(gfn: number): boolean {
    if (!this.isBacked(gfn)) return false;
    if (this.#overlays.has(gfn)) this.#overlays.delete(gfn);
    else if (this.#overlays.size >= MAX_OVERLAYS) return false;
    else this.#overlays.set(gfn, "hole");
    this.#commit(gfn);
    return true;
  }

  /** Pages of RAM that the guest has, in frames or not; and how many it may have. */
  get reservation(): { readonly pages: number; readonly maximum: number } {
    return { pages: this.#ram.pages, maximum: this.#ram.maximum };
  }

  /** The highest frame that is backed. */
  get highestFrame(): number {
    const frames = [...this.#overlays].filter(([, what]) => what !== "hole").map(([gfn]) => gfn);
    return Math.max(this.#ram.highest, ...frames);
  }

  /** The guest gives a frame back: nothing is there afterwards. False when nothing was. */
  release(gfn: number): boolean {
    const overlay = this.#overlays.get(gfn);
    if (overlay === "hole") return false;
    if (overlay !== undefined) this.#overlays.delete(gfn);
    if (!this.#ram.release(gfn) && overlay === undefined) return false;
    this.#commit(gfn);
    return true;
  }

  /** The guest gets a cleared page in a frame, instead of what was there. False without a page. */
  populate(gfn: number): boolean {
    const page = this.#ram.populate(gfn);
    if (page === undefined) return false;
    this.#overlays.delete(gfn);
    this.#vm.linear.u8.fill(0, page, page + PAGE_SIZE);
    this.#vm.linear.noteWrite(page, PAGE_SIZE);
    this.#commit(gfn);
    return true;
  }

  /** The guest gets a page that is in no frame. False when it has all that it may have. */
  take(): boolean {
    return this.#ram.take();
  }

  /** Nothing lies over or beside RAM any more but in the frames `kept`. */
  uncover(kept: readonly number[]): void {
    for (const gfn of [...this.#overlays.keys()]) {
      if (!kept.includes(gfn)) this.#overlays.delete(gfn);
    }
    this.#commit();
  }

  /** Every frame of RAM has its own page again; those that were given back are cleared. */
  refill(): void {
    for (const page of this.#ram.reset()) {
      this.#vm.linear.u8.fill(0, page, page + PAGE_SIZE);
      this.#vm.linear.noteWrite(page, PAGE_SIZE);
    }
    this.#commit();
  }

  /** What became of the pages of RAM. */
  saveFrames(): SavedFrames {
    return this.#ram.save();
  }

  /** Puts that back, before the guest has run. @returns false when it makes no sense. */
  restoreFrames(saved: SavedFrames): boolean {
    const isSane = this.#ram.restore(saved);
    this.#commit();
    return isSane;
  }

  /** What lies over or beside RAM, in the order in which it came. */
  get overlays(): readonly (readonly [gfn: number, what: Overlay])[] {
    return [...this.#overlays];
  }

  /** Puts that back. @returns false when it is too much. */
  restoreOverlays(overlays: readonly (readonly [gfn: number, what: Overlay])[]): boolean {
    if (overlays.length > MAX_OVERLAYS) return false;
    this.#overlays.clear();
    for (const [gfn, what] of overlays) this.#overlays.set(gfn, what);
    this.#commit();
    return true;
  }

  /** How often KVM was told of other memory. */
  get commits(): number {
    return this.#commits;
  }

  /** Comes before an access in the middle of a {@link batch}: it must find what is there by now. */
  settle(at: Gpa): void {
    if (this.#changed.size === 0 || !this.#changed.has(Math.floor(at / PAGE_SIZE))) return;
    this.#tell();
  }

  /** Does several changes at once: KVM hears of them together. */
  batch<T>(changes: () => T): T {
    this.#batching = true;
    try {
      return changes();
    } finally {
      this.#batching = false;
      if (this.#changed.size > 0) this.#tell();
    }
  }

  /** Frames show something else from now on. */
  #commit(...frames: number[]): void {
    for (const gfn of frames) this.#changed.add(gfn);
    if (!this.#batching) this.#tell();
  }

  #tell(): void {
    this.#commits++;
    this.#changed.clear();
    const wanted = this.#regions();
    const keys = new Set(wanted.map(keyOf));
    for (const [key, { id, region }] of this.#slots) {
      if (keys.has(key)) continue;
      this.#setSlot(id, region, 0);
      this.#slots.delete(key);
      this.#freeSlots.push(id);
    }
    for (const region of wanted) {
      if (this.#slots.has(keyOf(region))) continue;
      const id = this.#freeSlots.pop() ?? this.#nextSlot++;
      this.#setSlot(id, region, region.size);
      this.#slots.set(keyOf(region), { id, region });
    }
    this.memory.setRegions(wanted);
  }

  #setSlot(slot: number, region: MemoryRegion, memorySize: number): void {
    this.#vm.setUserMemoryRegion({
      slot,
      flags: 0,
      guestPhysAddr: region.gpa,
      memorySize,
      userspaceAddr: region.hva,
    });
  }

  /** RAM without the overlaid frames, biggest first (it is searched most), then the pages. */
  #regions(): MemoryRegion[] {
    const frames = [...this.#overlays.keys()].sort((a, b) => a - b);
    const regions = this.#ram.regions(frames, MAX_REGIONS - frames.length);
    regions.sort((a, b) => b.size - a.size);
    for (const [gfn, page] of this.#overlays) {
      if (page !== "hole") regions.push({ gpa: gpa(gfn * PAGE_SIZE), size: PAGE_SIZE, hva: page });
    }
    return regions;
  }
}
