/** A TCP that gives back what it gets: enough of it to go on when packets are lost. */
import { HostError } from "../../../base/index.js";
import type { ArmLater, Clock, KeptRecord, TimerHandle, Timers } from "../../../ports/index.js";
import { join, type Packet, Protocol, transportChecksum, viewOf } from "./packets.js";

const Flag = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;

/** Bytes that a connection keeps for its other side, without window scaling. */
const WINDOW = 65535;
const OWN_MSS = 1460;
const DEFAULT_MSS = 536;
const HEADER = 20;
/** First waiting time before something is sent again. */
const RETRY_NS = 200_000_000;
/** @nolimit a number of TCP: afterwards the connection is given up */
const MAX_TRIES = 8;
/**
 * Connections of a scripted peer.
 * @limit guest | connections to a scripted peer | connections | a further one is reset
 */
const MAX_CONNECTIONS = 256;

interface Segment {
  readonly sourcePort: number;
  readonly port: number;
  readonly sequence: number;
  readonly acknowledged: number;
  readonly flags: number;
  readonly window: number;
  readonly mss: number;
  readonly data: Uint8Array;
}

/** What it needs of the peer. */
export interface EchoHost {
  readonly clock: Pick<Clock, "monotonicNs">;
  readonly timers: Pick<Timers, "arm">;
  /** Sends a packet of IPv4. */
  send(packet: Packet): void;
}

/** A connection; sequence numbers are those of TCP, modulo 2^32. */
interface Connection {
  readonly packet: Packet;
  readonly first: Pick<Segment, "sourcePort" | "port" | "sequence">;
  readonly mss: number;
  received: number;
  /** The oldest number without acknowledgement, and the next to be sent; the SYN has number 0. */
  unacknowledged: number;
  next: number;
  /** What was received and is not acknowledged by the other side: begins at `unacknowledged`, or at 1. */
  data: Uint8Array;
  window: number;
  isEnding: boolean;
  finSent: boolean;
  tries: number;
  timer: { readonly handle: TimerHandle; readonly atNs: number } | undefined;
}

/** The error for records that {@link TcpEcho.kept} cannot have given, and the network around it. */
export const damaged = (): HostError =>
  new HostError("SNAPSHOT_DAMAGED", "the snapshot is damaged (a simulated network): make it again");

const MAC_BYTES = 6;

const after = (a: number, b: number): number => (a - b) | 0;

export class TcpEcho {
  readonly #host: EchoHost;
  readonly #port: number;
  readonly #connections = new Map<string, Connection>();

  /** `port`: the one that echoes; all others are closed. */
  constructor(host: EchoHost, port: number) {
    this.#host = host;
    this.#port = port;
  }

  /** A packet of TCP to this host. */
  handle(packet: Packet): void {
    const segment = readSegment(packet);
    if (segment === undefined || transportChecksum(packet) !== 0) return;
    const key = `${packet.source}:${segment.sourcePort}:${segment.port}`;
    const known = this.#connections.get(key);
    if ((segment.flags & Flag.RST) !== 0) {
      if (known !== undefined) this.#forget(key, known);
    } else if (known !== undefined) this.#follow(key, known, packet, segment);
    else if ((segment.flags & Flag.SYN) !== 0) this.#open(key, packet, segment);
    else this.#refuse(packet, segment);
  }

