/** Time without a host: deterministic, for tests and `--clock virtual`. */
export { VirtualClock } from "./clock.js";
export { HeapTimers } from "./timers.js";
