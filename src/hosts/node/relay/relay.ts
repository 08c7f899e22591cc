/** A page's network card: its frames come through a WebSocket, a message each, and go to a user network of this host. */
import { randomBytes } from "node:crypto";
import { type Log, MAX_FRAME, type Network } from "../../../ports/index.js";
import { openUserNetwork } from "../network/network-thread.js";
import { type PageRoute, PageServer } from "../page-server.js";
import { Close, type WebSocketPeer } from "../websocket.js";
import { HostGuard } from "./host-guard.js";

/** The guest's network: 10.0.2.0/24, as of the first card of `kvm-xen run --net user`. */
const SUBNET = 2;
/** Bytes of the token in the address: nobody guesses 128 bits. */
const TOKEN_BYTES = 16;
const MIN_FRAME = 14;
/**
 * Networks of pages at a time.
 * @limit client | pages with a network by one relay | pages | further ones are closed with 1013
 */
const MAX_PAGES = 16;
/**
 * Bytes of frames that a page has not read.
 * @limit client | frames of a relay that a page does not read | bytes | the network waits, and loses what it is asked for
 */
const MAX_WAITING = 1 << 20;

/** Where a relay listens. */
export interface RelayOptions {
  /** Port on the loopback interface; 0 takes a free one. */
  readonly port: number;
  /** Origins of other pages that may connect, such as `http://127.0.0.1:5173`. */
  readonly allowOrigins: readonly string[];
  /** The page that is served beside it: its folder. */
  readonly folder: string;
  readonly routes: ReadonlyMap<string, PageRoute>;
  readonly log: Log;
}

/** `kvm-xen relay`: the page, and a network for it. */
export class RelayServer {
  /** The page, with its token. */
  readonly pageAddress: string;
  /** For pages that are served by others: the address of their network. */
  readonly address: string;
  readonly #server: PageServer;

  private constructor(server: PageServer) {
    this.#server = server;
    this.pageAddress = server.address;
    this.address = `${server.address.replace("http", "ws")}net`;
  }

  /**
   * Listens.
   * @throws HostError NO_LIBSLIRP when the library is missing; NOT_BUILT or PORT_UNUSABLE.
   */
  static async open({
    port,
    allowOrigins,
    folder,
    routes,
    log,
  }: RelayOptions): Promise<RelayServer> {
    const openNetwork = () => openUserNetwork({ log, subnet: SUBNET, hostLoopback: false });
    // Says what is missing before the first page asks.
    await (await openNetwork()).close();
    let pages = 0;
    const add = (peer: WebSocketPeer): void => {
      if (pages >= MAX_PAGES) {
        peer.close(Close.LATER);
        return;
      }
      pages++;
      openNetwork().then(
        (network) => relay(peer, network, new HostGuard(SUBNET), () => pages--),
        (cause: unknown) => {
          pages--;
          log.warn(`relay: ${cause instanceof Error ? cause.message : String(cause)}`);
          peer.close(Close.FAILED);
        },
      );
    };
    const server = await PageServer.open({
      ...{ folder, port, allowOrigins, routes },
      token: `relay-${randomBytes(TOKEN_BYTES).toString("hex")}`,
      sockets: new Map([["net", add]]),
    });
    return new RelayServer(server);
  }

  /** Ends all connections, and with them their networks. */
  close(): Promise<void> {
    return this.#server.close();
  }
}

/** Carries frames between a page and its network until the page goes. */
export function relay(
  peer: WebSocketPeer,
  network: Network,
  guard: Pick<HostGuard, "allows">,
  onClosed: () => void,
): void {
  /** Came while the network had no room. */
  const kept: Uint8Array[] = [];
  const forward = () => {
    while (kept.length > 0 && !network.isFull) {
      const bytes = kept.shift();
      if (bytes !== undefined) network.send({ bytes, checksum: "unknown" });
    }
    if (kept.length === 0) peer.resume();
    else peer.pause();
  };
  network.onRoom(forward);
  network.onFrames((frames) => {
    let taken = 0;
    for (const { bytes } of frames) {
      if (peer.waiting > MAX_WAITING) break;
      peer.send(bytes);
      taken++;
    }
    return taken;
  });
  peer.listen({
    message: () => peer.close(Close.DATA),
    bytes(frame) {
      if (frame.length < MIN_FRAME || frame.length > MAX_FRAME) peer.close(Close.PROTOCOL);
      else if (guard.allows(frame)) {
        kept.push(frame);
        forward();
      }
    },
    drained: () => network.resume(),
    closed() {
      kept.length = 0;
      onClosed();
      void network.close();
    },
  });
}
