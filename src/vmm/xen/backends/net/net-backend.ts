/** A paravirtual network card (Xen's `public/io/netif.h`): one ring of one page for each direction. */
import { XenbusState } from "../../../../abi/xen/xenbus.js";
import { HostError } from "../../../../base/index.js";
import type { ArmLater, KeptRecord, Network } from "../../../../ports/index.js";
import type { BackendHost } from "../../interfaces.js";
import {
  type Backend,
  type DeviceIdentity,
  type DeviceStatus,
  fieldsOf,
  type SavedValue,
} from "../backend.js";
import type { FrontendNodes, Nodes } from "../nodes.js";
import { XenbusDevice, type XenbusDriver } from "../xenbus-device.js";
import { NetConnection, readSaved } from "./connection.js";
import { netLayer } from "./kept.js";
import { checkMac, MAX_CARDS } from "./mac.js";

const recordOf = ({ what, numbers, bytes, timer }: KeptRecord) => ({
  ...{ what, numbers, bytes },
  timer: timer && { atNs: timer.atNs, order: timer.order },
});

export class NetBackend implements Backend, XenbusDriver {
  readonly class = "vif";
  readonly id: string;
  readonly name: string;
  /** Frontends of networks have no Initialised: Linux goes from 1 to 4. */
  readonly connectsAt: ReadonlySet<number> = new Set([XenbusState.Connected]);
  readonly mac: string;
  readonly #network: Network;
  #host: BackendHost | undefined;
  #device: XenbusDevice | undefined;
  #connection: NetConnection | undefined;
  #suspended = false;

