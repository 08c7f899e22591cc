import { KVM_RUN_BYTES } from "../abi/kvm/exit.js";
import { Errno } from "../base/index.js";
import type { KvmFile } from "../ioctl/index.js";
import { PageAccess } from "../memory/index.js";
import { Call, type Request } from "./call.js";
import type { Client, Replaced } from "./client.js";
import type { Files, OpenFile } from "./files.js";
import { C, close } from "./libc.js";
import type { Mail, Mailbox, MailRoom } from "./mailbox.js";
import {
  type Answer,
  type Message,
  Msg,
  PROTOCOL_VERSION,
  READ_MAX,
  type Received,
  receive,
  send,
} from "./protocol.js";
import type { Favourite, Reactor } from "./reactor.js";
import type { RunPages } from "./run-pages.js";
import { ThreadTime } from "./thread-time.js";
import type { Callee, Caller, Tracer } from "./trace/index.js";

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
  /** The process a connection says hello for, if it may, and which program it runs. */
  hello(connection: Connection, pid: number, program: number): Client | undefined;
  /** The other end is gone. */
  closed(connection: Connection): void;
}

/** What SHARE says in its lowest bits. */
const ACCESSES = [PageAccess.FULL, PageAccess.READ] as const;

const refused = (error: number): Answer => ({ a: -error });

/** One thread of a client: its requests and their answers. */
export class Connection implements Favourite {
  readonly fd: number;
  client: Client | undefined;
  readonly #parts: ConnectionParts;
  /** The ioctl that has not answered yet, and its file. */
  #running: { readonly open: OpenFile; readonly result: Promise<number> } | undefined;
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

  look(): boolean {
    const got = receive(this.fd);
    if (got.kind === "message") this.#serve(got);
    else if (got.kind === "closed") this.close();
    return got.kind !== "nothing";
  }

  /** The other end is gone, or is told that this one is. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#interrupt();
    this.#closeMailbox();
    this.#time?.close();
    const { reactor } = this.#parts;
    if (reactor.favourite === this) reactor.favourite = undefined;
    reactor.unwatch(this.fd);
    reactor.promisesWait();
    close(this.fd);
    this.#parts.closed(this);
  }

  #interrupt(): void {
    if (this.#running === undefined) return;
    const { open, result } = this.#running;
    open.file.interrupt?.(result);
  }

  #threadTime(): ThreadTime | null {
    if (this.#time === undefined) {
      const { client } = this;
      this.#time = client === undefined ? null : (ThreadTime.of(client.pid, this.#thread) ?? null);
    }
    return this.#time;
  }

  #serve(received: Extract<Received, { kind: "message" }>): void {
    const { message, descriptors } = received;
    const needsOne = message.type === Msg.OPEN || message.type === Msg.SHARE;
    const takes = message.type === Msg.IOCTL || (needsOne && descriptors.length === 1);
    if (!takes || this.#running !== undefined || this.client === undefined) {
      for (const descriptor of descriptors) close(descriptor);
    }
    if (message.type === Msg.INTERRUPT) {
      this.#interrupt();
      this.#parts.reactor.promisesWait();
      return;
    }
    // The request may have been seen before, and be waiting.
    if (message.type === Msg.BELL) {
      this.#parts.mailRoom?.look();
      return;
    }
    if (this.#running !== undefined) {
      this.close();
      return;
    }
    if (message.type === Msg.HELLO) {
      this.#answer(this.#hello(message));
      return;
    }
    const { client } = this;
    if (client === undefined || (needsOne && !takes)) {
      this.close();
      return;
    }
    this.#handle(client, received);
  }

  #handle(client: Client, request: Request): void {
    const answer = this.#request(client, request);
    if (answer === "close") this.close();
    else if (answer !== "later") this.#answer(answer);
  }

  #hello(message: Message): Answer {
    if (this.client !== undefined || message.a !== BigInt(PROTOCOL_VERSION)) {
      return refused(Errno.EINVAL);
    }
    this.client = this.#parts.hello(this, Number(message.b), message.handle);
    if (this.client === undefined) return refused(Errno.EACCES);
    this.#thread = Number(message.c);
    if (message.d !== 1n || this.#parts.mailRoom === undefined) return { a: 0 };
    const {
      mailbox,
      place,
      close: closeMailbox,
    } = this.#parts.mailRoom.open((mail) => this.#mail(mail));
    this.#mailbox = mailbox;
    this.#closeMailbox = closeMailbox;
    return { a: 0, b: place.offset, c: place.awakeOffset, descriptor: place.fd };
  }

  /** A request that came by mailbox. */
  #mail({ message, bytes }: Mail): void {
    if (this.client === undefined || this.#running !== undefined) return;
    this.#atMailbox = true;
    this.#handle(this.client, { message, bytes, descriptors: [] });
  }

  /** The client goes on at its socket, where it waits for the answer. */
  #leaveMailbox(): void {
    if (!this.#atMailbox) return;
    this.#atMailbox = false;
    this.#mailbox?.toSocket();
  }

