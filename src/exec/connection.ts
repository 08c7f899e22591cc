import { Errno } from "../base/index.js";
import type { KvmFile } from "../ioctl/index.js";
import type { Client, Conversation, Replaced } from "./client.js";
import type { Files, OpenFile } from "./files.js";
import { C, close, poll } from "./libc.js";
import type { Mailbox, MailRoom } from "./mailbox.js";
import {
  type Message,
  Msg,
  PROTOCOL_VERSION,
  READ_MAX,
  type Received,
  receive,
  send,
} from "./protocol.js";
import type { Reactor } from "./reactor.js";
import type { RunPages } from "./run-pages.js";
import { ThreadTime } from "./thread-time.js";
import type { Tracer } from "./trace.js";

/** What all connections share. */
export interface ConnectionParts {
  readonly reactor: Reactor;
  readonly files: Files;
  readonly pages: RunPages;
  /** Where mailboxes are, when they are used. */
  readonly mailRoom: MailRoom | undefined;
  readonly tracer: Tracer | undefined;
  /** open(2) of /dev/kvm by a client: its handle. */
  open(client: Client): number;
  /** What an open file is to a client: the VMs of a process are bound to its memory. */
  fileFor(open: OpenFile, client: Client): KvmFile | undefined;
  /** The process a connection says hello for, if it may. */
  hello(connection: Connection, pid: number): Client | undefined;
  /** The other end is gone. */
  closed(connection: Connection): void;
}

/** Milliseconds that a client has to reply to a question in the middle of a call. */
const REPLY_MS = 5000;

interface Answer {
  readonly message: Partial<Message> & { readonly type: number };
  readonly attached?: { readonly descriptor?: number; readonly bytes?: Uint8Array };
}

const ok = (message: Partial<Message>): Answer => ({ message: { type: Msg.ANSWER, ...message } });
const refused = (error: number): Answer => ok({ a: BigInt(-error) });

/** Signals that one wait for a reply sees at most. */
const SIGNALS = 1000;

/** Waits for a reply through signals, which end poll(2) whatever their handler says. */
function pollThrough(entry: Uint8Array): number {
  for (let i = 0; i < SIGNALS; i++) {
    const ready = poll(entry, 1, REPLY_MS);
    if (ready >= 0) return ready;
  }
  return 0;
}

