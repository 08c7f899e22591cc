/** A connection to a block frontend: one ring, one event channel, and the requests that are under way. */

import type { Width } from "../../../../abi/layout.js";
import { BLKIF_REQUEST_SIZE, BlkifRsp, SECTOR_SIZE } from "../../../../abi/xen/blkif.js";
import {
  assert,
  type EvtchnPort,
  evtchnPort,
  type GrantRef,
  grantRef,
} from "../../../../base/index.js";
import type {
  Disk,
  DiskDone,
  DiskFailure,
  KeptDisk,
  KeptOperation,
} from "../../../../ports/index.js";
import { damaged } from "../../../snapshot/codec.js";
import type { BackendChannel, BackendHost, GrantMapping } from "../../interfaces.js";
import { fieldsOf, isU32, type SavedValue } from "../backend.js";
import { keptGrant } from "../kept-grant.js";
import { RequestRing, type RingPosition } from "../request-ring.js";
import { Buffers } from "./buffers.js";
import { type KeptConnection, type KeptRequest, requestOf, shortFailure } from "./kept.js";
import {
  type AskedRequest,
  type RequestHead,
  readRequest,
  type Segment,
  writeResponse,
} from "./request.js";

/** Where a frontend's ring is. */
export interface RingPlace {
  readonly width: Width;
  readonly ref: GrantRef;
  readonly port: EvtchnPort;
}

/** The disk as a connection sees it. */
export interface ServedDisk {
  readonly disk: Disk;
  /** All that is asked of it fails: see {@link BlockBackend}. */
  readonly isBroken: boolean;
  /** An operation failed on the host. */
  noteFailure(what: "read" | "write" | "flush" | "discard", failure: DiskFailure): void;
  /** The frontend broke the rules, and is to be let go of. */
  onBroken(reason: string): void;
}

/**
 * Bytes that are read and written for one disk at a time: as much as lies in buffers. One request more may begin
 * below this.
 * @limit guest | bytes under way to or from a disk | bytes | further requests wait in the ring
 */
const MAX_BYTES_UNDER_WAY = 4 << 20;
/** Work of a request, and of each of its pages, in the units of kvm/run/scheduler.ts. */
const WORK = 100;

type DiskOperation = KeptRequest["what"];

/** A request without an answer. */
interface Pending {
  /** As it was in its slot. */
  readonly slot: Uint8Array;
  readonly request: AskedRequest;
  readonly grants: readonly GrantMapping[];
  readonly buffer: Uint8Array | undefined;
  readonly bytes: number;
  /** What the disk does, and what it calls then. */
  what: DiskOperation;
  done: DiskDone;
}

export class BlockConnection {
  readonly #host: BackendHost;
  readonly #served: ServedDisk;
  readonly #place: RingPlace;
  readonly #page: GrantMapping;
  readonly #channel: BackendChannel;
  readonly #ring: RequestRing;
  readonly #pending = new Set<Pending>();
  readonly #buffers = new Buffers(MAX_BYTES_UNDER_WAY);
  /** What ended while it was suspended. */
  readonly #held: (() => void)[] = [];
  #bytes = 0;
  #suspended = false;
  #closed = false;
  /** Operations of the host that have not ended. */
  #underWay = 0;
  #onDrained: () => void = () => undefined;

  private constructor(
    host: BackendHost,
    served: ServedDisk,
    place: RingPlace,
    parts: { page: GrantMapping; ring: RequestRing; channel: BackendChannel },
  ) {
    this.#host = host;
    this.#served = served;
    this.#place = place;
    this.#page = parts.page;
    this.#ring = parts.ring;
    this.#channel = parts.channel;
  }

  /** Connects. @returns why not, if so. */
  static open(
    host: BackendHost,
    served: ServedDisk,
    place: RingPlace,
    position?: RingPosition,
  ): BlockConnection | string {
    const page = host.grants.map(place.ref, false);
    if (typeof page === "number") return `ring-ref ${place.ref} cannot be used (${page})`;
    const size = BLKIF_REQUEST_SIZE[place.width];
    const ring = position
      ? RequestRing.resume(page, size, position)
      : RequestRing.attach(page, size);
    if (ring === undefined) {
      page.unmap();
      return "the indices of the ring make no sense";
    }
    let connection: BlockConnection | undefined;
    const channel = host.events.connect(place.port, () => connection?.process());
    if (channel === undefined) {
      page.unmap();
      return `event-channel ${place.port} is not for this domain`;
    }
    connection = new BlockConnection(host, served, place, { page, ring, channel });
    return connection;
  }

