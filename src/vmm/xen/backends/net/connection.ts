/** A connection to a network frontend: a ring for each direction, and one event channel. */
import { NetifRsp } from "../../../../abi/xen/netif.js";
import { type EvtchnPort, evtchnPort, type GrantRef, grantRef } from "../../../../base/index.js";
import type { Frame, Network } from "../../../../ports/index.js";
import { damaged } from "../../../snapshot/codec.js";
import type { BackendChannel, BackendHost, GrantMapping, KeptGrant } from "../../interfaces.js";
import { fieldsOf, isU32, type SavedValue } from "../backend.js";
import { keptGrant } from "../kept-grant.js";
import { RequestRing, type RingPosition } from "../request-ring.js";
import type { KeptNetConnection } from "./kept.js";
import { mergeSegments } from "./merge.js";
import { completeChecksum, segment } from "./packet.js";
import { framesFor, putFrame, RX_SLOT_SIZE, type RxFeatures, slotsFor } from "./receive.js";
import { answerPacket, readFrame, TX_SLOT_SIZE, takePacket } from "./transmit.js";

/** Where a frontend's rings are, and what it takes. */
export interface NetPlace {
  readonly tx: GrantRef;
  readonly rx: GrantRef;
  readonly port: EvtchnPort;
  readonly takes: RxFeatures;
}

/** How far both rings are. */
export interface NetPosition {
  readonly tx: RingPosition;
  readonly rx: RingPosition;
}

/**
 * Bytes for the guest that wait for its pages. One batch of frames more may begin below this.
 * @limit guest | received frames that wait for a guest | bytes | the network keeps or loses further ones
 */
const MAX_WAITING = 256 << 10;
/** Work of a slot, in the units of kvm/run/scheduler.ts, and of a byte. */
const WORK = 100;
const WORK_PER_BYTE = 0.1;
/** Whole units: they are nanoseconds of a virtual clock. */
const workOf = (slots: number, bytes: number): number =>
  WORK * slots + Math.round(WORK_PER_BYTE * bytes);

/** A ring with the page that it is in. */
interface Half {
  readonly page: GrantMapping;
  readonly ring: RequestRing;
}

export class NetConnection {
  readonly #host: BackendHost;
  readonly #network: Network;
  readonly #place: NetPlace;
  readonly #tx: Half;
  readonly #rx: Half;
  readonly #channel: BackendChannel;
  readonly #onBroken: (reason: string) => void;
  /** Frames for the guest, as it takes them. */
  readonly #waiting: Frame[] = [];
  #waitingBytes = 0;
  #suspended = false;

  private constructor(
    host: BackendHost,
    network: Network,
    place: NetPlace,
    parts: { tx: Half; rx: Half; channel: BackendChannel; onBroken: (reason: string) => void },
  ) {
    this.#host = host;
    this.#network = network;
    this.#place = place;
    this.#tx = parts.tx;
    this.#rx = parts.rx;
    this.#channel = parts.channel;
    this.#onBroken = parts.onBroken;
  }

  /** Connects; `onBroken` hears of a frontend that has to be let go of. @returns why not, if so. */
  static open(
    host: BackendHost,
    network: Network,
    place: NetPlace,
    onBroken: (reason: string) => void,
    position?: NetPosition,
  ): NetConnection | string {
    if (place.tx === place.rx) return "both rings are the same page";
    const tx = openHalf(host, "tx-ring-ref", place.tx, TX_SLOT_SIZE, position?.tx);
    if (typeof tx === "string") return tx;
    const rx = openHalf(host, "rx-ring-ref", place.rx, RX_SLOT_SIZE, position?.rx);
    if (typeof rx === "string") {
      tx.page.unmap();
      return rx;
    }
    let connection: NetConnection | undefined;
    const channel = host.events.connect(place.port, () => connection?.process());
    if (channel === undefined) {
      tx.page.unmap();
      rx.page.unmap();
      return `event-channel ${place.port} is not for this domain`;
    }
    connection = new NetConnection(host, network, place, { tx, rx, channel, onBroken });
    return connection;
  }

