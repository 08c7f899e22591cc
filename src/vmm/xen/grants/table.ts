/**
 * Grant table version 1: the guest's entries in pages that it shares with us, and what backends do
 * with them. The guest may change an entry at any time it runs: an entry is read once.
 */
import {
  GNTTAB_RESERVED_CONSOLE,
  GNTTAB_RESERVED_XENSTORE,
  Gntst,
  GRANT_ENTRIES_PER_FRAME_V1,
  Gtf,
  grant_entry_v1,
} from "../../../abi/xen/grant-table.js";
import { PAGE_SIZE } from "../../../base/index.js";
import type { SharedPage } from "../shared-page.js";
import type { GrantView } from "../view.js";

/**
 * Frames that a domain may have at most (Xen's default for guests).
 * @limit guest | frames of the grant table | frames | GNTST_general_error, as Xen
 */
export const MAX_GRANT_FRAMES = 64;

const ENTRY_SIZE = grant_entry_v1.size;
const FRAME = grant_entry_v1.offset("frame");

/** Where an entry is. */
interface EntryPlace {
  readonly page: SharedPage;
  readonly offset: number;
}

/** How often each entry of the table is in use; its flags only say "at least once". */
class UseCounts {
  readonly #readers: Uint32Array;
  readonly #writers: Uint32Array;
  /** Uses of all entries. */
  total = 0;

  constructor(entries: number) {
    this.#readers = new Uint32Array(entries);
    this.#writers = new Uint32Array(entries);
  }

  readers(ref: number): number {
    return this.#readers[ref] ?? 0;
  }

  writers(ref: number): number {
    return this.#writers[ref] ?? 0;
  }

  isUsed(ref: number): boolean {
    return this.readers(ref) + this.writers(ref) > 0;
  }

  /** Counts a use of an entry that exists, or with -1 one less. */
  add(ref: number, readonly: boolean, change: 1 | -1): void {
    const counts = readonly ? this.#readers : this.#writers;
    counts[ref] = (counts[ref] ?? 0) + change;
    this.total += change;
  }

  clear(): void {
    this.#readers.fill(0);
    this.#writers.fill(0);
    this.total = 0;
  }
}

/** A grant that a backend uses. */
export interface GrantUse {
  readonly ref: number;
  readonly readonly: boolean;
  /** The guest frame. */
  readonly gfn: number;
}

export class GrantTable {
  readonly #frames: readonly SharedPage[];
  readonly #uses: UseCounts;

  /** `frames`: the pages of the table, all of them zero. */
  constructor(frames: readonly SharedPage[]) {
    this.#frames = frames;
    this.#uses = new UseCounts(this.size);
  }

  /** References of the table; a reference is below this. */
  get size(): number {
    return this.#frames.length * GRANT_ENTRIES_PER_FRAME_V1;
  }

  /** Whether any grant is in use by a backend. */
  get inUse(): boolean {
    return this.#uses.total > 0;
  }

  /** Entries that are not empty, at most so many, for people who look. */
  list(most: number): GrantView[] {
    const found: GrantView[] = [];
    for (const [index, page] of this.#frames.entries()) {
      const bytes = page.read(0, PAGE_SIZE);
      for (let i = 0; i < GRANT_ENTRIES_PER_FRAME_V1 && found.length < most; i++) {
        const entry = grant_entry_v1.decode(bytes.subarray(i * ENTRY_SIZE));
        if (entry.flags === 0) continue;
        const ref = index * GRANT_ENTRIES_PER_FRAME_V1 + i;
        const counts = { readers: this.#uses.readers(ref), writers: this.#uses.writers(ref) };
        found.push({ ref, ...entry, ...counts });
      }
    }
    return found;
  }

  /** Empties the table and forgets all uses: what backends still have mapped stays with them. */
  reset(): void {
    this.#uses.clear();
    for (const page of this.#frames) page.write(0, new Uint8Array(PAGE_SIZE));
  }

  /** Fills the references that the toolstack makes: the two rings. */
  reserve(consoleGfn: number, xenstoreGfn: number): void {
    this.#writeEntry(GNTTAB_RESERVED_CONSOLE, consoleGfn);
    this.#writeEntry(GNTTAB_RESERVED_XENSTORE, xenstoreGfn);
  }

  /**
   * Begins the use of a grant by domain `domid`.
   * @returns the use, or a negative GNTST_* number.
   */
  begin(ref: number, domid: number, readonly: boolean): GrantUse | number {
    const place = this.#place(ref);
    if (place === undefined) return Gntst.bad_gntref;
    // By words, not by the layout: this is done for each page of a disk and a network.
    const head = place.page.readU32(place.offset);
    const flags = head & 0xffff;
    if ((flags & Gtf.type_mask) !== Gtf.permit_access) return Gntst.general_error;
    if (head >>> 16 !== domid) return Gntst.general_error;
    if (!readonly && (flags & Gtf.readonly) !== 0) return Gntst.general_error;
    const gfn = place.page.readU32(place.offset + FRAME);
    this.#uses.add(ref, readonly, 1);
    this.#setFlags(place, ref);
    return { ref, readonly, gfn };
  }

  /** Counts a use that began in another table with the same content. @returns false when there is no such entry. */
  beginAgain({ ref, readonly }: GrantUse): boolean {
    if (this.#place(ref) === undefined) return false;
    this.#uses.add(ref, readonly, 1);
    return true;
  }

  /** Ends a use: nothing, if the table has been {@link reset} since it began. */
  end({ ref, readonly }: GrantUse): void {
    const place = this.#place(ref);
    const count = readonly ? this.#uses.readers(ref) : this.#uses.writers(ref);
    if (place === undefined || count === 0) return;
    this.#uses.add(ref, readonly, -1);
    this.#setFlags(place, ref);
  }

  /** Exchanges two entries that nobody uses. @returns a GNTST_* number. */
  swap(a: number, b: number): number {
    const [one, other] = [this.#place(a), this.#place(b)];
    if (one === undefined || other === undefined) return Gntst.bad_gntref;
    if (a === b) return Gntst.okay;
    if (this.#uses.isUsed(a) || this.#uses.isUsed(b)) return Gntst.eagain;
    const kept = one.page.read(one.offset, ENTRY_SIZE);
    one.page.write(one.offset, other.page.read(other.offset, ENTRY_SIZE));
    other.page.write(other.offset, kept);
    return Gntst.okay;
  }

  #place(ref: number): EntryPlace | undefined {
    const page = this.#frames[Math.floor(ref / GRANT_ENTRIES_PER_FRAME_V1)];
    const offset = (ref % GRANT_ENTRIES_PER_FRAME_V1) * ENTRY_SIZE;
    return page === undefined || ref < 0 ? undefined : { page, offset };
  }

  /** The guest waits for these two bits to go before it takes a grant back. */
  #setFlags({ page, offset }: EntryPlace, ref: number): void {
    // The domain is in the same word, and as it was: the guest does not run meanwhile.
    let head = page.readU32(offset) & ~(Gtf.reading | Gtf.writing);
    if (this.#uses.isUsed(ref)) head |= Gtf.reading;
    if (this.#uses.writers(ref) > 0) head |= Gtf.writing;
    page.writeU32(offset, head >>> 0);
  }

  #writeEntry(ref: number, gfn: number): void {
    const place = this.#place(ref);
    const entry = { flags: Gtf.permit_access, domid: 0, frame: gfn };
    place?.page.write(place.offset, grant_entry_v1.encode(entry));
  }
}
