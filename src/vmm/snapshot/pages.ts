/**
 * A machine's RAM in a snapshot. Pages are numbered through all ranges of RAM, in the order in which the machine has
 * them; only those that are not zero are there.
 */
import { defaultEventLoop, hva, PAGE_SIZE } from "../../base/index.js";
import type { LinearMemory, MemoryRegion } from "../../memory/index.js";
import { damaged } from "./codec.js";
import { type Section, type SnapshotSink, type SnapshotSource, writeSection } from "./file.js";

/** Pages that follow each other, and a copy of their content. */
export interface PageRun {
  readonly first: number;
  readonly bytes: Uint8Array;
}

/** Bytes of a run at most: what is written or read at a time. */
const PIECE = 4 << 20;
/** Words that are looked at together. */
const STEP = 32;
const RUN_BYTES = 8;
/** Runs that are read side by side: each of them waits for the host. */
const READS_AT_ONCE = 32;

/** Pages that are looked at between two turns of the host's other work, in some hundredths of a second. */
const PAGES_AT_ONCE = (32 << 20) / PAGE_SIZE;

/** Copies all pages of some regions that are not zero, and that nobody writes meanwhile. */
export async function copyPages(
  linear: LinearMemory,
  regions: readonly MemoryRegion[],
): Promise<PageRun[]> {
  const { yieldNow } = defaultEventLoop();
  const runs: PageRun[] = [];
  let base = 0;
  for (const { hva: at, size } of regions) {
    const pages = size / PAGE_SIZE;
    const words = new Int32Array(linear.memory.buffer, at, size / 4);
    let lookedAt = 0;
    for (let page = 0; page < pages; ) {
      if (page - lookedAt >= PAGES_AT_ONCE) {
        await yieldNow();
        lookedAt = page;
      }
      const end = Math.min(pages, page + PAGES_AT_ONCE);
      const from = nextUsed(words, page, end);
      if (from === end) {
        page = end;
        continue;
      }
      let to = from + 1;
      while (to < pages && to - from < PIECE / PAGE_SIZE && isUsed(words, to)) to++;
      const bytes = linear.u8.slice(at + from * PAGE_SIZE, at + to * PAGE_SIZE);
      runs.push({ first: base + from, bytes });
      page = to;
    }
    base += pages;
  }
  return runs;
}

const WORDS = PAGE_SIZE / 4;

/** The first page from `page` on that is not zero. */
function nextUsed(words: Int32Array, page: number, end: number): number {
  for (let at = page; at < end; at++) if (isUsed(words, at)) return at;
  return end;
}

function isUsed(words: Int32Array, page: number): boolean {
  const from = page * WORDS;
  for (let i = from; i < from + WORDS; i += STEP) {
    let bits = 0;
    for (let k = i; k < i + STEP; k++) bits |= words[k] as number;
    if (bits !== 0) return true;
  }
  return false;
}

/** Writes runs, several to a section. */
export async function writePages(sink: SnapshotSink, runs: readonly PageRun[]): Promise<void> {
  for (let next = 0; next < runs.length; ) {
    const part: PageRun[] = [];
    for (let bytes = 0; next < runs.length; next++) {
      const run = runs[next] as PageRun;
      if (part.length > 0 && bytes + run.bytes.length > PIECE) break;
      part.push(run);
      bytes += run.bytes.length;
    }
    const index = new Uint8Array(4 + part.length * RUN_BYTES);
    const view = new DataView(index.buffer);
    view.setUint32(0, part.length, true);
    part.forEach(({ first, bytes }, i) => {
      view.setUint32(4 + i * RUN_BYTES, first, true);
      view.setUint32(8 + i * RUN_BYTES, bytes.length / PAGE_SIZE, true);
    });
    await writeSection(sink, "pages", [index, ...part.map(({ bytes }) => bytes)]);
  }
}

/**
 * Reads a section of runs into memory that is all zero.
 * @throws HostError SNAPSHOT_DAMAGED: the memory is to be given up.
 */
export async function readPages(
  source: SnapshotSource,
  section: Section,
  linear: LinearMemory,
  regions: readonly MemoryRegion[],
): Promise<void> {
  const end = section.at + section.length;
  const read = (at: number, into: Uint8Array): Promise<void> => {
    if (at + into.length > end) throw damaged("pages");
    return source.read(at, into);
  };
  const count = new Uint8Array(4);
  await read(section.at, count);
  const runs = new DataView(count.buffer).getUint32(0, true);
  if (4 + runs * RUN_BYTES > section.length) throw damaged("pages");
  const index = new Uint8Array(runs * RUN_BYTES);
  await read(section.at + 4, index);
  let sum = source.crc32(index, source.crc32(count, 0));
  const view = new DataView(index.buffer);
  let at = section.at + 4 + index.length;
  for (let next = 0; next < runs; ) {
    const parts: { readonly at: number; readonly into: Uint8Array }[] = [];
    for (; next < runs && parts.length < READS_AT_ONCE; next++) {
      const first = view.getUint32(next * RUN_BYTES, true);
      const pages = view.getUint32(next * RUN_BYTES + 4, true);
      const place = placeOf(regions, first, pages);
      const bytes = pages * PAGE_SIZE;
      if (at + bytes > end) throw damaged("pages");
      parts.push({ at, into: linear.u8.subarray(place, place + bytes) });
      linear.noteWrite(hva(place), bytes);
      at += bytes;
    }
    // All have ended before anything is refused: the memory is another guest's then.
    const ends = await Promise.allSettled(parts.map((part) => read(part.at, part.into)));
    for (const one of ends) if (one.status === "rejected") throw one.reason;
    // Of what has arrived: runs over one another, which no snapshot has, make another sum.
    for (const { into } of parts) sum = source.crc32(into, sum);
  }
  if (at !== end || sum !== section.crc32) throw damaged("pages");
}

/** Where pages are; they have to lie in one region. */
function placeOf(regions: readonly MemoryRegion[], first: number, pages: number): number {
  let base = 0;
  for (const { hva: at, size } of regions) {
    const inside = first - base;
    if (inside >= 0 && pages > 0 && (inside + pages) * PAGE_SIZE <= size) {
      return at + inside * PAGE_SIZE;
    }
    base += size / PAGE_SIZE;
  }
  throw damaged("pages");
}
