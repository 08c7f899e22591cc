/** The registers by which ACPI powers the machine off and resets it (see firmware/tables.ts). */
import { RESET_VALUE, SLEEP_ENABLE, SLEEP_TYPE_S5 } from "../firmware/tables.js";
import type { PortDevice } from "./bus.js";

/** Offsets from the sleep control register; the FADT has the three in a row. */
const Reg = { SLEEP_CONTROL: 0, SLEEP_STATUS: 1, RESET: 2 } as const;
/** Ports that the device occupies. */
export const POWER_PORTS = 3;

/** What the guest asks for. */
export interface PowerRequests {
  powerOff(): void;
  reset(): void;
}

export class PowerRegisters implements PortDevice {
  readonly #requests: PowerRequests;

  constructor(requests: PowerRequests) {
    this.#requests = requests;
  }

  /** All read as zero; the wake status bit never sets, for there is no state to wake from. */
  read(): number {
    return 0;
  }

  write(offset: number, value: number): void {
    const sleepType = (value >> 2) & 7;
    const sleeps = offset === Reg.SLEEP_CONTROL && (value & SLEEP_ENABLE) !== 0;
    if (sleeps && sleepType === SLEEP_TYPE_S5) this.#requests.powerOff();
    if (offset === Reg.RESET && value === RESET_VALUE) this.#requests.reset();
  }
}
