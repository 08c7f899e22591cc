/** Ports of the two interrupt controllers and their edge/level registers. */
const PORTS = [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1];

/** One Intel 8259A. Bits are request lines 0 to 7. */
class Pic8259 {
  irr = 0;
  imr = 0;
  isr = 0;
  /** Lines that are up; for edge lines, the last level seen. */
  #level = 0;
  /** Edge/level control: set bits are level-triggered. */
  elcr = 0;
  readonly elcrMask: number;
  #irqBase = 0;
  /** The line with the highest priority. */
  #priorityAdd = 0;
  /** 0 when ready, else which initialization word comes next. */
  #initState = 0;
  #init4 = false;
  #autoEoi = false;
  #rotateOnAutoEoi = false;
  #specialMask = false;
  #specialFullyNested = false;
  #poll = false;
  #readIsr = false;

  constructor(elcrMask: number) {
    this.elcrMask = elcrMask;
  }

  setLine(line: number, up: boolean): boolean {
    const mask = 1 << line;
    const before = this.irr;
    if ((this.elcr & mask) !== 0) {
      this.irr = up ? this.irr | mask : this.irr & ~mask;
    } else if (up && (this.#level & mask) === 0) {
      this.irr |= mask;
    }
    this.#level = up ? this.#level | mask : this.#level & ~mask;
    return this.irr !== before;
  }

  /** The line to interrupt with, or -1. */
  request(): number {
    const waiting = this.irr & ~this.imr;
    const first = this.#priority(waiting);
    if (first === 8) return -1;
    let inService = this.isr;
    if (this.#specialMask) inService &= ~this.imr;
    // The cascade line of the master stays open while a slave is being served.
    if (this.#specialFullyNested) inService &= ~(1 << 2);
    return first < this.#priority(inService) ? (first + this.#priorityAdd) & 7 : -1;
  }

  /** Takes the line into service; returns its vector. */
  acknowledge(line: number): number {
    this.isr |= 1 << line;
    if ((this.elcr & (1 << line)) === 0) this.irr &= ~(1 << line);
    if (this.#autoEoi) {
      if (this.#rotateOnAutoEoi) this.#priorityAdd = (line + 1) & 7;
      this.isr &= ~(1 << line);
    }
    return this.vector(line);
  }

  vector(line: number): number {
    return (this.#irqBase + line) & 0xff;
  }

  read(data: boolean): number {
    if (this.#poll) {
      this.#poll = false;
      const line = this.request();
      if (line < 0) return 0;
      this.acknowledge(line);
      return 0x80 | line;
    }
    if (data) return this.imr;
    return this.#readIsr ? this.isr : this.irr;
  }

  writeCommand(value: number): void {
    if ((value & 0x10) !== 0) {
      this.#reset((value & 1) !== 0);
    } else if ((value & 8) !== 0) {
      if ((value & 4) !== 0) this.#poll = true;
      if ((value & 2) !== 0) this.#readIsr = (value & 1) !== 0;
      if ((value & 0x40) !== 0) this.#specialMask = (value & 0x20) !== 0;
    } else {
      this.#operationCommand(value >> 5, value & 7);
    }
  }

  writeData(value: number): void {
    switch (this.#initState) {
      case 0:
        this.imr = value;
        return;
      case 1:
        this.#irqBase = value & 0xf8;
        this.#initState = 2;
        return;
      case 2:
        this.#initState = this.#init4 ? 3 : 0;
        return;
      default:
        this.#specialFullyNested = (value & 0x10) !== 0;
        this.#autoEoi = (value & 2) !== 0;
        this.#initState = 0;
    }
  }

  #operationCommand(command: number, line: number): void {
    switch (command) {
      case 0:
      case 4:
        this.#rotateOnAutoEoi = command === 4;
        return;
      case 1:
      case 5: {
        const highest = this.#priority(this.isr);
        if (highest === 8) return;
        const ended = (highest + this.#priorityAdd) & 7;
        if (command === 5) this.#priorityAdd = (ended + 1) & 7;
        this.isr &= ~(1 << ended);
        return;
      }
      case 3:
        this.isr &= ~(1 << line);
        return;
      case 6:
        this.#priorityAdd = (line + 1) & 7;
        return;
      case 7:
        this.#priorityAdd = (line + 1) & 7;
        this.isr &= ~(1 << line);
        return;
      default:
    }
  }

  #reset(init4: boolean): void {
    this.irr &= this.elcr;
    this.imr = 0;
    this.isr = 0;
    this.#priorityAdd = 0;
    this.#initState = 1;
    this.#init4 = init4;
    this.#autoEoi = false;
    this.#rotateOnAutoEoi = false;
    this.#specialMask = false;
    this.#specialFullyNested = false;
    this.#poll = false;
    this.#readIsr = false;
  }

  /** Priority (0 highest) of the best line in a set, 8 for none. */
  #priority(mask: number): number {
    if (mask === 0) return 8;
    let priority = 0;
    while ((mask & (1 << ((priority + this.#priorityAdd) & 7))) === 0) priority++;
    return priority;
  }
}

/** The pair of 8259A interrupt controllers of a PC, the second on line 2 of the first. */
export class PicPair {
  readonly #master: Pic8259;
  readonly #slave: Pic8259;
  readonly #lines = new Uint8Array(16);
  readonly #notify: () => void;
  #output = false;

  /** `notify` is called when the output to the processor rises. */
  constructor(notify: () => void) {
    this.#notify = notify;
    this.#master = new Pic8259(0xf8);
    this.#slave = new Pic8259(0xde);
  }

  /** Whether a port belongs to the controllers. */
  static claims(port: number): boolean {
    return PORTS.includes(port);
  }

  /** The output line: an interrupt waits. */
  get output(): boolean {
    return this.#output;
  }

  /** Sets line 0 to 15 as one source sees it; returns 1 when that changed a request, else 0. */
  setLine(line: number, source: number, up: boolean): number {
    const lines = this.#lines[line] as number;
    const now = up ? lines | (1 << source) : lines & ~(1 << source);
    this.#lines[line] = now;
    const pic = line < 8 ? this.#master : this.#slave;
    const changed = pic.setLine(line & 7, now !== 0);
    this.#update();
    return changed ? 1 : 0;
  }

  /** The processor takes the interrupt; returns its vector (a spurious one when none waits). */
  acknowledge(): number {
    const line = this.#master.request();
    if (line < 0) {
      const spurious = this.#master.vector(7);
      this.#update();
      return spurious;
    }
    let vector = this.#master.acknowledge(line);
    if (line === 2) {
      const second = this.#slave.request();
      vector = second < 0 ? this.#slave.vector(7) : this.#slave.acknowledge(second);
    }
    this.#update();
    return vector;
  }

  /** IN from one of the ports, one byte. */
  read(port: number): number {
    if (port === 0x4d0) return this.#master.elcr;
    if (port === 0x4d1) return this.#slave.elcr;
    const value = this.#at(port).read((port & 1) !== 0);
    this.#update();
    return value;
  }

  /** OUT to one of the ports, one byte. */
  write(port: number, value: number): void {
    if (port === 0x4d0) this.#master.elcr = value & this.#master.elcrMask;
    else if (port === 0x4d1) this.#slave.elcr = value & this.#slave.elcrMask;
    else if ((port & 1) !== 0) this.#at(port).writeData(value);
    else this.#at(port).writeCommand(value);
    this.#update();
  }

  #at(port: number): Pic8259 {
    return port < 0xa0 ? this.#master : this.#slave;
  }

  #update(): void {
    // A falling cascade line first, so that the next request is an edge again.
    this.#master.setLine(2, false);
    if (this.#slave.request() >= 0) this.#master.setLine(2, true);
    else this.#master.irr &= ~4;
    const output = this.#master.request() >= 0;
    if (output && !this.#output) this.#notify();
    this.#output = output;
  }
}
