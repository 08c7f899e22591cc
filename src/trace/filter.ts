import { HostError } from "../base/index.js";
import { type TraceEvent, TraceKind, type TraceKindName } from "./event.js";
import { hypercallName, hypercallNames, subOpName } from "./names.js";

/** Whether an event is shown. */
export type EventFilter = (event: TraceEvent) => boolean;

const kindNames = Object.keys(TraceKind) as TraceKindName[];

/** Kinds that nobody asks for as a rule: there are more of them than of all others. */
const SELDOM: readonly TraceKindName[] = ["exit", "wake"];

/** Without a filter: all but exits and wake-ups. */
export const usualEvents: EventFilter = ({ kind }) => !SELDOM.includes(kind);

/**
 * What a filter says: words with commas between, of which an event has to fit one; all others when it begins with
 * `!`. A word is a kind of event, the name of a hypercall (`sched_op`, or `sched_op.poll` for one sub-operation; `*` for any
 * letters), `port=N` or `vcpu=N`. Words of different sorts narrow each other: `send,deliver,port=5` is what happens to
 * port 5.
 * @throws HostError TRACE_FILTER for a word that can fit nothing.
 */
export function parseEventFilter(text: string): EventFilter {
  const isNegative = text.startsWith("!");
  const words = (isNegative ? text.slice(1) : text).split(",").map((word) => word.trim());
  const numbers = words.filter((word) => word.includes("="));
  const names = words.filter((word) => !word.includes("="));
  const tests = [
    anyOf(names.map(nameFilter)),
    anyOf(numbers.filter((word) => word.startsWith("port=")).map((word) => portFilter(word))),
    anyOf(numbers.filter((word) => !word.startsWith("port=")).map((word) => vcpuFilter(word))),
  ];
  const fits: EventFilter = (event) => tests.every((test) => test?.(event) ?? true);
  if (isNegative) return (event) => !fits(event);
  return names.length > 0 ? fits : (event) => usualEvents(event) && fits(event);
}

const anyOf = (filters: readonly EventFilter[]): EventFilter | undefined =>
  filters.length === 0 ? undefined : (event) => filters.some((filter) => filter(event));

function nameFilter(word: string): EventFilter {
  if (word === "*") return () => true;
  const kind = kindNames.find((name) => name === word);
  if (kind !== undefined) return (event) => event.kind === kind;
  const [name = "", op = "*"] = word.split(".");
  const namePattern = pattern(name);
  const opPattern = pattern(op);
  if (!hypercallNames.some((known) => namePattern.test(known))) {
    const message = `'${word}' is neither a kind of event (${kindNames.join(", ")}) nor a hypercall`;
    throw new HostError("TRACE_FILTER", message);
  }
  return (event) =>
    event.kind === "hypercall" &&
    namePattern.test(hypercallName(event.nr)) &&
    opPattern.test(subOpName(event) ?? "");
}

const pattern = (text: string): RegExp =>
  new RegExp(`^${text.replaceAll(/[^\w*]/g, "\\$&").replaceAll("*", ".*")}$`);

function portFilter(word: string): EventFilter {
  const port = numberIn(word, "port=");
  return (event) =>
    ("port" in event && event.port === port) || (event.kind === "send" && event.toPort === port);
}

function vcpuFilter(word: string): EventFilter {
  const vcpu = numberIn(word, "vcpu=");
  return (event) => event.vcpu === vcpu;
}

function numberIn(word: string, name: string): number {
  const digits = word.slice(name.length);
  if (!word.startsWith(name) || !/^\d{1,6}$/.test(digits)) {
    throw new HostError("TRACE_FILTER", `'${word}': give port=N or vcpu=N`);
  }
  return Number(digits);
}
