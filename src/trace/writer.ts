import { type EventFilter, usualEvents } from "./filter.js";
import { PerfettoRows } from "./perfetto.js";
import { eventsOf, TraceReader } from "./reader.js";
import type { TraceRing } from "./ring.js";
import { TraceSummary } from "./summary.js";
import { asJson, asText } from "./text.js";

/** How events are written. */
export type TraceFormat = "text" | "json" | "perfetto";

/** What is written, and how. */
export interface WriterOptions {
  /** Undefined: no events, only the summary. */
  readonly format?: TraceFormat | undefined;
  readonly filter?: EventFilter | undefined;
  /** Count events for {@link TraceWriter.end}. */
  readonly summary?: boolean | undefined;
}

/** Writes what a ring gets, all of it: it reads whenever the ring is half full, and when it is told to. */
export class TraceWriter {
  readonly #ring: TraceRing;
  readonly #reader: TraceReader;
  readonly #write: (text: string) => void;
  readonly #format: TraceFormat | undefined;
  readonly #filter: EventFilter;
  readonly #summary: TraceSummary | undefined;
  readonly #rows = new PerfettoRows();
  #isFirst = true;

  /** `write` takes whole lines. */
  constructor(ring: TraceRing, write: (text: string) => void, options: WriterOptions) {
    this.#ring = ring;
    this.#reader = new TraceReader(ring);
    this.#write = write;
    this.#format = options.format;
    this.#filter = options.filter ?? usualEvents;
    this.#summary = options.summary === true ? new TraceSummary() : undefined;
    ring.onHalfFull(() => this.flush());
  }

  /** Writes what has come. */
  flush(): void {
    this.#take(false);
  }

  /** Writes the rest. @returns the summary, when one was asked for, and how many events were lost, if any were. */
  end(): { readonly summary: string | undefined; readonly dropped: number } {
    this.#ring.onHalfFull(undefined);
    this.#take(true);
    if (this.#format === "perfetto") {
      const rest = this.#rows.end().map((row) => this.#row(row));
      this.#write(`${rest.join("")}${this.#isFirst ? "[" : ""}\n]\n`);
    }
    return { summary: this.#summary?.toString(), dropped: this.#reader.dropped };
  }

  #take(isLast: boolean): void {
    const events = eventsOf(this.#reader.take(isLast)).filter(this.#filter);
    if (events.length === 0) return;
    if (this.#summary !== undefined) for (const event of events) this.#summary.add(event);
    switch (this.#format) {
      case undefined:
        return;
      case "text":
        this.#write(events.map((event) => `${asText(event)}\n`).join(""));
        return;
      case "json":
        this.#write(events.map((event) => `${asJson(event)}\n`).join(""));
        return;
      case "perfetto":
        this.#write(
          events
            .flatMap((event) => this.#rows.rows(event))
            .map((row) => this.#row(row))
            .join(""),
        );
    }
  }

  /** Commas between rows; the array's last bracket comes with {@link end}, and readers do without it. */
  #row(row: string): string {
    const text = `${this.#isFirst ? "[\n" : ",\n"}${row}`;
    this.#isFirst = false;
    return text;
  }
}
