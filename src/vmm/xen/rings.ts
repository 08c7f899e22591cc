/**
 * The two rings that a toolstack makes before a guest starts: xenstore and console. Each has a page,
 * an event channel port, two HVM parameters and two nodes in the store that say where it is.
 */
import { HvmParam } from "../../abi/xen/hvm.js";
import { assert, evtchnPort } from "../../base/index.js";
import type { ByteStream, Log } from "../../ports/index.js";
import { ConsoleRing } from "./console/ring.js";
import type { BackendChannel, BackendHost } from "./interfaces.js";
import type { SharedPage } from "./shared-page.js";
import { PRIVILEGED } from "./xenstore/node.js";
import { domainPath } from "./xenstore/path.js";
import { XenstoreRing, type XenstoreRingKept } from "./xenstore/ring.js";
import type { StoreKept } from "./xenstore/store.js";
import { toBytes } from "./xenstore/wire.js";

/** What the rings are made from. */
export interface RingsConfig {
  readonly host: BackendHost;
  /** A new port of the guest, unbound for domain 0. */
  readonly allocatePort: () => number;
  readonly params: Map<number, bigint>;
  readonly pages: { readonly store: SharedPage; readonly console: SharedPage };
  readonly stream: ByteStream;
  readonly log: Log;
}

/** Guest ports of the rings. */
export interface RingPorts {
  readonly store: number;
  readonly console: number;
}

/** What the rings know beside their pages. */
export interface RingsKept {
  readonly ports: RingPorts;
  readonly store: XenstoreRingKept;
  /** Input for the console that the guest has not taken. */
  readonly waiting: Uint8Array;
  readonly complained: boolean;
}

export class Rings {
  readonly console: ConsoleRing;
  readonly #store: XenstoreRing;
  readonly #config: RingsConfig;
  #channels: { readonly store: BackendChannel; readonly console: BackendChannel };
  #ports: RingPorts;

  constructor(config: RingsConfig) {
    const { host, pages, log } = config;
    this.#config = config;
    this.#store = new XenstoreRing(
      pages.store,
      host.store,
      host.domid,
      () => this.#channels.store.notify(),
      log,
    );
    this.console = new ConsoleRing(
      pages.console,
      config.stream,
      () => this.#channels.console.notify(),
      log,
    );
    [this.#ports, this.#channels] = this.#connect();
  }

  /** Where the guest finds them now. */
  get ports(): RingPorts {
    return this.#ports;
  }

  /**
   * For another kernel in the same domain, after all its ports were closed: new ports, and an empty
   * xenstore ring. The console's ring stays as it is: what it holds is still to be seen.
   */
  reset(): void {
    this.#channels.store.close();
    this.#channels.console.close();
    this.#store.reset();
    [this.#ports, this.#channels] = this.#connect();
    const { host } = this.#config;
    for (const name of ["store", "console"] as const) {
      const path = `${domainPath(host.domid)}/${name}/port`;
      host.store.write(PRIVILEGED, 0, path, toBytes(`${this.#ports[name]}`));
    }
  }

  /** For exact snapshots. */
  get kept(): RingsKept {
    const { waiting, complained } = this.console;
    return { ports: this.#ports, store: this.#store.kept, waiting, complained };
  }

  /** Puts back what {@link kept} gave, where the ports are. @returns false when it makes no sense. */
  keep({ ports, store, waiting, complained }: RingsKept, watches: StoreKept["watches"]): boolean {
    const { events } = this.#config.host;
    const storeChannel = events.connect(evtchnPort(ports.store), () => this.#store.process());
    const console = events.connect(evtchnPort(ports.console), () => this.console.process());
    if (storeChannel === undefined || console === undefined) return false;
    this.#ports = ports;
    this.#channels = { store: storeChannel, console };
    this.console.restore(waiting, complained);
    return this.#store.keep(store, watches);
  }

  #connect(): [RingPorts, { store: BackendChannel; console: BackendChannel }] {
    const { params, allocatePort } = this.#config;
    const ports = { store: allocatePort(), console: allocatePort() };
    params.set(HvmParam.STORE_EVTCHN, BigInt(ports.store));
    params.set(HvmParam.CONSOLE_EVTCHN, BigInt(ports.console));
    const store = this.#channel(ports.store, () => this.#store.process());
    const console = this.#channel(ports.console, () => this.console.process());
    return [ports, { store, console }];
  }

  #channel(port: number, onNotify: () => void): BackendChannel {
    const channel = this.#config.host.events.connect(evtchnPort(port), onNotify);
    assert(channel !== undefined, "a fresh port cannot be connected");
    return channel;
  }
}
