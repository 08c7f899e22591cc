import {
  KVM_PIT_SPEAKER_DUMMY,
  type KvmPitChannelState,
  KvmPitFlag,
  type KvmPitState2,
} from "../../abi/kvm/index.js";
import type { TimerHandle } from "../../ports/index.js";
import type { VmClock } from "../cpu/clock.js";

/** Input clock of the counters (Intel 8254 in a PC). */
const PIT_HZ = 1_193_182;

/** Port of the speaker control, which gates counter 2. */
const SPEAKER_PORT = 0x61;

/** KVM lets no guest have a shorter periodic timer (`min_timer_period_us`). */
const MIN_PERIOD_NS = 200_000;

/** Values of readState, writeState, rwMode and countLatched. */
const Rw = { LSB: 1, MSB: 2, WORD0: 3, WORD1: 4 } as const;

type Channel = 0 | 1 | 2;

const newChannel = (): KvmPitChannelState => ({
  count: 0,
  latchedCount: 0,
  countLatched: 0,
  statusLatched: 0,
  status: 0,
  readState: 0,
  writeState: 0,
  writeLatch: 0,
  rwMode: 0,
  mode: 0xff,
  bcd: 0,
  gate: 1,
  countLoadTime: 0n,
});

/**
 * An 8254 interval timer with its speaker port as KVM has them: counter 0 drives GSI 0, counter 2
 * can be read. Ticks that a guest is too slow for are dropped, whatever KVM_REINJECT_CONTROL says.
 */
