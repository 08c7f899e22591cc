/** A network card's way out of a page: `kvm-xen relay`. */
import { HostError } from "../../base/index.js";
import type { Frame, Log, Network, NetworkOffers } from "../../ports/index.js";

/**
 * Bytes of frames for the relay that wait in the page.
 * @limit guest | frames of a page's guest that wait for the relay | bytes | they wait in the guest's ring
 */
const MAX_WAITING = 1 << 20;
/**
 * Bytes of frames that the guest has not taken.
 * @limit client | frames of a relay for a page's guest | bytes | further ones are lost
 */
const MAX_KEPT = 4 << 20;
/** Milliseconds between two looks whether there is room: a WebSocket tells nobody. */
const LOOK_MS = 2;

/**
 * The network behind a relay: each frame is one message of a WebSocket. When the relay has gone, it is a cable that is not
 * plugged in.
 */
export class RelayNetwork implements Network {
  /** TCP ends in the relay's libslirp, which takes segments of any size. */
  readonly offers: NetworkOffers = { checksum: false, segmentation: true };
  readonly #socket: WebSocket;
  #kept: Frame[] = [];
  #keptBytes = 0;
  #onRoom: () => void = () => undefined;
  #receiver: (frames: readonly Frame[]) => number = (frames) => frames.length;
  #looks = false;
  #isClosed = false;

  private constructor(socket: WebSocket, log: Pick<Log, "warn">) {
    this.#socket = socket;
    socket.onmessage = ({ data }: { data: unknown }) => {
      if (data instanceof ArrayBuffer) this.#take(new Uint8Array(data));
    };
    socket.onclose = () => {
      if (!this.#isClosed) log.warn("the network's relay has gone: the guest's cable is unplugged");
      this.#isClosed = true;
      // What is sent from now on is lost, and does not wait.
      this.#onRoom();
    };
  }

  /**
   * Connects to a relay.
   * @param address what `kvm-xen relay` prints, such as `ws://127.0.0.1:8000/relay-0123456789abcdef0123456789abcdef/net`
   * @throws HostError NET_UNUSABLE when nobody answers there, or refuses this page.
   */
  static open(address: string, log: Pick<Log, "warn">): Promise<RelayNetwork> {
    const refusal = (why: string) =>
      new HostError("NET_UNUSABLE", `the network's relay at '${address}' ${why}`);
    return new Promise((resolve, reject) => {
      if (!/^wss?:\/\//.test(address)) throw refusal("has no address of a WebSocket: ws://...");
      const socket = new WebSocket(address);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => resolve(new RelayNetwork(socket, log));
      socket.onclose = () =>
        reject(refusal("does not answer, or not to this page: see kvm-xen relay --allow-origin"));
    });
  }

  get isFull(): boolean {
    if (this.#isClosed || this.#socket.bufferedAmount < MAX_WAITING) return false;
    if (!this.#looks) {
      this.#looks = true;
      setTimeout(() => this.#look(), LOOK_MS);
    }
    return true;
  }

  send({ bytes }: Frame): void {
    // Bytes of shared memory are no message.
    if (!this.#isClosed) this.#socket.send(new Uint8Array(bytes));
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
    queueMicrotask(() => this.#deliver());
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#socket.close();
    return Promise.resolve();
  }

  #look(): void {
    this.#looks = false;
    if (!this.isFull) this.#onRoom();
  }

  #take(bytes: Uint8Array): void {
    if (this.#keptBytes + bytes.length > MAX_KEPT) return;
    this.#kept.push({ bytes, checksum: "unknown" });
    this.#keptBytes += bytes.length;
    this.#deliver();
  }

  #deliver(): void {
    if (this.#kept.length === 0) return;
    const taken = this.#kept.splice(0, this.#receiver(this.#kept));
    for (const { bytes } of taken) this.#keptBytes -= bytes.length;
  }
}
