import { addressOf, C, futex } from "./libc.js";
import { ARGUMENT_MAX, type Message, Msg } from "./protocol.js";
import type { RunPages } from "./run-pages.js";
import { mailbox, message } from "./shim-structures.js";

/** `MAILBOX_*` of shim/protocol.h. */
const State = { IDLE: 0, REQUEST: 1, ANSWER: 2, SOCKET: 3 } as const;

/** Offsets in `struct mailbox`. */
const WAITING = mailbox.offset("waiting");
const REQUEST = mailbox.offset("request");
const RESULT = mailbox.offset("result");
const SENT = mailbox.offset("sent");
const TOLD = mailbox.offset("told");
const WANTS_DELAY = mailbox.offset("wants_delay");
const ARGUMENT = mailbox.offset("argument");
const BYTES = mailbox.size;
const PAGES = 8192;

/** Where a client finds its mailbox. */
export interface MailboxPlace {
  readonly fd: number;
  readonly offset: number;
  readonly awakeOffset: number;
}

/** A request that came by mailbox. */
export interface Mail {
  readonly message: Message;
  /** What its argument points to, as far as it came along. */
  readonly bytes: Uint8Array | undefined;
}

/** A connection's mailbox: one request and its result in memory that both sides see. */
export class Mailbox {
  readonly #words: Int32Array;
  readonly #view: DataView;
  readonly #argument: Uint8Array;
  readonly #address: number;

  constructor(pages: Uint8Array) {
    this.#argument = pages.subarray(ARGUMENT, BYTES);
    this.#words = new Int32Array(pages.buffer, pages.byteOffset, BYTES / 4);
    this.#view = new DataView(pages.buffer, pages.byteOffset, BYTES);
    this.#address = addressOf(pages.buffer) + pages.byteOffset;
  }

  /** Whether a request lies there. */
  get hasRequest(): boolean {
    return Atomics.load(this.#words, 0) === State.REQUEST;
  }

  /** A copy of the request, and of what came with it: the client can change it at any time. */
  take(): Mail {
    const view = this.#view;
    const request = { ...message.read(view, REQUEST), type: Msg.IOCTL };
    const sent = Math.min(view.getUint32(SENT, true), ARGUMENT_MAX);
    return { message: request, bytes: sent === 0 ? undefined : this.#argument.slice(0, sent) };
  }

  /** The result of the request, and what its argument points to from now on. */
  answer(result: number, bytes: Uint8Array | undefined, wantsDelay: boolean): void {
    this.#words[RESULT / 4] = result;
    this.#words[RESULT / 4 + 1] = result < 0 ? -1 : 0;
    this.#words[TOLD / 4] = bytes?.length ?? 0;
    this.#words[WANTS_DELAY / 4] = wantsDelay ? 1 : 0;
    if (bytes !== undefined) this.#argument.set(bytes);
    this.#leave(State.ANSWER);
  }

  /** Sends the client to its socket for the rest of this request. */
  toSocket(): void {
    this.#leave(State.SOCKET);
  }

  #leave(state: number): void {
    Atomics.store(this.#words, 0, state);
    if (Atomics.load(this.#words, WAITING / 4) !== 0) {
      futex(C.SYS_FUTEX, this.#address, C.FUTEX_WAKE, 1, 0, 0, 0);
    }
  }
}

/** All mailboxes, and the word that tells clients that somebody looks into them. */
export class MailRoom {
  readonly #pages: RunPages;
  readonly #awakePage: Uint8Array;
  readonly #awake: Int32Array;
  readonly #boxes = new Map<Mailbox, (mail: Mail) => void>();
  readonly #free: Uint8Array[] = [];

  constructor(pages: RunPages) {
    this.#pages = pages;
    this.#awakePage = pages.allocate(4096);
    this.#awake = new Int32Array(this.#awakePage.buffer, this.#awakePage.byteOffset, 1);
  }

  /** A mailbox whose requests go to `serve`. */
  open(serve: (mail: Mail) => void): {
    readonly mailbox: Mailbox;
    readonly place: MailboxPlace;
    close(): void;
  } {
    const pages = this.#free.pop() ?? this.#pages.allocate(PAGES);
    pages.fill(0);
    const place = this.#pages.locate(pages);
    const awake = this.#pages.locate(this.#awakePage);
    const mailbox = new Mailbox(pages);
    this.#boxes.set(mailbox, serve);
    return {
      mailbox,
      place: {
        fd: place?.fd ?? -1,
        offset: place?.offset ?? 0,
        awakeOffset: awake?.offset ?? 0,
      },
      close: () => {
        if (this.#boxes.delete(mailbox)) this.#free.push(pages);
      },
    };
  }

  /** Serves the requests that lie there; whether something was. */
  look(): boolean {
    let any = false;
    for (const [mailbox, serve] of this.#boxes) {
      if (!mailbox.hasRequest) continue;
      any = true;
      serve(mailbox.take());
    }
    return any;
  }

  /** Clients need not ring from now on. */
  wake(): void {
    if (this.#awake[0] === 0) Atomics.store(this.#awake, 0, 1);
  }

  /** Clients have to ring: look once more after this, and sleep then. */
  rest(): void {
    Atomics.store(this.#awake, 0, 0);
  }
}
