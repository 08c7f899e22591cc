/** A network frontend in a test's hand, and a network that does what the test says. */
import {
  netif_extra_info,
  netif_rx_request,
  netif_rx_response,
  netif_tx_request,
  netif_tx_response,
} from "../../../../abi/xen/netif.js";
import { Sring } from "../../../../abi/xen/ring.js";
import type { Frame, Network } from "../../../../ports/index.js";
import { makeDomain } from "../../kvm.fixture.js";
import { frameOf, GuestSide } from "../guest.fixture.js";
import { NetBackend } from "./net-backend.js";

export const TX_REF = 8;
export const RX_REF = 9;
export const TX_GFN = 0x50;
export const RX_GFN = 0x51;
export const SLOTS = 256;

/** A slot to send: `extra` fields make it one about the packet. */
export interface Slot {
  readonly gref?: number;
  readonly offset?: number;
  readonly flags?: number;
  readonly id?: number;
  readonly size?: number;
}

/** A response of the receive ring with the bytes of its page. */
export interface Received {
  readonly id: number;
  readonly flags: number;
  readonly status: number;
  readonly slot: number;
  readonly bytes: Uint8Array;
}

/** What Linux says that it takes. */
export const LINUX = {
  "request-rx-copy": "1",
  "feature-rx-notify": "1",
  "feature-sg": "1",
  "feature-gso-tcpv4": "1",
  "feature-gso-tcpv6": "1",
  "feature-ipv6-csum-offload": "1",
};

export class NetFrontend extends GuestSide {
  port0 = 0;
  #txProduced = 0;
  #txConsumed = 0;
  #rxProduced = 0;
  #rxConsumed = 0;

  constructor(test: ReturnType<typeof makeDomain>, id = "0") {
    super(test, `vif/${id}`);
  }

  /**
   * Makes empty rings and the keys, and goes to `state`. All data pages are granted: 16 to 79 for sending, 80 to 143
   * for receiving.
   */
  connect(state = 4, keys: Readonly<Record<string, string>> = LINUX): void {
    this.#txProduced = 0;
    this.#txConsumed = 0;
    this.#rxProduced = 0;
    this.#rxConsumed = 0;
    for (const gfn of [TX_GFN, RX_GFN]) {
      this.ring(gfn, Sring.req_prod, 0);
      this.ring(gfn, Sring.rsp_prod, 0);
      this.ring(gfn, Sring.req_event, 1);
      this.ring(gfn, Sring.rsp_event, 1);
    }
    this.grant(TX_REF, TX_GFN);
    this.grant(RX_REF, RX_GFN);
    for (let ref = 16; ref < 80; ref++) this.grant(ref, frameOf(ref), { flags: 5 });
    for (let ref = 80; ref < 144; ref++) this.grant(ref, frameOf(ref));
    this.port0 = this.port();
    this.write("tx-ring-ref", `${TX_REF}`);
    this.write("rx-ring-ref", `${RX_REF}`);
    this.write("event-channel", `${this.port0}`);
    for (const [name, value] of Object.entries(keys)) this.write(name, value);
    this.write("state", `${state}`);
  }

  /** Reads a word of a ring, or writes it. */
  ring(gfn: number, offset: number, value?: number): number {
    const at = gfn * 4096 + offset;
    if (value !== undefined) this.test.domain.memory.writeU32(at, value);
    return this.test.domain.memory.readU32(at) as number;
  }

