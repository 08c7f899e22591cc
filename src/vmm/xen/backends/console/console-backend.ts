/**
 * A paravirtual console beside the machine's own one: hvc1 and further ones, a "channel" in Xen's words
 * (`docs/misc/channel.txt`). Its ring is laid out as hvc0's, but the guest makes it and grants it.
 */
import { XenbusState } from "../../../../abi/xen/xenbus.js";
import {
  type EvtchnPort,
  evtchnPort,
  type GrantRef,
  grantRef,
  HostError,
} from "../../../../base/index.js";
import type { ByteStream } from "../../../../ports/index.js";
import type { BackendHost } from "../../interfaces.js";
import {
  type Backend,
  type DeviceIdentity,
  type DeviceStatus,
  fieldsOf,
  isU32,
  type SavedValue,
} from "../backend.js";
import type { FrontendNodes, Nodes } from "../nodes.js";
import { XenbusDevice, type XenbusDriver } from "../xenbus-device.js";
import { ConsoleConnection } from "./connection.js";

/**
 * The highest number of a PV console: Linux has hvc0 to hvc7, and hvc0 is the machine's own.
 * @limit user | paravirtual consoles beside hvc0 | consoles | CONSOLE_NUMBER
 */
export const MAX_CONSOLE_NUMBER = 7;

/** Where a frontend's ring is. */
interface ConsolePlace {
  readonly ref: GrantRef;
  readonly port: EvtchnPort;
}

/** What a console is made of besides its number and stream. */
export interface ConsoleOptions {
  /** What programs in the guest find it by: the node `name` of its directory, such as `org.example.agent`. */
  readonly channel?: string;
  /** Told when the guest has a driver for it, each time anew: after a reboot, too. */
  readonly onConnected?: () => void;
  /** Told when it was restored with a driver that is connected, in place of that. */
  readonly onRestored?: () => void;
  /** Something is under way that another process could not go on with. */
  readonly isBusy?: () => boolean;
}

export class ConsoleBackend implements Backend, XenbusDriver {
  readonly class = "console";
  readonly id: string;
  readonly name: string;
  readonly connectsAt: ReadonlySet<number> = new Set([
    XenbusState.Initialised,
    XenbusState.Connected,
  ]);
  readonly #stream: ByteStream;
  readonly #options: ConsoleOptions;
  #host: BackendHost | undefined;
  #device: XenbusDevice | undefined;
  #connection: ConsoleConnection | undefined;
  #place: ConsolePlace | undefined;
  #suspended = false;

