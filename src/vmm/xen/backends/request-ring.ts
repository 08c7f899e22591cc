/**
 * The backend's end of a shared request ring (Xen's `public/io/ring.h`). The guest can write every byte of the page at
 * any time it runs: what the backend has consumed and produced it counts itself, and never reads back.
 */
import { Sring } from "../../../abi/xen/ring.js";
import { PAGE_SIZE } from "../../../base/index.js";
import type { SharedPage } from "../shared-page.js";

/** Where a ring is; the page may vanish (a balloon). */
export interface RingPage {
  readonly page: SharedPage | undefined;
}

/** How far the backend is: indices modulo 2^32. */
export interface RingPosition {
  readonly consumed: number;
  readonly produced: number;
}

/** Slots of a ring of one page: the largest power of two that fits. */
export const ringSlots = (slotSize: number): number =>
  2 ** Math.floor(Math.log2((PAGE_SIZE - Sring.HEADER_SIZE) / slotSize));

export class RequestRing {
  readonly #at: RingPage;
  readonly #slotSize: number;
  /** Requests that can be without an answer at a time. */
  readonly slots: number;
  #consumed: number;
  #produced: number;
  /** Up to where the guest was told. */
  #published: number;

  private constructor(at: RingPage, slotSize: number, position: RingPosition) {
    this.#at = at;
    this.#slotSize = slotSize;
    this.slots = ringSlots(slotSize);
    this.#consumed = position.consumed;
    this.#produced = position.produced;
    this.#published = position.produced;
  }

  /**
   * Attaches where the guest's ring begins: at its own count of responses.
   * @returns undefined when the indices make no sense.
   */
  static attach(at: RingPage, slotSize: number): RequestRing | undefined {
    const start = at.page?.readU32(Sring.rsp_prod);
    if (start === undefined) return undefined;
    const ring = new RequestRing(at, slotSize, { consumed: start, produced: start });
    return ring.waiting === undefined ? undefined : ring;
  }

  /** Goes on where another has stopped. */
  static resume(at: RingPage, slotSize: number, position: RingPosition): RequestRing {
    return new RequestRing(at, slotSize, position);
  }

  get position(): RingPosition {
    return { consumed: this.#consumed, produced: this.#produced };
  }

  /** Requests that have not been taken; undefined when the ring cannot be used any more. */
  get waiting(): number | undefined {
    const end = this.#at.page?.readU32(Sring.req_prod);
    if (end === undefined) return undefined;
    const all = (end - this.#produced) | 0;
    const taken = (this.#consumed - this.#produced) | 0;
    // More than there are slots, or fewer than were seen before (half of the range counts as that).
    return all > this.slots || all < taken ? undefined : all - taken;
  }

  /** A copy of the next request; undefined when none waits, or the ring cannot be used any more. */
  take(): Uint8Array | undefined {
    const { waiting } = this;
    if (waiting === undefined || waiting === 0) return undefined;
    const request = this.#at.page?.read(this.#slot(this.#consumed), this.#slotSize);
    this.#consumed = (this.#consumed + 1) >>> 0;
    return request;
  }

  /**
   * Asks the guest to tell of its next request, beyond those of `waiting` that are left where they are. Whoever calls
   * this looks once more whether there are more.
   */
  askForEvent(waiting = 0): void {
    this.#at.page?.writeU32(Sring.req_event, this.#consumed + waiting + 1);
  }

  /** Puts a response into the ring, for a request that was taken. The guest does not see it yet. */
  respond(response: Uint8Array): void {
    this.#at.page?.write(this.#slot(this.#produced), response);
    this.#produced = (this.#produced + 1) >>> 0;
  }

  /** Lets the guest see the responses. @returns whether it wants to be told of them. */
  publish(): boolean {
    const { page } = this.#at;
    const before = this.#published;
    if (page === undefined || this.#produced === before) return false;
    page.writeU32(Sring.rsp_prod, this.#produced);
    this.#published = this.#produced;
    const event = page.readU32(Sring.rsp_event);
    return (this.#produced - event) >>> 0 < ((this.#produced - before) | 0);
  }

  #slot(index: number): number {
    return Sring.HEADER_SIZE + (index % this.slots) * this.#slotSize;
  }
}
