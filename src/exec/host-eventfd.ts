import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { pollfd } from "../abi/linux/syscalls.js";
import { EventFd } from "../kvm/index.js";
import { C, close, poll, read, write } from "./libc.js";
import type { Reactor } from "./reactor.js";

/**
 * An eventfd of the client: events of the VM are added to it, and while someone listens, what the
 * client adds is taken from it, as the kernel does for an irqfd.
 */
class HostEventFd extends EventFd {
  #fd: number;
  readonly #reactor: Reactor;
  readonly #heard = new Set<() => void>();
  /** The count when someone began to listen: it stays until more is added. */
  #left = 0n;
  readonly #word = new Uint8Array(8);
  readonly #count = new DataView(this.#word.buffer);

  constructor(fd: number, reactor: Reactor) {
    super();
    this.#fd = fd;
    this.#reactor = reactor;
  }

  override get count(): bigint {
    return BigInt(`0x${fileInfo(this.#fd, /^eventfd-count:\s*(\S+)/m) ?? 0}`);
  }

  override signal(value = 1n): void {
    this.#count.setBigUint64(0, value, true);
    // A full counter keeps its value, as eventfd_signal does.
    if (this.#isReady(4)) write(this.#fd, this.#word, 8);
  }

  override read(): bigint {
    if (!this.#isReady(C.POLLIN)) return 0n;
    return read(this.#fd, this.#word, 8) === 8 ? this.#count.getBigUint64(0, true) : 0n;
  }

  override onSignal(listener: () => void): () => void {
    if (this.#heard.size === 0) {
      this.#left = this.#isReady(C.POLLIN) ? this.count : 0n;
      this.#reactor.watch(this.#fd, () => this.#signalled(), true);
    }
    this.#heard.add(listener);
    return () => {
      this.#heard.delete(listener);
      if (this.#heard.size === 0) this.#reactor.unwatch(this.#fd);
    };
  }

  /** Gives the descriptor back. */
  close(): void {
    this.#reactor.unwatch(this.#fd);
    close(this.#fd);
    // A VM may outlive the process, and still have this.
    this.#fd = -1;
  }

  #signalled(): void {
    const left = this.#left;
    this.#left = 0n;
    if (left !== 0n && left === this.count) return;
    if (this.read() === 0n) return;
    for (const listener of [...this.#heard]) listener();
    this.#reactor.promisesWait();
  }

  #isReady(events: number): boolean {
    const entry = pollfd.encode({ fd: this.#fd, events });
    return poll(entry, 1, 0) === 1 && (pollfd.decode(entry).revents & events) !== 0;
  }
}

/** An eventfd that is not used any more, and what knew it. */
interface Unused {
  readonly fd: number;
  readonly id: string;
  readonly known: Map<string, WeakRef<HostEventFd>>;
  readonly ref: WeakRef<HostEventFd>;
}

/** Of no client: the eventfds of one may be collected together with it. */
const unused = new FinalizationRegistry<Unused>(({ fd, id, known, ref }) => {
  if (known.get(id) === ref) known.delete(id);
  close(fd);
});

/** So many new eventfds after a collection, and as many as there were behind it, the next one is due. */
const COLLECT_AFTER = 256;

/**
 * A full collection of garbage. V8 looks at what is used weakly in no other, and makes one when its heap is full, which
 * thousands of descriptors need not bring about.
 */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

/** The eventfds of a client that some VM uses. Their descriptors go with the last use. */
export class HostEventFds {
  readonly #reactor: Reactor;
  readonly #known = new Map<string, WeakRef<HostEventFd>>();
  #untilCollection = COLLECT_AFTER;

  constructor(reactor: Reactor) {
    this.#reactor = reactor;
  }

  /** The eventfd behind a descriptor, which belongs to this from now on; undefined: another file. */
  of(fd: number): HostEventFd | undefined {
    const id = eventfdId(fd);
    const known = id === undefined ? undefined : this.#known.get(id)?.deref();
    if (id === undefined || known !== undefined) {
      close(fd);
      return known;
    }
    const made = new HostEventFd(fd, this.#reactor);
    const ref = new WeakRef(made);
    this.#known.set(id, ref);
    unused.register(made, { fd, id, known: this.#known, ref }, made);
    if (--this.#untilCollection === 0) {
      collectGarbage();
      const used = [...this.#known.values()].filter((one) => one.deref() !== undefined).length;
      this.#untilCollection = COLLECT_AFTER + used;
    }
    return made;
  }

  /** The client is gone. */
  close(): void {
    for (const ref of this.#known.values()) {
      const eventfd = ref.deref();
      if (eventfd === undefined) continue;
      unused.unregister(eventfd);
      eventfd.close();
    }
    this.#known.clear();
  }
}

/** What names an eventfd everywhere (`eventfd-id` in fdinfo); undefined for any other file. */
const eventfdId = (fd: number): string | undefined => fileInfo(fd, /^eventfd-id:\s*(\S+)/m);

/** What the kernel says about a descriptor in its fdinfo; undefined when it does not. */
function fileInfo(fd: number, line: RegExp): string | undefined {
  try {
    return line.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1];
  } catch {
    return undefined;
  }
}
