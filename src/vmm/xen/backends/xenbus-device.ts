/**
 * The backend's side of a device on xenbus: its nodes in the store, and the handshake of states, which is the same for
 * every class of devices. The frontend's directory belongs to the guest: each state may follow each other one, and the
 * directory may go away.
 */
import { XenbusState } from "../../../abi/xen/xenbus.js";
import { assert, HostError } from "../../../base/index.js";
import type { BackendHost } from "../interfaces.js";
import { PRIVILEGED } from "../xenstore/node.js";
import { domainPath, isXsError } from "../xenstore/path.js";
import { toBytes, toText } from "../xenstore/wire.js";
import { fieldsOf, type SavedValue } from "./backend.js";
import { FrontendNodes, makeNodes, type Nodes } from "./nodes.js";

/** What is special about a class of devices. */
export interface XenbusDriver {
  /** The class, as in `device/CLASS/ID`. */
  readonly class: "vbd" | "vif" | "console";
  /** The last part of the paths; Linux takes it for the handle. */
  readonly id: string;
  /** Name for people, such as `xvda`. */
  readonly name: string;
  /** States of the frontend in which all that {@link connectTo} reads is there. */
  readonly connectsAt: ReadonlySet<number>;
  /** What the toolstack and the backend write before the guest sees the device. */
  nodes(): { readonly frontend: Nodes; readonly backend: Nodes };
  /** Connects to a frontend that is ready. @returns why not, such as "ring-ref is no grant". */
  connectTo(frontend: FrontendNodes): string | undefined;
  /** The frontend was told that it is connected. */
  connected?(): void;
  /** Ends the connection; tells when nothing of it is under way any more, at once or later. */
  disconnect(onDrained: () => void): void;
}

/** What {@link XenbusDevice.restore} needs. */
interface SavedDevice {
  readonly state: number;
  readonly online: boolean;
  readonly connected: boolean;
}

/**
 * Messages about one device that a guest can bring about.
 * @limit guest | warnings about a device that a frontend brings about | messages | no more are shown
 */
const MAX_COMPLAINTS = 8;
/**
 * Characters of a guest's own words about a device that are shown.
 * @limit guest | a frontend's error message that is shown | characters | the rest is left out
 */
const MAX_WORDS = 200;

export class XenbusDevice {
  readonly #host: BackendHost;
  readonly #driver: XenbusDriver;
  readonly #frontend: string;
  readonly #backend: string;
  readonly #nodes: FrontendNodes;
  #state: number = XenbusState.Unknown;
  #online = true;
  #connected = false;
  /** The connection has ended, but something of it is under way. */
  #draining = false;
  /** It has left the store. */
  #removed = false;
  /** A new one is in its place, and what is still heard is not for it. */
  #abandoned = false;
  #complaints = 0;
  readonly #watches: string[] = [];
  /** Who waits for the end of the draining. */
  readonly #waiting: (() => void)[] = [];
  #onRemoved: () => void = () => undefined;

  constructor(host: BackendHost, driver: XenbusDriver) {
    const place = `${driver.class}/${driver.id}`;
    this.#host = host;
    this.#driver = driver;
    this.#frontend = `${domainPath(host.domid)}/device/${driver.class}/${driver.id}`;
    this.#backend = `${domainPath(PRIVILEGED)}/backend/${driver.class}/${host.domid}/${driver.id}`;
    this.#nodes = new FrontendNodes(host.store, this.#frontend);
    this.#watch(`${this.#frontend}/state`, () => this.#look());
    const errors = `${domainPath(host.domid)}/error/device/${place}/error`;
    this.#watch(errors, () => this.#repeatError(errors));
  }

  /** Takes the place of another one in the same domain, whose connection ends: the device is as new. */
  static replace(
    host: BackendHost,
    driver: XenbusDriver,
    old: XenbusDevice | undefined,
  ): XenbusDevice {
    let next: XenbusDevice | undefined;
    let isDrained = old === undefined;
    old?.abandon(() => {
      isDrained = true;
      next?.ready();
    });
    next = new XenbusDevice(host, driver);
    next.announce(isDrained);
    return next;
  }

  /** What the frontend sees. */
  get state(): number {
    return this.#state;
  }

  /** Whether there is a connection. */
  get connected(): boolean {
    return this.#connected;
  }