export class Pit {
  readonly #clock: VmClock;
  readonly #setIrq: (level: boolean) => void;
  readonly #speaker: boolean;
  #channels = [newChannel(), newChannel(), newChannel()] as [
    KvmPitChannelState,
    KvmPitChannelState,
    KvmPitChannelState,
  ];
  #flags = 0;
  #timer: TimerHandle | undefined;
  /** Of counter 0's timer; 0 before the first. */
  #periodNs = 0;
  /** When it expires or expired. */
  #deadlineNs = 0;
  /** KVM_REINJECT_CONTROL. */
  reinject = true;

  /** `flags`: KVM_PIT_SPEAKER_DUMMY brings port 0x61 along. */
  constructor(clock: VmClock, setIrq: (level: boolean) => void, flags = KVM_PIT_SPEAKER_DUMMY) {
    this.#clock = clock;
    this.#setIrq = setIrq;
    this.#speaker = (flags & KVM_PIT_SPEAKER_DUMMY) !== 0;
    this.#channels[2].gate = 0;
    for (const index of [0, 1, 2] as const) this.#load(index, 0);
  }

  /** Whether it has port 0x61. */
  get hasSpeaker(): boolean {
    return this.#speaker;
  }

  /** Whether an access of `size` bytes belongs to the timer. */
  claims(port: number, size: number): boolean {
    return (port >= 0x40 && port + size <= 0x44) || (this.#speaker && port === SPEAKER_PORT);
  }

  /** KVM_GET_PIT2. */
  save(): KvmPitState2 {
    const [a, b, c] = this.#channels;
    return { channels: [{ ...a }, { ...b }, { ...c }], flags: this.#flags };
  }

  /** KVM_SET_PIT2: the counters are loaded anew. Without `flags`: KVM_SET_PIT. */
  restore(channels: KvmPitState2["channels"], flags?: number): void {
    const [a, b, c] = channels;
    const legacy = KvmPitFlag.HPET_LEGACY;
    const toLegacy = flags !== undefined && (flags & legacy) !== 0 && (this.#flags & legacy) === 0;
    this.#channels = [{ ...a }, { ...b }, { ...c }];
    if (flags !== undefined) this.#flags = flags;
    const { mode } = a;
    // An HPET that takes over stops the timer; the mode stays for when it gives back.
    if (toLegacy) this.#channels[0].mode = 0xff;
    for (const index of [0, 1, 2] as const) this.#load(index, this.#channels[index].count);
    if (toLegacy) this.#channels[0].mode = mode;
  }

  /** IN, one byte. */
  read(port: number): number {
    if (port === SPEAKER_PORT) return this.#readSpeaker();
    const index = port & 3;
    if (index === 3) return 0;
    const channel = this.#channels[index as Channel];
    if (channel.statusLatched !== 0) {
      channel.statusLatched = 0;
      return channel.status;
    }
    if (channel.countLatched !== 0) {
      const part = channel.countLatched;
      channel.countLatched = part === Rw.WORD0 ? Rw.MSB : 0;
      return (part === Rw.MSB ? channel.latchedCount >> 8 : channel.latchedCount) & 0xff;
    }
    const count = this.#current(index as Channel);
    const high = channel.readState === Rw.MSB || channel.readState === Rw.WORD1;
    if (channel.readState === Rw.WORD0) channel.readState = Rw.WORD1;
    else if (channel.readState === Rw.WORD1) channel.readState = Rw.WORD0;
    return (high ? count >> 8 : count) & 0xff;
  }

  /** OUT, one byte. */
  write(port: number, value: number): void {
    if (port === SPEAKER_PORT) {
      const on = KvmPitFlag.SPEAKER_DATA_ON;
      this.#flags = (value & 2) !== 0 ? this.#flags | on : this.#flags & ~on;
      this.#setGate(this.#channels[2], value & 1);
    } else if (port === 0x43) this.#command(value);
    else this.#writeCount((port & 3) as Channel, value);
  }

  /** Stops its timer. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #command(value: number): void {
    const select = value >> 6;
    if (select === 3) {
      for (const index of [0, 1, 2] as const) {
        if ((value & (2 << index)) === 0) continue;
        if ((value & 0x20) === 0) this.#latchCount(index);
        if ((value & 0x10) === 0) this.#latchStatus(index);
      }
      return;
    }
    const channel = this.#channels[select as Channel];
    const access = (value >> 4) & 3;
    if (access === 0) {
      this.#latchCount(select as Channel);
      return;
    }
    channel.rwMode = access;
    channel.readState = access;
    channel.writeState = access;
    const mode = (value >> 1) & 7;
    channel.mode = mode > 5 ? mode - 4 : mode;
    channel.bcd = value & 1;
  }

  #latchCount(index: Channel): void {
    const channel = this.#channels[index];
    if (channel.countLatched !== 0) return;
    channel.latchedCount = this.#current(index) & 0xffff;
    channel.countLatched = channel.rwMode;
  }

  #latchStatus(index: Channel): void {
    const channel = this.#channels[index];
    if (channel.statusLatched !== 0) return;
    const output = this.#output(index) ? 0x80 : 0;
    channel.status = (output | (channel.rwMode << 4) | (channel.mode << 1) | channel.bcd) & 0xff;
    channel.statusLatched = 1;
  }

  #writeCount(index: Channel, value: number): void {
    const channel = this.#channels[index];
    switch (channel.writeState) {
      case Rw.MSB:
        this.#load(index, value << 8);
        return;
      case Rw.WORD0:
        channel.writeLatch = value;
        channel.writeState = Rw.WORD1;
        return;
      case Rw.WORD1:
        this.#load(index, channel.writeLatch | (value << 8));
        channel.writeState = Rw.WORD0;
        return;
      default:
        this.#load(index, value);
    }
  }

  #load(index: Channel, value: number): void {
    const channel = this.#channels[index];
    // Zero stands for the largest count.
    channel.count = value === 0 ? 65536 : value;
    if (index !== 0) {
      channel.countLoadTime = this.#clock.hostNs();
      return;
    }
    if (channel.mode > 4) {
      this.close();
      return;
    }
    if ((this.#flags & KvmPitFlag.HPET_LEGACY) !== 0) return;
    this.#arm(channel.count, channel.mode === 2 || channel.mode === 3);
  }

  #arm(count: number, periodic: boolean): void {
    this.close();
    const interval = Math.floor((count * 1e9) / PIT_HZ);
    const period = periodic ? Math.max(interval, MIN_PERIOD_NS) : interval;
    this.#periodNs = period;
    const tick = (deadline: number): void => {
      this.#deadlineNs = deadline;
      this.#timer = this.#clock.timers.arm(deadline, () => {
        this.#timer = undefined;
        if (periodic) {
          const missed = Math.max(0, Math.floor((this.#clock.nowNs() - deadline) / period));
          tick(deadline + (missed + 1) * period);
        }
        this.#setIrq(true);
        this.#setIrq(false);
      });
    };
    tick(this.#clock.nowNs() + interval);
  }

  #setGate(channel: KvmPitChannelState, gate: number): void {
    const restarts = channel.mode === 1 || channel.mode === 2 || channel.mode === 3;
    if ((restarts || channel.mode === 5) && channel.gate < gate) {
      channel.countLoadTime = this.#clock.hostNs();
    }
    channel.gate = gate;
  }

  /** Input clocks since the count was loaded; for counter 0 since its timer was started. */
  #elapsed(index: Channel): number {
    const now = this.#clock.nowNs();
    let passed = 0;
    if (index !== 0) passed = now - Number(this.#channels[index].countLoadTime);
    else if (this.#periodNs !== 0) passed = this.#periodNs - (this.#deadlineNs - now);
    return Math.floor((passed * PIT_HZ) / 1e9);
  }

  #current(index: Channel): number {
    const { mode, count } = this.#channels[index];
    const elapsed = this.#elapsed(index);
    if (mode === 0 || mode === 1 || mode === 4 || mode === 5) return (count - elapsed) & 0xffff;
    return count - ((mode === 3 ? 2 * elapsed : elapsed) % count);
  }

  #output(index: Channel): boolean {
    const { mode, count } = this.#channels[index];
    const elapsed = this.#elapsed(index);
    switch (mode) {
      case 1:
        return elapsed < count;
      case 2:
        return elapsed % count === 0 && elapsed !== 0;
      case 3:
        return elapsed % count < (count + 1) >> 1;
      case 4:
      case 5:
        return elapsed === count;
      default:
        return elapsed >= count;
    }
  }

  #readSpeaker(): number {
    // Bit 4 toggles with memory refresh, about every 15 microseconds: 2^14 ns.
    const refresh = Math.floor(this.#clock.nowNs() / 16384) & 1;
    const data = (this.#flags & KvmPitFlag.SPEAKER_DATA_ON) !== 0 ? 2 : 0;
    return data | this.#channels[2].gate | (this.#output(2) ? 0x20 : 0) | (refresh << 4);
  }
}