/** One thread of a client: its requests and their answers. */
export class Connection implements Conversation {
  readonly fd: number;
  client: Client | undefined;
  readonly #parts: ConnectionParts;
  /** The file of the ioctl that has not answered yet. */
  #running: OpenFile | undefined;
  #closed = false;
  #mailbox: Mailbox | undefined;
  #closeMailbox = () => {};
  /** The client's thread, and what it waited for a processor; null when that cannot be known. */
  #thread = 0;
  #time: ThreadTime | undefined | null;
  /** What it waited in the program's own time: it tells once it was asked. */
  #delay: bigint | undefined;
  #wantsDelay = false;
  readonly #runDelay = (): bigint => {
    this.#wantsDelay = true;
    return this.#delay ?? this.#threadTime()?.runDelayNs() ?? 0n;
  };
  /** The client waits for an answer in its mailbox. */
  #atMailbox = false;

  constructor(fd: number, parts: ConnectionParts) {
    this.fd = fd;
    this.#parts = parts;
  }

  /** Reads and serves what has come. */
  readable(events: number): void {
    const got = receive(this.fd);
    if (got.kind === "message") this.#serve(got);
    else if (got.kind === "closed" || (events & (C.EPOLLHUP | C.EPOLLERR)) !== 0) this.close();
  }

  /** The other end is gone, or is told that this one is. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#running?.file.interrupt?.();
    this.#closeMailbox();
    this.#time?.close();
    this.#parts.reactor.unwatch(this.fd);
    this.#parts.reactor.promisesWait();
    close(this.fd);
    this.#parts.closed(this);
  }

  needFile(handle: number): { fd: number; lifeline: number | undefined } {
    const got = this.#ask({ type: Msg.NEED_FILE, handle });
    if (got === undefined) return { fd: -Errno.EMFILE, lifeline: undefined };
    return { fd: Number(BigInt.asIntN(32, got.message.a)), lifeline: got.descriptor };
  }

  needDescriptor(fd: number): number | undefined {
    return this.#ask({ type: Msg.NEED_FD, a: BigInt(fd) })?.descriptor;
  }

  runDelay(): () => bigint {
    return this.#runDelay;
  }

  #threadTime(): ThreadTime | null {
    if (this.#time === undefined) {
      const { client } = this;
      this.#time = client === undefined ? null : (ThreadTime.of(client.pid, this.#thread) ?? null);
    }
    return this.#time;
  }

  #serve({ message, descriptor }: Extract<Received, { kind: "message" }>): void {
    if (message.type === Msg.INTERRUPT) {
      this.#running?.file.interrupt?.();
      this.#parts.reactor.promisesWait();
      return;
    }
    const takes = message.type === Msg.OPEN || message.type === Msg.SHARE;
    if (!takes && descriptor !== undefined) close(descriptor);
    if (this.#running !== undefined) {
      this.close();
      return;
    }
    if (message.type === Msg.HELLO) {
      this.#answer(this.#hello(message));
      return;
    }
    if (message.type === Msg.BELL) {
      this.#parts.mailRoom?.look();
      return;
    }
    const { client } = this;
    if (client === undefined || (takes && descriptor === undefined)) {
      this.close();
      return;
    }
    this.#handle(client, message, descriptor ?? -1);
  }

  #handle(client: Client, message: Message, descriptor: number): void {
    client.conversation = this;
    const answer = this.#request(client, message, descriptor);
    client.conversation = undefined;
    if (answer === "close") this.close();
    else if (answer !== "later") this.#answer(answer);
  }

  #hello(message: Message): Answer {
    if (this.client !== undefined || message.a !== BigInt(PROTOCOL_VERSION)) {
      return refused(Errno.EINVAL);
    }
    this.client = this.#parts.hello(this, Number(message.b));
    if (this.client === undefined) return refused(Errno.EACCES);
    this.#thread = Number(message.c);
    if (message.d !== 1n || this.#parts.mailRoom === undefined) return ok({});
    const {
      mailbox,
      place,
      close: closeMailbox,
    } = this.#parts.mailRoom.open((request) => this.#mail(request));
    this.#mailbox = mailbox;
    this.#closeMailbox = closeMailbox;
    const where = { b: BigInt(place.offset), c: BigInt(place.awakeOffset) };
    return { ...ok(where), attached: { descriptor: place.fd } };
  }

  /** A request that came by mailbox. */
  #mail(message: Message): void {
    if (this.client === undefined || this.#running !== undefined) return;
    this.#atMailbox = true;
    this.#handle(this.client, message, -1);
  }

  /** The client goes on at its socket, where alone it can be asked and told more than a number. */
  #leaveMailbox(): void {
    if (!this.#atMailbox) return;
    this.#atMailbox = false;
    this.#mailbox?.toSocket();
  }

  #request(client: Client, message: Message, descriptor: number): Answer | "later" | "close" {
    switch (message.type) {
      case Msg.OPEN: {
        const handle = this.#parts.open(client);
        this.#parts.files.connect(handle, descriptor);
        return ok({ a: BigInt(handle) });
      }
      case Msg.IOCTL:
        return this.#ioctl(client, message);
      case Msg.MMAP:
        return this.#mmap(client, message);
      case Msg.SHARE: {
        const at = Number(message.a);
        const offset = Number(message.c);
        const length = Number(message.b);
        const readOnly = message.d === 1n;
        const replaced = client.backing.share(at, length, descriptor, offset, readOnly);
        this.#invalidate(client, replaced ?? []);
        return replaced === undefined ? refused(Errno.EFAULT) : ok({});
      }
      case Msg.UNSHARE:
        return this.#unshare(client, Number(message.a), Number(message.b));
      case Msg.READ:
        return this.#read(message);
      default:
        return "close";
    }
  }

  #ioctl(client: Client, message: Message): Answer | "later" {
    const open = this.#parts.files.get(message.handle);
    // A descriptor of a process that is gone, in one of its children.
    if (open === undefined) return refused(Errno.EIO);
    const file = this.#parts.fileFor(open, client);
    if (file === undefined) return refused(Errno.EIO);
    const request = Number(BigInt.asUintN(32, message.a));
    if (message.c !== 0n) this.#delay = message.c - 1n;
    const traced = this.#parts.tracer?.before(client, open, request, message.b);
    const result = file.ioctl(request, message.b);
    if (typeof result === "number") {
      traced?.(result);
      return ok({ a: BigInt(result) });
    }
    this.#leaveMailbox();
    this.#running = open;
    this.#parts.reactor.promisesWait();
    result
      .catch(() => -Errno.EIO)
      .then((value) => {
        this.#running = undefined;
        traced?.(value);
        if (!this.#closed) this.#answer(ok({ a: BigInt(value) }));
      });
    return "later";
  }

  #mmap(client: Client, message: Message): Answer {
    const open = this.#parts.files.get(message.handle);
    if (open === undefined || open.client !== client) return refused(Errno.ENODEV);
    const pages = open.file.mmap(Number(message.a), Number(message.b));
    if (typeof pages === "number") return refused(-pages);
    const place = this.#parts.pages.locate(pages);
    if (place === undefined) return refused(Errno.ENODEV);
    return { ...ok({ b: BigInt(place.offset) }), attached: { descriptor: place.fd } };
  }

  #read(message: Message): Answer {
    const open = this.#parts.files.get(message.handle);
    if (open?.file.read === undefined) return refused(Errno.EINVAL);
    const asked = BigInt.asIntN(64, message.b);
    const at = asked < 0n ? open.position : Number(asked);
    const bytes = open.file.read(Math.min(READ_MAX, Number(message.a)), at);
    if (typeof bytes === "number") return refused(-bytes);
    if (asked < 0n) open.position += bytes.length;
    return { ...ok({ a: BigInt(bytes.length) }), attached: { bytes } };
  }

  /** Answers whether a VM has that memory still. */
  #unshare(client: Client, address: number, length: number): Answer {
    const replaced = client.backing.unshare(address, length);
    this.#invalidate(client, replaced);
    return ok({ a: replaced.length > 0 ? 1n : 0n });
  }

  /** Tells the VMs which of their pages have another backing now. */
  #invalidate(client: Client, replaced: readonly Replaced[]): void {
    for (const { linear, start, length } of replaced) {
      for (const open of this.#parts.files.all()) {
        if (open.client === client) open.file.invalidate?.(linear, start, length);
      }
    }
  }

  #answer({ message, attached }: Answer): void {
    if (this.#atMailbox) {
      this.#atMailbox = false;
      this.#mailbox?.answer(message.a ?? 0n);
      return;
    }
    const told = this.#wantsDelay ? { ...message, d: 1n } : message;
    if (!send(this.fd, told, attached)) this.close();
  }

  /** Asks the client, which waits for an answer; undefined when it does not reply as it should. */
  #ask(question: Partial<Message> & { readonly type: number }) {
    this.#leaveMailbox();
    if (!send(this.fd, question)) return undefined;
    for (;;) {
      const entry = new Uint8Array(8);
      const view = new DataView(entry.buffer);
      view.setInt32(0, this.fd, true);
      view.setInt16(4, C.POLLIN, true);
      if (pollThrough(entry) !== 1) return undefined;
      const got = receive(this.fd);
      if (got.kind === "nothing") continue;
      if (got.kind === "closed") return undefined;
      if (got.message.type === Msg.REPLY) return got;
      if (got.descriptor !== undefined) close(got.descriptor);
      if (got.message.type !== Msg.INTERRUPT && got.message.type !== Msg.BELL) return undefined;
    }
  }
}
