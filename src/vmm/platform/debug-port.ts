import type { PortDevice } from "./bus.js";

/** Port of the debug console that Bochs introduced; early Xen guests write there too. */
export const DEBUG_PORT = 0xe9;

/** Takes text bytes; reads answer the port's own number, by which guests find it. */
export class DebugPort implements PortDevice {
  readonly #sink: (byte: number) => void;

  constructor(sink: (byte: number) => void) {
    this.#sink = sink;
  }

  read(): number {
    return DEBUG_PORT;
  }

  write(_offset: number, value: number): void {
    this.#sink(value);
  }
}
