/** The paravirtual devices of a machine: they come and go while its guests come and go. */
import { refuse } from "../loader/errors.js";
import type { Backend, DeviceStatus } from "../xen/backends/backend.js";

/** A domain, as far as its devices change. */
export interface DeviceDomain {
  addDevice(device: Backend): void;
  forgetDevice(device: Backend): void;
}

/** A device that the guest was asked to let go of. */
interface Leaving {
  /** Whoever asked hears when it is closed, or why that failed. */
  readonly left: Promise<void>;
  /** It is in no domain any more. */
  readonly leave: (closed: Promise<void>) => void;
}

export class MachineDevices {
  readonly #devices: Set<Backend>;
  readonly #leaving = new Map<Backend, Leaving>();
  /** What is being closed; failures are told to whoever asked for it. */
  readonly #closing = new Set<Promise<unknown>>();

  /** @throws HostError DEVICE_NAME when two have the same name. */
  constructor(devices: readonly Backend[]) {
    this.#devices = new Set();
    for (const device of devices) {
      this.#checkName(device.name);
      this.#devices.add(device);
    }
  }

  get all(): readonly Backend[] {
    return [...this.#devices];
  }

  get status(): readonly DeviceStatus[] {
    return this.all.map((device) => device.status());
  }

  add(device: Backend, domain: DeviceDomain): void {
    this.#checkName(device.name);
    this.#devices.add(device);
    domain.addDevice(device);
  }

  /**
   * Resolves when the guest has let go of it, by itself or by its end, and it is closed.
   * @throws HostError of a device that cannot be closed as it should be; it has left all the same.
   */
  async remove(name: string, domain: DeviceDomain): Promise<void> {
    const device = this.#named(name);
    const leaving = this.#leaving.get(device) ?? this.#ask(device, domain);
    await leaving.left;
  }

  async resize(name: string, bytes: number | undefined): Promise<void> {
    const device = this.#named(name);
    if (device.resize === undefined) throw refuse("DISK_SIZE", `${name} is no disk`);
    await device.resize(bytes);
  }

  /** Nothing of the devices is under way on the host afterwards. */
  async suspend(): Promise<void> {
    await Promise.all(this.all.map((device) => device.suspend()));
  }

  resume(): void {
    for (const device of this.#devices) device.resume();
  }

  /** The domain is no more: what a guest did not let go of has left now. */
  async dropLeaving(): Promise<void> {
    for (const device of this.#leaving.keys()) this.#drop(device);
    await Promise.all(this.#closing);
  }

  /** Nothing is under way, and all is given back afterwards. @throws HostError the first that a device has. */
  async close(): Promise<void> {
    await this.suspend();
    await this.dropLeaving();
    const ends = await Promise.allSettled(this.all.map((device) => device.close()));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  #ask(device: Backend, domain: DeviceDomain): Leaving {
    let leave: Leaving["leave"] = () => undefined;
    const left = new Promise<void>((resolve) => {
      leave = resolve;
    });
    const leaving = { left, leave };
    this.#leaving.set(device, leaving);
    void device.unplug().then(() => {
      domain.forgetDevice(device);
      this.#drop(device);
    });
    return leaving;
  }

  /** Closes a device that is in no domain. */
  #drop(device: Backend): void {
    const leaving = this.#leaving.get(device);
    if (leaving === undefined) return;
    this.#leaving.delete(device);
    this.#devices.delete(device);
    const closed = device.close();
    leaving.leave(closed);
    const over = closed.catch(() => undefined);
    this.#closing.add(over);
    void over.then(() => this.#closing.delete(over));
  }

  #named(name: string): Backend {
    const device = this.all.find((one) => one.name === name);
    if (device === undefined) throw refuse("DEVICE_NAME", `there is no device ${name}`);
    return device;
  }

  #checkName(name: string): void {
    if (!this.all.some((one) => one.name === name)) return;
    throw refuse("DEVICE_NAME", `there is a device ${name} already`);
  }
}
