import type { Clock, TraceBy, TraceRegisters, TraceSink, TraceTarget } from "../ports/index.js";
import { TIMES, type TraceChunk, TraceKind, WORDS, Word } from "./event.js";

/**
 * Events that a ring holds unless told otherwise: 7 MiB.
 * @limit guest | events of a trace that nobody has read yet | events | the oldest are lost, and counted
 */
const MAX_EVENTS = 1 << 16;

/** RAX, as the engine numbers registers. */
const RAX = 0;

/**
 * The last events of one or more VMs: numbers in two typed arrays, so that noting one makes no object. What is not
 * read in time is overwritten, and counted by whoever reads.
 */
export class TraceRing {
  readonly #mask: number;
  readonly #words: Uint32Array;
  readonly #times: Float64Array;
  readonly #clock: Pick<Clock, "monotonicNs">;
  #written = 0;
  /** Called in the middle of noting when this many events were noted since; undefined: never. */
  #onFilled: (() => void) | undefined;
  #alarmAt = Number.POSITIVE_INFINITY;

  /** `events`: a power of two. */
  constructor(clock: Pick<Clock, "monotonicNs">, events: number = MAX_EVENTS) {
    if (events < 2 || (events & (events - 1)) !== 0) throw new RangeError("not a power of two");
    this.#clock = clock;
    this.#mask = events - 1;
    this.#words = new Uint32Array(events * WORDS);
    this.#times = new Float64Array(events * TIMES);
  }

  /** Events noted so far: the number that the next one gets. */
  get written(): number {
    return this.#written;
  }

  /** What is to be given to a VM: its events carry that number. */
  source(vm = 0): TraceSource {
    return new TraceSource(this, vm);
  }

  /** Calls back each time when half of the ring has been filled: whoever reads then loses nothing. */
  onHalfFull(callback: (() => void) | undefined): void {
    this.#onFilled = callback;
    this.#alarmAt = callback === undefined ? Number.POSITIVE_INFINITY : this.#nextAlarm();
  }

