import type { TimerHandle } from "../../ports/index.js";
import type { VmClock } from "../cpu/clock.js";

/** Input clock of the counters (Intel 8254 in a PC). */
const PIT_HZ = 1_193_182;

/** Port of the speaker control, which gates counter 2. */
const SPEAKER_PORT = 0x61;

class Counter {
  /** 1 to 65536. */
  count = 65536;
  mode = 3;
  /** 1 low byte, 2 high byte, 3 low then high. */
  access = 3;
  gate = true;
  /** When the count was loaded. */
  startNs = 0;
  writeLatch: number | undefined;
  readHigh = false;
  latched: number | undefined;
  status: number | undefined;
}

/** An 8254 interval timer with its speaker port: counter 0 drives GSI 0, counter 2 can be read. */
export class Pit {
  readonly #clock: VmClock;
  readonly #setIrq: (level: boolean) => void;
  readonly #counters = [new Counter(), new Counter(), new Counter()] as const;
  #timer: TimerHandle | undefined;
  #speaker = 0;

  constructor(clock: VmClock, setIrq: (level: boolean) => void) {
    this.#clock = clock;
    this.#setIrq = setIrq;
    this.#counters[2].gate = false;
    for (const counter of this.#counters) counter.startNs = clock.nowNs();
  }

  /** Whether a port belongs to the timer. */
  static claims(port: number): boolean {
    return (port >= 0x40 && port <= 0x43) || port === SPEAKER_PORT;
  }

  /** IN, one byte. */
  read(port: number): number {
    if (port === SPEAKER_PORT) return this.#readSpeaker();
    const counter = this.#counters[(port & 3) as 0 | 1 | 2];
    if (counter === undefined) return 0;
    if (counter.status !== undefined) {
      const status = counter.status;
      counter.status = undefined;
      return status;
    }
    const value = counter.latched ?? this.#current(counter);
    const high = counter.access === 2 || (counter.access === 3 && counter.readHigh);
    if (counter.access === 3) counter.readHigh = !counter.readHigh;
    if (counter.access !== 3 || high) counter.latched = undefined;
    return (high ? value >> 8 : value) & 0xff;
  }

  /** OUT, one byte. */
  write(port: number, value: number): void {
    if (port === SPEAKER_PORT) {
      this.#speaker = value & 3;
      this.#setGate(this.#counters[2], (value & 1) !== 0);
    } else if (port === 0x43) this.#command(value);
    else this.#load((port & 3) as 0 | 1 | 2, value);
  }

  /** Stops its timer. */
  close(): void {
    this.#timer?.cancel();
  }

  #command(value: number): void {
    const select = value >> 6;
    if (select === 3) {
      for (const [i, counter] of this.#counters.entries()) {
        if ((value & (2 << i)) === 0) continue;
        if ((value & 0x20) === 0) counter.latched ??= this.#current(counter);
        if ((value & 0x10) === 0) {
          counter.status ??=
            (this.#output(counter) ? 0x80 : 0) | (counter.access << 4) | (counter.mode << 1);
        }
      }
      return;
    }
    const counter = this.#counters[select as 0 | 1 | 2];
    const access = (value >> 4) & 3;
    if (access === 0) {
      counter.latched ??= this.#current(counter);
      return;
    }
    counter.access = access;
    const mode = (value >> 1) & 7;
    counter.mode = mode > 5 ? mode - 4 : mode;
    counter.writeLatch = undefined;
    counter.readHigh = false;
    counter.latched = undefined;
  }

  #load(index: 0 | 1 | 2, value: number): void {
    const counter = this.#counters[index];
    let count: number;
    if (counter.access === 1) count = value;
    else if (counter.access === 2) count = value << 8;
    else if (counter.writeLatch === undefined) {
      counter.writeLatch = value;
      return;
    } else {
      count = counter.writeLatch | (value << 8);
      counter.writeLatch = undefined;
    }
    counter.count = count === 0 ? 65536 : count;
    counter.startNs = this.#clock.nowNs();
    if (index === 0) this.#arm(counter);
  }

  #arm(counter: Counter): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    // Modes 1 and 5 wait for a rising gate, which counter 0 does not have.
    if (counter.mode === 1 || counter.mode === 5) return;
    const periodNs = (counter.count * 1e9) / PIT_HZ;
    const periodic = counter.mode === 2 || counter.mode === 3;
    const tick = (deadline: number): void => {
      this.#timer = this.#clock.timers.arm(deadline, () => {
        this.#timer = undefined;
        if (periodic) {
          const missed = Math.max(0, Math.floor((this.#clock.nowNs() - deadline) / periodNs));
          tick(deadline + (missed + 1) * periodNs);
        }
        this.#setIrq(true);
        this.#setIrq(false);
      });
    };
    tick(counter.startNs + periodNs);
  }

  #setGate(counter: Counter, gate: boolean): void {
    if (gate && !counter.gate && counter.mode !== 0 && counter.mode !== 4) {
      counter.startNs = this.#clock.nowNs();
    }
    counter.gate = gate;
  }

  /** Input clocks since the count was loaded. */
  #elapsed(counter: Counter): number {
    return Math.floor(((this.#clock.nowNs() - counter.startNs) * PIT_HZ) / 1e9);
  }

  #current(counter: Counter): number {
    const elapsed = this.#elapsed(counter);
    switch (counter.mode) {
      case 2:
        return (counter.count - (elapsed % counter.count)) & 0xffff;
      case 3:
        return (counter.count - ((2 * elapsed) % counter.count)) & 0xffff;
      default:
        return (counter.count - elapsed) & 0xffff;
    }
  }

  #output(counter: Counter): boolean {
    const elapsed = this.#elapsed(counter);
    switch (counter.mode) {
      case 2:
        return elapsed === 0 || elapsed % counter.count !== counter.count - 1;
      case 3:
        return elapsed % counter.count < (counter.count + 1) >> 1;
      case 4:
      case 5:
        return elapsed !== counter.count;
      default:
        return elapsed >= counter.count;
    }
  }

  #readSpeaker(): number {
    const counter = this.#counters[2];
    // Bit 4 toggles with memory refresh, every 15 microseconds.
    const refresh = Math.floor(this.#clock.nowNs() / 15_085) & 1;
    return (
      this.#speaker |
      (this.#output(counter) && counter.gate ? 0x20 : 0) |
      (refresh !== 0 ? 0x10 : 0)
    );
  }
}
