/** A machine's ports on Node, for programs that use kvm-xen as a library. */
export { NodeClock } from "./clock.js";
export { StandardConsole } from "./console.js";
export { nodeDecompressors } from "./decompress.js";
export { nodeEntropy } from "./entropy.js";
export { StandardErrorLog } from "./log.js";
export {
  openUserNetwork,
  type UserForward,
  type UserNetworkOptions,
} from "./network/network-thread.js";
export { openSocketNetwork } from "./network/socket-network.js";
export { type DiskOptions, openDisk } from "./open-disk.js";
export { NodeTimers } from "./timers.js";
