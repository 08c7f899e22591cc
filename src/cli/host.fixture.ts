import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { HostError } from "../base/index.js";
import type { SignalHandlers } from "../hosts/node/signals.js";
import type { ByteStream } from "../ports/index.js";
import type { MachineEnd } from "../vmm/machine/index.js";
import type { GuestRequest, RunnableMachine } from "./guest-run.js";
import type { ProgramHost } from "./program.js";

/** A guest that a test plays: it ends when the test says so, or when it is stopped. */
export class FakeMachine implements RunnableMachine {
  instructions = 3_000_000;
  engineCounters = { GENERIC: 6000, FILL_READ: 1 };
  readonly typed: string[] = [];
  readonly sizes: [number, number][] = [];
  readonly console: ByteStream;
  #finish: ((end: MachineEnd) => void) | undefined;
  #early: MachineEnd | undefined;

  constructor(console: ByteStream) {
    this.console = console;
    console.onData((bytes) => this.typed.push(Buffer.from(bytes).toString()));
  }

  run(): Promise<MachineEnd> {
    return new Promise((resolve) => {
      this.#finish = resolve;
      if (this.#early) resolve(this.#early);
    });
  }

  setConsoleSize(rows: number, columns: number): void {
    this.sizes.push([rows, columns]);
  }

  stop(): void {
    this.end({ kind: "stopped" });
  }

  end(end: MachineEnd): void {
    this.#early ??= end;
    this.#finish?.(end);
  }
}

/** Keyboard of a {@link FakeHost} that is a terminal. */
export class FakeKeyboard extends EventEmitter {
  isTTY = true;
  raw = false;
  setRawMode(raw: boolean) {
    this.raw = raw;
  }
  resume() {}
  pause() {}
  type(text: string) {
    this.emit("data", Buffer.from(text));
  }
}

/** A process without a process: what the command prints, types and signals is in the test's hand. */
export class FakeHost implements ProgramHost {
  readonly version = "1.2.3";
  readonly input = new FakeKeyboard();
  readonly output: PassThrough & { isTTY?: boolean } = new PassThrough();
  readonly errors: string[] = [];
  readonly error = { isTTY: false, write: (text: string) => this.errors.push(text) };
  readonly exits: number[] = [];
  exitCallbacks: (() => void)[] = [];
  signals: SignalHandlers | undefined;
  machine: FakeMachine | undefined;
  request: GuestRequest | undefined;
  /** Called when a machine has been made and is about to run. */
  onMachine: (machine: FakeMachine) => void = (machine) => machine.end({ kind: "poweroff" });
  refusal: Error | undefined;

  async createMachine(
    request: GuestRequest,
    streams: { console: ByteStream },
  ): Promise<RunnableMachine> {
    this.request = request;
    if (this.refusal) throw this.refusal;
    const machine = new FakeMachine(streams.console);
    this.machine = machine;
    setImmediate(() => this.onMachine(machine));
    return machine;
  }

  async loadEngine(): Promise<never> {
    throw new HostError("NOT_BUILT", "this host has no engine");
  }

  listenForSignals(handlers: SignalHandlers) {
    this.signals = handlers;
    return () => {
      this.signals = undefined;
    };
  }

  sinceStartMs() {
    return 0;
  }

  exit(status: number) {
    this.exits.push(status);
  }

  onExit(callback: () => void) {
    this.exitCallbacks.push(callback);
  }

  /** What was written to the output since the last time, however many pieces a read() takes. */
  get printed(): string {
    const pieces: Buffer[] = [];
    for (;;) {
      const piece = this.output.read() as Buffer | null;
      if (piece === null) return Buffer.concat(pieces).toString();
      pieces.push(piece);
    }
  }

  get complaints(): string {
    return this.errors.join("");
  }
}
