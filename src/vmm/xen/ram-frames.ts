/**
 * Which frames of RAM have a page. A guest gives pages back and populates frames again (a balloon);
 * the number of pages it has and the number of free ones are always its maximum together.
 */
import { assert, gpa, type Hva, hva, PAGE_SIZE } from "../../base/index.js";
import type { MemoryRegion } from "../../memory/index.js";

/** What became of a frame's own page. */
const State = {
  /** It is in its frame. */
  OWN: 0,
  /** The guest gave it back: nothing is in the frame, and the page is free. */
  FREE: 1,
  /** Another frame has it, or it belongs to the guest without being in any frame. */
  ELSEWHERE: 2,
} as const;

/**
 * Frames that may have the page of another: each costs a memory slot.
 * @limit guest | frames that have the page of another frame | frames | ENOMEM
 */
const MAX_MOVED = 32;
/** Guest frame numbers have 40 bits: 52-bit addresses. */
const END_OF_FRAMES = 2 ** 40;

/** A range of RAM with the state of each page. */
interface Range extends MemoryRegion {
  readonly first: number;
  readonly states: Uint8Array;
}

/** A stretch of frames without a page between two with pages, which might be closed. */
interface Gap {
  readonly index: number;
  readonly pages: number;
}

/**
 * What became of pages, for a snapshot. Pages are numbered through all ranges, in their order.
 * @nolimit its members are checked against the ranges
 */
export interface SavedFrames {
  /** Pages that are not in their own frames, in ascending order. */
  readonly elsewhere: readonly number[];
  /** Pages that are free, in the order in which they were given back. */
  readonly free: readonly number[];
  /** Frames that have the page of another. */
  readonly moved: readonly { readonly gfn: number; readonly page: number }[];
}

export class RamFrames {
  readonly #ranges: readonly Range[];
  /** Frames outside RAM, or whose own page is elsewhere, with the page that they got. */
  readonly #moved = new Map<number, Hva>();
  /** Frames whose own page is free, in the order in which they were given back. */
  readonly #free = new Set<number>();
  /** Pages that the guest may have: all that there were at the start. */
  readonly maximum: number;