  /**
   * `number`: 1 to {@link MAX_CONSOLE_NUMBER}. Linux counts its consoles as they come: they are hvc1, hvc2 and so on
   * when the numbers have no gaps. What the guest writes goes to the stream, and what the stream has is input; without
   * a driver in the guest, input is lost.
   * @throws HostError CONSOLE_NUMBER for another number.
   */
  constructor(number: number, stream: ByteStream, options: ConsoleOptions = {}) {
    if (!Number.isInteger(number) || number < 1 || number > MAX_CONSOLE_NUMBER) {
      const message = `there is no console hvc${number} beside hvc0: choose hvc1 to hvc${MAX_CONSOLE_NUMBER}`;
      throw new HostError("CONSOLE_NUMBER", message);
    }
    this.id = `${number}`;
    this.name = `hvc${number}`;
    this.#stream = stream;
    this.#options = options;
    stream.onData((bytes) => this.#connection?.input(bytes));
    stream.onRoom?.(() => this.#connection?.process());
  }

  /** By its channel: what is at the other end of one is not at that of another. */
  identity(): Promise<DeviceIdentity> {
    return Promise.resolve({ generation: this.#options.channel });
  }

  connect(host: BackendHost): void {
    this.#host = host;
    this.#connection = undefined;
    this.#device = new XenbusDevice(host, this);
    this.#device.announce(true);
  }

  reset(): void {
    if (this.#host !== undefined) {
      this.#device = XenbusDevice.replace(this.#host, this, this.#device);
    }
  }

  suspend(): Promise<void> {
    this.#suspended = true;
    this.#connection?.suspend();
    return Promise.resolve();
  }

  resume(): void {
    this.#suspended = false;
    this.#connection?.resume();
  }

  /** Input that the guest has not taken yet is part of it; what the stream keeps is not. */
  save(): SavedValue {
    const place = this.#connection === undefined ? undefined : this.#place;
    const input = this.#connection?.waiting ?? new Uint8Array(0);
    return {
      device: this.#device?.save() ?? null,
      place: place === undefined ? null : { ref: place.ref, port: place.port },
      input: Array.from(input, (byte) => byte.toString(16).padStart(2, "0")).join(""),
    };
  }

  restore(host: BackendHost, saved: SavedValue): void {
    const { device, place, input } = fieldsOf(saved);
    this.#host = host;
    this.#device = new XenbusDevice(host, this);
    this.#device.restore(device ?? null);
    const isConnected = place !== null;
    if (this.#device.connected !== isConnected) throw this.#damaged();
    if (isConnected) this.#openAgain(place ?? null);
    const bytes = this.#inputOf(input);
    if (bytes.length > 0) this.#connection?.input(bytes);
    if (isConnected) this.#options.onRestored?.();
    this.#device.ready();
    this.#connection?.process();
  }

  kept(): SavedValue {
    const device = this.#device?.kept;
    if (device === undefined || this.#suspended || this.#options.isBusy?.() === true) {
      const message = `${this.name} is in the middle of something: save the machine at another moment`;
      throw new HostError("SNAPSHOT_IMPOSSIBLE", message);
    }
    const { place, input } = fieldsOf(this.save());
    const complained = this.#connection?.complained ?? false;
    return { device, place: place ?? null, input: input ?? "", complained };
  }

  keep(host: BackendHost, kept: SavedValue): void {
    const { device, place, input, complained } = fieldsOf(kept);
    this.#host = host;
    this.#device = new XenbusDevice(host, this);
    this.#device.keep(device ?? null);
    const isConnected = place !== null;
    if (this.#device.connected !== isConnected) throw this.#damaged();
    if (isConnected) this.#openAgain(place ?? null);
    this.#connection?.keep(this.#inputOf(input), complained === true);
  }

  /** Connects as before. @throws HostError STATE_DAMAGED */
  #openAgain(place: SavedValue): void {
    const { ref, port } = fieldsOf(place);
    if (!isU32(ref) || !isU32(port)) throw this.#damaged();
    const problem = this.#open({ ref: grantRef(ref), port: evtchnPort(port) });
    if (problem !== undefined) throw this.#damaged();
  }

  #inputOf(input: SavedValue | undefined): Uint8Array {
    if (typeof input !== "string" || !/^([\da-f]{2})*$/.test(input)) throw this.#damaged();
    return Uint8Array.from(input.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  status(): DeviceStatus {
    const { name, class: kind } = this;
    return { name, class: kind, connected: this.#device?.connected ?? false };
  }

  async unplug(): Promise<void> {
    await this.#device?.unplug();
    this.#device = undefined;
  }

  // What XenbusDevice asks.

  nodes(): { readonly frontend: Nodes; readonly backend: Nodes } {
    const { channel } = this.#options;
    const name = channel === undefined ? {} : { name: channel };
    return {
      // As libxl writes them. Linux itself reads none of them.
      frontend: { ...name, type: "ioemu", output: "pty", tty: "" },
      backend: { ...name, protocol: "vt100" },
    };
  }

  connectTo(frontend: FrontendNodes): string | undefined {
    const [ref, port] = [frontend.grantRef("ring-ref"), frontend.port("port")];
    if (ref === undefined) return "ring-ref is no number";
    if (port === undefined) return "port is no number";
    return this.#open({ ref, port });
  }

  connected(): void {
    this.#options.onConnected?.();
    this.#connection?.process();
  }

  disconnect(onDrained: () => void): void {
    this.#connection?.close();
    this.#connection = undefined;
    onDrained();
  }

  #open(place: ConsolePlace): string | undefined {
    if (this.#host === undefined) return "there is no domain";
    const opened = ConsoleConnection.open(this.#host, place, this.#stream);
    if (typeof opened === "string") return opened;
    this.#connection = opened;
    this.#place = place;
    if (this.#suspended) opened.suspend();
    return undefined;
  }

  #damaged(): HostError {
    return new HostError("STATE_DAMAGED", `${this.name}: the saved state is damaged`);
  }
}
