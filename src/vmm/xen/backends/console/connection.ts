/** A connection to a console frontend: one granted page with both rings, and one event channel. */
import { type EvtchnPort, type GrantRef, PAGE_SIZE } from "../../../../base/index.js";
import type { ByteStream } from "../../../../ports/index.js";
import { ConsoleRing } from "../../console/ring.js";
import type { BackendChannel, BackendHost, GrantMapping } from "../../interfaces.js";
import type { SharedPage } from "../../shared-page.js";

/** Work of a look at the ring, in the units of kvm/run/scheduler.ts. */
const WORK = 100;

export class ConsoleConnection {
  readonly #host: BackendHost;
  readonly #mapping: GrantMapping;
  readonly #channel: BackendChannel;
  readonly #ring: ConsoleRing;
  #suspended = false;
  #closed = false;

  private constructor(
    host: BackendHost,
    parts: { mapping: GrantMapping; channel: BackendChannel },
    stream: ByteStream,
  ) {
    this.#host = host;
    this.#mapping = parts.mapping;
    this.#channel = parts.channel;
    const page = new GrantedPage(parts.mapping);
    this.#ring = new ConsoleRing(page, stream, () => this.#channel.notify(), host.log);
  }

  /** Connects. @returns why not, if so. */
  static open(
    host: BackendHost,
    place: { readonly ref: GrantRef; readonly port: EvtchnPort },
    stream: ByteStream,
  ): ConsoleConnection | string {
    const mapping = host.grants.map(place.ref, false);
    if (typeof mapping === "number") return `ring-ref ${place.ref} cannot be used (${mapping})`;
    let connection: ConsoleConnection | undefined;
    const channel = host.events.connect(place.port, () => connection?.process());
    if (channel === undefined) {
      mapping.unmap();
      return `port ${place.port} is not for this domain`;
    }
    connection = new ConsoleConnection(host, { mapping, channel }, stream);
    return connection;
  }

  /** Input that the guest has not taken yet. */
  get waiting(): Uint8Array {
    return this.#ring.waiting;
  }

  /** The guest has been told off for its ring. */
  get complained(): boolean {
    return this.#ring.complained;
  }

  /** Goes on as another, for exact snapshots. */
  keep(waiting: Uint8Array, complained: boolean): void {
    this.#ring.restore(waiting, complained);
  }

  /** Looks at both rings; to be called when the guest raised the event channel, or the stream has room. */
  process(): void {
    if (this.#closed || this.#suspended) return;
    this.#host.charge(WORK);
    this.#ring.process();
  }

  /** Input for the guest. */
  input(bytes: Uint8Array): void {
    if (this.#closed) return;
    if (this.#suspended) this.#ring.keep(bytes);
    else this.#ring.input(bytes);
  }

  /** Takes nothing from now on, and gives nothing. */
  suspend(): void {
    this.#suspended = true;
  }

  /** Goes on. */
  resume(): void {
    if (!this.#suspended) return;
    this.#suspended = false;
    this.process();
  }

  close(): void {
    this.#closed = true;
    this.#channel.close();
    this.#mapping.unmap();
  }
}

/** The granted frame, whatever is in it now; one that the guest has taken out of its memory is all zero. */
class GrantedPage implements SharedPage {
  readonly #mapping: GrantMapping;

  constructor(mapping: GrantMapping) {
    this.#mapping = mapping;
  }

  read(offset: number, length: number): Uint8Array {
    return this.#mapping.page?.read(offset, length) ?? new Uint8Array(Math.min(length, PAGE_SIZE));
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#mapping.page?.write(offset, bytes);
  }

  borrow(offset: number, length: number): Uint8Array {
    return (
      this.#mapping.page?.borrow(offset, length) ?? new Uint8Array(Math.min(length, PAGE_SIZE))
    );
  }

  noteWrite(offset: number, length: number): void {
    this.#mapping.page?.noteWrite(offset, length);
  }

  readU32(offset: number): number {
    return this.#mapping.page?.readU32(offset) ?? 0;
  }

  writeU32(offset: number, value: number): void {
    this.#mapping.page?.writeU32(offset, value);
  }
}
