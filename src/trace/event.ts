import { TraceBy } from "../ports/index.js";

/** Kinds of events, by their numbers in the ring. */
export const TraceKind = {
  hypercall: 1,
  send: 2,
  deliver: 3,
  unmask: 4,
  upcall: 5,
  runstate: 6,
  arm: 7,
  fire: 8,
  stop: 9,
  exit: 10,
  wake: 11,
} as const;
/** Name of a kind. */
export type TraceKindName = keyof typeof TraceKind;

/** Who did something, in words. */
export type Actor = "kvm" | "monitor";

/** What all events have. */
interface Common {
  /** Number of the event: of those that a ring has taken, from 0. */
  readonly seq: number;
  /** Nanoseconds of the machine's monotonic clock. */
  readonly time: number;
  /** Number of the VM, from 0: there may be several under `exec`. */
  readonly vm: number;
  /** KVM's vcpu_id. */
  readonly vcpu: number;
}

/** A hypercall. Without `by` it has no answer yet, or got none. */
export interface HypercallEvent extends Common {
  readonly kind: "hypercall";
  readonly nr: number;
  readonly longMode: boolean;
  readonly cpl: number;
  /** Six; zero-extended when the caller is not in 64-bit mode. */
  readonly args: readonly bigint[];
  readonly rip: bigint;
  readonly by: Actor | undefined;
  /** RAX as a signed number. */
  readonly result: bigint | undefined;
  /** Nanoseconds until the answer. */
  readonly duration: number | undefined;
}

/** An event as it is shown. */
export type TraceEvent =
  | HypercallEvent
  | (Common & {
      readonly kind: "send";
      readonly by: Actor | undefined;
      readonly port: number;
      readonly to: "port" | "eventfd" | "backend" | "nowhere";
      /** Where KVM delivers it, if `to` is "port" and KVM did it. */
      readonly toPort: number;
      readonly toVcpu: number;
    })
  | (Common & { readonly kind: "deliver"; readonly port: number; readonly result: number })
  | (Common & { readonly kind: "unmask"; readonly port: number })
  | (Common & { readonly kind: "upcall"; readonly vector: number })
  | (Common & { readonly kind: "runstate"; readonly from: number; readonly to: number })
  | (Common & {
      readonly kind: "arm";
      readonly by: Actor | undefined;
      readonly port: number;
      /** kvmclock, ns. */
      readonly expires: bigint;
    })
  | (Common & {
      readonly kind: "fire";
      readonly by: Actor | undefined;
      readonly port: number;
      readonly result: number;
    })
  | (Common & { readonly kind: "stop"; readonly by: Actor | undefined; readonly port: number })
  | (Common & {
      readonly kind: "exit";
      readonly code: number;
      readonly address: number;
      readonly rip: bigint;
    })
  | (Common & { readonly kind: "wake" });

/** Words of 32 bits that an event has in the ring. */
export const WORDS = 24;
/** Times that an event has in the ring: its own, and that of its answer. */
export const TIMES = 2;

/** Where the parts of an event are, in words. */
export const Word = {
  /** Kind, who << 8, VM << 16. */
  HEAD: 0,
  VCPU: 1,
  /** Hypercall: its number. Others: their first number. */
  FIRST: 2,
  SECOND: 3,
  THIRD: 4,
  FOURTH: 5,
  /** Hypercall: 1 for 64-bit mode, CPL << 1. */
  FLAGS: 3,
  /** Hypercall: six arguments in halves. */
  ARGS: 4,
  RESULT: 16,
  RIP: 18,
} as const;

const TARGETS = ["port", "eventfd", "backend", "nowhere"] as const;
const kinds = new Map<number, TraceKindName>(
  (Object.keys(TraceKind) as TraceKindName[]).map((name) => [TraceKind[name], name]),
);

/** Some events out of a ring, in order: what crosses to another thread or a page. */
export interface TraceChunk {
  /** Number of the first one. */
  readonly first: number;
  /** Events before it that nobody has read and that are gone. */
  readonly dropped: number;
  /** {@link WORDS} each. */
  readonly words: Uint32Array;
  /** {@link TIMES} each. */
  readonly times: Float64Array;
}

/** An event of a chunk; undefined where the numbers say nothing that is known. */
export function eventAt(chunk: TraceChunk, index: number): TraceEvent | undefined {
  const { words, times, first } = chunk;
  const at = index * WORDS;
  const word = (place: number): number => words[at + place] as number;
  const long = (place: number): bigint => (BigInt(word(place + 1)) << 32n) | BigInt(word(place));
  const head = word(Word.HEAD);
  const by = actorOf((head >>> 8) & 0xff);
  const common = {
    seq: first + index,
    time: times[index * TIMES] as number,
    vm: head >>> 16,
    vcpu: word(Word.VCPU),
  };
  const port = word(Word.FIRST);
  const result = word(Word.SECOND) | 0;
  const kind = kinds.get(head & 0xff);
  switch (kind) {
    case undefined:
      return undefined;
    case "hypercall":
      return {
        ...common,
        kind,
        nr: word(Word.FIRST),
        longMode: (word(Word.FLAGS) & 1) !== 0,
        cpl: word(Word.FLAGS) >>> 1,
        args: Array.from({ length: 6 }, (_, i) => long(Word.ARGS + 2 * i)),
        rip: long(Word.RIP),
        by,
        result: by === undefined ? undefined : BigInt.asIntN(64, long(Word.RESULT)),
        duration: by === undefined ? undefined : (times[index * TIMES + 1] as number) - common.time,
      };
    case "send": {
      const to = TARGETS[word(Word.SECOND)] ?? "nowhere";
      return {
        ...{ ...common, kind, by, port, to },
        toPort: word(Word.THIRD),
        toVcpu: word(Word.FOURTH),
      };
    }
    case "deliver":
      return { ...common, kind, port, result };
    case "unmask":
      return { ...common, kind, port };
    case "upcall":
      return { ...common, kind, vector: port };
    case "runstate":
      return { ...common, kind, from: port, to: result };
    case "arm":
      return { ...common, kind, by, port, expires: long(Word.ARGS) };
    case "fire":
      return { ...common, kind, by, port, result };
    case "stop":
      return { ...common, kind, by, port };
    case "exit":
      return {
        ...{ ...common, kind, code: port, rip: long(Word.RIP) },
        address: Number(long(Word.ARGS)),
      };
    case "wake":
      return { ...common, kind };
  }
}

function actorOf(by: number): Actor | undefined {
  if (by === TraceBy.KVM) return "kvm";
  return by === TraceBy.MONITOR ? "monitor" : undefined;
}