  /** Takes what the guest asks for; to be called when it raised the event channel. */
  process(): void {
    if (this.#closed || this.#suspended) return;
    for (;;) {
      while (this.#bytes < MAX_BYTES_UNDER_WAY) {
        const slot = this.#ring.take();
        if (slot === undefined) break;
        this.#begin(slot);
      }
      const { waiting } = this.#ring;
      if (waiting === undefined) {
        this.#served.onBroken("the ring cannot be used any more");
        return;
      }
      // A full house goes on when something ends; an empty ring, when the guest tells.
      if (waiting > 0) break;
      this.#ring.askForEvent();
      if (this.#ring.waiting === 0) break;
    }
    this.#publish();
  }

  /** Takes nothing and answers nothing from now on. */
  suspend(): void {
    this.#suspended = true;
  }

  /** Goes on. */
  resume(): void {
    this.#suspended = false;
    for (const finish of this.#held.splice(0)) finish();
    this.process();
  }

  /** Ends all; tells when the host has nothing of it under way, at once or later. */
  close(onDrained: () => void): void {
    this.#closed = true;
    this.#channel.close();
    for (const { grants } of this.#pending) release(grants);
    this.#page.unmap();
    this.#onDrained = onDrained;
    if (this.#underWay === 0) onDrained();
  }

  save(): SavedValue {
    const { width, ref, port } = this.#place;
    const requests = [...this.#pending].map(({ slot }) => [...slot]);
    return { width, ref, port, ...this.#ring.position, requests };
  }

  /** Opens the connection that was saved; {@link process} is next. @returns undefined when the data is damaged. */
  static restore(
    host: BackendHost,
    served: ServedDisk,
    saved: SavedValue,
  ): BlockConnection | undefined {
    const data = readSaved(saved);
    if (data === undefined) return undefined;
    const connection = BlockConnection.open(host, served, data.place, data.position);
    if (typeof connection === "string") return undefined;
    for (const slot of data.requests) connection.#begin(slot, false);
    return connection;
  }

  /** All of it between two turns of the guest, with what its disk says that it is in the middle of. */
  kept(operations: KeptDisk["operations"]): KeptConnection {
    const { width, ref, port } = this.#place;
    return {
      ...{ width, ref, port, ...this.#ring.position },
      page: keptGrant(this.#page.kept),
      requests: [...this.#pending].map((pending) => {
        const operation = operations.get(pending.done);
        if (operation === undefined) throw new TypeError("a request that is not under way");
        const { slot, request, grants, what, buffer } = pending;
        const { id, kind, sector, sectors } = pending.request;
        const { atNs, order, failure } = operation;
        return {
          ...{ slot, id, kind, sector, what, atNs, order },
          operation: request.operation,
          sectors: BigInt(sectors),
          segments: "segments" in request ? request.segments : [],
          grants: grants.map((grant) => keptGrant(grant.kept)),
          failure: failure && shortFailure(failure),
          buffer: what === "write" ? undefined : buffer,
        };
      }),
    };
  }

  /**
   * Goes on as another, and tells nobody. `operations` gets what its disk is in the middle of.
   * @throws HostError SNAPSHOT_DAMAGED
   */
  static keep(
    host: BackendHost,
    served: ServedDisk,
    kept: KeptConnection,
    operations: Map<DiskDone, KeptOperation>,
  ): BlockConnection {
    const { width, ref, port, consumed, produced, requests } = kept;
    if (width !== 32 && width !== 64) throw damaged("a ring");
    if (((consumed - produced) | 0) !== requests.length) throw damaged("a ring");
    const page = host.grants.mapAgain(kept.page);
    if (page === undefined) throw damaged("a ring");
    const ring = RequestRing.resume(page, BLKIF_REQUEST_SIZE[width], { consumed, produced });
    let connection: BlockConnection | undefined;
    const channel = host.events.connect(evtchnPort(port), () => connection?.process());
    if (channel === undefined) throw damaged("an event channel");
    const place = { width, ref: grantRef(ref), port: evtchnPort(port) } as const;
    connection = new BlockConnection(host, served, place, { page, ring, channel });
    for (const one of requests) operations.set(...connection.#goOn(one));
    return connection;
  }

  /** A request that is under way. */
  #goOn(kept: KeptRequest): [DiskDone, KeptOperation] {
    const { slot, what, buffer, atNs, order, failure } = kept;
    const { size, readonly } = this.#served.disk;
    const request = requestOf(kept, Math.floor(size / SECTOR_SIZE));
    const grants = kept.grants.map((one) => this.#host.grants.mapAgain(one));
    if (grants.includes(undefined) || (isChange(request) && readonly)) throw damaged("a request");
    const bytes = bytesOf(kept.segments);
    const mapped = grants as GrantMapping[];
    const pending = pendingOf({ slot, request, grants: mapped, buffer, bytes });
    this.#pending.add(pending);
    this.#bytes += bytes;
    this.#underWay += 1;
    this.#expect(pending, what);
    return [pending.done, { atNs, order, failure }];
  }

  /** Carries a request out, or answers it: not at once, though it may be carried out, where nobody publishes that. */
  #begin(slot: Uint8Array, isPublished = true): void {
    const request = readRequest(slot, this.#place.width, this.#host.grants);
    const segments = "segments" in request ? request.segments : [];
    this.#host.charge(WORK * (1 + segments.length));
    if (request.kind === "refused") {
      this.#respond(request, request.status);
      return;
    }
    const status = this.#statusOf(request);
    const grants = status === undefined ? this.#map(segments, request.kind === "read") : undefined;
    if (grants === undefined) {
      this.#respond(request, status ?? BlkifRsp.ERROR);
      return;
    }
    if (isPublished && this.#isDoneNow(request, grants)) {
      if (request.kind === "read") this.#host.charge(WORK * grants.length);
      release(grants);
      this.#respond(request, BlkifRsp.OKAY);
      return;
    }
    const bytes = bytesOf(segments);
    const buffer = bytes === 0 ? undefined : this.#buffers.take(bytes);
    const pending = pendingOf({ slot, request, grants, buffer, bytes });
    if (buffer !== undefined && request.kind !== "read") gather(segments, grants, buffer);
    this.#pending.add(pending);
    this.#bytes += bytes;
    this.#start(pending);
  }

  /** The status of a request that is not to be carried out. */
  #statusOf(request: AskedRequest): number | undefined {
    const { disk, isBroken } = this.#served;
    if (isBroken) return BlkifRsp.ERROR;
    if (request.kind === "discard" && !disk.canDiscard) return BlkifRsp.EOPNOTSUPP;
    if (isChange(request) && disk.readonly) return BlkifRsp.ERROR;
    // An empty flush has no place: its sector means nothing.
    if (isEmptyFlush(request)) return undefined;
    const end = request.sector + BigInt(request.sectors);
    if (end > BigInt(disk.size / SECTOR_SIZE)) return BlkifRsp.ERROR;
    return end === request.sector ? BlkifRsp.OKAY : undefined;
  }

  /** All or none. */
  #map(segments: readonly Segment[], writable: boolean): GrantMapping[] | undefined {
    const grants: GrantMapping[] = [];
    for (const { ref } of segments) {
      const grant = this.#host.grants.map(ref, !writable);
      if (typeof grant === "number") {
        release(grants);
        return undefined;
      }
      grants.push(grant);
    }
    return grants;
  }

  /** Whether the disk has what is to be read at hand and has given it, or has taken what is to be written. */
  #isDoneNow(request: AskedRequest, grants: readonly GrantMapping[]): boolean {
    const { kind } = request;
    if ((kind !== "read" && kind !== "write") || grants.length === 0) return false;
    const { disk } = this.#served;
    const offset = Number(request.sector) * SECTOR_SIZE;
    if (kind === "write") {
      return disk.writeNow?.(offset, borrow(request.segments, grants)) ?? false;
    }
    if (disk.readNow === undefined) return false;
    const isDone = disk.readNow(offset, borrow(request.segments, grants));
    // Of what is not at hand as a whole, a part may have come.
    for (const [i, segment] of request.segments.entries()) {
      grants[i]?.page?.noteWrite(segment.offset, segment.length);
    }
    return isDone;
  }

  #start(pending: Pending): void {
    this.#underWay += 1;
    this.#ask(pending, pending.request.kind);
  }

  /** Asks the disk for something. */
  #ask(pending: Pending, what: DiskOperation): void {
    const { request, buffer } = pending;
    const { disk } = this.#served;
    const offset = Number(request.sector) * SECTOR_SIZE;
    this.#expect(pending, what);
    const { done } = pending;
    if (what === "discard") disk.discard(offset, Number(request.sectors) * SECTOR_SIZE, done);
    else if (what === "read") disk.read(offset, buffer as Uint8Array, done);
    else if (what === "write") disk.write(offset, buffer as Uint8Array, done);
    else disk.flush(done);
  }

  /** Waits for the disk. */
  #expect(pending: Pending, what: DiskOperation): void {
    pending.what = what;
    pending.done = (failure) => {
      const isHalf = what === "flush" && pending.buffer !== undefined;
      if (isHalf && failure === undefined && !this.#closed) this.#ask(pending, "write");
      else this.#ended(pending, what, failure);
    };
  }

  #ended(pending: Pending, what: DiskOperation, failure: DiskFailure | undefined): void {
    this.#underWay -= 1;
    if (failure !== undefined) this.#served.noteFailure(what, failure);
    if (this.#closed) {
      if (this.#underWay === 0) this.#onDrained();
      return;
    }
    const finish = (): void => {
      if (!this.#closed) this.#finish(pending, failure);
    };
    if (this.#suspended) {
      this.#held.push(finish);
      return;
    }
    finish();
    // There may be room for more, which looks at the ring and publishes.
    this.process();
  }

  #finish(pending: Pending, failure: DiskFailure | undefined): void {
    const { request, grants, buffer, bytes } = pending;
    this.#pending.delete(pending);
    this.#bytes -= bytes;
    let isDone = failure === undefined && !this.#served.isBroken;
    if (isDone && request.kind === "read" && buffer !== undefined) {
      isDone = scatter(request.segments, grants, buffer);
      this.#host.charge(WORK * grants.length);
    }
    // Of a request that failed, nobody knows whether the host is done with the buffer.
    if (failure === undefined && buffer !== undefined) this.#buffers.give(buffer);
    // Before the guest sees the response: it takes a grant in use then for a broken backend.
    release(grants);
    this.#respond(request, isDone ? BlkifRsp.OKAY : BlkifRsp.ERROR);
  }

  #respond(request: RequestHead, status: number): void {
    this.#ring.respond(writeResponse(request, status, this.#place.width));
  }

  #publish(): void {
    if (!this.#closed && this.#ring.publish()) this.#channel.notify();
  }
}

/** One whose disk has not been asked. */
const pendingOf = (parts: Omit<Pending, "what" | "done">): Pending => ({
  ...parts,
  what: "read",
  done: () => undefined,
});

const isEmptyFlush = (request: AskedRequest): boolean =>
  request.kind === "flush" && request.sectors === 0;

/** Whether a request changes what is on the disk. */
const isChange = (request: AskedRequest): boolean =>
  request.kind !== "read" && !isEmptyFlush(request);

function release(grants: readonly GrantMapping[]): void {
  for (const grant of grants) grant.unmap();
}

const bytesOf = (segments: readonly { readonly length: number }[]): number =>
  segments.reduce((sum, { length }) => sum + length, 0);

/** The bytes of the segments where they are, in as few pieces as possible. All pages are there, as in {@link gather}. */
function borrow(segments: readonly Segment[], grants: readonly GrantMapping[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (const [i, { offset, length }] of segments.entries()) {
    const bytes = grants[i]?.page?.borrow(offset, length);
    assert(bytes !== undefined, "a page that is gone");
    const last = pieces.at(-1);
    if (last === undefined || !follows(last, bytes)) pieces.push(bytes);
    else {
      const joined = last.length + length;
      pieces[pieces.length - 1] = new Uint8Array(last.buffer, last.byteOffset, joined);
    }
  }
  return pieces;
}

const follows = (one: Uint8Array, next: Uint8Array): boolean =>
  next.buffer === one.buffer && next.byteOffset === one.byteOffset + one.length;

/** From pages into a buffer. All pages are there: the guest has not run since they were mapped. */
function gather(
  segments: readonly Segment[],
  grants: readonly GrantMapping[],
  buffer: Uint8Array,
): void {
  let at = 0;
  for (const [i, { offset, length }] of segments.entries()) {
    const bytes = grants[i]?.page?.read(offset, length);
    assert(bytes !== undefined, "a page that is gone");
    buffer.set(bytes, at);
    at += length;
  }
}

/** From a buffer into pages. False when a page is gone. */
function scatter(
  segments: readonly Segment[],
  grants: readonly GrantMapping[],
  buffer: Uint8Array,
): boolean {
  let at = 0;
  return segments.every(({ offset, length }, i) => {
    const page = grants[i]?.page;
    page?.write(offset, buffer.subarray(at, at + length));
    at += length;
    return page !== undefined;
  });
}

/** What {@link BlockConnection.save} gave. */
function readSaved(
  saved: SavedValue,
): { place: RingPlace; position: RingPosition; requests: Uint8Array[] } | undefined {
  const { width, ref, port, consumed, produced, requests } = fieldsOf(saved);
  if (width !== 32 && width !== 64) return undefined;
  if (!isU32(ref) || !isU32(port) || !isU32(consumed) || !isU32(produced)) return undefined;
  if (!Array.isArray(requests)) return undefined;
  if (requests.length !== ((consumed - produced) | 0)) return undefined;
  const slots = requests.map((slot) => Uint8Array.from(slot as readonly number[]));
  if (slots.some((slot) => slot.length !== BLKIF_REQUEST_SIZE[width])) return undefined;
  const place = { width, ref: grantRef(ref), port: evtchnPort(port) } as const;
  return { place, position: { consumed, produced }, requests: slots };
}
