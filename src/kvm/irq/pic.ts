import type { KvmPicState } from "../../abi/kvm/index.js";

/** Ports of the two interrupt controllers and their edge/level registers: pairs. */
const PORTS = [0x20, 0xa0, 0x4d0];

/** The line of the first controller on which the second one is. */
const CASCADE = 2;

/**
 * One Intel 8259A as KVM has it (special mask mode is kept, but changes nothing). Bits are request
 * lines 0 to 7.
 */
class Pic8259 {
  readonly state: KvmPicState;
  readonly #master: boolean;
  /** A PIC interrupt can reach a vCPU: only then does ICW1 end what was an edge. */
  readonly #accepted: () => boolean;

  constructor(master: boolean, accepted: () => boolean) {
    this.#master = master;
    this.#accepted = accepted;
    this.state = {
      lastIrr: 0,
      irr: 0,
      imr: 0,
      isr: 0,
      priorityAdd: 0,
      irqBase: 0,
      readRegSelect: 0,
      poll: 0,
      specialMask: 0,
      initState: 0,
      autoEoi: 0,
      rotateOnAutoEoi: 0,
      specialFullyNestedMode: 0,
      init4: 0,
      elcr: 0,
      elcrMask: master ? 0xf8 : 0xde,
    };
  }

  /** As KVM_IRQ_LINE_STATUS: -1 masked, 0 coalesced, 1 taken. */
  setLine(line: number, up: boolean): number {
    const s = this.state;
    const mask = 1 << line;
    const pending = (s.irr & mask) !== 0;
    let result = 1;
    if ((s.elcr & mask) !== 0) {
      if (up && pending) result = 0;
      s.irr = up ? s.irr | mask : s.irr & ~mask;
    } else if (up && (s.lastIrr & mask) === 0) {
      if (pending) result = 0;
      s.irr |= mask;
    }
    s.lastIrr = up ? s.lastIrr | mask : s.lastIrr & ~mask;
    return (s.imr & mask) !== 0 ? -1 : result;
  }

  /** The line to interrupt with, or -1. */
  request(): number {
    const s = this.state;
    const first = this.#priority(s.irr & ~s.imr);
    if (first === 8) return -1;
    let inService = s.isr;
    // The cascade line stays open while the second controller is being served.
    if (s.specialFullyNestedMode !== 0 && this.#master) inService &= ~(1 << CASCADE);
    return first < this.#priority(inService) ? (first + s.priorityAdd) & 7 : -1;
  }

  /** Takes the line into service; returns its vector. */
  acknowledge(line: number): number {
    const s = this.state;
    s.isr |= 1 << line;
    if ((s.elcr & (1 << line)) === 0) s.irr &= ~(1 << line);
    if (s.autoEoi !== 0) {
      if (s.rotateOnAutoEoi !== 0) s.priorityAdd = (line + 1) & 7;
      s.isr &= ~(1 << line);
    }
    return this.vector(line);
  }

  vector(line: number): number {
    return (this.state.irqBase + line) & 0xff;
  }

  read(data: boolean): number {
    const s = this.state;
    if (data) return s.imr;
    return s.readRegSelect !== 0 ? s.isr : s.irr;
  }

  writeCommand(value: number): void {
    const s = this.state;
    if ((value & 0x10) !== 0) {
      s.init4 = value & 1;
      this.#reset();
    } else if ((value & 8) !== 0) {
      if ((value & 4) !== 0) s.poll = 1;
      if ((value & 2) !== 0) s.readRegSelect = value & 1;
      if ((value & 0x40) !== 0) s.specialMask = (value >> 5) & 1;
    } else {
      this.#operationCommand(value >> 5, value & 7);
    }
  }

  writeData(value: number): void {
    const s = this.state;
    switch (s.initState) {
      case 0:
        s.imr = value;
        return;
      case 1:
        s.irqBase = value & 0xf8;
        s.initState = 2;
        return;
      case 2:
        s.initState = s.init4 !== 0 ? 3 : 0;
        return;
      case 3:
        s.specialFullyNestedMode = (value >> 4) & 1;
        s.autoEoi = (value >> 1) & 1;
        s.initState = 0;
        return;
      default:
    }
  }

  #operationCommand(command: number, line: number): void {
    const s = this.state;
    switch (command) {
      case 0:
      case 4:
        s.rotateOnAutoEoi = command >> 2;
        return;
      case 1:
      case 5: {
        const highest = this.#priority(s.isr);
        if (highest === 8) return;
        const ended = (highest + s.priorityAdd) & 7;
        if (command === 5) s.priorityAdd = (ended + 1) & 7;
        s.isr &= ~(1 << ended);
        return;
      }
      case 3:
        s.isr &= ~(1 << line);
        return;
      case 6:
        s.priorityAdd = (line + 1) & 7;
        return;
      case 7:
        s.priorityAdd = (line + 1) & 7;
        s.isr &= ~(1 << line);
        return;
      default:
    }
  }

