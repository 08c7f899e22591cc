/** A network in this process, with one host in it: what it does follows from what it gets, and a run repeats. */
import { HostError } from "../../../base/index.js";
import type {
  ArmLater,
  Clock,
  Frame,
  KeptRecord,
  Network,
  NetworkOffers,
  TimerHandle,
  Timers,
} from "../../../ports/index.js";
import { SeededEntropy } from "../entropy.js";
import { answerDhcp, DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from "./dhcp.js";
import {
  EtherType,
  ethernet,
  join,
  type Packet,
  Protocol,
  readIpv4,
  transportChecksum,
  viewOf,
  writeIpv4,
} from "./packets.js";
import { damaged, TcpEcho } from "./tcp-echo.js";

/** How the network is. */
export interface ScriptedNetworkOptions {
  readonly clock: Pick<Clock, "monotonicNs">;
  readonly timers: Pick<Timers, "arm">;
  /** N in the addresses 10.0.N.2 of the host, and 10.0.N.15 that it leases: 0 to 255. */
  readonly subnet?: number;
  /** Share of the frames that are lost, from 0 to 1. */
  readonly loss?: number;
  /** Of the losses: another number than 0. */
  readonly seed?: number;
  /** What the network takes as it is. */
  readonly offers?: NetworkOffers;
}

/** The port of the echo service (RFC 862), of TCP and UDP. */
const ECHO_PORT = 7;
/** Time of a frame's way. */
const LATENCY_NS = 100_000;
/**
 * Bytes on their way.
 * @limit guest | bytes on their way in a scripted network | bytes | the guest's next frames wait in their ring
 */
const MAX_UNDER_WAY = 1 << 20;
/**
 * Bytes that the guest has no room for.
 * @limit guest | bytes for a guest that a scripted network keeps | bytes | further frames are lost
 */
const MAX_KEPT = 1 << 20;

/** What happens when a frame has gone its way: to the host, or to the guest; and another try of what the guest left. */
const KINDS = ["arrive", "reply", "deliver"] as const;
type Kind = (typeof KINDS)[number];

interface Later {
  readonly what: Kind;
  readonly bytes: Uint8Array;
  readonly atNs: number;
  readonly timer: TimerHandle;
}

const NOTHING = new Uint8Array(0);

const BROADCAST = new Uint8Array(6).fill(0xff);

/**
 * The host answers ARP, DHCP, ping, and echoes TCP and UDP on port 7. Frames take 0.1 ms each way.
 */
export class ScriptedNetwork implements Network {
  readonly offers: NetworkOffers;
  readonly #options: ScriptedNetworkOptions;
  readonly #random: SeededEntropy;
  readonly #mac: Uint8Array;
  readonly #address: number;
  readonly #tcp: TcpEcho;
  #underWay = 0;
  /** What happens later. */
  readonly #later = new Set<Later>();
  readonly #kept: Frame[] = [];
  #keptBytes = 0;
  #ids = 0;
  #closed = false;
  #onRoom: () => void = () => undefined;
  #receiver: (frames: readonly Frame[]) => number = (frames) => frames.length;

  constructor(options: ScriptedNetworkOptions) {
    const subnet = options.subnet ?? 2;
    this.#options = options;
    this.offers = options.offers ?? { checksum: false, segmentation: false };
    this.#random = new SeededEntropy(options.seed);
    this.#mac = Uint8Array.of(0x52, 0x55, 10, 0, subnet, 2);
    this.#address = 0x0a000002 | (subnet << 8);
    const { clock, timers } = options;
    this.#tcp = new TcpEcho({ clock, timers, send: (packet) => this.#answer(packet) }, ECHO_PORT);
  }

  get isFull(): boolean {
    return this.#underWay >= MAX_UNDER_WAY;
  }

  send({ bytes }: Frame): void {
    if (this.#isLost()) return;
    this.#underWay += bytes.length;
    this.#armLater("arrive", bytes);
  }

  #arrive(bytes: Uint8Array): void {
    const wasFull = this.isFull;
    this.#underWay -= bytes.length;
    this.#handle(bytes);
    if (!this.isFull && wasFull) this.#onRoom();
  }

  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  onFrames(receiver: (frames: readonly Frame[]) => number): void {
    this.#receiver = receiver;
  }

  resume(): void {
    if (this.#kept.length > 0) this.#armLater("deliver", NOTHING);
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  kept(): readonly KeptRecord[] {
    const { loss = 0 } = this.#options;
    const own = [this.#address, loss, this.#ids, this.#random.state];
    return [
      { what: "sim", numbers: own, bytes: NOTHING },
      ...this.#kept.map(({ bytes }) => ({ what: "kept", numbers: [], bytes })),
      ...[...this.#later].map(({ what, bytes, atNs, timer: { order = 0 } }) => {
        return { what, numbers: [], bytes, timer: { atNs, order } };
      }),
      ...this.#tcp.kept,
    ];
  }

  keep(kept: readonly KeptRecord[], later: ArmLater): void {
    const [own, ...rest] = kept;
    const { loss = 0 } = this.#options;
    const [address, lost, ids, random] = own?.numbers ?? [];
    if (own?.what !== "sim" || ids === undefined || random === undefined) throw damaged();
    if (address !== this.#address || lost !== loss) {
      const message = `the simulated network lost ${lost} of its frames when the machine was saved: give it that, and the same place`;
      throw new HostError("SNAPSHOT_DEVICES", message);
    }
    this.#ids = ids;
    this.#random.state = random;
    for (const record of rest) {
      if (record.what === "tcp") this.#tcp.keep(record, later);
      else this.#keepFrame(record, later);
    }
  }

  #keepFrame({ what, bytes, timer }: KeptRecord, later: ArmLater): void {
    if (what === "kept") {
      this.#kept.push({ bytes, checksum: "unknown" });
      this.#keptBytes += bytes.length;
      return;
    }
    const kind = KINDS.find((one) => one === what);
    if (kind === undefined || timer === undefined) throw damaged();
    if (kind === "arrive") this.#underWay += bytes.length;
    later(timer.order, () => this.#armAt(timer.atNs, kind, bytes));
  }

  #armLater(what: Kind, bytes: Uint8Array): void {
    this.#armAt(this.#options.clock.monotonicNs() + LATENCY_NS, what, bytes);
  }

  #armAt(atNs: number, what: Kind, bytes: Uint8Array): void {
    const timer = this.#options.timers.arm(atNs, () => {
      this.#later.delete(armed);
      if (this.#closed) return;
      if (what === "arrive") this.#arrive(bytes);
      else if (what === "reply") this.#replyNow(bytes);
      else this.#deliver();
    });
    const armed = { what, bytes, atNs, timer };
    this.#later.add(armed);
  }

  #isLost(): boolean {
    const { loss = 0 } = this.#options;
    if (loss === 0) return false;
    const bytes = new Uint8Array(4);
    this.#random.fill(bytes);
    return viewOf(bytes).getUint32(0) / 2 ** 32 < loss;
  }

  /** Sends a frame to the guest. */
  #reply(bytes: Uint8Array): void {
    if (this.#isLost()) return;
    this.#armLater("reply", bytes);
  }

  #replyNow(bytes: Uint8Array): void {
    if (this.#keptBytes >= MAX_KEPT) return;
    this.#kept.push({ bytes, checksum: "unknown" });
    this.#keptBytes += bytes.length;
    this.#deliver();
  }

  #deliver(): void {
    const taken = this.#receiver(this.#kept);
    for (const { bytes } of this.#kept.splice(0, taken)) this.#keptBytes -= bytes.length;
  }

  #handle(frame: Uint8Array): void {
    const type = frame.length < 14 ? 0 : viewOf(frame).getUint16(12);
    if (type === EtherType.ARP) this.#arp(frame);
    if (type !== EtherType.IPV4) return;
    const packet = readIpv4(frame);
    if (packet === undefined) return;
    const isOwn = packet.destination === this.#address;
    if (packet.protocol === Protocol.UDP) this.#udp(packet, isOwn);
    else if (isOwn && packet.protocol === Protocol.TCP) this.#tcp.handle(packet);
    else if (isOwn && packet.protocol === Protocol.ICMP) this.#icmp(packet);
  }

  /** Ethernet and IPv4 (RFC 826): who has this address? */
  #arp(frame: Uint8Array): void {
    const body = frame.slice(14, 42);
    if (body.length < 28) return;
    const view = viewOf(body);
    if (view.getUint16(6) !== 1 || view.getUint32(24) !== this.#address) return;
    const asker = body.slice(8, 18);
    view.setUint16(6, 2);
    body.set(this.#mac, 8);
    view.setUint32(14, this.#address);
    body.set(asker, 18);
    this.#reply(ethernet(asker.subarray(0, 6), this.#mac, EtherType.ARP, body));
  }

  /** Echo request and reply (RFC 792). */
  #icmp(packet: Packet): void {
    const payload = packet.payload.slice();
    if (payload.length < 8 || payload[0] !== 8) return;
    payload[0] = 0;
    // The type has the weight of 0x0800 in the sum.
    const view = viewOf(payload);
    const sum = view.getUint16(2) + 0x0800;
    view.setUint16(2, sum > 0xffff ? sum - 0xffff : sum);
    this.#answer({ ...packet, source: packet.destination, destination: packet.source, payload });
  }

  #udp(packet: Packet, isOwn: boolean): void {
    const { payload } = packet;
    if (payload.length < 8) return;
    const view = viewOf(payload);
    const isRight = view.getUint16(6) === 0 || transportChecksum(packet) === 0;
    const body = payload.subarray(8, view.getUint16(4));
    if (!isRight) return;
    const [from, to] = [view.getUint16(0), view.getUint16(2)];
    if (to === DHCP_SERVER_PORT) this.#dhcp(body);
    if (!isOwn || to !== ECHO_PORT) return;
    const { source, destination, mac } = packet;
    this.#sendUdp({ mac, source: destination, destination: source }, { from: to, to: from }, body);
  }

  #dhcp(message: Uint8Array): void {
    const client = (this.#address & ~0xff) | 15;
    const answer = answerDhcp(message, { client, mask: 0xffffff00, server: this.#address });
    if (answer === undefined) return;
    const to = { mac: BROADCAST, source: this.#address, destination: 0xffffffff };
    this.#sendUdp(to, { from: DHCP_SERVER_PORT, to: DHCP_CLIENT_PORT }, answer);
  }

  #sendUdp(
    addresses: Pick<Packet, "mac" | "source" | "destination">,
    ports: { from: number; to: number },
    body: Uint8Array,
  ): void {
    const payload = join(new Uint8Array(8), body);
    const view = viewOf(payload);
    view.setUint16(0, ports.from);
    view.setUint16(2, ports.to);
    view.setUint16(4, payload.length);
    const packet = { ...addresses, protocol: Protocol.UDP, payload };
    view.setUint16(6, transportChecksum(packet) || 0xffff);
    this.#answer(packet);
  }

  #answer(packet: Packet): void {
    this.#reply(writeIpv4(packet, this.#mac, this.#ids++ & 0xffff));
  }
}
