import type { VcpuExitDebug } from "../kvm/index.js";
import type { DebugListener, DebugTarget } from "../vmm/machine/index.js";
import { Breakpoints, type Cause, kindOf } from "./breakpoints.js";
import {
  escapeBytes,
  frame,
  type Input,
  MAX_PACKET,
  PacketReader,
  unescapeBytes,
} from "./packets.js";
import { readAll, readOne, TARGET_XML, writeAll, writeOne } from "./registers.js";

/** As much of a machine as the stub needs. */
export interface GdbMachine {
  debug(listener: DebugListener): DebugTarget;
  stop(): void;
}

/** The other end. */
export interface GdbConnection {
  /** Sends text whose characters are bytes. */
  send(text: string): void;
  hangUp(): void;
}

/**
 * Packets that wait for their turn, as while all vCPUs are being stopped.
 * @limit client | packets of gdb that wait for their turn | packets | the connection ends
 */
const MAX_WAITING = 64;

/** Bytes of memory in one answer: two digits each. @limit client | memory in one answer to gdb | bytes | gdb asks again */
const MAX_MEMORY = MAX_PACKET / 2 - 16;

/** Signals, as gdb numbers them. */
const SIGINT = 2;
const SIGTRAP = 5;

const OK = "OK";
/** Numbers mean nothing to gdb: the message is its own. */
const BAD_REQUEST = "E01";
const NO_MEMORY = "E14";
const NO_ROOM = "E28";

const hex = (value: number | bigint): string => value.toString(16);
const two = (value: number): string => value.toString(16).padStart(2, "0");

/** Why everything stands still. */
interface Stop {
  readonly cpu: number;
  readonly signal: number;
  readonly cause?: Cause;
}

/**
 * gdb's remote protocol over a machine. From its making on the machine stands still until a gdb lets it go on, or goes. One
 * gdb at a time; threads are vCPUs, numbered from 1.
 */
export class GdbStub implements DebugListener {
  readonly #machine: GdbMachine;
  readonly #target: DebugTarget;
  readonly #breakpoints: Breakpoints;
  #connection: GdbConnection | undefined;
  #reader = new PacketReader();
  /** Both have agreed to do without acknowledgements. */
  #plain = false;
  #last = "";
  /** The vCPUs that were let go; undefined while all stand still. */
  #running: readonly number[] | undefined;
  readonly #stepping = new Set<number>();
  /** Exceptions that the guest is to have when a vCPU goes on. */
  readonly #own = new Map<number, number>();
  /** Stops of other vCPUs, to be told one by one. */
  #stops: Stop[] = [];
  /** The thread of registers and memory, as a vCPU. */
  #cpu = 0;
  #stop: Stop = { cpu: 0, signal: SIGTRAP };
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;
  #isOver = false;

  constructor(machine: GdbMachine) {
    this.#machine = machine;
    this.#target = machine.debug(this);
    this.#breakpoints = new Breakpoints(this.#target);
  }

  /** A gdb has come: all vCPUs stop. False when there is one already. */
  connect(connection: GdbConnection): boolean {
    if (this.#connection !== undefined) return false;
    this.#connection = connection;
    this.#reader = new PacketReader();
    this.#plain = false;
    this.#cpu = 0;
    this.#enqueue(() => this.#halt());
    return true;
  }

  /** It is gone: the guest goes on without breakpoints. */
  disconnected(): void {
    if (this.#connection === undefined) return;
    this.#connection = undefined;
    this.#enqueue(async () => {
      await this.#halt();
      this.#release();
    });
  }

