import { availableParallelism } from "node:os";
import type { EventLoop } from "../kvm/index.js";
import { C, close, epollCreate1, epollCtl, epollWait, fixedBuffer } from "./libc.js";

/** Events taken from the kernel at once. */
const BATCH = 64;
/** sizeof(struct epoll_event), which is packed on x86-64. */
const EVENT_SIZE = 12;
/** Turns that may go by without the rest of Node having its own. */
const QUIET_TURNS = 64;

/** Milliseconds that the loop looks for the next request after one before it sleeps. */
const ATTENTION_MS = 0.05;

/** Looks between the kernel's events and between sleeps at something in memory. */
export interface Lookout {
  /** Serves what is there; whether something was. */
  look(): boolean;
  /** It is looked at from now on. */
  wake(): void;
  /** It is not looked at after one more time. */
  rest(): void;
}

const SEVERAL_CPUS = availableParallelism() > 1;

interface Alarm {
  readonly at: number;
  readonly callback: () => void;
}

/**
 * The server's event loop: descriptors, alarms, and the turns of the VMs' schedulers, in a thread
 * that sleeps in epoll_wait. Node's own loop would add 20 µs and more to every answer.
 */
export class Reactor implements EventLoop {
  readonly #epoll = epollCreate1(C.EPOLL_CLOEXEC);
  readonly #events = fixedBuffer(BATCH * EVENT_SIZE).u8;
  readonly #view = new DataView(this.#events.buffer, this.#events.byteOffset);
  readonly #watched = new Map<number, (events: number) => void>();
  #yields: (() => void)[] = [];
  #alarms: Alarm[] = [];
  #stopped = false;
  #attended = 0;
  #attentiveUntil = 0;
  #promisesWait = true;
  /** Mailboxes, when they are used. */
  lookout: Lookout | undefined;

  /** Calls back whenever a descriptor is readable, or its other end was closed. */
  watch(fd: number, callback: (events: number) => void): boolean {
    const event = new Uint8Array(EVENT_SIZE);
    const view = new DataView(event.buffer);
    view.setUint32(0, C.EPOLLIN, true);
    view.setInt32(4, fd, true);
    if (epollCtl(this.#epoll, C.EPOLL_CTL_ADD, fd, event) !== 0) return false;
    this.#watched.set(fd, callback);
    return true;
  }

  /** No more calls for a descriptor. */
  unwatch(fd: number): void {
    if (this.#watched.delete(fd)) epollCtl(this.#epoll, C.EPOLL_CTL_DEL, fd, null);
  }

  yieldNow(): Promise<void> {
    return new Promise((resolve) => {
      this.#yields.push(resolve);
    });
  }

  after(ms: number, callback: () => void): () => void {
    const alarm = { at: performance.now() + ms, callback };
    this.#alarms.push(alarm);
    return () => {
      this.#alarms = this.#alarms.filter((other) => other !== alarm);
    };
  }

  /** Promises were settled outside this loop: they are served before it sleeps. */
  promisesWait(): void {
    this.#promisesWait = true;
  }

  /** Runs until {@link stop}. */
  async run(): Promise<void> {
    let quiet = 0;
    while (!this.#stopped) {
      if (this.#promisesWait || ++quiet >= QUIET_TURNS) {
        this.#promisesWait = false;
        quiet = 0;
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      this.#dispatch(this.#attend(this.#patience()));
      this.#alarm();
      if (this.#yields.length > 0) {
        const yields = this.#yields;
        this.#yields = [];
        for (const resolve of yields) resolve();
        this.#promisesWait = true;
      }
    }
    close(this.#epoll);
  }

  /** {@link run} ends after this turn. */
  stop(): void {
    this.#stopped = true;
  }

  /** Milliseconds that the loop may sleep. */
  #patience(): number {
    if (this.#yields.length > 0 || this.#promisesWait) return 0;
    let next = Number.POSITIVE_INFINITY;
    for (const { at } of this.#alarms) next = Math.min(next, at);
    if (next === Number.POSITIVE_INFINITY) return 1000;
    return Math.max(0, Math.min(1000, Math.ceil(next - performance.now())));
  }

  /** Looks at what lies in memory, for a moment if the loop would sleep; how long it may sleep. */
  #attend(patience: number): number {
    const { lookout } = this;
    // Waking an idle processor takes longer than most clients need for their next call.
    if (lookout === undefined) return performance.now() < this.#attentiveUntil ? 0 : patience;
    if (patience === 0) {
      lookout.look();
      return 0;
    }
    lookout.wake();
    let until = performance.now() + ATTENTION_MS;
    for (;;) {
      if (lookout.look()) {
        // Promises, yields and descriptors have their turn after a while of requests only.
        if (this.#promisesWait || this.#yields.length > 0 || ++this.#attended % 256 === 0) return 0;
        until = performance.now() + ATTENTION_MS;
      } else if (performance.now() >= until) break;
    }
    lookout.rest();
    return lookout.look() ? 0 : patience;
  }

  #dispatch(timeout: number): void {
    const count = epollWait(this.#epoll, this.#events, BATCH, timeout);
    if (count > 0 && SEVERAL_CPUS) this.#attentiveUntil = performance.now() + ATTENTION_MS;
    // Copied: a callback may come back here.
    const ready: [number, number][] = [];
    for (let i = 0; i < count; i++) {
      const at = i * EVENT_SIZE;
      ready.push([this.#view.getInt32(at + 4, true), this.#view.getUint32(at, true)]);
    }
    for (const [fd, events] of ready) this.#watched.get(fd)?.(events);
  }

  #alarm(): void {
    if (this.#alarms.length === 0) return;
    const now = performance.now();
    const due = this.#alarms.filter(({ at }) => at <= now);
    if (due.length === 0) return;
    this.#alarms = this.#alarms.filter(({ at }) => at > now);
    for (const { callback } of due) callback();
    this.#promisesWait = true;
  }
}
