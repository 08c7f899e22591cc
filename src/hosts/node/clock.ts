import { performance } from "node:perf_hooks";
import type { Clock } from "../../ports/index.js";

/** The host's clocks: monotonic time since the program started, and the time of day. */
export class NodeClock implements Clock {
  monotonicNs(): number {
    return performance.now() * 1e6;
  }

  realtimeNs(): number {
    return Date.now() * 1e6;
  }
}
