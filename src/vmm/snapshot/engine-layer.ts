/** What an exact snapshot has of KVM and its engine beside what KVM's GET calls say: the section `engine`. */
import {
  type ExceptionKept,
  VCPU_FLAGS,
  type VCPU_NUMBERS,
  type VmKept,
} from "../../kvm/api/index.js";
import {
  bool,
  bytes,
  type Codec,
  finite,
  integer,
  list,
  oneOf,
  optional,
  record,
  struct,
  u8,
  u32,
  u64,
} from "./codec.js";
import { segment } from "./kvm-layer.js";

/** @limit file | vCPUs in an exact snapshot | vCPUs | SNAPSHOT_DAMAGED */
const MAX_VCPUS = 64;
/** @limit file | accesses of an instruction in flight in an exact snapshot | accesses | SNAPSHOT_DAMAGED */
const MAX_REPLAY = 64;
const SEGMENTS = 8;
const PINS = 24;
/** Work of a slice (SLICE in kvm/run/scheduler.ts), of which some may have been done in advance. */
const SLICE = 200_000;
/** Work before a slice. @nolimit a number that stays exact */
const MAX_WORK = 2 ** 40;

const natural = integer(0, Number.MAX_SAFE_INTEGER);
const vcpu = integer(0, MAX_VCPUS - 1);
const vcpus = list(vcpu, MAX_VCPUS);

const exception: Codec<ExceptionKept> = struct({
  ...{ pending: bool, injected: bool, vector: u8, hasErrorCode: bool, errorCode: u32 },
  ...{ hasPayload: bool, payload: u64 },
});

/** A vector, or -1 for none. */
const vector = integer(-1, 255);
const numbers = struct({
  ...{ mpState: integer(0, 10), nmiPending: integer(0, 2), sipiVector: u8, lastCr8: u8 },
  ...{ userInterrupt: vector, queuedInterrupt: vector, lastInterrupt: vector, ioapicEoi: vector },
  ...{ tscGeneration: natural, fpuMarked: integer(0, 3), nmiStep: integer(-1, 0x10100) },
} satisfies Record<(typeof VCPU_NUMBERS)[number], Codec<number>>);

const area = optional(struct({ gpa: u64, isFresh: bool }));

const xenVcpu = struct({
  ...{ vcpuInfo: area, timeInfo: area, runstate1: area, runstate2: area },
  runstate: struct({
    ...{ current: integer(0, 3), entryTime: u64, times: list(u64, 4, 4), lastSteal: u64 },
  }),
  ...{ xenId: u32, upcallVector: u8, shadowLow: u32, shadowHigh: u32 },
  ...{ timerPort: u32, timerExpires: u64, timerPending: bool, timer: optional(natural) },
  poll: optional(
    struct({
      ...{ port: optional(integer(-1, 0xffffffff)), deadlineNs: optional(finite) },
      timer: natural,
    }),
  ),
  tscLeavesSet: bool,
});

const lapic = struct({
  registers: bytes(1024),
  irrPending: bool,
  lastServed: vector,
  arbitration: natural,
  timer: struct({
    ...{ mode: oneOf("one-shot", "periodic", "tsc-deadline", "reserved") },
    ...{ divider: integer(1, 128), initialCount: u32, targetNs: finite, tscDeadline: u64 },
    armed: optional(natural),
  }),
});

const engine = struct({
  ...{ instructions: u64, random: u64, pauses: u32, traps: u32, injection: u32 },
  ...{ injectionError: u32, shadow: integer(0, 2) },
  ...{ replay: list(u64, MAX_REPLAY), replayCode: bytes(16), pdptes: list(u64, 4, 4) },
  fpuSelectors: list(u32, 2, 2),
});

const vcpuLayer = struct({
  ...{ isRunning: bool, answer: optional(u64), exitRip: u64, iretRip: u64, numbers },
  flags: record(VCPU_FLAGS, bool),
  exception,
  ...{ waitingSinceNs: optional(finite), waitedNs: finite, eventRequested: bool, tscOffset: u64 },
  ...{ engine, segments: list(segment, SEGMENTS, SEGMENTS), lapic },
});

/** The values of {@link VmKept}. */
export const vmKeptLayer: Codec<VmKept> = struct({
  nowNs: natural,
  scheduler: struct({
    current: optional(vcpu),
    left: integer(-MAX_WORK, SLICE),
    sinceYield: integer(0, MAX_WORK),
    away: vcpus,
  }),
  masterclock: bool,
  tsc: struct({
    ...{ lastNs: u64, lastWrite: u64, lastOffset: optional(u64), currentOffset: optional(u64) },
    ...{ userSet: bool, matched: bool, generation: natural },
  }),
  isUnmapped: bool,
  known: vcpus,
  ioapic: struct({
    lines: list(u8, PINS, PINS),
    ...{ irr: u32, delivered: u32, redirtbl: list(u64, PINS, PINS) },
  }),
  pic: struct({ lines: list(u8, 16, 16), output: bool }),
  xen: struct({
    ...{ longMode: bool, upcallVector: u8, runstateUpdateFlag: bool },
    vcpus: list(xenVcpu, MAX_VCPUS, 1),
  }),
  vcpus: list(vcpuLayer, MAX_VCPUS, 1),
});