  /** Copies events from number `from` on, at most `most`. */
  read(from: number, most: number = Number.POSITIVE_INFINITY): TraceChunk {
    const size = this.#mask + 1;
    const first = Math.min(this.#written, Math.max(from, this.#written - size));
    const count = Math.min(most, this.#written - first);
    const words = new Uint32Array(count * WORDS);
    const times = new Float64Array(count * TIMES);
    for (let done = 0; done < count; ) {
      const at = (first + done) & this.#mask;
      const piece = Math.min(count - done, size - at);
      words.set(this.#words.subarray(at * WORDS, (at + piece) * WORDS), done * WORDS);
      times.set(this.#times.subarray(at * TIMES, (at + piece) * TIMES), done * TIMES);
      done += piece;
    }
    return { first, dropped: Math.max(0, first - from), words, times };
  }

  /** Begins an event. @returns where its words are. */
  begin(head: number, vcpu: number): number {
    const place = this.#written++ & this.#mask;
    const at = place * WORDS;
    this.#times[place * TIMES] = this.#clock.monotonicNs();
    this.#words[at + Word.HEAD] = head;
    this.#words[at + Word.VCPU] = vcpu;
    if (this.#written >= this.#alarmAt) this.#alarm();
    return at;
  }

  /** All words, for a source to write behind {@link begin}. */
  get words(): Uint32Array {
    return this.#words;
  }

  /** Notes the answer of an event, if it is still there. @returns where its words are, or -1. */
  answer(seq: number, head: number): number {
    if (seq < this.#written - this.#mask - 1) return -1;
    const place = seq & this.#mask;
    this.#times[place * TIMES + 1] = this.#clock.monotonicNs();
    this.#words[place * WORDS + Word.HEAD] = head;
    return place * WORDS;
  }

  #nextAlarm(): number {
    return this.#written + ((this.#mask + 1) >> 1);
  }

  /** The event that is being noted has no contents yet: its reader takes it the next time. */
  #alarm(): void {
    this.#written--;
    this.#onFilled?.();
    this.#written++;
    this.#alarmAt = this.#nextAlarm();
  }
}

/** One VM's side of a ring. */
export class TraceSource implements TraceSink {
  readonly #ring: TraceRing;
  readonly #words: Uint32Array;
  readonly #vm: number;
  /** The hypercall that each vCPU is in. */
  readonly #open = new Map<number, number>();

  constructor(ring: TraceRing, vm: number) {
    this.#ring = ring;
    this.#words = ring.words;
    this.#vm = vm << 16;
  }

  hypercall(
    vcpu: number,
    registers: TraceRegisters,
    args: readonly number[],
    longMode: boolean,
  ): void {
    const words = this.#words;
    const at = this.#ring.begin(TraceKind.hypercall | this.#vm, vcpu);
    this.#open.set(vcpu, this.#ring.written - 1);
    words[at + Word.FIRST] = registers.gprLow(RAX);
    words[at + Word.FLAGS] = (longMode ? 1 : 0) | (registers.cpl << 1);
    for (let i = 0; i < 6; i++) {
      const register = args[i] as number;
      words[at + Word.ARGS + 2 * i] = registers.gprLow(register);
      words[at + Word.ARGS + 2 * i + 1] = longMode ? registers.gprHigh(register) : 0;
    }
    this.#setLong(at + Word.RIP, registers.rip);
  }

  answered(vcpu: number, by: TraceBy, low: number, high: number): void {
    const seq = this.#open.get(vcpu);
    if (seq === undefined) return;
    this.#open.delete(vcpu);
    const at = this.#ring.answer(seq, TraceKind.hypercall | (by << 8) | this.#vm);
    if (at < 0) return;
    this.#words[at + Word.RESULT] = low;
    this.#words[at + Word.RESULT + 1] = high;
  }

  sent(
    vcpu: number,
    by: TraceBy,
    port: number,
    target: TraceTarget,
    toPort: number,
    toVcpu: number,
  ): void {
    const at = this.#note(TraceKind.send | (by << 8), vcpu, port, target);
    this.#words[at + Word.THIRD] = toPort;
    this.#words[at + Word.FOURTH] = toVcpu;
  }

  delivered(vcpu: number, port: number, result: number): void {
    this.#note(TraceKind.deliver, vcpu, port, result);
  }

  unmasked(vcpu: number, port: number): void {
    this.#note(TraceKind.unmask, vcpu, port, 0);
  }

  upcall(vcpu: number, vector: number): void {
    this.#note(TraceKind.upcall, vcpu, vector, 0);
  }

  runstate(vcpu: number, from: number, to: number): void {
    this.#note(TraceKind.runstate, vcpu, from, to);
  }

  timerArmed(vcpu: number, by: TraceBy, port: number, expiresNs: bigint): void {
    const at = this.#note(TraceKind.arm | (by << 8), vcpu, port, 0);
    this.#setLong(at + Word.ARGS, expiresNs);
  }

  timerFired(vcpu: number, by: TraceBy, port: number, result: number): void {
    this.#note(TraceKind.fire | (by << 8), vcpu, port, result);
  }

  timerStopped(vcpu: number, by: TraceBy, port: number): void {
    this.#note(TraceKind.stop | (by << 8), vcpu, port, 0);
  }

  exit(vcpu: number, code: number, address: number, rip: bigint): void {
    const at = this.#note(TraceKind.exit, vcpu, code, 0);
    this.#words[at + Word.ARGS] = address;
    this.#words[at + Word.ARGS + 1] = address / 2 ** 32;
    this.#setLong(at + Word.RIP, rip);
  }

  woken(vcpu: number): void {
    this.#note(TraceKind.wake, vcpu, 0, 0);
  }

  #note(head: number, vcpu: number, first: number, second: number): number {
    const at = this.#ring.begin(head | this.#vm, vcpu);
    this.#words[at + Word.FIRST] = first;
    this.#words[at + Word.SECOND] = second;
    return at;
  }

  #setLong(at: number, value: bigint): void {
    this.#words[at] = Number(value & 0xffffffffn);
    this.#words[at + 1] = Number((value >> 32n) & 0xffffffffn);
  }
}