  /** `ram`: where the pages are; ranges do not overlap. */
  constructor(ram: readonly MemoryRegion[]) {
    this.#ranges = ram.map((region) => {
      assert(region.size % PAGE_SIZE === 0, "memory region is not whole pages");
      const states = new Uint8Array(region.size / PAGE_SIZE);
      return { ...region, first: region.gpa / PAGE_SIZE, states };
    });
    this.maximum = this.#ranges.reduce((sum, { states }) => sum + states.length, 0);
  }

  /** Pages that the guest has. */
  get pages(): number {
    return this.maximum - this.#free.size;
  }

  /** The highest frame that has a page. */
  get highest(): number {
    const tops = this.#ranges.map(({ first, states }) => first + states.lastIndexOf(State.OWN));
    return Math.max(0, ...tops, ...this.#moved.keys());
  }

  /** The page in a frame. */
  pageOf(gfn: number): Hva | undefined {
    const range = this.#rangeOf(gfn);
    if (range?.states[gfn - range.first] === State.OWN) return ownPage(range, gfn);
    return this.#moved.get(gfn);
  }

  /** Takes the page from a frame and makes it free. False when there is none. */
  release(gfn: number): boolean {
    const range = this.#rangeOf(gfn);
    if (range?.states[gfn - range.first] === State.OWN) {
      this.#setFree(range, gfn);
      return true;
    }
    const page = this.#moved.get(gfn);
    if (page === undefined) return false;
    this.#moved.delete(gfn);
    const owner = this.#ranges.find(({ hva: at, size }) => page >= at && page < at + size);
    assert(owner !== undefined, "a page that is nobody's");
    this.#setFree(owner, owner.first + (page - owner.hva) / PAGE_SIZE);
    return true;
  }

  /** Lets the guest have a free page that is in no frame. False when none is free. */
  take(): boolean {
    const [donor] = this.#free;
    if (donor === undefined) return false;
    this.#free.delete(donor);
    this.#setState(donor, State.ELSEWHERE);
    return true;
  }

  /**
   * Puts a free page into a frame, preferably its own. What was there is the guest's still, but in
   * no frame.
   * @returns the page, which is not cleared; undefined when none is free or the frame is beyond
   * what can be mapped.
   */
  populate(gfn: number): Hva | undefined {
    const range = this.#rangeOf(gfn);
    const state = range?.states[gfn - range.first];
    if (range !== undefined && state === State.FREE) {
      this.#free.delete(gfn);
      this.#setState(gfn, State.OWN);
      return ownPage(range, gfn);
    }
    // A page replaced and one taken cannot be told apart: the frame keeps the page it has.
    const there = this.pageOf(gfn);
    if (there !== undefined) return this.take() ? there : undefined;
    const [donor] = this.#free;
    if (donor === undefined || gfn >= END_OF_FRAMES) return undefined;
    const from = this.#rangeOf(donor);
    if (from === undefined || this.#moved.size >= MAX_MOVED) return undefined;
    this.take();
    const page = ownPage(from, donor);
    this.#moved.set(gfn, page);
    return page;
  }

  /** What became of the pages. */
  save(): SavedFrames {
    const elsewhere: number[] = [];
    let base = 0;
    for (const { states } of this.#ranges) {
      states.forEach((state, i) => {
        if (state === State.ELSEWHERE) elsewhere.push(base + i);
      });
      base += states.length;
    }
    const free = [...this.#free].map((gfn) => this.#numberOf(gfn));
    const moved = [...this.#moved].map(([gfn, at]) => {
      const range = this.#ranges.find(({ hva: start, size }) => at >= start && at < start + size);
      assert(range !== undefined, "a page that is nobody's");
      return { gfn, page: this.#numberOf(range.first + (at - range.hva) / PAGE_SIZE) };
    });
    return { elsewhere, free, moved };
  }

  /** Puts that back, where every page is in its own frame. @returns false when it makes no sense. */
  restore({ elsewhere, free, moved }: SavedFrames): boolean {
    const owners = new Set<number>();
    for (const [pages, state] of [
      [elsewhere, State.ELSEWHERE],
      [free, State.FREE],
    ] as const) {
      for (const page of pages) {
        const gfn = this.#frameOf(page);
        if (gfn === undefined || this.#stateOf(gfn) !== State.OWN) return false;
        this.#setState(gfn, state);
        if (state === State.FREE) this.#free.add(gfn);
      }
    }
    if (moved.length > MAX_MOVED) return false;
    for (const { gfn, page } of moved) {
      const owner = this.#frameOf(page);
      const range = owner === undefined ? undefined : this.#rangeOf(owner);
      const isTaken = this.#moved.has(gfn) || this.#stateOf(gfn) === State.OWN;
      if (owner === undefined || range === undefined || isTaken || gfn >= END_OF_FRAMES)
        return false;
      if (owners.has(owner) || this.#stateOf(owner) !== State.ELSEWHERE) return false;
      owners.add(owner);
      this.#moved.set(gfn, ownPage(range, owner));
    }
    return true;
  }

  /** Every frame has its own page again. Answers the pages that are back in their frames. */
  reset(): Hva[] {
    const back: Hva[] = [];
    for (const range of this.#ranges) {
      range.states.forEach((state, i) => {
        if (state !== State.OWN) back.push(ownPage(range, range.first + i));
      });
      range.states.fill(State.OWN);
    }
    this.#moved.clear();
    this.#free.clear();
    return back;
  }

  /**
   * The frames with their pages as regions, without the frames of `covered` (ascending), at most
   * about `limit` of them: where the guest gave memory back in more pieces than that, the smallest
   * ones keep their pages in sight.
   */
  regions(covered: readonly number[], limit: number): MemoryRegion[] {
    const parts: MemoryRegion[] = [];
    const gaps: Gap[] = [];
    for (const range of this.#ranges) collectParts(range, covered, parts, gaps);
    for (const [gfn, page] of this.#moved) {
      if (!covered.includes(gfn)) parts.push(regionOf(gfn, 1, page));
    }
    const excess = parts.length - limit;
    return excess > 0 ? close(parts, smallest(gaps, excess)) : parts;
  }

  #rangeOf(gfn: number): Range | undefined {
    return this.#ranges.find(({ first, states }) => gfn >= first && gfn < first + states.length);
  }

  #stateOf(gfn: number): number | undefined {
    const range = this.#rangeOf(gfn);
    return range?.states[gfn - range.first];
  }

  /** The number of a frame's own page. */
  #numberOf(gfn: number): number {
    let base = 0;
    for (const { first, states } of this.#ranges) {
      if (gfn >= first && gfn < first + states.length) return base + gfn - first;
      base += states.length;
    }
    assert(false, "a frame without a page of its own");
    return 0;
  }

  /** The frame whose own page has a number. */
  #frameOf(page: number): number | undefined {
    let base = 0;
    for (const { first, states } of this.#ranges) {
      if (page >= base && page < base + states.length) return first + page - base;
      base += states.length;
    }
    return undefined;
  }

  #setFree(range: Range, gfn: number): void {
    range.states[gfn - range.first] = State.FREE;
    this.#free.add(gfn);
  }

  #setState(gfn: number, state: number): void {
    const range = this.#rangeOf(gfn);
    if (range !== undefined) range.states[gfn - range.first] = state;
  }
}