  /** Puts slots into the transmit ring, without telling. */
  put(...slots: readonly (Slot | Uint8Array)[]): void {
    for (const slot of slots) {
      const fields = { gref: 16, offset: 0, flags: 0, id: 0, size: 0 };
      const bytes =
        slot instanceof Uint8Array ? slot : netif_tx_request.encode({ ...fields, ...slot });
      this.writeMemory(TX_GFN, 64 + (this.#txProduced % SLOTS) * 12, bytes);
      this.#txProduced += 1;
    }
  }

  /** Lets the backend see what was put, and tells it. */
  kick(...slots: readonly (Slot | Uint8Array)[]): void {
    this.put(...slots);
    this.ring(TX_GFN, Sring.req_prod, this.#txProduced);
    this.notify(this.port0);
  }

  /** Sends a frame from pages 16 and following: `sizes` are those of its parts. */
  transmit(frame: Uint8Array, flags = 0, extra?: Uint8Array, sizes = split(frame.length)): void {
    const slots: (Slot | Uint8Array)[] = [];
    let at = 0;
    for (const [i, size] of sizes.entries()) {
      this.writeMemory(frameOf(16 + i), 0, frame.subarray(at, at + size));
      at += size;
      const more = i + 1 < sizes.length ? 4 : 0;
      const own = i === 0 ? flags | (extra ? 8 : 0) : 0;
      const total = i === 0 ? frame.length : size;
      slots.push({ gref: 16 + i, flags: more | own, id: 100 + i, size: total });
      if (i === 0 && extra !== undefined) slots.push(extra);
    }
    this.kick(...slots);
  }

  /** A slot that says how a packet is to be segmented, or something else. */
  extra(size: number, gso_type = 1, type = 1, flags = 0): Uint8Array {
    const bytes = new Uint8Array(12);
    bytes.set(netif_extra_info.encode({ type, flags, u: { gso: { size, type: gso_type } } }));
    return bytes;
  }

  /** Responses of the transmit ring since the last call, as `id:status`; none where their count makes no sense. */
  answers(): string[] {
    const answers: string[] = [];
    const produced = this.ring(TX_GFN, Sring.rsp_prod);
    if ((produced - this.#txConsumed) >>> 0 > SLOTS) this.#txConsumed = produced;
    for (; this.#txConsumed !== produced; this.#txConsumed = (this.#txConsumed + 1) >>> 0) {
      const bytes = this.readMemory(TX_GFN, 64 + (this.#txConsumed % SLOTS) * 12, 4);
      const { id, status } = netif_tx_response.decode(bytes);
      answers.push(status === 1 ? "null" : `${id}:${status}`);
    }
    this.ring(TX_GFN, Sring.rsp_event, this.#txConsumed + 1);
    return answers;
  }

  /** Posts pages for receiving, 80 and following unless told otherwise, and tells when the backend wants to know. */
  post(count: number, options: { refs?: readonly number[]; tell?: boolean } = {}): void {
    const before = this.#rxProduced;
    for (let i = 0; i < count; i++) {
      const gref = options.refs?.[i] ?? 80 + (this.#rxProduced % 64);
      const request = { id: this.#rxProduced % SLOTS, pad: 0, gref };
      const at = 64 + (this.#rxProduced % SLOTS) * 8;
      this.writeMemory(RX_GFN, at, netif_rx_request.encode(request));
      this.#rxProduced += 1;
    }
    this.ring(RX_GFN, Sring.req_prod, this.#rxProduced);
    const event = this.ring(RX_GFN, Sring.req_event);
    const isWanted = (this.#rxProduced - event) >>> 0 < (this.#rxProduced - before) >>> 0;
    if (options.tell ?? isWanted) this.notify(this.port0);
  }

  /** Responses of the receive ring since the last call, each with the bytes of its page. */
  received(): Received[] {
    const all: Received[] = [];
    const produced = this.ring(RX_GFN, Sring.rsp_prod);
    if ((produced - this.#rxConsumed) >>> 0 > SLOTS) this.#rxConsumed = produced;
    for (; this.#rxConsumed !== produced; this.#rxConsumed = (this.#rxConsumed + 1) >>> 0) {
      const slot = this.#rxConsumed % SLOTS;
      const raw = this.readMemory(RX_GFN, 64 + slot * 8, 8);
      const { id, flags, offset, status } = netif_rx_response.decode(raw);
      const page = frameOf(80 + (this.#rxConsumed % 64));
      const bytes = status > 0 ? this.readMemory(page, offset, Math.min(status, 4096)) : raw;
      all.push({ id, flags, status, slot, bytes });
    }
    this.ring(RX_GFN, Sring.rsp_event, this.#rxConsumed + 1);
    return all;
  }

  /** Grants that the backend has in use, of all data pages. */
  inUse(): number[] {
    return Array.from({ length: 128 }, (_, i) => i + 16).filter((ref) => this.flags(ref) & 0x18);
  }
}

/** Parts of a frame that fill their pages. */
const split = (length: number): number[] =>
  Array.from({ length: Math.ceil(length / 4096) }, (_, i) => Math.min(4096, length - i * 4096));

/** A network that keeps what it is given. */
export class ManualNetwork implements Network {
  offers = { checksum: false, segmentation: false };
  isFull = false;
  readonly sent: Frame[] = [];
  resumed = 0;
  closed = 0;
  room: () => void = () => undefined;
  deliver: (frames: readonly Frame[]) => number = () => 0;

  send(frame: Frame): void {
    this.sent.push(frame);
  }

  onRoom(listener: () => void): void {
    this.room = listener;
  }

  onFrames(receiver: (frames: readonly Frame[]) => number): void {
    this.deliver = receiver;
  }

  resume(): void {
    this.resumed += 1;
  }

  async close(): Promise<void> {
    this.closed += 1;
  }
}

/** A domain with a card. */
export function withCard(offers: Partial<Network["offers"]> = {}) {
  const network = new ManualNetwork();
  network.offers = { ...network.offers, ...offers };
  const backend = new NetBackend(0, "00:16:3e:01:02:03", network);
  const test = makeDomain([backend]);
  return { network, backend, test, frontend: new NetFrontend(test), domain: test.domain };
}

/** Bytes of a frame that is none of IP, each telling its place. */
export const plain = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i === 12 ? 0x88 : i === 13 ? 0xb5 : i * 7 + (i >> 8)));

/** A frame of a protocol over IPv4 or IPv6, whose checksums of IP are right, and of the protocol are blank. */
export function ip(
  version: 4 | 6,
  protocol: number,
  data: Uint8Array,
  options: { tcpFlags?: number; vlan?: boolean; extension?: boolean } = {},
): Uint8Array {
  const own = protocol === 6 ? 20 : 8;
  const before = options.extension ? 8 : 0;
  const start = (options.vlan ? 18 : 14) + (version === 4 ? 20 : 40) + before;
  const bytes = new Uint8Array(start + own + data.length);
  const view = new DataView(bytes.buffer);
  const at = options.vlan ? 18 : 14;
  bytes.set([0x52, 0x54, 0, 0, 0, 2, 0, 0x16, 0x3e, 1, 2, 3]);
  if (options.vlan) view.setUint32(12, 0x8100_0005);
  view.setUint16(at - 2, version === 4 ? 0x0800 : 0x86dd);
  if (version === 4) {
    view.setUint16(at, 0x4500);
    view.setUint16(at + 2, bytes.length - at);
    view.setUint16(at + 4, 0xfffe);
    view.setUint8(at + 8, 64);
    view.setUint8(at + 9, protocol);
    view.setUint32(at + 12, 0x0a00020f);
    view.setUint32(at + 16, 0x0a000202);
    view.setUint16(at + 10, ~sum(bytes.subarray(at, at + 20)) & 0xffff);
  } else {
    view.setUint8(at, 0x60);
    view.setUint16(at + 4, bytes.length - at - 40);
    view.setUint8(at + 6, options.extension ? 60 : protocol);
    for (let i = 0; i < 32; i++) view.setUint8(at + 8 + i, i * 3);
    if (options.extension) view.setUint8(at + 40, protocol);
  }
  view.setUint16(start, 40000);
  view.setUint16(start + 2, 80);
  if (protocol === 6) {
    view.setUint32(start + 4, 0xfffffff0);
    view.setUint8(start + 12, 0x50);
    view.setUint8(start + 13, options.tcpFlags ?? 0x18);
  } else view.setUint16(start + 4, own + data.length);
  bytes.set(data, start + own);
  return bytes;
}

/** The Internet's sum of bytes, written down in the simplest way. */
function sum(bytes: Uint8Array): number {
  let total = 0;
  for (const [i, byte] of bytes.entries()) {
    total += i % 2 === 0 ? byte * 256 : byte;
    if (total > 0xffff) total -= 0xffff;
  }
  return total;
}

/** What a receiver checks: that IPv4's header, and TCP or UDP with the pseudo header, sum up to all ones. */
export function isChecked(frame: Uint8Array): boolean {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const at = view.getUint16(12) === 0x8100 ? 18 : 14;
  const is4 = view.getUint8(at) >> 4 === 4;
  const isExtended = !is4 && view.getUint8(at + 6) === 60;
  const start = at + (is4 ? 20 : isExtended ? 48 : 40);
  const protocol = view.getUint8(is4 ? at + 9 : isExtended ? at + 40 : at + 6);
  const length = is4 ? view.getUint16(at + 2) : view.getUint16(at + 4) + 40;
  const body = frame.subarray(start, at + length);
  const addresses = is4 ? frame.subarray(at + 12, at + 20) : frame.subarray(at + 8, at + 40);
  const words = new Uint8Array([...addresses, 0, protocol, body.length >> 8, body.length & 255]);
  const all = new Uint8Array(words.length + body.length);
  all.set(words);
  all.set(body, words.length);
  const isHeaderRight = !is4 || sum(frame.subarray(at, at + 20)) === 0xffff;
  return isHeaderRight && length === frame.length - at && sum(all) === 0xffff;
}
