import {
  eventAt,
  TIMES,
  type TraceChunk,
  type TraceEvent,
  TraceKind,
  WORDS,
  Word,
} from "./event.js";
import type { TraceRing } from "./ring.js";

/**
 * Reads a ring in order. A hypercall that has no answer yet is waited for until the next time, so that it is seen with
 * its answer as a rule.
 */
export class TraceReader {
  readonly #ring: TraceRing;
  #next: number;
  #waitedFor = -1;
  #dropped = 0;

  /** Begins with what comes next. */
  constructor(ring: TraceRing) {
    this.#ring = ring;
    this.#next = ring.written;
  }

  /** Events that came faster than they were read, and are gone. */
  get dropped(): number {
    return this.#dropped;
  }

  /** What has come since the last time; `isLast`: nothing is waited for. */
  take(isLast = false, most?: number): TraceChunk {
    const chunk = this.#ring.read(this.#next, most);
    this.#dropped += chunk.dropped;
    const count = chunk.times.length / TIMES;
    let ready = count;
    for (let i = 0; i < count && !isLast; i++) {
      const seq = chunk.first + i;
      if (seq <= this.#waitedFor || !isOpen(chunk, i)) continue;
      // What waits beside it is not waited for once more.
      this.#waitedFor = chunk.first + count - 1;
      ready = i;
      break;
    }
    this.#next = chunk.first + ready;
    if (ready === count) return chunk;
    return {
      ...chunk,
      words: chunk.words.subarray(0, ready * WORDS),
      times: chunk.times.subarray(0, ready * TIMES),
    };
  }
}

/** A hypercall without an answer: nobody stands in its head. */
function isOpen({ words }: TraceChunk, index: number): boolean {
  return ((words[index * WORDS + Word.HEAD] as number) & 0xffff) === TraceKind.hypercall;
}

/** The events of a chunk. */
export function eventsOf(chunk: TraceChunk): TraceEvent[] {
  const events: TraceEvent[] = [];
  for (let i = 0; i < chunk.times.length / TIMES; i++) {
    const event = eventAt(chunk, i);
    if (event !== undefined) events.push(event);
  }
  return events;
}
