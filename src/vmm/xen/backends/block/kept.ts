/** A connection to a block frontend in an exact snapshot: what is under way stays so. */
import { BLKIF_REQUEST_SIZE } from "../../../../abi/xen/blkif.js";
import { PAGE_SIZE } from "../../../../base/index.js";
import {
  bool,
  bytes,
  damaged,
  finite,
  integer,
  list,
  oneOf,
  optional,
  struct,
  text,
  u8,
  u32,
  u64,
  type ValueOf,
} from "../../../snapshot/codec.js";
import { grantLayer } from "../kept-grant.js";
import { ringSlots } from "../request-ring.js";
import { type AskedRequest, MAX_INDIRECT_SEGMENTS } from "./request.js";

/** @limit file | what a host said of an operation that failed, in an exact snapshot | characters | the rest is left out */
const MAX_MESSAGE = 1000;
/** @nolimit kinds of operations, and names of errors that a host has: more than there are */
const MAX_TOLD = 256;

const natural = integer(0, Number.MAX_SAFE_INTEGER);

const failure = struct({ code: text(MAX_MESSAGE), message: text(MAX_MESSAGE) });

const pendingLayer = struct({
  slot: bytes(1, BLKIF_REQUEST_SIZE[64]),
  id: u64,
  operation: u8,
  kind: oneOf("read", "write", "flush", "discard"),
  sector: u64,
  sectors: u64,
  segments: list(
    struct({ ref: u32, offset: integer(0, PAGE_SIZE - 1), length: integer(1, PAGE_SIZE) }),
    MAX_INDIRECT_SEGMENTS,
  ),
  grants: list(grantLayer, MAX_INDIRECT_SEGMENTS),
  /** What the disk is doing: of a request to flush and to write, first one and then the other. */
  what: oneOf("read", "write", "flush", "discard"),
  atNs: finite,
  order: natural,
  failure: optional(failure),
  /** What was read, or is still to be written. */
  buffer: optional(bytes(1, MAX_INDIRECT_SEGMENTS * PAGE_SIZE)),
});

/** A request that has no answer yet. */
export type KeptRequest = ValueOf<typeof pendingLayer>;

const connectionLayer = struct({
  width: integer(32, 64),
  ref: u32,
  port: u32,
  page: grantLayer,
  consumed: u32,
  produced: u32,
  requests: list(pendingLayer, ringSlots(BLKIF_REQUEST_SIZE[32])),
});

/** Values of a connection's layer. */
export type KeptConnection = ValueOf<typeof connectionLayer>;

/** What a block device keeps beside what xenbus does. */
export const blockLayer = struct({
  connection: optional(connectionLayer),
  broken: bool,
  told: list(text(MAX_MESSAGE), MAX_TOLD),
  freeNs: finite,
});

/** The part of a failure that is kept. */
export const shortFailure = (of: ValueOf<typeof failure>): ValueOf<typeof failure> => ({
  code: of.code.slice(0, MAX_MESSAGE),
  message: of.message.slice(0, MAX_MESSAGE),
});

/** A request as it was read; a file may say anything, so it is looked at as the slot of a ring is. @throws HostError */
export function requestOf(kept: KeptRequest, diskSectors: number): AskedRequest {
  const { id, operation, kind, sector, sectors, segments, grants, what, buffer } = kept;
  const end = sector + sectors;
  if (end > BigInt(diskSectors) && !(kind === "flush" && sectors === 0n))
    throw damaged("a request");
  const length = segments.reduce((sum, segment) => sum + segment.length, 0);
  const isRight =
    grants.length === segments.length &&
    segments.every((segment) => segment.offset + segment.length <= PAGE_SIZE) &&
    what === whatOf(kind, what, length);
  if (!isRight) throw damaged("a request");
  if (kind === "discard") {
    if (length > 0 || buffer !== undefined) throw damaged("a request");
    return { id, operation, kind, sector, sectors };
  }
  // Of a write, the bytes are on the disk.
  const expected = what === "write" ? 0 : length;
  const isWhole = BigInt(length) === sectors * 512n && (buffer?.length ?? 0) === expected;
  if (!isWhole || (length === 0 && kind !== "flush")) throw damaged("a request");
  return { id, operation, kind, sector, sectors: Number(sectors), segments } as AskedRequest;
}

function whatOf(
  kind: KeptRequest["kind"],
  what: KeptRequest["what"],
  length: number,
): KeptRequest["what"] {
  return kind === "flush" && what === "write" && length > 0 ? "write" : kind;
}
