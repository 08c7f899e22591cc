/** What happens at Xen's interface, as events: a bounded ring that a machine or a VM notes them in, and ways to read it. */
export {
  type Actor,
  eventAt,
  type HypercallEvent,
  TIMES,
  type TraceChunk,
  type TraceEvent,
  TraceKind,
  type TraceKindName,
  WORDS,
} from "./event.js";
export { type EventFilter, parseEventFilter, usualEvents } from "./filter.js";
export {
  argumentTexts,
  deliveryText,
  exitName,
  hypercallName,
  resultText,
  runstateName,
  subOpName,
} from "./names.js";
export { PerfettoRows } from "./perfetto.js";
export { eventsOf, TraceReader } from "./reader.js";
export { TraceRing, type TraceSource } from "./ring.js";
export { summaryName, TraceSummary } from "./summary.js";
export { asJson, asText, describe } from "./text.js";
export { type TraceFormat, TraceWriter, type WriterOptions } from "./writer.js";
