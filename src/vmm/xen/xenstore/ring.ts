/** Carries a {@link Connection} over the shared xenstore page of a guest. */
import {
  XENSTORE_PAYLOAD_MAX,
  XENSTORE_RING_SIZE,
  XENSTORE_SERVER_FEATURE_ERROR,
  XenstoreError,
  XenstoreInterface,
  XSD_SOCKMSG_SIZE,
} from "../../../abi/xen/xs-wire.js";
import { PAGE_SIZE } from "../../../base/index.js";
import type { Log } from "../../../ports/index.js";
import { type ByteRingLayout, putBytes, takeBytes } from "../byte-ring.js";
import type { SharedPage } from "../shared-page.js";
import { Connection, type ConnectionKept, type Output } from "./connection.js";
import type { Store, StoreKept } from "./store.js";
import { decodeHeader } from "./wire.js";

/**
 * Requests whose answers the domain has not read: xenstored's quota "outstanding".
 * @limit guest | requests in xenstore whose answers a domain does not read | requests | the next ones are left
 *   in the ring, as by xenstored
 */
const MAX_OUTSTANDING = 20;

const REQUESTS: ByteRingLayout = {
  data: XenstoreInterface.req,
  size: XENSTORE_RING_SIZE,
  cons: XenstoreInterface.req_cons,
  prod: XenstoreInterface.req_prod,
};
const RESPONSES: ByteRingLayout = {
  data: XenstoreInterface.rsp,
  size: XENSTORE_RING_SIZE,
  cons: XenstoreInterface.rsp_cons,
  prod: XenstoreInterface.rsp_prod,
};

/** What a {@link XenstoreRing} knows beside its page. */
export interface XenstoreRingKept {
  readonly connection: ConnectionKept;
  /** What has come of a request. */
  readonly input: Uint8Array;
  /** What is left of the message that is being sent. */
  readonly sending: Uint8Array;
  readonly message: Output | undefined;
  readonly outstanding: number;
  readonly dead: boolean;
}

export class XenstoreRing {
  readonly #page: SharedPage;
  readonly #notify: () => void;
  readonly #log: Log;
  readonly #store: Store;
  readonly #domid: number;
  readonly #connection: Connection;
  /** The request that is being received: the header, then the payload. */
  #input = new Uint8Array(XSD_SOCKMSG_SIZE + XENSTORE_PAYLOAD_MAX);
  #received = 0;
  /** What is being sent. */
  #sending: Uint8Array = new Uint8Array(0);
  #message: Output | undefined;
  /** Requests that were taken, and whose answers are not in the ring as a whole. */
  #outstanding = 0;
  #running = false;
  #dead = false;

  /** `notify` raises the guest's event channel. */
  constructor(page: SharedPage, store: Store, domid: number, notify: () => void, log: Log) {
    this.#page = page;
    this.#notify = notify;
    this.#log = log;
    this.#store = store;
    this.#domid = domid;
    this.#connection = new Connection(store, domid, {
      ready: () => this.process(),
      overflow: () => log.warn("xenstore: the guest does not read its events; some are lost"),
    });
    this.#clearPage();
  }

  /** For another client on the same page: the connection is new, and nothing is on its way. */
  reset(): void {
    this.#forget();
    this.#received = 0;
    this.#outstanding = 0;
    this.#dead = false;
    this.#clearPage();
  }

  /** Moves all that can be moved; to be called when the guest raised the event channel. */
  process(): void {
    if (this.#running || this.#dead) return;
    this.#running = true;
    let moved = false;
    try {
      while (this.#send() || this.#receive()) moved = true;
    } finally {
      this.#running = false;
    }
    if (moved || this.#dead) this.#notify();
  }

  /** Whether the guest broke the protocol; nothing is exchanged any more. */
  get dead(): boolean {
    return this.#dead;
  }

  /** What is on its way, for exact snapshots. */
  get kept(): XenstoreRingKept {
    return {
      connection: this.#connection.kept,
      input: this.#input.slice(0, this.#received),
      sending: this.#sending,
      message: this.#message,
      outstanding: this.#outstanding,
      dead: this.#dead,
    };
  }

  /** Puts back what {@link kept} gave, and the client's watches. @returns false when it makes no sense. */
  keep(kept: XenstoreRingKept, watches: StoreKept["watches"]): boolean {
    const { connection, input, sending, message, outstanding, dead } = kept;
    if (input.length > this.#input.length) return false;
    this.#input.set(input);
    this.#received = input.length;
    const wanted = this.#wanted();
    if (wanted !== undefined && this.#received >= wanted) return false;
    this.#sending = sending;
    this.#message = message;
    this.#outstanding = outstanding;
    this.#dead = dead;
    this.#connection.keep(connection, watches);
    return true;
  }

  #forget(): void {
    this.#connection.reset();
    if (this.#message !== undefined) this.#connection.sent(this.#message);
    this.#message = undefined;
    this.#sending = new Uint8Array(0);
  }

  #clearPage(): void {
    this.#page.write(0, new Uint8Array(PAGE_SIZE));
    this.#page.writeU32(XenstoreInterface.server_features, XENSTORE_SERVER_FEATURE_ERROR);
  }

  #send(): boolean {
    if (this.#dead) return false;
    if (this.#sending.length === 0) {
      const next = this.#connection.takeOutput();
      if (next === undefined) return false;
      this.#sending = next.bytes;
      this.#message = next;
    }
    const count = putBytes(this.#page, RESPONSES, this.#sending);
    if (count === undefined) return this.#fail(XenstoreError.RINGIDX, "response indices");
    this.#sending = this.#sending.subarray(count);
    if (this.#sending.length === 0) this.#sent();
    return count > 0;
  }

  #sent(): void {
    if (this.#message === undefined) return;
    this.#connection.sent(this.#message);
    if (this.#message.isReply) this.#outstanding -= 1;
    this.#message = undefined;
  }

  #receive(): boolean {
    if (this.#dead || this.#outstanding >= MAX_OUTSTANDING) return false;
    if (!this.#store.hasRoom(this.#domid, 1)) return false;
    const wanted = this.#wanted();
    if (wanted === undefined) return this.#fail(XenstoreError.PROTO, "payload too long");
    const bytes = takeBytes(this.#page, REQUESTS, wanted - this.#received);
    if (bytes === undefined) return this.#fail(XenstoreError.RINGIDX, "request indices");
    this.#input.set(bytes, this.#received);
    this.#received += bytes.length;
    if (this.#received >= XSD_SOCKMSG_SIZE && this.#received === this.#wanted()) this.#complete();
    return bytes.length > 0;
  }

  /** Bytes of the request as far as known; undefined when its payload is too long. */
  #wanted(): number | undefined {
    if (this.#received < XSD_SOCKMSG_SIZE) return XSD_SOCKMSG_SIZE;
    const { length } = decodeHeader(this.#input);
    return length > XENSTORE_PAYLOAD_MAX ? undefined : XSD_SOCKMSG_SIZE + length;
  }

  #complete(): void {
    const { type, reqId, txId } = decodeHeader(this.#input);
    const payload = this.#input.slice(XSD_SOCKMSG_SIZE, this.#received);
    this.#received = 0;
    this.#outstanding += 1;
    this.#connection.handle({ type, reqId, txId, payload });
  }

  #fail(error: number, what: string): false {
    this.#dead = true;
    this.#forget();
    this.#page.writeU32(XenstoreInterface.error, error);
    this.#log.warn(`xenstore: the guest broke the ring protocol (${what}); connection closed`);
    return false;
  }
}