  #open(key: string, packet: Packet, first: Segment): void {
    if (first.port !== this.#port || this.#connections.size >= MAX_CONNECTIONS) {
      this.#refuse(packet, first);
      return;
    }
    const connection: Connection = {
      packet: { ...packet, mac: packet.mac.slice(), payload: new Uint8Array(0) },
      first: { sourcePort: first.sourcePort, port: first.port, sequence: first.sequence },
      mss: Math.min(first.mss, OWN_MSS),
      received: (first.sequence + 1) | 0,
      unacknowledged: 0,
      next: 1,
      data: new Uint8Array(0),
      window: first.window,
      isEnding: false,
      finSent: false,
      tries: 0,
      timer: undefined,
    };
    this.#connections.set(key, connection);
    this.#sendSyn(connection);
    this.#arm(key, connection);
  }

  #follow(key: string, connection: Connection, packet: Packet, segment: Segment): void {
    if ((segment.flags & Flag.SYN) !== 0) {
      const isSame = segment.sequence === connection.first.sequence;
      if (isSame) this.#sendSyn(connection);
      else {
        // The other side has forgotten it, and begins anew.
        this.#forget(key, connection);
        this.#open(key, packet, segment);
      }
      return;
    }
    this.#acknowledged(key, connection, segment);
    if (connection.finSent && connection.unacknowledged === connection.next) {
      this.#forget(key, connection);
      return;
    }
    const carries = segment.data.length > 0 || (segment.flags & Flag.FIN) !== 0;
    if (carries) this.#take(connection, segment);
    const sent = this.#output(key, connection);
    if (carries && !sent) this.#send(connection, connection.next, Flag.ACK);
  }

  #acknowledged(key: string, connection: Connection, segment: Segment): void {
    connection.window = segment.window;
    const far = after(segment.acknowledged, connection.unacknowledged);
    if (far <= 0 || after(connection.next, segment.acknowledged) < 0) return;
    // The SYN and the FIN have a number, and no byte.
    const bytes = Math.min(connection.unacknowledged === 0 ? far - 1 : far, connection.data.length);
    connection.data = connection.data.slice(bytes);
    connection.unacknowledged = segment.acknowledged | 0;
    connection.tries = 0;
    connection.timer?.handle.cancel();
    connection.timer = undefined;
    if (connection.unacknowledged !== connection.next) this.#arm(key, connection);
  }

  /** Takes what comes in order, as far as there is room. */
  #take(connection: Connection, segment: Segment): void {
    const old = after(connection.received, segment.sequence);
    if (old < 0 || old > segment.data.length || connection.isEnding) return;
    const room = WINDOW - connection.data.length;
    const fresh = segment.data.subarray(old, old + room);
    connection.data = join(connection.data, fresh);
    connection.received = (connection.received + fresh.length) | 0;
    const isAll = old + fresh.length === segment.data.length;
    if ((segment.flags & Flag.FIN) !== 0 && isAll) {
      connection.received = (connection.received + 1) | 0;
      connection.isEnding = true;
    }
  }

  /** Sends what the other side has room for. @returns whether anything was sent. */
  #output(key: string, connection: Connection): boolean {
    if (connection.unacknowledged === 0) return false;
    const before = connection.next;
    const end = connection.data.length;
    for (;;) {
      const at = after(connection.next, connection.unacknowledged);
      const size = Math.min(connection.mss, end - at, connection.window - at);
      if (size <= 0) break;
      const data = connection.data.subarray(at, at + size);
      this.#send(connection, connection.next, Flag.ACK | Flag.PSH, data);
      connection.next = (connection.next + size) | 0;
    }
    const isAll = after(connection.next, connection.unacknowledged) === end;
    if (connection.isEnding && isAll && !connection.finSent) {
      this.#send(connection, connection.next, Flag.ACK | Flag.FIN);
      connection.next = (connection.next + 1) | 0;
      connection.finSent = true;
    }
    const isNew = connection.next !== before;
    const waits = connection.next !== connection.unacknowledged || end > 0;
    if (waits) this.#arm(key, connection);
    return isNew;
  }

  /** Sends all again that is not acknowledged, when nothing is heard for a while. */
  #arm(key: string, connection: Connection): void {
    if (connection.timer !== undefined) return;
    const wait = RETRY_NS * 2 ** connection.tries;
    this.#armAt(this.#host.clock.monotonicNs() + wait, key, connection);
  }

  #armAt(atNs: number, key: string, connection: Connection): void {
    const handle = this.#host.timers.arm(atNs, () => {
      connection.timer = undefined;
      connection.tries += 1;
      if (connection.tries > MAX_TRIES) {
        this.#forget(key, connection);
        return;
      }
      if (connection.unacknowledged === 0) this.#sendSyn(connection);
      else {
        connection.next = connection.unacknowledged;
        connection.finSent = false;
        // A window of 0 is asked for with one byte.
        if (connection.window === 0) connection.window = 1;
        this.#output(key, connection);
      }
      this.#arm(key, connection);
    });
    connection.timer = { handle, atNs };
  }

  /** All connections, each a record. */
  get kept(): KeptRecord[] {
    return [...this.#connections.values()].map((connection) => {
      const { packet, first, timer } = connection;
      const { mss, received, unacknowledged, next, window, tries } = connection;
      const numbers = [
        ...[packet.source, packet.destination, first.sourcePort, first.port, first.sequence],
        ...[mss, received, unacknowledged, next, window, tries],
        ...[Number(connection.isEnding), Number(connection.finSent)],
      ];
      const bytes = join(packet.mac, connection.data);
      const armed = timer && { atNs: timer.atNs, order: timer.handle.order ?? 0 };
      return { what: "tcp", numbers, bytes, timer: armed };
    });
  }

  /** A connection of another that was saved. @throws HostError SNAPSHOT_DAMAGED */
  keep({ numbers, bytes, timer }: KeptRecord, later: ArmLater): void {
    const [source = 0, destination = 0, sourcePort = 0, port = 0, sequence = 0, ...rest] = numbers;
    const [mss = 0, received = 0, unacknowledged = 0, next = 0, window = 0, ...flags] = rest;
    const [tries = 0, isEnding = 0, finSent = 0] = flags;
    const isWhole = numbers.length === 13 && numbers.every((number) => Number.isInteger(number));
    const data = bytes.slice(MAC_BYTES);
    const way = after(next, unacknowledged);
    // The SYN and the FIN have a number, and no byte.
    const isRight =
      isWhole &&
      bytes.length >= MAC_BYTES &&
      data.length <= WINDOW &&
      mss >= 1 &&
      mss <= OWN_MSS &&
      window >= 0 &&
      window <= 0xffff &&
      tries >= 0 &&
      tries <= MAX_TRIES &&
      way >= 0 &&
      way <= data.length + 2;
    if (!isRight || this.#connections.size >= MAX_CONNECTIONS) throw damaged();
    const empty = new Uint8Array(0);
    const mac = bytes.slice(0, MAC_BYTES);
    const packet = { mac, source, destination, protocol: Protocol.TCP, payload: empty };
    const connection: Connection = {
      ...{ packet, first: { sourcePort, port, sequence }, mss, received, unacknowledged, next },
      ...{ data, window, tries, timer: undefined },
      isEnding: isEnding === 1,
      finSent: finSent === 1,
    };
    const key = `${source}:${sourcePort}:${port}`;
    this.#connections.set(key, connection);
    if (timer !== undefined) later(timer.order, () => this.#armAt(timer.atNs, key, connection));
  }

  #forget(key: string, connection: Connection): void {
    connection.timer?.handle.cancel();
    this.#connections.delete(key);
  }

  #sendSyn(connection: Connection): void {
    this.#send(connection, 0, Flag.SYN | Flag.ACK, new Uint8Array(0), OWN_MSS);
  }

  #send(
    { packet, first, received, data: kept }: Connection,
    sequence: number,
    flags: number,
    data: Uint8Array = new Uint8Array(0),
    mss?: number,
  ): void {
    const window = WINDOW - kept.length;
    const ports = { port: first.sourcePort, sourcePort: first.port };
    const answer = { ...ports, sequence, acknowledged: received, flags, window, data };
    this.#host.send(answerTo(packet, answer, mss));
  }

  #refuse(packet: Packet, segment: Segment): void {
    const ports = { port: segment.sourcePort, sourcePort: segment.port };
    const taken = segment.data.length + (segment.flags & (Flag.SYN | Flag.FIN) ? 1 : 0);
    const answer = {
      ...ports,
      sequence: segment.flags & Flag.ACK ? segment.acknowledged : 0,
      acknowledged: segment.sequence + taken,
      flags: Flag.RST | Flag.ACK,
      window: 0,
      data: new Uint8Array(0),
    };
    this.#host.send(answerTo(packet, answer));
  }
}