const ownPage = (range: Range, gfn: number): Hva =>
  hva(range.hva + (gfn - range.first) * PAGE_SIZE);

const regionOf = (gfn: number, pages: number, at: Hva): MemoryRegion => ({
  gpa: gpa(gfn * PAGE_SIZE),
  size: pages * PAGE_SIZE,
  hva: at,
});

/** Adds the stretches of a range whose own pages are in sight, and the gaps that may be closed. */
function collectParts(
  range: Range,
  covered: readonly number[],
  parts: MemoryRegion[],
  gaps: Gap[],
): void {
  const { first, states } = range;
  const cuts = covered.map((gfn) => gfn - first).filter((at) => at >= 0 && at < states.length);
  let nextCut = 0;
  let previousEnd = 0;
  for (let at = states.indexOf(State.OWN); at >= 0; at = states.indexOf(State.OWN, at)) {
    while ((cuts[nextCut] ?? states.length) < at) nextCut += 1;
    if (cuts[nextCut] === at) {
      at += 1;
      continue;
    }
    const end = endOfRun(states, at, cuts[nextCut] ?? states.length);
    const cutBefore = nextCut > 0 && (cuts[nextCut - 1] as number) >= previousEnd;
    if (previousEnd > 0 && !cutBefore && isFree(states, previousEnd, at)) {
      gaps.push({ index: parts.length, pages: at - previousEnd });
    }
    parts.push(regionOf(first + at, end - at, ownPage(range, first + at)));
    previousEnd = end;
    at = end;
  }
}

function endOfRun(states: Uint8Array, start: number, limit: number): number {
  let end = start;
  while (end < limit && states[end] === State.OWN) end += 1;
  return end;
}

function isFree(states: Uint8Array, start: number, end: number): boolean {
  return states.subarray(start, end).every((state) => state === State.FREE);
}

/** Indices of the `count` smallest gaps. */
function smallest(gaps: readonly Gap[], count: number): ReadonlySet<number> {
  const sorted = [...gaps].sort((a, b) => a.pages - b.pages);
  return new Set(sorted.slice(0, count).map((gap) => gap.index));
}

/** Joins each part whose index is in `gaps` with the part before it. */
function close(parts: readonly MemoryRegion[], gaps: ReadonlySet<number>): MemoryRegion[] {
  const joined: MemoryRegion[] = [];
  parts.forEach((part, index) => {
    const last = joined.at(-1);
    if (!gaps.has(index) || last === undefined) joined.push(part);
    else joined[joined.length - 1] = { ...last, size: part.gpa + part.size - last.gpa };
  });
  return joined;
}