  /**
   * `index`: the number of the card, from 0.
   * @throws HostError NET_CARDS for a number that no card has; MAC_ADDRESS for an address that is none.
   */
  constructor(index: number, mac: string, network: Network) {
    if (!Number.isInteger(index) || index < 0 || index >= MAX_CARDS) {
      throw new HostError("NET_CARDS", `a machine has at most ${MAX_CARDS} network cards`);
    }
    this.id = `${index}`;
    this.name = `vif${index}`;
    this.mac = checkMac(mac);
    this.#network = network;
    network.onFrames((frames) => this.#receive(frames));
    network.onRoom(() => this.#connection?.process());
  }

  connect(host: BackendHost): void {
    this.#host = host;
    this.#connection = undefined;
    this.#device = new XenbusDevice(host, this);
    this.#device.announce(true);
    this.#network.resume();
  }

  reset(): void {
    if (this.#host !== undefined) {
      this.#device = XenbusDevice.replace(this.#host, this, this.#device);
    }
  }

  /** What is on its way in the network stays there, or is lost. */
  suspend(): Promise<void> {
    this.#suspended = true;
    this.#connection?.suspend();
    return Promise.resolve();
  }

  resume(): void {
    this.#suspended = false;
    this.#connection?.resume();
    this.#network.resume();
  }

  save(): SavedValue {
    return { device: this.#device?.save() ?? null, connection: this.#connection?.save() ?? null };
  }

  restore(host: BackendHost, saved: SavedValue): void {
    const { device, connection } = fieldsOf(saved);
    this.#host = host;
    this.#device = new XenbusDevice(host, this);
    this.#device.restore(device ?? null);
    const data = readSaved(connection ?? null);
    if (this.#device.connected !== (data !== undefined)) throw this.#damaged();
    if (data !== undefined) {
      const { place, position } = data;
      const opened = NetConnection.open(host, this.#network, place, this.#fail, position);
      if (typeof opened === "string") throw this.#damaged();
      this.#connection = opened;
      if (this.#suspended) opened.suspend();
    }
    this.#device.ready();
    this.#connection?.process();
    this.#network.resume();
  }

  kept(): SavedValue {
    const device = this.#device?.kept;
    const network = this.#network.kept?.();
    if (network === undefined) {
      const message = `${this.name} is connected to a network that cannot be saved exactly: use the simulated one, or none`;
      throw new HostError("SNAPSHOT_IMPOSSIBLE", message);
    }
    if (device === undefined || this.#suspended) {
      const message = `${this.name} is in the middle of something: save the machine at another moment`;
      throw new HostError("SNAPSHOT_IMPOSSIBLE", message);
    }
    const connection = this.#connection?.kept();
    return { device, net: netLayer.write({ connection, network: network.map(recordOf) }) };
  }

  keep(host: BackendHost, kept: SavedValue, later: ArmLater): void {
    const { device, net } = fieldsOf(kept);
    const { connection, network } = netLayer.read(net, this.name);
    this.#host = host;
    this.#device = new XenbusDevice(host, this);
    this.#device.keep(device ?? null);
    if (this.#device.connected !== (connection !== undefined)) throw this.#damaged();
    if (connection !== undefined) {
      this.#connection = NetConnection.keep(host, this.#network, connection, this.#fail);
    }
    if (this.#network.keep === undefined) {
      const message = `${this.name} was connected to a simulated network when the machine was saved: give it that`;
      throw new HostError("SNAPSHOT_DEVICES", message);
    }
    this.#network.keep(network, later);
  }

  close(): Promise<void> {
    return this.#network.close();
  }

  status(): DeviceStatus {
    const { name, class: kind } = this;
    return { name, class: kind, connected: this.#device?.connected ?? false };
  }

  async identity(): Promise<DeviceIdentity> {
    return { mac: this.mac };
  }

  async unplug(): Promise<void> {
    await this.#device?.unplug();
    this.#device = undefined;
  }

  // What XenbusDevice asks.

  nodes(): { readonly frontend: Nodes; readonly backend: Nodes } {
    const both = { handle: this.id, mac: this.mac };
    return {
      // Linux has the address from here.
      frontend: both,
      backend: {
        ...both,
        // Linux has no device at all without it.
        "feature-rx-copy": "1",
        "feature-sg": "1",
        "feature-gso-tcpv4": "1",
        "feature-gso-tcpv6": "1",
        "feature-ipv6-csum-offload": "1",
      },
    };
  }

  connectTo(frontend: FrontendNodes): string | undefined {
    const [tx, rx] = [frontend.grantRef("tx-ring-ref"), frontend.grantRef("rx-ring-ref")];
    const port = frontend.port("event-channel");
    const has = (name: string): boolean => frontend.number(name) === 1;
    if (tx === undefined) return "tx-ring-ref is no number";
    if (rx === undefined) return "rx-ring-ref is no number";
    if (port === undefined) return "event-channel is no number";
    if (!has("request-rx-copy")) return "request-rx-copy is not 1";
    if (this.#host === undefined) return "there is no domain";
    const takes = {
      sg: has("feature-sg"),
      gso4: has("feature-gso-tcpv4"),
      gso6: has("feature-gso-tcpv6"),
      // Of IPv4, a frontend says that it does not.
      checksum4: !has("feature-no-csum-offload"),
      checksum6: has("feature-ipv6-csum-offload"),
      notifies: has("feature-rx-notify"),
    };
    const place = { tx, rx, port, takes };
    const opened = NetConnection.open(this.#host, this.#network, place, this.#fail);
    if (typeof opened === "string") return opened;
    this.#connection = opened;
    if (this.#suspended) opened.suspend();
    return undefined;
  }

  /** Linux sends before it has seen that it is connected. */
  connected(): void {
    this.#connection?.process();
    this.#network.resume();
  }

  disconnect(onDrained: () => void): void {
    this.#connection?.close();
    this.#connection = undefined;
    onDrained();
  }

  readonly #fail = (reason: string): void => this.#device?.fail(reason);

  /** Without a frontend it is a card that is switched off: what comes is lost. */
  #receive(frames: Parameters<NetConnection["receive"]>[0]): number {
    if (this.#suspended) return 0;
    return this.#connection?.receive(frames) ?? frames.length;
  }

  #damaged(): HostError {
    return new HostError("STATE_DAMAGED", `${this.name}: the saved state is damaged`);
  }
}