  #reset(): void {
    const s = this.state;
    const edges = s.irr & ~s.elcr;
    s.lastIrr = 0;
    s.irr &= s.elcr;
    s.imr = 0;
    s.priorityAdd = 0;
    s.specialMask = 0;
    s.readRegSelect = 0;
    if (s.init4 === 0) {
      s.specialFullyNestedMode = 0;
      s.autoEoi = 0;
    }
    s.initState = 1;
    if (this.#accepted()) s.isr &= ~edges;
  }

  /** Priority (0 highest) of the best line in a set, 8 for none. */
  #priority(mask: number): number {
    if (mask === 0) return 8;
    let priority = 0;
    while ((mask & (1 << ((priority + this.state.priorityAdd) & 7))) === 0) priority++;
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

  /**
   * `notify` is called when the output to the processor rises; `accepted` says whether any local
   * APIC passes it on.
   */
  constructor(notify: () => void, accepted: () => boolean = () => true) {
    this.#notify = notify;
    this.#master = new Pic8259(true, accepted);
    this.#slave = new Pic8259(false, accepted);
  }

  /** Whether an access of `size` bytes belongs to the controllers. */
  static claims(port: number, size: number): boolean {
    return PORTS.includes(port & ~1) && (port & 1) + size <= 2;
  }

  /** KVM_GET_IRQCHIP: the first (0) or second (1) controller. */
  save(index: 0 | 1): KvmPicState {
    return { ...(index === 0 ? this.#master : this.#slave).state };
  }

  /** KVM_SET_IRQCHIP. Fields are u8. */
  restore(index: 0 | 1, state: KvmPicState): void {
    Object.assign((index === 0 ? this.#master : this.#slave).state, state);
    this.update();
  }

  /** What {@link save} does not have: one bit per source for each line, and the output. */
  get lines(): { readonly lines: readonly number[]; readonly output: boolean } {
    return { lines: [...this.#lines], output: this.#output };
  }
  set lines({ lines, output }: PicPair["lines"]) {
    this.#lines.set(lines.slice(0, this.#lines.length));
    this.#output = output;
  }

  /** The output line: an interrupt waits. */
  get output(): boolean {
    return this.#output;
  }

  /** Sets line 0 to 15 as one source sees it; result as KVM_IRQ_LINE_STATUS. */
  setLine(line: number, source: number, up: boolean): number {
    const lines = this.#lines[line] as number;
    const now = up ? lines | (1 << source) : lines & ~(1 << source);
    this.#lines[line] = now;
    const pic = line < 8 ? this.#master : this.#slave;
    const result = pic.setLine(line & 7, now !== 0);
    this.update();
    return result;
  }

  /** Whether nobody holds a line up. */
  isLow(line: number): boolean {
    return this.#lines[line] === 0;
  }

  /** The processor takes the interrupt; returns its vector (a spurious one when none waits). */
  acknowledge(): number {
    this.#output = false;
    const line = this.#master.request();
    let vector: number;
    if (line < 0) vector = this.#master.vector(7);
    else {
      vector = this.#master.acknowledge(line);
      if (line === CASCADE) {
        const second = this.#slave.request();
        vector = second < 0 ? this.#slave.vector(7) : this.#slave.acknowledge(second);
      }
    }
    this.update();
    return vector;
  }

  /** IN from one of the ports, one byte. */
  read(port: number): number {
    if (port === 0x4d0) return this.#master.state.elcr;
    if (port === 0x4d1) return this.#slave.state.elcr;
    const pic = this.#at(port);
    if (pic.state.poll === 0) return pic.read((port & 1) !== 0);
    pic.state.poll = 0;
    return this.#poll(pic);
  }

  /** OUT to one of the ports, one byte. */
  write(port: number, value: number): void {
    if (port >= 0x4d0) {
      const { state } = port === 0x4d0 ? this.#master : this.#slave;
      state.elcr = value & state.elcrMask;
      return;
    }
    const pic = this.#at(port);
    if ((port & 1) === 0) {
      pic.writeCommand(value);
      // Initialization leaves the output as it is until something else happens.
      if ((value & 0x18) === 0) this.update();
    } else {
      const initializing = pic.state.initState !== 0;
      pic.writeData(value);
      if (!initializing) this.update();
    }
  }

  /** A read in poll mode takes the interrupt and ends it. */
  #poll(pic: Pic8259): number {
    const line = pic.request();
    if (line < 0) {
      this.update();
      return 7;
    }
    if (pic === this.#slave) {
      this.#master.state.isr &= ~(1 << CASCADE);
      this.#master.state.irr &= ~(1 << CASCADE);
    }
    pic.state.irr &= ~(1 << line);
    pic.state.isr &= ~(1 << line);
    if (pic === this.#slave || line !== CASCADE) this.update();
    return 0x80 | line;
  }

  #at(port: number): Pic8259 {
    return port < 0xa0 ? this.#master : this.#slave;
  }

  /** Computes the output anew. */
  update(): void {
    if (this.#slave.request() >= 0) {
      this.#master.setLine(CASCADE, true);
      this.#master.setLine(CASCADE, false);
    }
    const output = this.#master.request() >= 0;
    if (output && !this.#output) this.#notify();
    this.#output = output;
  }
}