  #request(client: Client, request: Request): Answer | "later" | "close" {
    const { message } = request;
    const [descriptor = -1] = request.descriptors;
    switch (message.type) {
      case Msg.OPEN: {
        const handle = this.#parts.open(client);
        const isOpen = this.#parts.files.connect(handle, descriptor);
        return isOpen ? { a: handle } : refused(Errno.EBADF);
      }
      case Msg.IOCTL:
        return this.#ioctl(client, request);
      case Msg.MMAP:
        return this.#mmap(message);
      case Msg.SHARE: {
        const at = Number(message.a);
        const offset = Number(message.c);
        const length = Number(message.b);
        const access = ACCESSES[Number(message.d & 3n)] ?? PageAccess.NONE;
        const replaced = client.backing.share(at, length, descriptor, offset, access);
        this.#invalidate(client, replaced ?? []);
        return replaced === undefined ? refused(Errno.EFAULT) : { a: 0 };
      }
      case Msg.UNSHARE:
        return this.#unshare(client, Number(message.a), Number(message.b));
      case Msg.RESIZED:
        this.#invalidate(client, client.backing.resized());
        return { a: 0 };
      case Msg.READ:
        return this.#read(message);
      case Msg.PLACE:
        return this.#place(message.handle);
      case Msg.LINES:
        return this.#lines(client, message.handle);
      default:
        return "close";
    }
  }

  #ioctl(client: Client, request: Request): Answer | "later" {
    const call = new Call(request, this.#runDelay);
    client.call = call;
    try {
      const answer = this.#call(client, call, request.message);
      if (answer !== "later") call.close();
      return answer;
    } finally {
      client.call = undefined;
    }
  }

  #call(client: Client, call: Call, message: Message): Answer | "later" {
    const open = this.#parts.files.get(message.handle);
    // A descriptor of a process that is gone, in one of its children.
    if (open === undefined) return refused(Errno.EIO);
    const file = this.#parts.fileFor(open, client);
    if (file === undefined) return refused(Errno.EIO);
    const request = Number(BigInt.asUintN(32, message.a));
    if (message.c !== 0n) this.#delay = message.c - 1n;
    const traced = this.#parts.tracer?.before(
      this.#caller(client),
      calleeOf(open),
      request,
      message.b,
    );
    const result = file.ioctl(request, message.b);
    if (typeof result === "number") {
      traced?.(result);
      return { a: result, b: call.installed, bytes: call.answer };
    }
    this.#leaveMailbox();
    this.#running = { open, result };
    this.#parts.reactor.promisesWait();
    result
      .catch(() => -Errno.EIO)
      .then((value) => {
        this.#running = undefined;
        call.close();
        // The tracer sees the argument as the client will.
        client.call = call;
        traced?.(value);
        client.call = undefined;
        if (this.#closed) return;
        this.#answer({ a: value, b: call.installed, bytes: call.answer });
      });
    return "later";
  }

  #caller(client: Client): Caller {
    return {
      pid: client.pid,
      tid: this.#thread,
      read: (address, length) => client.read(address, length),
    };
  }

  #mmap(message: Message): Answer {
    const open = this.#parts.files.get(message.handle);
    if (open === undefined) return refused(Errno.ENODEV);
    const pages = open.file.mmap(Number(message.a), Number(message.b));
    if (typeof pages === "number") return refused(-pages);
    const place = this.#parts.pages.locate(pages);
    if (place === undefined) return refused(Errno.ENODEV);
    return { a: 0, b: place.offset, descriptor: place.fd };
  }

  /** A page with what need not be asked. A trace shows every call. */
  #lines(client: Client, handle: number): Answer {
    const open = this.#parts.files.get(handle);
    if (open?.client !== client || this.#parts.tracer?.showsCalls === true) {
      return refused(Errno.ENODEV);
    }
    const place = client.lines.open(handle, open.file);
    return place ? { a: 0, b: place.offset, descriptor: place.fd } : refused(Errno.ENODEV);
  }

  #read(message: Message): Answer {
    const open = this.#parts.files.get(message.handle);
    if (open?.file.read === undefined) return refused(Errno.EINVAL);
    const asked = BigInt.asIntN(64, message.b);
    const at = asked < 0n ? open.position : Number(asked);
    const bytes = open.file.read(Math.min(READ_MAX, Number(message.a)), at);
    if (typeof bytes === "number") return refused(-bytes);
    if (asked < 0n) open.position += bytes.length;
    return { a: bytes.length, bytes };
  }

  /** What can be read is open for reading only. */
  #place(handle: number): Answer {
    const open = this.#parts.files.get(handle);
    if (open === undefined) return refused(Errno.EIO);
    const place = open.file.hasNoPlace === true ? -Errno.ESPIPE : open.position;
    return { a: place, b: open.file.read === undefined ? 0 : 1 };
  }

  /** Answers whether a VM has that memory still, or will have it. */
  #unshare(client: Client, address: number, length: number): Answer {
    const replaced = client.backing.unshare(address, length);
    this.#invalidate(client, replaced);
    const isWanted = replaced.length > 0 || client.backing.isExpected(address, length);
    return { a: isWanted ? 1 : 0 };
  }

  /** Tells the VMs which of their pages have another backing now. */
  #invalidate(client: Client, replaced: readonly Replaced[]): void {
    for (const { linear, start, length } of replaced) {
      for (const open of this.#parts.files.all()) {
        if (open.client === client) open.file.invalidate?.(linear, start, length);
      }
    }
  }

  #answer(answer: Answer): void {
    if (this.#atMailbox) {
      this.#atMailbox = false;
      this.#mailbox?.answer(answer.a, answer.bytes, this.#wantsDelay);
      return;
    }
    const told = this.#wantsDelay ? { ...answer, d: 1 } : answer;
    if (send(this.fd, told)) this.#parts.reactor.favourite = this;
    else this.close();
  }
}

/** A file as the trace names it. */
function calleeOf({ file, handle, shared }: OpenFile): Callee {
  return {
    name: shared === undefined ? `#${handle}<${file.name}>` : file.name,
    pages() {
      const pages = file.mmap(KVM_RUN_BYTES, 0);
      return typeof pages === "number" ? undefined : pages;
    },
  };
}
