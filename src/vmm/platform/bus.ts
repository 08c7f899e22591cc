/** I/O ports of a machine. */

/** A device on a range of ports. Offsets are from the start of its range; values are bytes. */
export interface PortDevice {
  read(offset: number): number;
  write(offset: number, value: number): void;
}

interface Range {
  readonly first: number;
  readonly count: number;
  readonly device: PortDevice;
}

/** What reads of ports and memory answer where no device is. */
const FLOATING = 0xff;

/** Finds the device for a port. Wider accesses are made of bytes at ascending ports. */
export class PortBus {
  readonly #ranges: Range[] = [];

  /** Puts a device at ports that are free. */
  attach(first: number, count: number, device: PortDevice): void {
    this.#ranges.push({ first, count, device });
  }

  /** Fills `data` from the ports from `port` on; 0xff where nothing is. */
  read(port: number, data: Uint8Array): void {
    for (let i = 0; i < data.length; i++) {
      const range = this.#find(port + i);
      data[i] = range === undefined ? FLOATING : range.device.read(port + i - range.first) & 0xff;
    }
  }

  /** Writes `data` to the ports from `port` on; lost where nothing is. */
  write(port: number, data: Uint8Array): void {
    for (let i = 0; i < data.length; i++) {
      const range = this.#find(port + i);
      range?.device.write(port + i - range.first, data[i] ?? 0);
    }
  }

  #find(port: number): Range | undefined {
    return this.#ranges.find((r) => port >= r.first && port < r.first + r.count);
  }
}
