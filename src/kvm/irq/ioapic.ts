import { Ioapic as Bits } from "../../abi/x86/index.js";
import type { IoapicLines } from "../api/kept.js";
import type { IoapicState } from "../api/vm.js";
import type { ApicBus } from "./apic-bus.js";

/** Who drives an interrupt line; the line is high while any of them does. */
export const IrqSource = { USERSPACE: 0, RESAMPLE: 1, PIT: 2 } as const;

/**
 * An IOAPIC with 24 pins (Intel 82093AA). A level interrupt stays in service (remote IRR) until a
 * local APIC ends its vector, and is sent again when the line is still up then.
 */
export class Ioapic {
  readonly #bus: ApicBus;
  readonly #redirection: bigint[] = new Array<bigint>(Bits.PINS).fill(BigInt(Bits.MASKED));
  /** For each pin, one bit per {@link IrqSource} that holds it up. */
  readonly #lines = new Uint8Array(Bits.PINS);
  #irr = 0;
  /** Edges of {@link #irr} that were sent: the line is still up, but nothing waits. */
  #delivered = 0;
  #base: number = Bits.DEFAULT_BASE;
  #select = 0;
  #id = 0;
  readonly #onEoi: (pin: number) => void;

  /** `onEoi` hears of every pin whose level interrupt was ended. */
  constructor(bus: ApicBus, onEoi: (pin: number) => void) {
    this.#bus = bus;
    this.#onEoi = onEoi;
  }

  /** Guest-physical address of the register window. */
  get base(): number {
    return this.#base;
  }

  /** Whether an access falls into the register window. */
  claims(address: number): boolean {
    const offset = address - this.#base;
    return address >= Bits.DEFAULT_BASE && offset >= 0 && offset < Bits.MEM_LENGTH;
  }

  /**
   * Sets the level of a pin as one source sees it.
   * @returns as {@link ApicBus.deliver}; 1 for a line going down, -1 when masked or in service.
   */
  setLine(pin: number, source: number, level: boolean): number {
    const lines = this.#lines[pin] as number;
    const now = level ? lines | (1 << source) : lines & ~(1 << source);
    this.#lines[pin] = now;
    if (now === 0) {
      this.#irr &= ~(1 << pin);
      return 1;
    }
    return this.#raise(pin);
  }

  /** Whether nobody holds a pin up. */
  isLow(pin: number): boolean {
    return this.#lines[pin] === 0;
  }

  #raise(pin: number): number {
    const mask = 1 << pin;
    const pending = (this.#irr & mask) !== 0;
    this.#irr |= mask;
    if (!this.#isLevel(pin)) {
      this.#delivered &= ~mask;
      if (pending) return 0;
    }
    return this.#service(pin);
  }

