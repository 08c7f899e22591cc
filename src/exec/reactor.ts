import { availableParallelism } from "node:os";
import { epoll_event } from "../abi/linux/syscalls.js";
import type { EventLoop } from "../kvm/index.js";
import { C, close, epollCreate1, epollCtl, epollWait, fixedBuffer } from "./libc.js";

/** Events taken from the kernel at once. */
const BATCH = 64;
const EVENT_SIZE = epoll_event.size;
const EVENTS = epoll_event.offset("events");
const DATA = epoll_event.offset("data");

/** Milliseconds that may go by without the rest of Node having its turn. */
const NODE_MS = 2;
/**
 * Milliseconds that the loop looks for the next request after one before it sleeps: waking an idle
 * processor takes longer than most clients need for their next call.
 */
const ATTENTION_MS = availableParallelism() > 1 ? 0.05 : 0;

/**
 * The same when it was in vain so often in a row: not at all after a few times, as the client may wait for
 * this very processor, but for all of the time now and then.
 */
const attention = (inVain: number): number => (inVain < 4 || inVain % 32 === 0 ? ATTENTION_MS : 0);

/** What requests may take at once of the time of guests that can run. */
const SHARE_MS = 0.5;
/** Looks without asking the kernel: at the favourite only, and at memory only. */
const FAVOURITE_LOOKS = 4;
const MEMORY_LOOKS = 16;
/** How often a promise may wait for another one that is settled before it settles in its turn. */
const PROMISE_DEPTH = 8;

/** Looks between the kernel's events and between sleeps at something in memory. */
export interface Lookout {
  /** Serves what is there; whether something was. */
  look(): boolean;
  /** It is looked at from now on. */
  wake(): void;
  /** It is not looked at after one more time. */
  rest(): void;
}

/** What probably is readable next. */
export interface Favourite {
  /** Serves what is there; whether something was. */
  look(): boolean;
}

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
  #looks = 0;
  #attentiveUntil = 0;
  /** Times in a row. */
  #inVain = 0;
  #promisesWait = true;
  /** Something was served since Node's own loop had its turn. */
  #unsettled = true;
  /** Mailboxes, when they are used. */
  lookout: Lookout | undefined;
  /** Looked at before the kernel is asked what else there is. */
  favourite: Favourite | undefined;

  /**
   * Calls back whenever a descriptor is readable, or its other end was closed; with `edges` only at first
   * and when there is more.
   */
  watch(fd: number, callback: (events: number) => void, edges = false): boolean {
    const events = C.EPOLLIN | (edges ? C.EPOLLET : 0);
    const event = epoll_event.encode({ events, data: BigInt(fd) });
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
    let nodeAt = 0;
    this.lookout?.wake();
    while (!this.#stopped) {
      if (this.#promisesWait) {
        this.#promisesWait = false;
        this.#unsettled = true;
        for (let i = 0; i < PROMISE_DEPTH; i++) await undefined;
      }
      const now = performance.now();
      const patience = this.#patience(now);
      const idle = !this.#attend(patience, now) && patience > 0;
      if (this.#unsettled && now - nodeAt > NODE_MS) {
        this.#unsettled = false;
        await new Promise<void>((resolve) => setImmediate(resolve));
        nodeAt = performance.now();
      } else if (idle) {
        this.#sleep(this.#unsettled ? Math.min(patience, NODE_MS) : patience);
      }
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
  #patience(now: number): number {
    if (this.#yields.length > 0 || this.#promisesWait) return 0;
    if (this.#alarms.length === 0) return 1000;
    let next = Number.POSITIVE_INFINITY;
    for (const { at } of this.#alarms) next = Math.min(next, at);
    return Math.max(0, Math.min(1000, Math.ceil(next - now)));
  }

  /** Serves what is there, and what comes in the moment after that; whether anything was. */
  #attend(patience: number, start: number): boolean {
    let any = false;
    let now = start;
    const end = start + (patience === 0 ? SHARE_MS : Math.min(patience, NODE_MS));
    // What is there at once says nothing about how long to look.
    let looked = false;
    do {
      const found = this.#look(now);
      if (found) {
        any = true;
        if (looked) this.#inVain = 0;
        this.#attentiveUntil = now + attention(this.#inVain);
      }
      looked = !found;
      now = performance.now();
    } while (now < this.#attentiveUntil && now < end && !this.#promisesWait && !this.#stopped);
    return any;
  }

  /** The kernel is asked now and then only, as long as requests come on shorter ways. */
  #look(now: number): boolean {
    const { lookout, favourite } = this;
    this.#looks++;
    if (lookout !== undefined) {
      const found = lookout.look();
      if (found) this.#unsettled = true;
      if (now < this.#attentiveUntil && this.#looks % MEMORY_LOOKS !== 0) return found;
      return this.#dispatch(0) || found;
    }
    if (favourite !== undefined && this.#looks % FAVOURITE_LOOKS !== 0 && favourite.look()) {
      this.#unsettled = true;
      return true;
    }
    return this.#dispatch(0);
  }

  #sleep(patience: number): void {
    const { lookout } = this;
    this.#inVain++;
    lookout?.rest();
    if (lookout?.look() === true) this.#unsettled = true;
    else if (this.#dispatch(patience)) {
      this.#attentiveUntil = performance.now() + attention(this.#inVain);
    }
    lookout?.wake();
  }

  /** Serves descriptors, waiting for one at most that long; whether one was readable. */
  #dispatch(timeout: number): boolean {
    const count = epollWait(this.#epoll, this.#events, BATCH, timeout);
    if (count <= 0) return false;
    this.#unsettled = true;
    // Copied: a callback may come back here.
    const ready: [number, number][] = [];
    for (let i = 0; i < count; i++) {
      const at = i * EVENT_SIZE;
      ready.push([this.#view.getInt32(at + DATA, true), this.#view.getUint32(at + EVENTS, true)]);
    }
    for (const [fd, events] of ready) this.#watched.get(fd)?.(events);
    return true;
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
