/** A paravirtual disk (Xen's `public/io/blkif.h`): one ring of one page, grants mapped for each request. */

import type { Width } from "../../../../abi/layout.js";
import { SECTOR_SIZE, Vdisk } from "../../../../abi/xen/blkif.js";
import { XenbusState } from "../../../../abi/xen/xenbus.js";
import { HostError } from "../../../../base/index.js";
import type {
  ArmLater,
  Disk,
  DiskChanges,
  DiskDone,
  DiskFailure,
  KeptOperation,
} from "../../../../ports/index.js";
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
import { BlockConnection, type ServedDisk } from "./connection.js";
import { blockLayer } from "./kept.js";
import { MAX_INDIRECT_SEGMENTS } from "./request.js";
import { diskIndex, vdevNumber } from "./vdev.js";

/** Layouts of requests by the text in the node `protocol`. Without it, a frontend is of the 32-bit kind. */
const PROTOCOLS: ReadonlyMap<string | undefined, Width> = new Map([
  ["x86_32-abi", 32],
  ["x86_64-abi", 64],
]);

export class BlockBackend implements Backend, XenbusDriver, ServedDisk {
  readonly class = "vbd";
  readonly id: string;
  readonly name: string;
  /** Linux goes to 3 and 4; GRUB stays in 3. */
  readonly connectsAt: ReadonlySet<number> = new Set([
    XenbusState.Initialised,
    XenbusState.Connected,
  ]);
  readonly disk: Disk;
  #host: BackendHost | undefined;
  #device: XenbusDevice | undefined;
  #connection: BlockConnection | undefined;
  #suspended = false;
  #broken = false;
  readonly #told = new Set<string>();

  /** `name`: what the guest calls it, xvda to xvdz. @throws HostError DISK_NAME for another. */
  constructor(name: string, disk: Disk) {
    this.name = name;
    this.id = `${vdevNumber(diskIndex(name))}`;
    this.disk = disk;
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
    return this.disk.idle();
  }

  resume(): void {
    this.#suspended = false;
    this.#connection?.resume();
  }

