/** Time without a host: deterministic, for tests and `--clock virtual`. */
export { VirtualClock } from "./clock.js";
export { PacedDisk } from "./disk.js";
export { HeapTimers } from "./timers.js";
