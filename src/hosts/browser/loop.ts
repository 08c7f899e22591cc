/** Milliseconds between two turns of the browser's timers. */
const TIMER_TURN_MS = 20;

/**
 * How a machine in a browser lets other work run. A message to oneself is served at once, where the browser makes
 * `setTimeout(0)` wait for 4 ms; but while messages come without end, other tasks may starve, such as compiled
 * WebAssembly that is ready. So every 20 ms the turn is a real timer's.
 */
export class BrowserLoop {
  readonly #channel = new MessageChannel();
  readonly #waiting: (() => void)[] = [];
  #lastTimerTurn = performance.now();
  /** Called at each turn, before the machine goes on. */
  onTurn: (() => void) | undefined;

  constructor() {
    // Where Node's types are present, its ports have no such member.
    const port = this.#channel.port1 as unknown as { onmessage: () => void };
    port.onmessage = () => this.#waiting.shift()?.();
  }

  /** Resolves after input and callbacks of the host had their turn. */
  yieldNow(): Promise<void> {
    return new Promise((resolve) => {
      const turn = () => {
        this.onTurn?.();
        resolve();
      };
      const now = performance.now();
      if (now - this.#lastTimerTurn < TIMER_TURN_MS) {
        this.#waiting.push(turn);
        this.#channel.port2.postMessage(0);
        return;
      }
      setTimeout(() => {
        this.#lastTimerTurn = performance.now();
        turn();
      }, 0);
    });
  }

  /** Calls back after about `ms` milliseconds; returns what takes that back. */
  after(ms: number, callback: () => void): () => void {
    const handle = setTimeout(() => {
      this.onTurn?.();
      callback();
    }, ms);
    return () => clearTimeout(handle);
  }

  /** Gives the channel back: Node would wait for it. */
  close(): void {
    this.#channel.port1.close();
  }
}
