/** Time without a host: deterministic, for tests and `--clock virtual`. */
export { VirtualClock } from "./clock.js";
export { PacedDisk } from "./disk.js";
export { ScriptedNetwork, type ScriptedNetworkOptions } from "./network/scripted-network.js";
export { HeapTimers } from "./timers.js";
