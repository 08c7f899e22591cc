/**
 * A 16550A serial port by register offset (National Semiconductor PC16550D data sheet). Output
 * leaves at once, at any speed, unless nobody takes it: then the transmitter is busy, and a byte that is
 * written in spite of that is lost. Input waits in a queue that stands for the receive FIFO. Left out:
 * line errors, break, and modem lines other than in loopback.
 */
import { bool, bytes, struct, u8, u16, type ValueOf } from "../../snapshot/codec.js";
import type { PortDevice } from "../bus.js";
import { Fcr, Ier, Iir, Lcr, Lsr, Mcr, Msr, Reg } from "./spec.js";

/** Where the bytes and the interrupt line go. */
export interface UartConnections {
  transmit(byte: number): void;
  /** Whether a byte can leave now. Whoever answers no calls {@link Uart.ready} later. */
  canTransmit(): boolean;
  /** The level of the interrupt output; called on changes only. */
  setInterrupt(level: boolean): void;
}

/**
 * Bytes that wait for the guest at most, typed or looped back.
 * @limit guest | input for ttyS0 that the guest does not read, loop-back included | bytes | it is lost
 */
const MAX_WAITING = 1 << 20;
/** Bytes after which the queue forgets what was taken from it. */
const COMPACT = 1 << 16;
/** Divisor for 115200 baud, what firmware would leave. */
const DEFAULT_DIVISOR = 1;

/** A serial port in a snapshot. */
export const uartLayer = struct({
  ...{ ier: u8, fifoEnabled: bool, lcr: u8, mcr: u8, scratch: u8, divisor: u16 },
  thrEmptyEvent: bool,
  input: bytes(0, MAX_WAITING),
});

export class Uart implements PortDevice {
  readonly #out: UartConnections;
  #ier = 0;
  #fifoEnabled = false;
  #lcr: number = Lcr.EIGHT_BITS;
  #mcr: number = Mcr.OUT2;
  #scratch = 0;
  #divisor = DEFAULT_DIVISOR;
  /** Input, read up to {@link #taken}. */
  #input: number[] = [];
  #taken = 0;
  /** "Transmitter empty" is to be told; cleared by telling. */
  #thrEmptyEvent = false;
  #line = false;

  constructor(out: UartConnections) {
    this.#out = out;
  }

  /** The transmitter is ready again. */
  ready(): void {
    this.#thrEmptyEvent = true;
    this.#update();
  }

  /** Input from outside. */
  receive(bytes: Uint8Array): void {
    for (const byte of bytes) this.#enqueue(byte);
    this.#update();
  }