  save(): SavedValue {
    const connection = this.#connection?.save() ?? null;
    return { device: this.#device?.save() ?? null, connection, broken: this.#broken };
  }

  restore(host: BackendHost, saved: SavedValue): void {
    const { device, connection, broken } = fieldsOf(saved);
    this.#host = host;
    this.#broken = broken === true;
    this.#device = new XenbusDevice(host, this);
    this.#device.restore(device ?? null);
    if (this.#device.connected !== (connection !== null)) throw this.#damaged();
    if (connection !== null) {
      this.#connection = BlockConnection.restore(host, this, connection ?? null);
      if (this.#connection === undefined) throw this.#damaged();
      if (this.#suspended) this.#connection.suspend();
    }
    this.#device.ready();
    this.#connection?.process();
  }

  get isMoving(): boolean {
    return this.#device?.isDraining ?? false;
  }

  get changes(): DiskChanges | undefined {
    return this.disk.changes;
  }

  async kept(): Promise<SavedValue> {
    const device = this.#device?.kept;
    const disk = await this.disk.kept?.();
    if (device === undefined || disk === undefined || this.#suspended) {
      const message = `${this.name} is in the middle of something, or no disk of the virtual clock: save the machine at another moment`;
      throw new HostError("SNAPSHOT_IMPOSSIBLE", message);
    }
    const connection = this.#connection?.kept(disk.operations);
    const [broken, told, freeNs] = [this.#broken, [...this.#told], disk.freeNs];
    return { device, block: blockLayer.write({ connection, broken, told, freeNs }) };
  }

  keep(host: BackendHost, kept: SavedValue, later: ArmLater): void {
    const { device, block } = fieldsOf(kept);
    const { connection, broken, told, freeNs } = blockLayer.read(block, this.name);
    this.#host = host;
    this.#broken = broken;
    for (const one of told) this.#told.add(one);
    this.#device = new XenbusDevice(host, this);
    this.#device.keep(device ?? null);
    if (this.#device.connected !== (connection !== undefined)) throw this.#damaged();
    const operations = new Map<DiskDone, KeptOperation>();
    if (connection !== undefined) {
      this.#connection = BlockConnection.keep(host, this, connection, operations);
    }
    // A machine is made so under the virtual clock only; a disk of another's may know nothing of it.
    if (this.disk.keep === undefined) throw this.#damaged();
    this.disk.keep({ freeNs, operations }, later);
  }

  close(): Promise<void> {
    return this.disk.close();
  }

  status(): DeviceStatus {
    const { name, class: kind } = this;
    const connected = this.#device?.connected ?? false;
    return { name, class: kind, connected, bytes: this.disk.size };
  }

  async identity(): Promise<DeviceIdentity> {
    return { generation: await this.disk.generation?.() };
  }

  async unplug(): Promise<void> {
    await this.#device?.unplug();
    this.#device = undefined;
  }

  async resize(bytes: number | undefined): Promise<void> {
    await this.disk.resize(bytes);
    this.#device?.update({ sectors: this.#sectors() });
  }

  // What XenbusDevice asks.

  nodes(): { readonly frontend: Nodes; readonly backend: Nodes } {
    const { readonly: isReadonly, blockSize, canDiscard } = this.disk;
    const discard: Nodes = canDiscard
      ? {
          "feature-discard": "1",
          "discard-granularity": `${blockSize}`,
          "discard-alignment": "0",
        }
      : {};
    return {
      // Linux has no device at all without its type.
      frontend: { "virtual-device": this.id, "device-type": "disk" },
      // Written before the frontend looks, though most is read later: none has to wait for it.
      backend: {
        dev: this.name,
        mode: isReadonly ? "r" : "w",
        removable: "0",
        info: `${isReadonly ? Vdisk.READONLY : 0}`,
        sectors: this.#sectors(),
        "sector-size": `${SECTOR_SIZE}`,
        "physical-sector-size": `${blockSize}`,
        "feature-flush-cache": "1",
        "feature-max-indirect-segments": `${MAX_INDIRECT_SEGMENTS}`,
        ...discard,
      },
    };
  }

  connectTo(frontend: FrontendNodes): string | undefined {
    const ref = frontend.grantRef("ring-ref");
    const port = frontend.port("event-channel");
    const protocol = frontend.has("protocol") ? frontend.text("protocol") : "x86_32-abi";
    const width = PROTOCOLS.get(protocol);
    if (ref === undefined) return "ring-ref is no number";
    if (port === undefined) return "event-channel is no number";
    if (width === undefined) return "protocol is not known";
    // Its device is there, and so is the domain that it is in.
    const opened = BlockConnection.open(this.#host as BackendHost, this, { width, ref, port });
    if (typeof opened === "string") return opened;
    this.#connection = opened;
    if (this.#suspended) opened.suspend();
    return undefined;
  }

  connected(): void {
    this.#connection?.process();
  }

  disconnect(onDrained: () => void): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection === undefined) onDrained();
    else connection.close(onDrained);
  }

  // What a connection asks.

  get isBroken(): boolean {
    return this.#broken;
  }

  noteFailure(what: "read" | "write" | "flush" | "discard", failure: DiskFailure): void {
    // What was not made durable may be lost, and the guest does not hear of it (Linux takes a failed flush for a
    // disk without one): then nothing may look as if all were well.
    if (what === "flush") this.#broken = true;
    if (this.#told.has(`${what} ${failure.code}`)) return;
    this.#told.add(`${what} ${failure.code}`);
    const consequence = this.#broken ? "the disk fails from now on" : "the guest gets an I/O error";
    this.#host?.log.warn(`${this.name}: ${failure.message}; ${consequence}`);
  }

  onBroken(reason: string): void {
    this.#device?.fail(reason);
  }

  #sectors(): string {
    return `${Math.floor(this.disk.size / SECTOR_SIZE)}`;
  }

  #damaged(): HostError {
    return new HostError("STATE_DAMAGED", `${this.name}: the saved state is damaged`);
  }
}