  /** It has sent bytes. */
  receive(bytes: Uint8Array): void {
    for (const input of this.#reader.push(bytes)) this.#take(input);
  }

  /** The machine has ended. */
  ended(): void {
    this.#isOver = true;
    if (this.#running !== undefined) this.#answer("W00");
    this.#running = undefined;
    this.#connection?.hangUp();
  }

  hit(cpu: number, exit: VcpuExitDebug): void {
    const cause = this.#breakpoints.causeOf(exit, this.#stepping.has(cpu));
    const running = this.#running;
    if (cause.kind === "own") {
      // What the guest's own breakpoint makes is for the guest: as if nobody had looked.
      if (running === undefined) this.#own.set(cpu, cause.vector);
      else {
        this.#breakpoints.arm(cpu, this.#stepping.has(cpu), cause.vector);
        this.#target.go(running);
      }
      return;
    }
    const stop = { cpu, signal: SIGTRAP, cause };
    if (running === undefined) this.#stops.push(stop);
    else this.#stopWith(stop);
  }

  rebooted(): void {
    this.#breakpoints.forgetMemory();
    this.#own.clear();
    const running = this.#running ?? (this.#connection === undefined ? [] : undefined);
    if (running === undefined) return;
    for (let cpu = 0; cpu < this.#target.cpus; cpu++) this.#breakpoints.arm(cpu, false);
    this.#stepping.clear();
    this.#target.go();
  }

  #take(input: Input): void {
    switch (input.kind) {
      case "stranger":
        this.#connection?.hangUp();
        return;
      case "nak":
        this.#connection?.send(this.#last);
        return;
      case "bad":
        if (!this.#plain) this.#connection?.send("-");
        return;
      case "interrupt":
        this.#enqueue(async () => {
          if (this.#running === undefined) return;
          this.#stopWith({ cpu: this.#cpu, signal: SIGINT });
        });
        return;
      case "packet":
        if (!this.#plain) this.#connection?.send("+");
        this.#enqueue(async () => {
          const answer =
            this.#running === undefined && !this.#isOver ? this.#handle(input.data) : undefined;
          if (answer !== undefined) this.#answer(answer);
        });
    }
  }

  #enqueue(work: () => Promise<void>): void {
    if (this.#waiting >= MAX_WAITING) {
      this.#connection?.hangUp();
      return;
    }
    this.#waiting++;
    this.#work = this.#work.then(work).finally(() => {
      this.#waiting--;
    });
  }

  #answer(data: string): void {
    this.#last = frame(data);
    this.#connection?.send(this.#last);
  }

  /** Stops all vCPUs, and says nothing. */
  async #halt(): Promise<void> {
    if (this.#isOver) return;
    this.#running = undefined;
    await this.#target.stop();
  }

  /** Stops all vCPUs, and tells why; nothing else is heard meanwhile. */
  #stopWith(stop: Stop): void {
    this.#running = undefined;
    this.#stepping.clear();
    this.#enqueue(async () => {
      await this.#target.stop();
      this.#tell(stop);
    });
  }

  #tell(stop: Stop): void {
    this.#stop = stop;
    this.#cpu = stop.cpu;
    this.#answer(stopReply(stop));
  }

  /** All go on without a debugger. */
  #release(): void {
    if (this.#isOver) return;
    this.#breakpoints.clear(this.#cpu);
    this.#stepping.clear();
    this.#stops = [];
    for (let cpu = 0; cpu < this.#target.cpus; cpu++) {
      this.#breakpoints.arm(cpu, false, this.#takeOwn(cpu));
    }
    this.#target.go();
  }

  #takeOwn(cpu: number): number | undefined {
    const vector = this.#own.get(cpu);
    this.#own.delete(cpu);
    return vector;
  }

  /** @returns the answer; undefined when it comes later, or never. */
  #handle(data: string): string | undefined {
    const rest = data.slice(1);
    switch (data[0]) {
      case "?":
        return stopReply(this.#stop);
      case "g":
        return readAll(this.#target, this.#cpu);
      case "G":
        return writeAll(this.#target, this.#cpu, rest) ? OK : BAD_REQUEST;
      case "p":
        return readOne(this.#target, this.#cpu, Number.parseInt(rest, 16)) ?? BAD_REQUEST;
      case "P": {
        const [number = "", value = ""] = rest.split("=");
        return writeOne(this.#target, this.#cpu, Number.parseInt(number, 16), value)
          ? OK
          : BAD_REQUEST;
      }
      case "m":
        return this.#readMemory(rest);
      case "M":
      case "X":
        return this.#writeMemory(rest, data[0] === "X");
      case "Z":
      case "z":
        return this.#breakpoint(rest, data[0] === "Z");
      case "H": {
        const cpu = this.#cpuOf(rest.slice(1)) ?? this.#cpu;
        if (cpu >= this.#target.cpus) return BAD_REQUEST;
        this.#cpu = cpu;
        return OK;
      }
      case "T": {
        const cpu = this.#cpuOf(rest);
        return cpu !== undefined && cpu < this.#target.cpus ? OK : BAD_REQUEST;
      }
      case "c":
      case "C":
        return this.#resume("c");
      case "s":
      case "S":
        return this.#resume(`s:${hex(this.#cpu + 1)};c`);
      case "v":
        return this.#verbose(data);
      case "q":
        return this.#query(data);
      case "Q":
        if (data !== "QStartNoAckMode") return "";
        this.#plain = true;
        return OK;
      case "D":
        this.#answer(OK);
        this.#connection?.hangUp();
        return undefined;
      case "k":
        this.#kill();
        return undefined;
      default:
        return "";
    }
  }

  #kill(): void {
    this.#machine.stop();
    this.#release();
  }

  #verbose(data: string): string | undefined {
    if (data === "vCont?") return "vCont;c;C;s;S";
    if (data.startsWith("vCont;")) return this.#resume(data.slice(6));
    if (!data.startsWith("vKill")) return "";
    this.#answer(OK);
    this.#kill();
    return undefined;
  }

  #query(data: string): string {
    const [name = "", ...words] = data.split(/[:,;]/);
    switch (name) {
      case "qSupported":
        return `PacketSize=${hex(MAX_PACKET)};qXfer:features:read+;QStartNoAckMode+;swbreak+;hwbreak+;vContSupported+`;
      case "qXfer": {
        const [object, verb, annex, from = "", length = ""] = words;
        if (object !== "features" || verb !== "read" || annex !== "target.xml") return "";
        return piece(TARGET_XML, Number.parseInt(from, 16), Number.parseInt(length, 16));
      }
      case "qfThreadInfo":
        return `m${Array.from({ length: this.#target.cpus }, (_, cpu) => hex(cpu + 1)).join(",")}`;
      case "qsThreadInfo":
        return "l";
      case "qC":
        return `QC${hex(this.#cpu + 1)}`;
      case "qAttached":
        return "1";
      case "qThreadExtraInfo": {
        const text = `CPU ${this.#cpuOf(words[0] ?? "") ?? 0}`;
        return [...text].map((c) => two(c.charCodeAt(0))).join("");
      }
      default:
        return "";
    }
  }

  /** A thread as a vCPU; undefined for any and all. */
  #cpuOf(thread: string): number | undefined {
    const number = Number.parseInt(thread, 16);
    return number > 0 ? number - 1 : undefined;
  }

  /** The actions of vCont, of which the first that fits a vCPU counts; those that none fits stand still. */
  #resume(text: string): string | undefined {
    const actions = text.split(";").map((action) => {
      const [what = "", thread = "-1"] = action.split(":");
      return { steps: /^s/i.test(what), goes: /^[cs]/i.test(what), cpu: this.#cpuOf(thread) };
    });
    if (!actions.every(({ goes }) => goes)) return BAD_REQUEST;
    const running: number[] = [];
    for (let cpu = 0; cpu < this.#target.cpus; cpu++) {
      const action = actions.find((one) => one.cpu === undefined || one.cpu === cpu);
      if (action === undefined) continue;
      running.push(cpu);
      if (action.steps) this.#stepping.add(cpu);
    }
    if (running.length === 0) return BAD_REQUEST;
    const next = this.#stops.shift();
    if (next !== undefined) {
      this.#stepping.clear();
      this.#tell(next);
      return undefined;
    }
    for (const cpu of running) {
      this.#breakpoints.arm(cpu, this.#stepping.has(cpu), this.#takeOwn(cpu));
    }
    this.#running = running;
    this.#target.go(running);
    return undefined;
  }

  #readMemory(text: string): string {
    const [address, length] = rangeOf(text) ?? [];
    if (address === undefined || length === undefined) return BAD_REQUEST;
    const bytes = this.#breakpoints.read(this.#cpu, address, Math.min(length, MAX_MEMORY));
    if (bytes.length === 0 && length > 0) return NO_MEMORY;
    return Array.from(bytes, two).join("");
  }

  #writeMemory(text: string, isBinary: boolean): string {
    const colon = text.indexOf(":");
    const [address, length] = rangeOf(text.slice(0, Math.max(0, colon))) ?? [];
    if (address === undefined || length === undefined || length > MAX_PACKET) return BAD_REQUEST;
    const data = text.slice(colon + 1);
    const bytes = isBinary
      ? Uint8Array.from(unescapeBytes(data), (c) => c.charCodeAt(0))
      : Uint8Array.from({ length: data.length >> 1 }, (_, i) =>
          Number.parseInt(data.slice(i * 2, i * 2 + 2), 16),
        );
    if (bytes.length !== length || (!isBinary && /[^0-9a-f]/i.test(data))) return BAD_REQUEST;
    return this.#breakpoints.write(this.#cpu, address, bytes) ? OK : NO_MEMORY;
  }

  #breakpoint(text: string, inserts: boolean): string {
    const [number = "", ...range] = text.split(",");
    const kind = /^\d$/.test(number) ? kindOf(Number(number)) : undefined;
    if (kind === undefined) return "";
    // Conditions and commands, which were not offered, would follow.
    const [address, length] = rangeOf(range.join(",").split(";")[0] ?? "") ?? [];
    if (address === undefined || length === undefined) return BAD_REQUEST;
    if (inserts) return this.#breakpoints.insert(kind, address, length, this.#cpu) ? OK : NO_ROOM;
    this.#breakpoints.remove(kind, address, length, this.#cpu);
    return OK;
  }
}

/** ADDRESS,LENGTH in hex. */
function rangeOf(text: string): [bigint, number] | undefined {
  const match = /^([0-9a-f]{1,16}),([0-9a-f]{1,8})$/i.exec(text);
  return match === null
    ? undefined
    : [BigInt(`0x${match[1]}`), Number.parseInt(match[2] ?? "", 16)];
}

/** A part of a text, as qXfer gives it: `l` in front of the last one, `m` of all others. */
function piece(text: string, from: number, length: number): string {
  if (!(from >= 0) || !(length > 0)) return BAD_REQUEST;
  const most = Math.min(length, MAX_PACKET / 2);
  return `${from + most >= text.length ? "l" : "m"}${escapeBytes(text.slice(from, from + most))}`;
}

function stopReply({ cpu, signal, cause }: Stop): string {
  const thread = `T${two(signal)}thread:${hex(cpu + 1)};`;
  switch (cause?.kind) {
    case "break":
      return `${thread}swbreak:;`;
    case "hbreak":
      return `${thread}hwbreak:;`;
    case "watch":
    case "rwatch":
    case "awatch":
      return `${thread}${cause.kind}:${hex(cause.address)};`;
    default:
      return thread;
  }
}
