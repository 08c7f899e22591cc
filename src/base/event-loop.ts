/** How the scheduler lets the host's other work run. */
export interface EventLoop {
  /** Resolves after pending input and callbacks of the host had their turn, as soon as possible. */
  yieldNow(): Promise<void>;
  /** Calls back after about `ms` milliseconds; returns what takes that back. */
  after(ms: number, callback: () => void): () => void;
}

interface HostGlobals {
  readonly setImmediate?: (callback: () => void) => unknown;
  readonly setTimeout: (callback: () => void, ms: number) => unknown;
  readonly clearTimeout: (handle: unknown) => void;
}

/** The event loop of whatever runs this program: Node, or a browser (slower to yield there). */
export function defaultEventLoop(): EventLoop {
  const host = globalThis as unknown as HostGlobals;
  return {
    yieldNow: () =>
      new Promise((resolve) => {
        if (host.setImmediate !== undefined) host.setImmediate(() => resolve());
        else host.setTimeout(() => resolve(), 0);
      }),
    after(ms, callback) {
      const handle = host.setTimeout(callback, ms);
      return () => host.clearTimeout(handle);
    },
  };
}