  /** Looks at both rings; to be called when the guest raised the event channel, or the network has room. */
  process(): void {
    if (this.#suspended) return;
    const hadRoom = this.#hasRoom;
    const problem = this.#transmit() ?? this.#fill();
    if (problem !== undefined) {
      this.#onBroken(problem);
      return;
    }
    this.#publish();
    if (!hadRoom && this.#hasRoom) this.#network.resume();
  }

  /** Frames of the network, unless suspended. @returns how many were taken. */
  receive(frames: readonly Frame[]): number {
    let taken = 0;
    let problem: string | undefined;
    while (taken < frames.length && this.#hasRoom && problem === undefined) {
      const { takes } = this.#place;
      const { frame: merged, count } = mergeSegments(frames, taken, takes);
      for (const frame of framesFor(merged, takes)) {
        this.#waiting.push(frame);
        this.#waitingBytes += frame.bytes.length;
      }
      taken += count;
      problem = this.#fill();
    }
    if (problem !== undefined) this.#onBroken(problem);
    else this.#publish();
    return taken;
  }

  /** Takes nothing from now on. */
  suspend(): void {
    this.#suspended = true;
  }

  /** Goes on. */
  resume(): void {
    this.#suspended = false;
    this.process();
  }

  /** Nothing is to be asked of it any more. */
  close(): void {
    this.#channel.close();
    this.#tx.page.unmap();
    this.#rx.page.unmap();
  }

  /** Frames that wait for the guest's pages are not kept: a network may lose them. */
  save(): SavedValue {
    const { tx, rx, port, takes } = this.#place;
    const position = { tx: { ...this.#tx.ring.position }, rx: { ...this.#rx.ring.position } };
    return { tx, rx, port, takes: { ...takes }, position };
  }

  /** All of it, between two turns of the guest. */
  kept(): KeptNetConnection {
    const { tx, rx, port, takes } = this.#place;
    return {
      ...{ tx, rx, port, takes },
      txPage: keptGrant(this.#tx.page.kept),
      rxPage: keptGrant(this.#rx.page.kept),
      txAt: this.#tx.ring.position.consumed,
      rxAt: this.#rx.ring.position.consumed,
      waiting: this.#waiting.map(({ bytes, checksum, segmentSize }) => {
        return { bytes, checksum, segmentSize };
      }),
    };
  }

  /** Goes on as another, and tells nobody. @throws HostError SNAPSHOT_DAMAGED */
  static keep(
    host: BackendHost,
    network: Network,
    kept: KeptNetConnection,
    onBroken: (reason: string) => void,
  ): NetConnection {
    const half = (grant: KeptGrant, slotSize: number, at: number): Half => {
      const page = host.grants.mapAgain(grant);
      if (page === undefined) throw damaged("a ring");
      const ring = RequestRing.resume(page, slotSize, { consumed: at, produced: at });
      return { page, ring };
    };
    const tx = half(kept.txPage, TX_SLOT_SIZE, kept.txAt);
    const rx = half(kept.rxPage, RX_SLOT_SIZE, kept.rxAt);
    const port = evtchnPort(kept.port);
    let connection: NetConnection | undefined;
    const channel = host.events.connect(port, () => connection?.process());
    if (channel === undefined) throw damaged("an event channel");
    const place = { tx: grantRef(kept.tx), rx: grantRef(kept.rx), port, takes: kept.takes };
    connection = new NetConnection(host, network, place, { tx, rx, channel, onBroken });
    for (const { bytes, checksum, segmentSize } of kept.waiting) {
      const size = segmentSize === undefined ? {} : { segmentSize };
      connection.#waiting.push({ bytes, checksum, ...size });
      connection.#waitingBytes += bytes.length;
    }
    return connection;
  }

  get #hasRoom(): boolean {
    return this.#waitingBytes < MAX_WAITING;
  }

  /** Sends what the guest has put into the ring, as long as the network takes it. */
  #transmit(): string | undefined {
    const { ring } = this.#tx;
    for (;;) {
      while (!this.#network.isFull) {
        const problem = this.#send();
        if (problem === "none") break;
        if (problem !== undefined) return problem;
      }
      if (ring.waiting === undefined) return "the ring to send cannot be used any more";
      // A full network goes on when it has room; an empty ring, when the guest tells.
      if (ring.waiting > 0) return undefined;
      ring.askForEvent();
      if (ring.waiting === 0) return undefined;
    }
  }

  /** Sends the next packet. @returns "none" when there is none, or what is broken. */
  #send(): string | undefined {
    const { ring } = this.#tx;
    const packet = takePacket(ring);
    if (packet === undefined) return "none";
    if (typeof packet === "string") return packet;
    const { slots, isDummy } = packet;
    const frame = isDummy ? undefined : readFrame(packet, this.#host.grants);
    if (typeof frame === "string") return frame;
    this.#host.charge(workOf(slots.length, frame?.bytes.length ?? 0));
    if (frame !== undefined) this.#hand(frame);
    answerPacket(ring, packet, isDummy || frame !== undefined ? NetifRsp.OKAY : NetifRsp.ERROR);
    return undefined;
  }

  /** Gives a frame to the network in a form that it takes; {@link readFrame} has looked at what it says of itself. */
  #hand(frame: Frame): void {
    const { checksum, segmentation } = this.#network.offers;
    if (frame.segmentSize !== undefined && !segmentation) {
      const frames = segment(frame) ?? [];
      this.#host.charge(WORK * frames.length);
      for (const one of frames) this.#network.send(one);
    } else if (frame.checksum !== "blank" || checksum) this.#network.send(frame);
    else {
      // The bytes are a copy of the guest's, and nobody else's yet.
      completeChecksum(frame.bytes);
      this.#network.send({ ...frame, checksum: "valid" });
    }
  }

  /** Puts what waits into the pages that the guest has posted. */
  #fill(): string | undefined {
    const { ring } = this.#rx;
    let count = 0;
    for (const frame of this.#waiting) {
      if (ring.waiting === undefined) return "the ring to receive cannot be used any more";
      const slots = slotsFor(frame);
      if (!this.#hasPages(slots)) break;
      putFrame(ring, frame, this.#host.grants);
      this.#host.charge(workOf(slots, frame.bytes.length));
      this.#waitingBytes -= frame.bytes.length;
      count += 1;
    }
    this.#waiting.splice(0, count);
    if (!this.#place.takes.notifies) {
      this.#waiting.length = 0;
      this.#waitingBytes = 0;
    }
    return undefined;
  }

  /** Whether the guest has posted so many pages; if not, it tells of the next ones. */
  #hasPages(slots: number): boolean {
    const { ring } = this.#rx;
    for (;;) {
      const waiting = ring.waiting ?? 0;
      if (waiting >= slots) return true;
      ring.askForEvent(waiting);
      if (ring.waiting === waiting) return false;
    }
  }

  #publish(): void {
    const tx = this.#tx.ring.publish();
    const rx = this.#rx.ring.publish();
    if (tx || rx) this.#channel.notify();
  }
}

