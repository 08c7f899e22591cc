import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { HostError } from "../../../base/index.js";
import {
  type Frame,
  type Log,
  MAX_FRAME,
  type Network,
  type NetworkOffers,
} from "../../../ports/index.js";
import { FrameRing } from "./frame-ring.js";
import type { FromThread, LinkRequest, ToThread } from "./link.js";
import { openWaker, wake } from "./system.js";
import type { ThreadData } from "./worker.js";

/**
 * Bytes of frames on their way to or from the thread, of one card.
 * @limit guest | bytes of a card on their way to its network, and back | bytes | a guest's frames wait in its ring;
 *   those for it are lost, which is beyond what its network is asked for
 */
const MAX_RING = 2 << 20;
/**
 * Messages of a network about its guest.
 * @limit guest | messages of a network about what a guest sent | messages | no more are shown
 */
const MAX_WORDS = 8;
/** Frames that are given to a guest at a time. */
const BATCH = 64;

/** The thread, with what is open in it. */
class NetworkThread {
  static #running: NetworkThread | undefined;
  readonly #port: MessagePort;
  readonly #waker: number;
  readonly #links = new Map<number, (message: FromThread) => void>();
  #serial = 0;

  private constructor() {
    this.#waker = openWaker();
    if (this.#waker < 0) throw new HostError("TOO_FEW_FILES", "too few files may be open at once");
    const { port1, port2 } = new MessageChannel();
    const workerData: ThreadData = { port: port2, waker: this.#waker };
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData,
      transferList: [port2],
    });
    this.#port = port1;
    port1.on("message", (message: FromThread) => this.#links.get(message.id)?.(message));
    worker.on("error", (error) => {
      throw error;
    });
    worker.unref();
    port1.unref();
    // A thread in poll(2) would keep the process that waits for its end.
    process.once("exit", () => this.tell({ kind: "end" }));
  }

  static get(): NetworkThread {
    NetworkThread.#running ??= new NetworkThread();
    return NetworkThread.#running;
  }

  /** A number for a network, whose messages are heard until {@link forget}. */
  register(listener: (message: FromThread) => void): number {
    this.#serial += 1;
    this.#links.set(this.#serial, listener);
    // Somebody waits for its messages.
    this.#port.ref();
    return this.#serial;
  }

  forget(id: number): void {
    this.#links.delete(id);
    if (this.#links.size === 0) this.#port.unref();
  }

  tell(message: ToThread): void {
    this.#port.postMessage(message);
    this.wake();
  }

  wake(): void {
    wake(this.#waker);
  }
}

/** A network in the thread of networks. */
class ThreadNetwork implements Network {
  readonly offers: NetworkOffers;
  readonly #thread = NetworkThread.get();
  readonly #id: number;
  readonly #log: Log;
  readonly #sent = FrameRing.create(MAX_RING);
  readonly #received = FrameRing.create(MAX_RING);
  /** Taken out, and not taken by the guest yet. */
  #kept: Frame[] = [];
  #told = 0;
  #isOpen = false;
  #settle: (message: FromThread) => void = () => undefined;
  #onRoom: () => void = () => undefined;
  #receiver: (frames: readonly Frame[]) => number = () => 0;

  constructor(offers: NetworkOffers, log: Log) {
    this.offers = offers;
    this.#log = log;
    this.#id = this.#thread.register((message) => this.#hear(message));
  }

  /** @throws HostError when the thread refuses. */
  async open(link: LinkRequest): Promise<void> {
    const sent = this.#sent.shared;
    const received = this.#received.shared;
    const message = await this.#ask({ kind: "open", id: this.#id, link, sent, received });
    if (message.kind === "refused") {
      this.#thread.forget(this.#id);
      throw new HostError(message.code, message.message);
    }
    this.#isOpen = true;
  }

  get isFull(): boolean {
    return !this.#sent.hasRoom(MAX_FRAME) && this.#sent.waitForRoom(MAX_FRAME);
  }

  send(frame: Frame): void {
    this.#sent.push(frame);
    if (this.#sent.takeSleeper()) this.#thread.wake();
  }

  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  onFrames(receiver: (frames: readonly Frame[]) => number): void {
    this.#receiver = receiver;
    this.#deliver();
  }

  resume(): void {
    // Not inside of a call of the receiver.
    setImmediate(() => this.#deliver());
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#ask({ kind: "close", id: this.#id });
    this.#thread.forget(this.#id);
  }

  #ask(message: ToThread): Promise<FromThread> {
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#thread.tell(message);
    });
  }

  #hear(message: FromThread): void {
    if (message.kind === "woken") {
      this.#onRoom();
      this.#deliver();
    } else if (message.kind === "said") {
      this.#told += 1;
      if (this.#told <= MAX_WORDS) this.#log.debug(`network: ${message.text}`);
    } else this.#settle(message);
  }

  /** Gives the guest what it takes; what it does not take stays in the ring, and the network waits. */
  #deliver(): void {
    if (!this.#isOpen) return;
    do {
      this.#received.awake();
      while (this.#kept.length < BATCH) {
        const frame = this.#received.pop();
        if (frame === undefined) break;
        this.#kept.push(frame);
      }
      if (this.#received.takeWaiter()) this.#thread.wake();
      if (this.#kept.length === 0) continue;
      const taken = this.#receiver(this.#kept);
      this.#kept.splice(0, taken);
      if (this.#kept.length > 0) return;
    } while (!this.#received.sleep());
  }
}

/** A port of the host that leads into the guest. */
export interface UserForward {
  readonly protocol: "tcp" | "udp";
  /** An IPv4 address of the host; empty for all. */
  readonly hostAddress: string;
  readonly hostPort: number;
  /** An IPv4 address of the guest; empty for the one that it gets by DHCP. */
  readonly guestAddress: string;
  readonly guestPort: number;
}

/** What a network in user space is like. */
export interface UserNetworkOptions {
  readonly log: Log;
  /** N in 10.0.N.0/24, from 2. */
  readonly subnet?: number;
  /** The guest reaches the loopback interface of the host at 10.0.N.2. */
  readonly hostLoopback?: boolean;
  readonly forwards?: readonly UserForward[];
}

const addressOf = (text: string): number[] =>
  text === "" ? [0, 0, 0, 0] : text.split(".").map(Number);

/**
 * Opens a network in user space, by libslirp: the guest reaches what this process reaches, without privileges.
 * @throws HostError NO_LIBSLIRP when the library is missing; NET_UNUSABLE when a port cannot be had.
 */
export async function openUserNetwork(options: UserNetworkOptions): Promise<Network> {
  const { log, subnet = 2, hostLoopback = false, forwards = [] } = options;
  // TCP ends in libslirp: it takes segments of any size.
  const network = new ThreadNetwork({ checksum: false, segmentation: true }, log);
  await network.open({
    kind: "user",
    subnet,
    hostLoopback,
    forwards: forwards.map((forward) => ({
      isUdp: forward.protocol === "udp",
      hostAddress: addressOf(forward.hostAddress),
      hostPort: forward.hostPort,
      guestAddress: addressOf(forward.guestAddress),
      guestPort: forward.guestPort,
    })),
  });
  return network;
}

/**
 * Opens an interface of the host (tap) by its name, which is made if there is none and this process may do so.
 * @throws HostError NET_UNUSABLE when it cannot be had.
 */
export async function openTapNetwork(name: string, log: Log): Promise<Network> {
  const network = new ThreadNetwork({ checksum: false, segmentation: false }, log);
  await network.open({ kind: "tap", name });
  return network;
}