  /**
   * Writes all nodes; the frontend's state last, since Linux looks at a device as soon as it sees that. Where
   * something of a former connection is under way (`isReady` is false), the frontend waits for {@link ready}.
   */
  announce(isReady: boolean): void {
    const { store, domid } = this.#host;
    const { frontend, backend } = this.#driver.nodes();
    store.rm(PRIVILEGED, 0, this.#frontend);
    store.rm(PRIVILEGED, 0, this.#backend);
    const own = { frontend: this.#frontend, "frontend-id": `${domid}`, online: "1" };
    this.#draining = !isReady;
    // GRUB does not wait for InitWait: it has to be there before it looks.
    this.#state = isReady ? XenbusState.InitWait : XenbusState.Initialising;
    makeNodes(store, this.#backend, { ...own, ...backend, state: `${this.#state}` }, [
      { domid: PRIVILEGED, access: "n" },
      { domid, access: "r" },
    ]);
    const peer = { backend: this.#backend, "backend-id": `${PRIVILEGED}` };
    const state = `${XenbusState.Initialising}`;
    makeNodes(store, this.#frontend, { ...peer, ...frontend, state }, [
      { domid, access: "n" },
      { domid: PRIVILEGED, access: "r" },
    ]);
  }

  /** What {@link announce} waited for is over. */
  ready(): void {
    this.#draining = false;
    for (const next of this.#waiting.splice(0)) next();
    this.#look();
  }

  /** Changes nodes of the backend's directory, and tells the frontend so by its state. */
  update(nodes: Nodes): void {
    if (this.#removed) return;
    for (const [name, value] of Object.entries(nodes)) this.#write(name, value);
    this.#write("state", `${this.#state}`);
  }

  /**
   * Lets go of the connection and of the store's watches. The nodes stay as they are; `onDrained` hears when nothing
   * is under way any more.
   */
  abandon(onDrained: () => void): void {
    this.#abandoned = true;
    for (const path of this.#watches) this.#host.store.unwatch(PRIVILEGED, path, path);
    this.#disconnect(onDrained);
  }

  /** Asks the frontend to let go of the device. Resolves when it has, and the device is out of the store. */
  unplug(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#removed) return resolve();
      const before = this.#onRemoved;
      this.#onRemoved = () => {
        before();
        resolve();
      };
      this.#online = false;
      this.#write("online", "0");
      const frontend = this.#frontendState();
      const isActive = frontend !== undefined && frontend >= XenbusState.InitWait;
      if (isActive && frontend !== XenbusState.Closed) this.#show(XenbusState.Closing);
      else this.#close();
    });
  }

  save(): SavedValue {
    return { state: this.#state, online: this.#online, connected: this.#connected };
  }

  /** A connection has ended, and what is under way of it has not: time helps. */
  get isDraining(): boolean {
    return this.#draining;
  }

  /** What {@link keep} needs, for exact snapshots; undefined while it comes or goes. */
  get kept(): SavedValue | undefined {
    const isMoving = this.#draining || this.#removed || this.#abandoned;
    return isMoving ? undefined : { bus: this.save(), complaints: this.#complaints };
  }

  /** As {@link restore}, and nobody looks at the frontend: it is as it was. */
  keep(kept: SavedValue): void {
    const { bus, complaints } = fieldsOf(kept);
    this.restore(bus ?? null);
    this.#complaints = typeof complaints === "number" ? complaints : 0;
  }

  /** Takes the place of a device that was saved, whose nodes are in the store. */
  restore(saved: SavedValue): void {
    const { state, online, connected } = (saved ?? {}) as unknown as SavedDevice;
    const isState = Number.isInteger(state) && state >= 0 && state <= XenbusState.Closed;
    if (!isState || typeof online !== "boolean" || typeof connected !== "boolean") {
      throw new HostError("STATE_DAMAGED", `${this.#driver.name}: the saved state is damaged`);
    }
    this.#state = state;
    this.#online = online;
    this.#connected = connected;
  }

  /** A frontend that broke the rules: it is told so, and let go of. */
  fail(reason: string): void {
    if (this.#removed) return;
    const path = `${domainPath(PRIVILEGED)}/error/${this.#backend.split("/").slice(4).join("/")}`;
    this.#host.store.write(PRIVILEGED, 0, `${path}/error`, toBytes(`22 ${reason}`));
    this.#complain(reason);
    this.#show(XenbusState.Closing);
    this.#disconnect(() => this.#look());
  }

  #watch(path: string, look: () => void): void {
    this.#watches.push(path);
    const fire = (): void => {
      if (!this.#abandoned) look();
    };
    const error = this.#host.store.watch({ domid: PRIVILEGED, path, token: path, fire });
    assert(error === undefined, "a device that is there twice");
  }

  /** The frontend's state: 0 when it is gone, undefined when it is no state. */
  #frontendState(): number | undefined {
    if (!this.#nodes.has("state")) return XenbusState.Unknown;
    const state = this.#nodes.number("state");
    return state !== undefined && state <= XenbusState.Reconfigured ? state : undefined;
  }

  /** Follows the frontend: to be called whenever it may have changed its state. */
  #look(): void {
    // What changes meanwhile is seen when all is drained: only the last state counts.
    if (this.#draining || this.#removed || this.#abandoned) return;
    switch (this.#frontendState()) {
      case XenbusState.Initialising:
        this.#startAgain();
        return;
      case XenbusState.Initialised:
        this.#ready(XenbusState.Initialised);
        return;
      case XenbusState.Connected:
        this.#ready(XenbusState.Connected);
        return;
      case XenbusState.Closing:
        if (this.#state !== XenbusState.Closed) this.#show(XenbusState.Closing);
        return;
      case XenbusState.Closed:
      case XenbusState.Unknown:
        this.#close();
        return;
      default:
        // Nothing that a device like this has to follow.
        return;
    }
  }

  /** The frontend is new, perhaps after one that never said good-bye. */
  #startAgain(): void {
    if (this.#connected) {
      this.#show(XenbusState.Closing);
      this.#disconnect(() => this.#closed());
      return;
    }
    if (this.#state === XenbusState.Closing) this.#show(XenbusState.Closed);
    if (!this.#online) this.#remove();
    else this.#show(XenbusState.InitWait);
  }

  #ready(frontend: number): void {
    if (this.#connected || !this.#online || this.#state === XenbusState.Closing) return;
    if (!this.#driver.connectsAt.has(frontend)) return;
    const reason = this.#driver.connectTo(this.#nodes);
    if (reason !== undefined) {
      this.fail(reason);
      return;
    }
    this.#connected = true;
    this.#show(XenbusState.Connected);
    this.#driver.connected?.();
  }

  #close(): void {
    if (this.#connected) {
      this.#disconnect(() => this.#closed());
      return;
    }
    this.#show(XenbusState.Closed);
    if (!this.#online) this.#remove();
  }

  /** Shown even when the frontend is in another state by now: it may wait for that. */
  #closed(): void {
    if (this.#abandoned) return;
    this.#show(XenbusState.Closed);
    this.#look();
  }

  #disconnect(then: () => void): void {
    if (!this.#connected && !this.#draining) {
      then();
      return;
    }
    this.#waiting.push(then);
    if (!this.#connected) return;
    this.#connected = false;
    this.#draining = true;
    this.#driver.disconnect(() => {
      this.#draining = false;
      for (const next of this.#waiting.splice(0)) next();
    });
  }

  #remove(): void {
    if (this.#removed) return;
    this.#removed = true;
    const { store } = this.#host;
    for (const path of this.#watches) store.unwatch(PRIVILEGED, path, path);
    store.rm(PRIVILEGED, 0, this.#frontend);
    store.rm(PRIVILEGED, 0, this.#backend);
    this.#onRemoved();
  }

  #show(state: number): void {
    if (this.#state === state || this.#removed) return;
    this.#state = state;
    this.#write("state", `${state}`);
  }

  #write(name: string, value: string): void {
    this.#host.store.write(PRIVILEGED, 0, `${this.#backend}/${name}`, toBytes(value));
  }

  /** A frontend that has trouble writes it into the store: the best diagnosis that there is. */
  #repeatError(path: string): void {
    const value = this.#host.store.read(PRIVILEGED, 0, path);
    if (isXsError(value) || value.length === 0) return;
    const words = toText(value.subarray(0, MAX_WORDS)).replaceAll(/[^ -~]/g, "?");
    this.#complain(`the guest says: ${words}`);
  }

  #complain(text: string): void {
    this.#complaints += 1;
    if (this.#complaints > MAX_COMPLAINTS) return;
    this.#host.log.warn(`${this.#driver.name}: ${text}`);
  }
}