  /** A local APIC ended a level-triggered vector. */
  endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < Bits.PINS; pin++) {
      const entry = this.#redirection[pin] as bigint;
      if (Number(entry & 0xffn) !== vector || !this.#isLevel(pin)) continue;
      this.#redirection[pin] = entry & ~BigInt(Bits.REMOTE_IRR);
      this.#onEoi(pin);
      if ((this.#irr & (1 << pin)) !== 0) this.#service(pin);
    }
  }

  /** Reads `length` bytes at `offset` of the window. */
  read(offset: number, length: number): bigint {
    let value = 0;
    if (offset === Bits.REG_SELECT) value = this.#select;
    else if (offset === Bits.REG_WINDOW) value = this.#readSelected();
    return BigInt.asUintN(length * 8, BigInt(value >>> 0));
  }

  /** Writes at `offset` of the window. */
  write(offset: number, length: number, data: bigint): void {
    const value = Number(BigInt.asUintN(Math.min(length, 4) * 8, data));
    if (offset === Bits.REG_SELECT) this.#select = value & 0xff;
    else if (offset === Bits.REG_WINDOW) this.#writeSelected(value);
  }

  /** Reads the state out. */
  save(): IoapicState {
    return {
      baseAddress: this.#base,
      ioregsel: this.#select,
      id: this.#id,
      irr: (this.#irr & ~this.#delivered) >>> 0,
      redirtbl: [...this.#redirection],
    };
  }

  /**
   * Puts a state back; pins that are up are delivered again where that is due. Who holds a line up
   * stays as it is.
   */
  restore(state: IoapicState): void {
    this.#base = state.baseAddress;
    this.#select = state.ioregsel;
    this.#id = state.id;
    this.#irr = 0;
    this.#delivered = 0;
    for (let pin = 0; pin < Bits.PINS; pin++) {
      this.#redirection[pin] = BigInt.asUintN(64, state.redirtbl[pin] ?? BigInt(Bits.MASKED));
    }
    for (let pin = 0; pin < Bits.PINS; pin++) {
      if ((state.irr >>> pin) & 1) this.#raise(pin);
    }
  }

  /** All pins exactly as they are; nothing is delivered by setting them. */
  get lines(): IoapicLines {
    const [irr, delivered] = [this.#irr >>> 0, this.#delivered >>> 0];
    return { lines: [...this.#lines], irr, delivered, redirtbl: [...this.#redirection] };
  }
  set lines({ lines, irr, delivered, redirtbl }: IoapicLines) {
    for (let pin = 0; pin < Bits.PINS; pin++) {
      this.#lines[pin] = lines[pin] ?? 0;
      this.#redirection[pin] = redirtbl[pin] ?? BigInt(Bits.MASKED);
    }
    this.#irr = irr;
    this.#delivered = delivered;
  }

  #isLevel(pin: number): boolean {
    return ((this.#redirection[pin] as bigint) & BigInt(Bits.LEVEL_TRIGGER)) !== 0n;
  }

  #service(pin: number): number {
    const entry = this.#redirection[pin] as bigint;
    const low = Number(entry & 0xffffffffn);
    const level = this.#isLevel(pin);
    if ((low & Bits.MASKED) !== 0) return -1;
    if (level && (low & Bits.REMOTE_IRR) !== 0) return -1;
    // Before delivery, since the handler may run and end it inside the call.
    if (level) this.#redirection[pin] = entry | BigInt(Bits.REMOTE_IRR);
    else this.#delivered |= 1 << pin;
    const taken = this.#bus.deliver({
      vector: low & 0xff,
      deliveryMode: (low >> 8) & 7,
      logical: (low & 0x800) !== 0,
      level: true,
      levelTriggered: level,
      destination: Number(entry >> 56n),
    });
    // Nobody took it (0): not in service. With no destination at all (-1) it stays stuck, as in KVM.
    if (level && taken === 0) this.#redirection[pin] = entry;
    return taken;
  }

  #readSelected(): number {
    const index = this.#select;
    if (index === Bits.REG_VERSION) return ((Bits.PINS - 1) << 16) | Bits.VERSION_ID;
    if (index === Bits.REG_APIC_ID || index === Bits.REG_ARB_ID) return (this.#id & 0xf) << 24;
    const pin = (index - Bits.REDIR_BASE) >> 1;
    if (pin < 0 || pin >= Bits.PINS) return 0xffffffff;
    const entry = this.#redirection[pin] as bigint;
    return Number((index & 1) !== 0 ? entry >> 32n : entry & 0xffffffffn);
  }

  #writeSelected(value: number): void {
    const index = this.#select;
    if (index === Bits.REG_APIC_ID) this.#id = (value >>> 24) & 0xf;
    const pin = (index - Bits.REDIR_BASE) >> 1;
    if (pin < 0 || pin >= Bits.PINS) return;
    const old = this.#redirection[pin] as bigint;
    const kept = BigInt(Bits.REMOTE_IRR | Bits.DELIVERY_STATUS);
    let entry: bigint;
    if ((index & 1) !== 0) entry = (old & 0xffffffffn) | (BigInt(value) << 32n);
    else entry = ((old >> 32n) << 32n) | (BigInt(value) & ~kept) | (old & kept);
    // Guests clear a stuck remote IRR by going through edge mode.
    if ((entry & BigInt(Bits.LEVEL_TRIGGER)) === 0n) entry &= ~BigInt(Bits.REMOTE_IRR);
    this.#redirection[pin] = entry;
    if (this.#isLevel(pin) && (this.#irr & (1 << pin)) !== 0) this.#service(pin);
  }
}