function readSegment({ payload }: Packet): Segment | undefined {
  if (payload.length < HEADER) return undefined;
  const view = viewOf(payload);
  const header = (view.getUint8(12) >> 4) * 4;
  if (header < HEADER || header > payload.length) return undefined;
  return {
    sourcePort: view.getUint16(0),
    port: view.getUint16(2),
    sequence: view.getUint32(4),
    acknowledged: view.getUint32(8),
    flags: view.getUint8(13),
    window: view.getUint16(14),
    mss: readMss(payload.subarray(HEADER, header)),
    data: payload.subarray(header),
  };
}

/** The maximum segment size in the options of a SYN. */
function readMss(options: Uint8Array): number {
  for (let at = 0; at < options.length; ) {
    const kind = options[at];
    if (kind === 0) break;
    if (kind === 1) {
      at += 1;
      continue;
    }
    const length = options[at + 1] ?? 0;
    if (length < 2) break;
    if (kind === 2 && length === 4 && at + 4 <= options.length) {
      return Math.max(viewOf(options).getUint16(at + 2), 1);
    }
    at += length;
  }
  return DEFAULT_MSS;
}

function answerTo(packet: Packet, segment: Omit<Segment, "mss">, mss?: number): Packet {
  const header = new Uint8Array(mss === undefined ? HEADER : HEADER + 4);
  const view = viewOf(header);
  view.setUint16(0, segment.sourcePort);
  view.setUint16(2, segment.port);
  view.setUint32(4, segment.sequence);
  view.setUint32(8, segment.acknowledged);
  view.setUint8(12, (header.length / 4) << 4);
  view.setUint8(13, segment.flags);
  view.setUint16(14, segment.window);
  if (mss !== undefined) view.setUint32(HEADER, 0x0204_0000 | mss);
  const { mac, source, destination } = packet;
  const payload = join(header, segment.data);
  const answer = { mac, source: destination, destination: source, protocol: Protocol.TCP, payload };
  viewOf(payload).setUint16(16, transportChecksum(answer));
  return answer;
}
