/** The PV console: a page with two byte rings between the guest and a stream of the host. */
import { Xencons } from "../../../abi/xen/console.js";
import type { ByteStream, Log } from "../../../ports/index.js";
import { type ByteRingLayout, putBytes, takeBytes } from "../byte-ring.js";
import type { SharedPage } from "../shared-page.js";

const FROM_GUEST: ByteRingLayout = {
  data: Xencons.out,
  size: Xencons.OUT_SIZE,
  cons: Xencons.out_cons,
  prod: Xencons.out_prod,
};
const TO_GUEST: ByteRingLayout = {
  data: Xencons.in,
  size: Xencons.IN_SIZE,
  cons: Xencons.in_cons,
  prod: Xencons.in_prod,
};

/**
 * Input that waits for the guest at most, in bytes; what a person pastes fits.
 * @limit guest | input for a PV console that the guest does not read | bytes | it is lost, with a warning
 */
const MAX_WAITING = 1 << 20;

export class ConsoleRing {
  readonly #page: SharedPage;
  readonly #stream: ByteStream;
  readonly #notify: () => void;
  readonly #log: Log;
  #waiting: Uint8Array = new Uint8Array(0);
  #complained = false;

  /** `notify` raises the guest's event channel. */
  constructor(page: SharedPage, stream: ByteStream, notify: () => void, log: Log) {
    this.#page = page;
    this.#stream = stream;
    this.#notify = notify;
    this.#log = log;
  }

  /** Moves what can be moved; to be called when the guest raised the event channel. */
  process(): void {
    let moved = false;
    // What nobody can take stays in the ring, and the guest waits.
    const room = this.#stream.room ?? FROM_GUEST.size;
    const out = takeBytes(this.#page, FROM_GUEST, Math.min(room, FROM_GUEST.size));
    if (out === undefined) this.#resync(FROM_GUEST);
    else if (out.length > 0) {
      this.#stream.write(out);
      moved = true;
    }
    if (this.#feed()) moved = true;
    if (moved) this.#notify();
  }

  /** Input that the guest has not taken yet. */
  get waiting(): Uint8Array {
    return this.#waiting;
  }

  /** Takes input for the guest; what does not fit waits until the guest has read. */
  input(bytes: Uint8Array): void {
    this.keep(bytes);
    if (this.#feed()) this.#notify();
  }

  /** Takes input that waits for the next {@link process}. */
  keep(bytes: Uint8Array): void {
    if (this.#waiting.length + bytes.length > MAX_WAITING) {
      this.#log.warn("console: the guest does not read its input; some of it is lost");
      return;
    }
    const all = new Uint8Array(this.#waiting.length + bytes.length);
    all.set(this.#waiting);
    all.set(bytes, this.#waiting.length);
    this.#waiting = all;
  }

  /** Whether the guest has been told off. For exact snapshots. */
  get complained(): boolean {
    return this.#complained;
  }

  /** Input that waited before, and that. */
  restore(waiting: Uint8Array, complained: boolean): void {
    this.#waiting = waiting;
    this.#complained = complained;
  }

  #feed(): boolean {
    if (this.#waiting.length === 0) return false;
    const count = putBytes(this.#page, TO_GUEST, this.#waiting);
    if (count === undefined) this.#resync(TO_GUEST);
    this.#waiting = this.#waiting.subarray(count ?? 0);
    return (count ?? 0) > 0;
  }

  /** Starts anew after senseless indices: the ring counts as empty. */
  #resync(ring: ByteRingLayout): void {
    this.#page.writeU32(ring.cons, this.#page.readU32(ring.prod));
    if (!this.#complained) this.#log.warn("console: the guest broke its ring; its content is lost");
    this.#complained = true;
  }
}
