import type { FromInspected } from "../inspect/protocol.js";
import type { MachineStatus, StartRequest, ToPage, ToWorker } from "./protocol.js";

/** Milliseconds between two questions whether the worker is alive, and for which it may not answer. */
const PING_MS = 1000;
const SILENCE_MS = 6000;

/** Who hears what a machine does. */
export interface MachineListener {
  progress(text: string): void;
  started(): void;
  /** Shows output; `shown` is called when it is on the screen. */
  output(bytes: Uint8Array, shown: () => void): void;
  log(text: string): void;
  status(status: MachineStatus): void;
  saved(snapshot: Blob): void;
  /** Why it was not. */
  notSaved(text: string): void;
  /** The machine has ended: one line. */
  ended(text: string): void;
  /** The machine cannot be started. */
  refused(code: string | undefined, text: string): void;
  /** What the inspector asked for. */
  inspected(message: FromInspected): void;
  events(bytes: ArrayBuffer): void;
  /** The worker is dead: one line. */
  died(text: string): void;
}

/** A machine in a worker of its own, from its start to its end. */
export class MachineClient {
  readonly #worker: Worker;
  readonly #listener: MachineListener;
  readonly #watch: ReturnType<typeof setInterval>;
  #lastWord = performance.now();
  /** It answers between slices of the guest; before, decoders may take long. */
  #runs = false;
  #closed = false;

  constructor(worker: Worker, listener: MachineListener) {
    this.#worker = worker;
    this.#listener = listener;
    worker.onmessage = ({ data }: MessageEvent<ToPage>) => this.#hear(data);
    worker.onerror = (event) => this.#die(event.message || "its worker was ended");
    this.#watch = setInterval(() => this.#ping(), PING_MS);
  }

  start(request: StartRequest): void {
    const { kernel, initrd } = request.boot ?? {};
    const transfer = [kernel, initrd].flatMap((bytes) => (bytes ? [bytes.buffer] : []));
    this.#worker.postMessage(
      { kind: "start", request } satisfies ToWorker,
      transfer as ArrayBuffer[],
    );
  }

  say(message: ToWorker): void {
    if (!this.#closed) this.#worker.postMessage(message);
  }

  /** Ends the worker, whatever it does. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#watch);
    this.#worker.terminate();
  }

  #ping(): void {
    if (document.hidden) {
      // Timers of hidden pages are slowed down.
      this.#lastWord = performance.now();
      return;
    }
    if (this.#runs && performance.now() - this.#lastWord > SILENCE_MS) {
      this.#die("its worker does not answer");
      return;
    }
    this.say({ kind: "ping" });
  }

  #die(why: string): void {
    if (this.#closed) return;
    this.close();
    this.#listener.died(`the machine is gone: ${why}`);
  }

  #hear(message: ToPage): void {
    if (this.#closed) return;
    this.#lastWord = performance.now();
    const listener = this.#listener;
    switch (message.kind) {
      case "progress":
        listener.progress(message.text);
        return;
      case "started":
        this.#runs = true;
        listener.started();
        return;
      case "output": {
        const { length } = message.bytes;
        listener.output(message.bytes, () => this.say({ kind: "shown", bytes: length }));
        return;
      }
      case "log":
        listener.log(message.text);
        return;
      case "status":
        listener.status(message.status);
        return;
      case "end":
        this.close();
        listener.ended(
          message.end.kind === "crash"
            ? `the guest crashed: ${message.end.reason}`
            : message.end.kind === "poweroff"
              ? "the guest has powered itself off"
              : "the machine was stopped",
        );
        return;
      case "saved":
        listener.saved(message.snapshot);
        return;
      case "notSaved":
        listener.notSaved(message.text);
        return;
      case "refused":
        this.close();
        listener.refused(message.code, message.text);
        return;
      case "inspect":
        listener.inspected(message.message);
        return;
      case "events":
        listener.events(message.bytes);
        return;
      case "pong":
        return;
    }
  }
}