  read(offset: number): number {
    switch (offset) {
      case Reg.DATA:
        return this.#dlab ? this.#divisor & 0xff : this.#takeByte();
      case Reg.IER:
        return this.#dlab ? this.#divisor >> 8 : this.#ier;
      case Reg.IIR:
        return this.#readIir();
      case Reg.LCR:
        return this.#lcr;
      case Reg.MCR:
        return this.#mcr;
      case Reg.LSR:
        return (this.#isBusy ? 0 : Lsr.THRE | Lsr.TEMT) | (this.#waiting > 0 ? Lsr.DATA_READY : 0);
      case Reg.MSR:
        return this.#modemStatus();
      default:
        return this.#scratch;
    }
  }

  write(offset: number, value: number): void {
    switch (offset) {
      case Reg.DATA:
        if (this.#dlab) this.#divisor = (this.#divisor & 0xff00) | value;
        else this.#send(value);
        break;
      case Reg.IER:
        if (this.#dlab) this.#divisor = (this.#divisor & 0xff) | (value << 8);
        else this.#writeIer(value);
        break;
      case Reg.FCR:
        this.#fifoEnabled = (value & Fcr.ENABLE) !== 0;
        if ((value & Fcr.CLEAR_RECEIVE) !== 0) this.#clearInput();
        break;
      case Reg.LCR:
        this.#lcr = value;
        break;
      case Reg.MCR:
        this.#mcr = value & Mcr.MASK;
        break;
      case Reg.SCRATCH:
        this.#scratch = value;
        break;
      default:
        break;
    }
    this.#update();
  }

  /** For a snapshot. */
  save(): ValueOf<typeof uartLayer> {
    return {
      ier: this.#ier,
      fifoEnabled: this.#fifoEnabled,
      lcr: this.#lcr,
      mcr: this.#mcr,
      scratch: this.#scratch,
      divisor: this.#divisor,
      thrEmptyEvent: this.#thrEmptyEvent,
      input: Uint8Array.from(this.#input.slice(this.#taken)),
    };
  }

  /** Takes the place of one that was saved. */
  restore(saved: ValueOf<typeof uartLayer>): void {
    this.#ier = saved.ier & Ier.MASK;
    this.#fifoEnabled = saved.fifoEnabled;
    this.#lcr = saved.lcr;
    this.#mcr = saved.mcr & Mcr.MASK;
    this.#scratch = saved.scratch;
    this.#divisor = saved.divisor;
    this.#thrEmptyEvent = saved.thrEmptyEvent;
    this.#input = [...saved.input];
    this.#taken = 0;
    this.#update();
  }

  get #dlab(): boolean {
    return (this.#lcr & Lcr.DLAB) !== 0;
  }

  get #waiting(): number {
    return this.#input.length - this.#taken;
  }

  /** The transmitter holds a byte that cannot leave. */
  get #isBusy(): boolean {
    return !this.#loopback && !this.#out.canTransmit();
  }

  get #loopback(): boolean {
    return (this.#mcr & Mcr.LOOP) !== 0;
  }

  #enqueue(byte: number): void {
    if (this.#waiting < MAX_WAITING) this.#input.push(byte);
  }

  #clearInput(): void {
    this.#input = [];
    this.#taken = 0;
  }

  #takeByte(): number {
    const byte = this.#input[this.#taken] ?? 0;
    if (this.#waiting > 0) this.#taken++;
    if (this.#waiting === 0) this.#clearInput();
    else if (this.#taken >= COMPACT) {
      this.#input = this.#input.slice(this.#taken);
      this.#taken = 0;
    }
    this.#update();
    return byte;
  }

  #send(byte: number): void {
    if (this.#loopback) this.#enqueue(byte);
    else if (this.#out.canTransmit()) this.#out.transmit(byte);
    this.#thrEmptyEvent = !this.#isBusy;
  }

  /** Enabling the transmitter interrupt while the transmitter is empty raises it. */
  #writeIer(value: number): void {
    const enabled = value & Ier.MASK & ~this.#ier;
    if ((enabled & Ier.THR_EMPTY) !== 0 && !this.#isBusy) this.#thrEmptyEvent = true;
    this.#ier = value & Ier.MASK;
  }

  #cause(): number {
    if ((this.#ier & Ier.DATA) !== 0 && this.#waiting > 0) return Iir.DATA;
    if ((this.#ier & Ier.THR_EMPTY) !== 0 && this.#thrEmptyEvent) return Iir.THR_EMPTY;
    return Iir.NONE;
  }

  #readIir(): number {
    const cause = this.#cause();
    if (cause === Iir.THR_EMPTY) {
      this.#thrEmptyEvent = false;
      this.#update();
    }
    return cause | (this.#fifoEnabled ? Iir.FIFO_ENABLED : 0);
  }

  #modemStatus(): number {
    if (!this.#loopback) return Msr.CTS | Msr.DSR | Msr.DCD;
    let status = 0;
    if ((this.#mcr & Mcr.RTS) !== 0) status |= Msr.CTS;
    if ((this.#mcr & Mcr.DTR) !== 0) status |= Msr.DSR;
    if ((this.#mcr & Mcr.OUT1) !== 0) status |= Msr.RI;
    if ((this.#mcr & Mcr.OUT2) !== 0) status |= Msr.DCD;
    return status;
  }

  /** On a PC, OUT2 connects the interrupt to its line. */
  #update(): void {
    const level = this.#cause() !== Iir.NONE && (this.#mcr & Mcr.OUT2) !== 0 && !this.#loopback;
    if (level === this.#line) return;
    this.#line = level;
    this.#out.setInterrupt(level);
  }
}