function openHalf(
  host: BackendHost,
  name: string,
  ref: GrantRef,
  slotSize: number,
  position: RingPosition | undefined,
): Half | string {
  const page = host.grants.map(ref, false);
  if (typeof page === "number") return `${name} ${ref} cannot be used (${page})`;
  const ring = position
    ? RequestRing.resume(page, slotSize, position)
    : RequestRing.attach(page, slotSize);
  if (ring !== undefined) return { page, ring };
  page.unmap();
  return `the indices of the ring of ${name} make no sense`;
}

/** Nothing of a request is kept between two calls: all that was taken is answered. */
function positionOf(saved: SavedValue | undefined): RingPosition | undefined {
  const { consumed, produced } = fieldsOf(saved);
  if (!isU32(consumed) || consumed !== produced) return undefined;
  return { consumed, produced };
}

/** What {@link NetConnection.save} gave; undefined when it is damaged. */
export function readSaved(
  saved: SavedValue,
): { place: NetPlace; position: NetPosition } | undefined {
  const { tx, rx, port, takes: flags, position } = fieldsOf(saved);
  const rings = {
    tx: positionOf(fieldsOf(position)["tx"]),
    rx: positionOf(fieldsOf(position)["rx"]),
  };
  if (!isU32(tx) || !isU32(rx) || !isU32(port)) return undefined;
  if (rings.tx === undefined || rings.rx === undefined) return undefined;
  const is = (name: keyof RxFeatures): boolean => fieldsOf(flags)[name] === true;
  const takes: RxFeatures = {
    sg: is("sg"),
    gso4: is("gso4"),
    gso6: is("gso6"),
    checksum4: is("checksum4"),
    checksum6: is("checksum6"),
    notifies: is("notifies"),
  };
  const place = { tx: grantRef(tx), rx: grantRef(rx), port: evtchnPort(port), takes };
  return { place, position: { tx: rings.tx, rx: rings.rx } };
}
